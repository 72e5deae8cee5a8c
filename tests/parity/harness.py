"""One scripted run of the edge in either world, with the same modelled leaves and the production flows in both.

A `Script` is drawn from a seed: arrivals, kills, restarts, a host's death, deploys and disconnects. `run_sim` and `run_live`
carry it out on the kernel, and on the production live world over a virtual-time loop; both return one row per request.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field, replace
from math import log

from edgesim.core.beat import beat
from edgesim.core.desired import DesiredDocument
from edgesim.core.front_door import Door, front_door
from edgesim.core.health import HealthTable
from edgesim.core.pop import Pop
from edgesim.core.request import Connection, Request
from edgesim.core.rollout import apply_desired
from edgesim.core.router import Router
from edgesim.live.local import LocalPops
from edgesim.live.world import LiveWorld
from edgesim.model.events import ColdStarted, Evicted, HealthReported, PopReported, RequestServed
from edgesim.model.geo import LatLon, Place, distance_km
from edgesim.model.http import BytesBody
from edgesim.model.ids import AppName, Digest, HostId, PopId
from edgesim.model.stream import Stream, key
from edgesim.model.topology import HealthSpec, PopSpec, RetrySpec
from edgesim.model.worker import Component, Release, Reuse, Route
from edgesim.sim.kernel import Cancelled, Kernel
from edgesim.sim.leaves import Costs, ModelledLeaves
from edgesim.sim.world import SimWorld
from tests.parity.virtual_loop import VirtualLoop

APP = AppName("hello")
CITIES = [
    ("fra1", 50.0, 8.6), ("lhr1", 51.5, -0.5), ("iad1", 38.9, -77.5), ("gru1", -23.4, -46.5),
    ("nrt1", 35.8, 140.4), ("sin1", 1.35, 104.0), ("syd1", -33.9, 151.2), ("jnb1", -26.1, 28.2),
]  # fmt: skip


class Nearest:
    """A routing policy small enough to read."""

    def rank(self, client, pops):
        """By distance."""
        return tuple(p.id for p in sorted(pops, key=lambda p: (distance_km(client.at, p.at), p.id)))


class TestNetwork:
    """Legs by distance with jitter from the request's bits, rounded to the quantum."""

    __test__ = False

    def __init__(self, pops, costs):
        self.at = {p.id: p.at for p in pops}
        self.costs = costs

    def legs(self, place, pop, bits):
        """Up and down."""
        base_s = 0.002 + distance_km(place.at, self.at[pop]) / 100_000
        up_s = base_s + 0.010 * (bits & 0x7FF) / 2048
        down_s = base_s + 0.010 * (bits >> 11 & 0x7FF) / 2048
        return self.costs.quantise(up_s), self.costs.quantise(down_s)


@dataclass
class Script:
    """What happens when, apart from what the flows make of it. Times in seconds."""

    seed: int
    requests: int
    rate: float
    quantum_s: float = 0.0
    cancels: bool = False
    reuse: Reuse = field(default_factory=Reuse)
    scaling: object = None
    eviction: object = None
    instance_bytes: int = 0
    memory_bytes: int = 8 << 20
    filters: int = 0
    """Filters that every request passes; the first one may fail without harm."""
    horizon_s: float = field(init=False)
    costs: Costs = field(init=False)

    def __post_init__(self):
        self.costs = Costs(
            execute_s=0.030, instantiate_s=0.010, failing_share=0.03, quantum_s=self.quantum_s,
            instance_bytes=self.instance_bytes,
        )  # fmt: skip
        self.horizon_s = self.requests / self.rate + 8.0

    def specs(self):
        """Eight PoPs."""
        return [
            PopSpec(
                id=PopId(name), city=name, country="XX", at=LatLon(lat, lon), region="r", profile="t", slots=3, queue=12,
                queue_timeout_s=0.12, memory_bytes=(3 << 20) // 2 if name == "sin1" else self.memory_bytes, origin="demo",
            )
            for name, lat, lon in CITIES
        ]  # fmt: skip

    def arrivals(self):
        """(time, request factory), sorted."""
        stream = Stream(key(self.seed, "arrivals"))
        t = 1.0
        for n in range(self.requests):
            t += -log(1.0 - stream.uniform()) / self.rate
            at_s = self.costs.quantise(t)
            name, lat, lon = CITIES[int(len(CITIES) * stream.uniform() ** 2)]
            place = Place(address="240.0.0.1", at=LatLon(lat + 1, lon + 1), metro=ord(name[0]) * 64 + ord(name[1]))
            path = "/static" if stream.uniform() < 0.1 else "/api/other" if stream.uniform() < 0.2 else "/w"
            body = b"x" * 10 if stream.uniform() < 0.2 else None
            gone_s = at_s + self.costs.quantise(stream.uniform() * 0.4) if self.cancels and n % 3 == 0 else None
            yield n, at_s, gone_s, place, path, body

    def faults(self):
        """(time, name, argument): kills and restarts of PoPs and of a host, and deploys."""
        stream = Stream(key(self.seed, "faults"))
        span_s = self.requests / self.rate
        found = [(0.0, "deploy", 1)]
        for version, share in ((2, 0.3), (3, 0.55), (4, 0.56)):
            found.append((1.0 + share * span_s, "deploy", version))
        for _ in range(6):
            pop = CITIES[int(len(CITIES) * stream.uniform())][0]
            at_s = 1.0 + stream.uniform() * span_s * 0.9
            found += [(at_s, "kill", pop), (at_s + 0.1 + stream.uniform() * 2.0, "restart", pop)]
        found += [(1.0 + 0.4 * span_s, "kill-host", "host1"), (2.5 + 0.4 * span_s, "restart-host", "host1")]
        return sorted((self.costs.quantise(t), name, arg) for t, name, arg in found)

    def release(self, version):
        """Two components; even versions are not prefetched."""
        digest = lambda c: Digest(f"{version * 10 + c:064x}")  # noqa: E731
        return Release(
            app=APP, version=version, digest=digest(9), prefetch=version % 2 == 1,
            components=tuple(
                Component(id=f"c{c}", digest=digest(c), size_bytes=9, abi="wagi", reuse=self.reuse) for c in (0, 1)
            )
            + tuple(
                Component(id=f"f{f}", digest=digest(2 + f), size_bytes=9, abi="proxy-wasm", fail_open=f == 0)
                for f in range(self.filters)
            ),
            filters=tuple(f"f{f}" for f in range(self.filters)),
            routes=(Route(pattern="/w", component="c0"), Route(pattern="/api/...", component="c1")),
        )  # fmt: skip


class Run:
    """What both worlds share: PoPs, the door, the script's actions and the rows."""

    def __init__(self, script):
        self.script = script
        specs = script.specs()
        self.pops = {s.id: Pop(s, scaling=script.scaling, eviction=script.eviction) for s in specs}
        self.host_of = {s.id: HostId(f"host{1 + i % 3}") for i, s in enumerate(specs)}
        self.health = HealthTable(self.pops, HealthSpec())
        self.door = Door(
            router=Router(Nearest(), specs, self.health),
            health=self.health,
            network=TestNetwork(specs, script.costs),
            retry=RetrySpec(attempts=3, budget=0.5),
        )
        self.documents = {}
        self.rows = {}
        self.events = Counter()
        self.beats_seen = []
        """What each PoP's pool and memory looked like, twice a second."""

    def note(self, event):
        if isinstance(event, ColdStarted):
            self.events[event.pop, event.start, event.role, event.cause, event.phases, event.total_s] += 1
        elif isinstance(event, PopReported):
            self.events[event.pop, event.gen, event.state, tuple(event.apps.items()), event.why] += 1
        elif isinstance(event, RequestServed):
            self.events[event.pop, event.outcome, event.start, event.role, event.queue_s, event.duration_s] += 1
            self.events["instantiated", event.pop, event.instantiate_s] += 1
        elif isinstance(event, Evicted):
            self.events[event.pop, event.version, event.what, event.why] += 1
        elif isinstance(event, HealthReported):
            self.beats_seen += [(p.pop, p.busy, p.queued, p.loaded_bytes, p.warm) for p in event.pops]

    async def request(self, w, n, place, path, body):
        stream = Stream(key(self.script.seed, "request", n))
        now_s = w.now()
        request = Request(
            id=str(n), app=APP, method="GET", target=path, headers=(), body=BytesBody(body) if body else None, place=place,
            connection=Connection(), stream=stream, arrived_s=now_s, deadline_s=now_s + 0.35,
        )  # fmt: skip
        row = ("gone",)
        try:
            r = await front_door(w, self.door, request)
            row = (r.outcome, r.status, r.pop, r.start, r.role, r.version, request.network_s)
        finally:
            self.rows[n] = (*row, request.tries, w.now() - now_s)

    async def distribute(self, w, pop, document, delay_s):
        await w.sleep(delay_s)
        if pop.alive:
            await apply_desired(w, pop, document, delay_s)

    def act(self, w, kill, name, arg):
        """Carry out one fault or deploy; `kill` is the world's."""
        if name == "deploy":
            for i, pop in enumerate(self.pops.values()):
                document = DesiredDocument(
                    pop=pop.spec.id, epoch=1, gen=arg, issued_s=0.0, apps=(self.script.release(arg),)
                )  # fmt: skip
                self.documents[pop.spec.id] = document
                delay_s = self.script.costs.quantise(0.010 + 0.003 * i)
                w.spawn(self.distribute(w, pop, document, delay_s), "distribute")
        elif name == "kill":
            kill(PopId(arg))
        elif name == "restart":
            self.restart(w, self.pops[PopId(arg)])
        else:
            for pop_id in [p for p, host in self.host_of.items() if host == arg]:
                kill(pop_id) if name == "kill-host" else self.restart(w, self.pops[pop_id])

    def restart(self, w, pop):
        if not pop.alive:
            pop.restart()
            w.spawn(self.distribute(w, pop, self.documents[pop.spec.id], 0.0), "restart")

    def beats(self, w):
        for host in sorted(set(self.host_of.values())):
            pops = [self.pops[p] for p, h in self.host_of.items() if h == host]
            w.spawn(beat(w, host, "b1", pops, 0.5), "beat")

    def leaks(self):
        """Slots, places in queues and active requests that nobody gave back."""
        left = [(p.spec.id, p.pool.busy, p.pool.queued) for p in self.pops.values() if p.pool.busy or p.pool.queued]
        users = [w for p in self.pops.values() for s in p.apps.values() for w in s.workers.values() if w.users]
        return left, users, self.unbalanced(), self.door.budget.active, self.door.budget.retrying

    def unbalanced(self):
        """PoPs whose memory or warm count is not the sum of what they hold, when no request runs."""
        wrong = []
        for pop in self.pops.values():
            loaded = pop.loaded()
            idle = [i for w in loaded for i in w.instances.idle]
            bytes_ = sum(w.loaded_bytes for w in loaded) + sum(i.charged for i in idle)
            shared = [i for w in loaded for i in w.instances.shared]
            if (bytes_, len(idle)) != (pop.memory_bytes, pop.warm) or shared or any(i.active for i in idle):
                wrong.append((pop.spec.id, bytes_, pop.memory_bytes, len(idle), pop.warm, shared))
        return wrong


def run_sim(script):
    """The script on the kernel."""
    run, kernel = Run(script), Kernel()
    w = SimWorld(
        kernel, pops=run.pops, host_of=run.host_of, health=run.health, costs=script.costs, on_event=run.note
    )  # fmt: skip
    publish = w.publish

    def watched(event):
        if isinstance(event, HealthReported):
            run.note(event)
        publish(event)

    w.publish = watched
    run.beats(w)
    flows = {}

    def arrive(n, place, path, body):
        flows[n] = kernel.spawn(run.request(w, n, place, path, body), f"request:{n}")

    for at_s, name, arg in script.faults():
        kernel.at(at_s, lambda name=name, arg=arg: run.act(w, w.kill, name, arg))
    for n, at_s, gone_s, place, path, body in script.arrivals():
        kernel.at(at_s, lambda n=n, place=place, path=path, body=body: arrive(n, place, path, body))
        if gone_s is not None:
            kernel.at(gone_s, lambda n=n: kernel.interrupt(flows[n], Cancelled()))
    kernel.run(script.horizon_s)
    leaks = run.leaks()
    kernel.close()
    return run, leaks


def run_live(script):
    """The script on the production live world, on virtual time."""
    loop = VirtualLoop()
    try:
        return loop.run_until_complete(_live(script, loop))
    finally:
        loop.close()


async def _live(script, loop):
    run = Run(script)

    async def deliver(event):
        await w.sleep(script.costs.quantise(script.costs.bus_s))
        for pop in event.pops:
            run.health.beat(pop.pop, pop.state, w.now())

    def publish(event):
        if isinstance(event, HealthReported):
            run.note(event)
            w.spawn(deliver(event), "deliver")
        else:
            run.note(event)

    class NoReply:
        async def reply(self, request, response):
            pass

    w = LiveWorld(publish)
    local = LocalPops(w, run.pops)
    leaves = ModelledLeaves(w, script.costs, run.host_of)
    w.equip(transport=local, guests=leaves, origins=leaves, replies=NoReply())
    tasks = {}

    def arrive(n, place, path, body):
        tasks[n] = loop.create_task(run.request(w, n, place, path, body))

    for at_s, name, arg in script.faults():
        loop.call_at(at_s, run.act, w, local.kill, name, arg)
    for n, at_s, gone_s, place, path, body in script.arrivals():
        loop.call_at(at_s, arrive, n, place, path, body)
        if gone_s is not None:
            loop.call_at(gone_s, lambda n=n: tasks[n].cancel())
    run.beats(w)
    await asyncio.sleep(script.horizon_s)
    leaks = run.leaks()
    await asyncio.gather(*tasks.values(), return_exceptions=True)
    await w.close()
    return run, leaks


def differences(a, b):
    """Requests whose rows differ, first ones first."""
    return [
        (n, a.rows.get(n), b.rows.get(n))
        for n in sorted(a.rows.keys() | b.rows.keys())
        if a.rows.get(n) != b.rows.get(n)
    ]


__all__ = ["Script", "differences", "replace", "run_live", "run_sim"]
