"""What the tests of the request path share: values with defaults, scripted guests and origins, a door, bodies that count."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from edgesim.core.front_door import Door
from edgesim.core.health import HealthTable
from edgesim.core.instances import Instance
from edgesim.core.pop import Pop, Serving, Worker
from edgesim.core.request import Connection, Request, Response, Timings
from edgesim.core.router import Router
from edgesim.model.geo import LatLon, Place, distance_km
from edgesim.model.ids import AppName, Digest, HostId, PopId
from edgesim.model.stream import Stream
from edgesim.model.topology import HealthSpec, PopSpec, RetrySpec
from edgesim.model.worker import Component, Release, Route
from edgesim.sim.kernel import Cancelled, Kernel
from edgesim.sim.leaves import Costs
from edgesim.sim.world import SimWorld

APP = AppName("hello")
FRA, LHR, GRU = PopId("fra1"), PopId("lhr1"), PopId("gru1")
PLACES = {FRA: LatLon(50.0, 8.6), LHR: LatLon(51.5, -0.5), GRU: LatLon(-23.4, -46.5)}
BERLIN = Place(address="240.0.0.1", at=LatLon(52.5, 13.4), city="Berlin", country="DE", metro=7, access="fttp")


def spec(pop: PopId = FRA, **changes) -> PopSpec:
    """A small PoP."""
    values = {
        "id": pop, "city": str(pop), "country": "XX", "at": PLACES.get(pop, LatLon(0.0, 0.0)), "region": "r", "profile": "t",
        "slots": 2, "queue": 2, "queue_timeout_s": 0.5, "memory_bytes": 1000, "origin": "demo",
    }  # fmt: skip
    return PopSpec(**{**values, **changes})


def release(version: int = 1, app: AppName = APP, **changes) -> Release:
    """One component at `/w`; the rest is the origin's."""
    component = Component(id=f"{app}-w", digest=Digest(f"{version:064x}"), size_bytes=9, abi="wagi")
    values = {
        "app": app, "version": version, "digest": Digest(f"{version + 1000:064x}"), "components": (component,),
        "routes": (Route(pattern="/w", component=component.id),),
    }  # fmt: skip
    return Release(**{**values, **changes})


def request(target: str = "/w", *, now_s: float = 0.0, **changes) -> Request:
    """A GET from Berlin with ten seconds to live."""
    values = {
        "id": "r1", "app": APP, "method": "GET", "target": target, "headers": (), "body": None, "place": BERLIN,
        "connection": Connection(), "stream": Stream(1), "arrived_s": now_s, "deadline_s": now_s + 10.0,
    }  # fmt: skip
    return Request(**{**values, **changes})


def serve(pop: Pop, *releases: Release) -> None:
    """Put releases in force, as if they had been rolled out without prefetch."""
    for each in releases or (release(),):
        pop.apps[each.app] = Serving(each, pop.disk)


class Guests:
    """Guests that do what the test says: `answer(pop, worker, request)` is awaited for each request."""

    def __init__(self, answer: Callable[[Pop, Worker, Request], Awaitable[Response]] | None = None) -> None:
        self.answer = answer or self.hello
        self.seen: list[Request] = []
        self.loads = 0
        self.unloads = 0
        self.loaded_bytes = 100
        self.instance_bytes = 0
        self.made: list[Instance] = []
        self.dropped: list[Instance] = []

    async def hello(self, pop, worker, request) -> Response:
        """A greeting."""
        return Response(200, "ok", body=b"hello\n", timings=Timings(execute_s=0.25))

    async def fetch_bundle(self, pop, worker):
        """At once."""
        return "fetch"

    async def load_worker(self, pop, worker):
        """At once."""
        self.loads += 1
        worker.loaded_bytes = self.loaded_bytes
        worker.instance_bytes = self.instance_bytes
        return (("load", 0.0),)

    def unload_worker(self, pop, worker):
        """Counted."""
        self.unloads += 1

    async def run_worker(self, pop, worker, request, instance=None):
        """What the test says; an instance that may serve again is there at once."""
        self.seen.append(request)
        if instance is not None and instance.handle is None and instance.again:
            await self.make_instance(pop, worker, instance)
        return await self.answer(pop, worker, request)

    async def make_instance(self, pop, worker, instance):
        """At once, and counted."""
        instance.handle = f"i{len(self.made)}"
        self.made.append(instance)

    async def filter_request(self, pop, worker, request, filtering):
        """Lets everything through."""

    async def filter_response(self, pop, worker, request, response, filtering):
        """Lets everything through."""

    def end_filter(self, worker, filtering):
        """Nothing is held."""

    def drop_instance(self, pop, worker, instance):
        """Counted, if there was one."""
        if instance.handle is not None:
            instance.handle = None
            self.dropped.append(instance)


class Origin:
    """An origin that says its name."""

    async def fetch_origin(self, pop, request):
        """At once."""
        return Response(200, "ok", body=b"origin\n")


class Nearest:
    """A routing policy small enough to read."""

    def rank(self, client, pops):
        """By distance."""
        return tuple(p.id for p in sorted(pops, key=lambda p: (distance_km(client.at, p.at), p.id)))


class Legs:
    """A network with equal legs."""

    def __init__(self, leg_s: float = 0.0) -> None:
        self.leg_s = leg_s

    def legs(self, place, pop, bits):
        """The same both ways."""
        return self.leg_s, self.leg_s


def door(specs, *, leg_s: float = 0.0, up: bool = True, now_s: float = 0.0, **retry) -> Door:
    """A front door in front of `specs`, all of which have just beaten if `up`."""
    health = HealthTable([s.id for s in specs], HealthSpec(interval_s=100.0))
    for each in specs if up else ():
        health.beat(each.id, "ready", now_s)
    return Door(router=Router(Nearest(), specs, health), health=health, network=Legs(leg_s), retry=RetrySpec(**retry))


class CountedBody:
    """`chunks` chunks of `size` bytes; counts what was pulled. `error` comes instead of the end."""

    def __init__(self, chunks: int, size: int = 65536, error: Exception | None = None, gate=None) -> None:
        self.left = chunks
        self.chunk = b"x" * size
        self.pulled = 0
        self.closed = 0
        self.error = error
        self.gate = gate
        """Awaited before the last chunk, if given."""

    async def next(self) -> bytes | None:
        """The next chunk."""
        if self.left == 0:
            if self.error is not None:
                raise self.error
            return None
        if self.left == 1 and self.gate is not None:
            await self.gate.wait()
        self.left -= 1
        self.pulled += len(self.chunk)
        return self.chunk

    def trailers(self):
        """None."""
        return ()

    def close(self) -> None:
        """Counted."""
        self.closed += 1


async def read_all(body) -> bytes:
    """Every byte of a body."""
    if isinstance(body, bytes):
        return body
    parts = []
    while (chunk := await body.next()) is not None:
        parts.append(chunk)
    body.close()
    return b"".join(parts)


async def settled(measure: Callable[[], object]) -> None:
    """Let the loop turn until `measure()` has not changed for 300 turns: whoever could go on has done so.

    Each turn polls the sockets, and loopback delivers at once, so this needs no clock.
    """
    last, still = measure(), 0
    while still < 300:
        await asyncio.sleep(0)
        now = measure()
        still = still + 1 if now == last else 0
        last = now


def sim_world(pops=(), guests: Guests | None = None, origin: Origin | None = None) -> SimWorld:
    """The simulated world with scripted leaves; its events are in `w.events`."""
    events: list[object] = []
    w = SimWorld(
        Kernel(), pops={p.spec.id: p for p in pops}, host_of={p.spec.id: HostId("host1") for p in pops},
        health=HealthTable([p.spec.id for p in pops], HealthSpec()), costs=Costs(), on_event=events.append,
    )  # fmt: skip
    w.events = events
    guests = guests or Guests()
    w.fetch_bundle, w.load_worker = guests.fetch_bundle, guests.load_worker
    w.unload_worker, w.run_worker = guests.unload_worker, guests.run_worker
    w.make_instance, w.drop_instance = guests.make_instance, guests.drop_instance
    w.filter_request, w.filter_response, w.end_filter = guests.filter_request, guests.filter_response, guests.end_filter
    w.fetch_origin = (origin or Origin()).fetch_origin
    return w


class Outcome:
    """What became of a flow: its result or its error, and when."""

    def __init__(self) -> None:
        self.result = None
        self.error: BaseException | None = None
        self.at_s: float | None = None


def spawn(w: SimWorld, flow, at_s: float = 0.0) -> Outcome:
    """Start a flow at a time; look at the outcome after `w.kernel.run()`."""
    outcome = Outcome()

    async def carry():
        try:
            outcome.result = await flow
        except (Exception, Cancelled) as error:
            outcome.error = error
        finally:
            outcome.at_s = w.now()

    def begin():
        outcome.flow = w.kernel.spawn(carry(), "test")

    w.kernel.at(at_s, begin)
    return outcome


def run(w: SimWorld, flow):
    """Run a flow to its end and return its result, or raise its error."""
    outcome = spawn(w, flow, w.now())
    w.kernel.run()
    if outcome.error is not None:
        raise outcome.error
    return outcome.result
