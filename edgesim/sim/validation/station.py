"""One PoP as a queueing station: Poisson arrivals at the pool and request path that every simulation uses.

The kernel is `sim/kernel.py`, the world `sim/world.py`, the path of a request `core/serve.py`, the slots and the queue
`core/pool.py`, and arrivals come from `scenario/arrivals.py`. Only the service times are given where a claim is about
others than the simulator's own (`Service.draw`). The worker is loaded from the start, so there are no cold starts; the
front door and the network are not part of it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from math import inf
from typing import TYPE_CHECKING, Final

from edgesim.core.health import HealthTable
from edgesim.core.pop import Pop, Serving, Stage
from edgesim.core.request import Connection, Request, Response, Timings
from edgesim.core.serve import serve_at_pop
from edgesim.model.geo import LatLon, Place
from edgesim.model.ids import AppName, Digest, HostId, PopId
from edgesim.model.stream import key, numbered
from edgesim.model.topology import HealthSpec, PopSpec
from edgesim.model.worker import Component, Release, Route
from edgesim.scenario.arrivals import times
from edgesim.scenario.spec import Load, Phase
from edgesim.sim.kernel import Kernel
from edgesim.sim.leaves import Costs
from edgesim.sim.world import SimWorld

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from edgesim.core.instances import Instance
    from edgesim.core.pop import Worker
    from edgesim.model.events import Event
    from edgesim.sim.validation.service import Service

_APP: Final = AppName("worker")
_POP: Final = PopId("pop")
_COMPONENT: Final = Component(id="worker", digest=Digest("0" * 64), size_bytes=1, abi="wasi-http")
_RELEASE: Final = Release(
    app=_APP,
    version=1,
    digest=Digest("1" * 64),
    components=(_COMPONENT,),
    routes=(Route(pattern="/", component=_COMPONENT.id),),
)
_PLACE: Final = Place(address="240.0.0.1", at=LatLon(0.0, 0.0), city="", country="", metro=0, access="fttp")
_ENDLESS_QUEUE: Final = 1 << 40
WARM_UP: Final = 0.1
"""Share of the customers that come before the system counts as stationary."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """A queue in Kendall's sense, M/G/c or M/G/c/c, with the length of its runs."""

    service: Service
    slots: int
    load: float
    """ρ = λ E[S] / c, the share of the slots that is asked for."""
    customers: int
    """Of one replication, with those of the warm-up."""
    waiting: bool = True
    """False for a loss system: who finds all slots busy is refused."""

    @property
    def rate(self) -> float:
        """λ, arrivals per second."""
        return self.load * self.slots / self.service.mean_s

    @property
    def label(self) -> str:
        """Notation and load, as claims begin."""
        return f"{self.name}, ρ = {self.load:g}"

    @property
    def name(self) -> str:
        """Kendall's notation."""
        return f"M/{self.service.name}/{self.slots}" + ("" if self.waiting else f"/{self.slots}")


@dataclass(slots=True)
class Visit:
    """What became of one customer, as its response and the kernel's clock say."""

    arrived_s: float
    left_s: float
    wait_s: float
    service_s: float
    refused: bool


@dataclass(frozen=True, slots=True)
class Means:
    """One replication after its warm-up."""

    wait_s: float
    """Mean time in the queue, of those that were served."""
    waited: float
    """Share of them that waited at all."""
    refused: float
    """Share of all that were refused."""


@dataclass(slots=True)
class Occupancy:
    """Integrals over time of what the pool says of itself, in seconds times customers."""

    busy: float = 0.0
    queued: float = 0.0
    _since_s: float = field(default=0.0, repr=False)
    _busy: int = field(default=0, repr=False)
    _queued: int = field(default=0, repr=False)

    def look(self, pop: Pop, now_s: float) -> None:
        """Add the time since the last look, in which nothing changed, and see what holds from now on."""
        elapsed_s = now_s - self._since_s
        self.busy += self._busy * elapsed_s
        self.queued += self._queued * elapsed_s
        self._since_s, self._busy, self._queued = now_s, pop.pool.busy, pop.pool.queued


def means(queue: Queue, seed: int) -> Means:
    """Run one replication. A pure function of its arguments; different seeds give disjoint random numbers."""
    skip = int(queue.customers * WARM_UP)
    served = waited = 0
    wait_s = 0.0
    pop, kernel, world = _station(queue)

    async def visit(number: int, request: Request) -> None:
        nonlocal served, waited, wait_s
        response = await serve_at_pop(world, pop, request)
        if number >= skip and response.status == 200:
            served += 1
            wait_s += response.timings.queue_s
            waited += response.timings.queue_s > 0.0

    _run(queue, seed, kernel, lambda number, request: kernel.spawn(visit(number, request), "visit"))
    return Means(wait_s / served, waited / served, 1.0 - served / (queue.customers - skip))


def visits(queue: Queue, seed: int) -> tuple[list[Visit], Occupancy]:
    """Every customer of one replication in order of arrival, and what the pool held meanwhile, from empty to empty."""
    pop, kernel, world = _station(queue)
    found: list[Visit] = []
    occupancy = Occupancy()

    async def visit(mine: Visit, request: Request) -> None:
        response = await serve_at_pop(world, pop, request)
        occupancy.look(pop, kernel.now_s)  # its slot has just been given back
        mine.left_s, mine.refused = kernel.now_s, response.status != 200
        mine.wait_s, mine.service_s = response.timings.queue_s, response.timings.execute_s

    async def look() -> None:
        occupancy.look(pop, kernel.now_s)

    def arrive(number: int, request: Request) -> None:
        del number
        mine = Visit(kernel.now_s, 0.0, 0.0, 0.0, refused=False)
        found.append(mine)
        kernel.spawn(visit(mine, request), "visit")
        kernel.spawn(look(), "look")  # runs next, at this instant: the customer has its slot or its place by then

    _run(queue, seed, kernel, arrive)
    return found, occupancy


def arrivals(queue: Queue, seed: int) -> Iterator[float]:
    """When the customers of one replication come, as those of a scenario with one phase of a constant rate."""
    # Twice the time that they are expected to take; they end by their number.
    phase = Phase(name="", duration_s=2.0 * queue.customers / queue.rate, rate_from=queue.rate, rate_to=queue.rate)
    at = times(Load(phases=(phase,), seed=key(seed, "arrivals")))
    return (at_s for at_s, _ in islice(at, queue.customers))


def _station(queue: Queue) -> tuple[Pop, Kernel, SimWorld]:
    """A PoP with its worker loaded, on a kernel of its own."""
    spec = PopSpec(
        id=_POP,
        city="",
        country="",
        at=_PLACE.at,
        region="",
        profile="",
        slots=queue.slots,
        queue=_ENDLESS_QUEUE if queue.waiting else 0,
        queue_timeout_s=inf,
        memory_bytes=_ENDLESS_QUEUE,
        origin="",
    )
    pop = Pop(spec)
    serving = Serving(_RELEASE, set())
    serving.workers[_COMPONENT.id].stage = Stage.LOADED
    pop.apps[_APP] = serving
    kernel = Kernel()
    world = SimWorld(
        kernel,
        pops={_POP: pop},
        host_of={_POP: HostId("host1")},
        health=HealthTable({_POP: pop}, HealthSpec()),
        costs=Costs(execute_s=queue.service.mean_s, instantiate_s=0.0),
        on_event=_ignore,
    )
    own, service = world.run_worker, queue.service

    async def run_worker(pop: Pop, worker: Worker, request: Request, instance: Instance | None) -> Response:
        seconds = service.draw(request.stream)
        if seconds is None:
            return await own(pop, worker, request, instance)
        await world.sleep(seconds)
        return Response(200, "ok", timings=Timings(execute_s=seconds))

    world.run_worker = run_worker
    return pop, kernel, world


def _ignore(event: Event) -> None:
    """Claims read responses, not events."""


def _run(queue: Queue, seed: int, kernel: Kernel, arrive: Callable[[int, Request], object]) -> None:
    """Send the customers and run until the last one has left."""
    base = key(seed, "services")

    def customers() -> Iterator[tuple[float, Callable[[], object]]]:
        for number, at_s in enumerate(arrivals(queue, seed)):
            request = Request(
                "", _APP, "GET", "/", (), None, _PLACE, Connection(), numbered(base, number), at_s, inf
            )  # fmt: skip
            yield at_s, partial(arrive, number, request)

    kernel.feed(customers())
    kernel.run()
    kernel.close()
