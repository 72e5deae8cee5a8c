"""The memory budget: who goes first, who never goes, and what is said when there is no room."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edgesim.core.instances import Instance
from edgesim.core.memory import make_room
from edgesim.core.pop import Pop, Serving, Stage
from edgesim.core.request import Response
from edgesim.core.serve import serve_at_pop
from edgesim.model.events import Evicted
from edgesim.model.ids import Digest
from edgesim.model.worker import Component, Reuse, Route
from edgesim.policies.eviction import density, lfu
from tests.support.request_path import Guests, release, request, serve, sim_world, spawn, spec

LONG = Reuse(max_instance_reuse_count=(99, 99), idle_instance_timeout_s=(60.0, 60.0))


def apps(count, reuse=LONG):
    """A release with `count` workers at /0, /1, …."""
    components = tuple(
        Component(id=f"c{n}", digest=Digest(f"{n:064x}"), size_bytes=1, abi="wasi-http", reuse=reuse)
        for n in range(count)
    )
    return release(components=components, routes=tuple(Route(pattern=f"/{n}", component=f"c{n}") for n in range(count)))


class Bench:
    """A PoP of 1000 bytes: modules take 100, instances 200, runs a quarter of a second."""

    def __init__(self, count=3, reuse=LONG, **changes):
        self.pop = Pop(spec(slots=16), **changes)
        serve(self.pop, apps(count, reuse))
        self.guests = Guests(self.answer)
        self.guests.instance_bytes = 200
        self.w = sim_world([self.pop], self.guests)

    async def answer(self, pop, worker, request):
        """After a quarter of a second."""
        await self.w.sleep(0.25)
        return Response(200, "ok")

    def at(self, time_s, target):
        """A request at a time."""
        return spawn(self.w, serve_at_pop(self.w, self.pop, request(target, now_s=time_s)), time_s)

    def evicted(self, why="memory"):
        """What was evicted for that reason."""
        return [e.what for e in self.w.events if isinstance(e, Evicted) and e.why == why]

    def standing(self):
        """Where each worker stands."""
        return [w.standing.name.lower() for w in self.pop.apps["hello"].workers.values()]


def test_idle_instances_go_before_modules():
    """The longest idle one first; the modules stay loaded."""
    bench = Bench(4)
    for n, at_s in enumerate((0.0, 1.0, 2.0, 3.0)):  # 300 each: the fourth needs the room of one instance
        bench.at(at_s, f"/{n}")
    bench.w.kernel.run(4.0)

    assert bench.standing() == ["loaded", "warm", "warm", "warm"]
    assert (bench.evicted(), bench.pop.memory_bytes) == (["instance"], 1000)


def test_modules_go_when_there_is_no_idle_instance():
    """Fresh instances are counted while they run: the ninth of 100 takes the room of a module that nobody uses."""
    bench = Bench(2, Reuse())
    bench.guests.instance_bytes = 100
    bench.at(0.0, "/0")
    for _ in range(8):
        bench.at(1.0, "/1")
    bench.w.kernel.run(1.125)

    assert (bench.standing(), bench.pop.memory_bytes) == (["loaded", "loaded"], 1000)
    ninth = bench.at(1.125, "/1")
    bench.w.kernel.run(2.0)
    assert (ninth.result.outcome, bench.evicted(), bench.standing()) == ("ok", ["module"], ["disk", "loaded"])
    assert bench.pop.memory_bytes == 100


def test_all_in_use_is_a_clear_refusal():
    """503 with what it needs and what there is; nothing is evicted for it, and the next one finds room again."""
    bench = Bench(1)
    running = [bench.at(0.0, "/0") for _ in range(4)]
    refused, later = bench.at(0.125, "/0"), bench.at(1.0, "/0")
    bench.w.kernel.run(2.0)

    assert [o.result.outcome for o in running] == ["ok"] * 4
    assert (refused.result.status, refused.result.outcome, refused.result.error) == (
        503,
        "queue_full",
        "connection_limit_reached",
    )
    assert refused.result.detail == (
        "E0501: the memory of fra1 has no room for an instance of c0: it needs 200 bytes, and 900 of 1000 are in use"
    )
    assert (later.result.start, bench.evicted()) == ("reused", [])


def test_a_module_that_does_not_fit_says_so():
    """As before: the start fails, and what is loaded stays."""
    bench = Bench(2)
    for _ in range(4):
        bench.at(0.0, "/0")
    bench.guests.loaded_bytes = 100
    bench.w.kernel.run(0.0625)
    bench.guests.loaded_bytes = 150
    refused = bench.at(0.125, "/1")
    bench.w.kernel.run(2.0)

    assert refused.result.outcome == "start_failed"
    assert "c1 needs 150 bytes of memory; fra1 has 100 of 1000 left" in refused.result.detail


def filled(policy, uses):
    """A PoP with a loaded worker per entry of `uses`: requests, when last used, bytes."""
    bench = Bench(len(uses), eviction=policy)
    for worker, (requests, used_s, size) in zip(bench.pop.apps["hello"].workers.values(), uses, strict=True):
        worker.stage, worker.requests, worker.used_s, worker.loaded_bytes = Stage.LOADED, requests, used_s, size
        bench.pop.memory_bytes += size
    return bench


def test_the_policy_decides_between_modules():
    """Least recently used, least frequently used, fewest requests per byte."""
    uses = [(9, 1.0, 200), (2, 2.0, 100), (12, 3.0, 700)]

    for policy, gone in ((None, 0), (lfu.Policy(), 1), (density.Policy(), 2)):
        bench = filled(policy, uses)
        assert make_room(bench.w, bench.pop, 50)
        assert [stage == "disk" for stage in bench.standing()] == [n == gone for n in range(3)]


@given(
    modules=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 400), st.lists(st.integers(0, 200), max_size=3)), max_size=5),
    need=st.integers(0, 1200),
)  # fmt: skip
def test_room_is_made_exactly_when_it_can_be(modules, need):
    """It says yes when idle things can make the room, else it touches nothing; the accounts are what is left."""
    pop, w = Pop(spec()), sim_world()
    pop.apps["hello"] = Serving(apps(len(modules)), set())
    workers = list(pop.apps["hello"].workers.values())
    for worker, (users, size, idle) in zip(workers, modules, strict=True):
        worker.stage, worker.users, worker.loaded_bytes = Stage.LOADED, users, size
        pop.memory_bytes += size
        for at_s, charged in enumerate(idle):
            instance = Instance(charged)
            instance.charged, instance.idle_since_s, instance.handle = charged, float(at_s), "made"
            worker.instances.idle.append(instance)
            pop.memory_bytes += charged
            pop.warm += 1
    before = pop.memory_bytes
    fixed = sum(worker.loaded_bytes for worker in workers if worker.users)
    room = make_room(w, pop, need)
    left = sum(w.loaded_bytes + sum(i.charged for i in w.instances.idle) for w in workers if w.stage is Stage.LOADED)

    assert room == (fixed + need <= 1000 or before + need <= 1000)
    assert pop.memory_bytes == left
    assert pop.warm == sum(len(worker.instances.idle) for worker in workers)
    assert pop.memory_bytes + need <= 1000 if room else pop.memory_bytes == before
    assert all(worker.stage is Stage.LOADED for worker in workers if worker.users)
