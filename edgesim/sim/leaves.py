"""What the simulated world models instead of doing: fetching, loading and running workers, and the origin.

Written against the World protocol alone, so that the parity tests can put the same models under the live world. Network
legs between client and PoP are not here: the front door's flow waits for them in both worlds.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log
from typing import TYPE_CHECKING, Any, Final, NoReturn

from edgesim.core.request import Response, Timings
from edgesim.core.waiter import TimedOut, Waiter
from edgesim.errors import DeadlineExceededError, GuestTrapError, OriginError, StartError
from edgesim.model.ids import NO_POP
from edgesim.model.stream import key
from edgesim.sim.costs import BITS, MASK

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping

    from edgesim.core.filters import Filtering
    from edgesim.core.instances import Instance
    from edgesim.core.pop import Pop, Worker
    from edgesim.core.request import Request
    from edgesim.core.world import World
    from edgesim.model.ids import Digest, HostId, PhaseName, PopId
    from edgesim.model.stream import Stream
    from edgesim.sim.costs import Measured


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """How long things take, in seconds. Service times are exponential around their mean."""

    fetch_s: float = 0.030
    load_s: float = 0.004
    instantiate_s: float = 0.0002
    execute_s: float = 0.004
    origin_s: float = 0.020
    loaded_bytes: int = 1 << 20
    filter_s: float = 0.0001
    """Of a filter's way in, and of its way back."""
    instance_bytes: int = 0
    """What an instance takes in memory; 0: instances are not counted."""
    failing_share: float = 0.0
    """Share of guest runs that trap, and of origin answers that fail."""
    bus_s: float = 0.002
    """Delay of a message over the broker."""
    quantum_s: float = 0.0
    """Round every drawn time to a multiple of this; 0 for none. For tests of ties."""

    def quantise(self, seconds: float) -> float:
        """`seconds` rounded to the quantum."""
        return round(seconds / self.quantum_s) * self.quantum_s if self.quantum_s else seconds

    def draw(self, mean_s: float, stream: Stream) -> float:
        """An exponential time around `mean_s`."""
        seconds = -mean_s * log(1.0 - stream.uniform())
        return self.quantise(seconds) if self.quantum_s else seconds


_MADE: Final = object()
"""The handle of every modelled instance."""


async def past_deadline(w: World, deadline_s: float) -> NoReturn:
    """What becomes of a run that would take too long: the time until the deadline, then DeadlineExceededError."""
    await w.sleep(deadline_s - w.now())
    raise DeadlineExceededError("the request's deadline passed while its worker ran")


class ModelledLeaves:
    """Guests, bundles and origin of one world, with the process each PoP lives in."""

    def __init__(
        self,
        w: World,
        costs: Costs,
        host_of: Mapping[PopId, HostId],
        *,
        measured: Mapping[Digest, Measured] | None = None,
        seed: int = 0,
    ) -> None:
        """Model one world.

        Args:
            w: the world.
            costs: what things take whose costs were not measured.
            host_of: PoP to its process.
            measured: costs by the digest of a component's file.
            seed: of what no request's stream draws: fetching and loading.
        """
        self._w = w
        self._costs = costs
        self._instantiate_s = costs.quantise(costs.instantiate_s)
        self._host_of = host_of
        self._measured = measured or {}
        self._seed = seed
        self._fetching: dict[tuple[HostId, Digest], Waiter[None]] = {}
        self._loading: dict[tuple[HostId, Digest], Waiter[None]] = {}
        self._loaded: dict[tuple[HostId, Digest], int] = {}

    async def fetch_bundle(self, pop: Pop, worker: Worker) -> PhaseName:
        """One download per process; later PoPs share it, or wait for the one under way."""
        place = (self._host_of[pop.spec.id], worker.component.digest)
        under_way = self._fetching.get(place)
        if under_way is not None:
            got = await self._w.wait(under_way, self._w.now() + 3600.0)
            if isinstance(got, TimedOut):
                raise StartError("the download took too long")
            await self._w.sleep(self._phase_s("shared", pop, worker, 0.0))
            return "shared"
        self._fetching[place] = waiter = Waiter[None]()
        await self._w.sleep(self._phase_s("fetch", pop, worker, self._costs.fetch_s))
        waiter.resolve(None)
        return "fetch"

    async def load_worker(self, pop: Pop, worker: Worker) -> tuple[tuple[PhaseName, float], ...]:
        """The process's first load takes its time; others share the module, or wait for it."""
        w, place = self._w, (self._host_of[pop.spec.id], worker.component.digest)
        users = self._loaded.get(place, 0)
        self._loaded[place] = users + 1
        measured = self._measured.get(worker.component.digest)
        worker.loaded_bytes = self._costs.loaded_bytes if measured is None else measured.loaded_bytes
        worker.instance_bytes = self._costs.instance_bytes if measured is None else measured.instance_bytes
        worker.handle = measured
        began_s = w.now()
        if users:
            under_way = self._loading.get(place)
            if under_way is not None:
                await w.wait(under_way, began_s + 3600.0)
            return (("shared", w.now() - began_s),)
        self._loading[place] = waiter = Waiter[None]()
        await w.sleep(self._phase_s("load", pop, worker, self._costs.load_s))
        del self._loading[place]
        waiter.resolve(None)
        loaded_s = w.now()
        if measured is not None and not worker.users:  # as live: one run for nothing, unless a request waits
            await w.sleep(self._phase_s("warm_up", pop, worker, 0.0))
            return (("load", loaded_s - began_s), ("warm_up", w.now() - loaded_s))
        return (("load", loaded_s - began_s),)

    def unload_worker(self, pop: Pop, worker: Worker) -> None:
        """One user less of the process's module."""
        self._loaded[self._host_of[pop.spec.id], worker.component.digest] -= 1

    def _phase_s(self, name: PhaseName, pop: Pop, worker: Worker, unknown_s: float) -> float:
        """How long a phase of this start takes: drawn from what was measured, by PoP, worker and life."""
        measured = self._measured.get(worker.component.digest)
        if measured is None:
            return self._costs.quantise(unknown_s)
        return measured.phase(name, key(self._seed, name, pop.spec.id, worker.component.digest, pop.incarnation))

    def run_worker(
        self, pop: Pop, worker: Worker, request: Request, instance: Instance | None
    ) -> Coroutine[Any, Any, Response]:
        """Instantiate and execute for as long as the request's stream says."""
        del pop
        measured: Measured | None = worker.handle
        if measured is None:
            return self._run(request, instance)
        return self._run_measured(measured, worker, request, instance)

    async def _run(self, request: Request, instance: Instance | None) -> Response:
        costs, w = self._costs, self._w
        execute_s = -costs.execute_s * log(1.0 - request.stream.uniform())  # as `Costs.draw`, written out
        if costs.quantum_s:
            execute_s = costs.quantise(execute_s)
        traps = costs.failing_share > 0.0 and request.stream.uniform() < costs.failing_share
        instantiate_s = 0.0 if instance is not None and instance.handle is not None else self._instantiate_s
        seconds = instantiate_s + execute_s
        if seconds > request.deadline_s - w.now():
            await past_deadline(w, request.deadline_s)
        if instance is None or instance.handle is not None:
            await w.sleep(seconds)
        else:
            await w.sleep(instantiate_s)
            if instance.again:
                instance.handle = _MADE
            await w.sleep(execute_s)
        if traps:
            raise GuestTrapError("the modelled guest trapped")
        # Positional, as in events: keywords and default factories cost more than all else here.
        return Response(200, "ok", NO_POP, (), b"", "", "", 0, Timings(0.0, 0.0, instantiate_s, 0.0, execute_s))

    async def _run_measured(
        self, measured: Measured, worker: Worker, request: Request, instance: Instance | None
    ) -> Response:
        w, bits = self._w, request.stream.bits()
        if instance is not None and instance.handle is not None:
            instantiate_s = init_s = 0.0
            execute_s = measured.reused[bits & MASK]
        else:
            instantiate_s, init_s = measured.instantiate[bits >> BITS & MASK], measured.init[bits >> 2 * BITS & MASK]
            execute_s = (measured.first_call if worker.requests == 1 else measured.execute)[bits & MASK]
        seconds = instantiate_s + init_s + execute_s
        if seconds > request.deadline_s - w.now():
            await past_deadline(w, request.deadline_s)
        if instance is not None and instance.handle is None and instance.again:
            await w.sleep(instantiate_s + init_s)
            instance.handle = _MADE
            await w.sleep(execute_s)
        else:
            await w.sleep(seconds)
        return Response(200, "ok", NO_POP, (), b"", "", "", 0, Timings(0.0, 0.0, instantiate_s, init_s, execute_s))

    async def filter_request(self, pop: Pop, worker: Worker, request: Request, filtering: Filtering) -> None:
        """As long as the request's stream says; it lets everything through, or traps."""
        del pop, filtering
        await self._filter(worker, request)

    async def filter_response(
        self, pop: Pop, worker: Worker, request: Request, response: Response, filtering: Filtering
    ) -> None:
        """As `filter_request`."""
        del pop, response, filtering
        await self._filter(worker, request)

    def end_filter(self, worker: Worker, filtering: Filtering) -> None:
        """Nothing is held for it."""

    async def _filter(self, worker: Worker, request: Request) -> None:
        costs, w = self._costs, self._w
        filter_s = costs.draw(costs.filter_s, request.stream)
        traps = costs.failing_share > 0.0 and request.stream.uniform() < costs.failing_share
        if filter_s > request.deadline_s - w.now():
            await past_deadline(w, request.deadline_s)
        await w.sleep(filter_s)
        if traps:
            raise GuestTrapError(f"the modelled filter {worker.component.id} trapped")

    async def make_instance(self, pop: Pop, worker: Worker, instance: Instance) -> None:
        """As long as an instance takes that a request makes."""
        del pop
        measured: Measured | None = worker.handle
        middle = (MASK + 1) // 2  # no request's stream pays for it: the median
        seconds = self._instantiate_s if measured is None else measured.instantiate[middle] + measured.init[middle]
        await self._w.sleep(seconds)
        instance.handle = _MADE

    def drop_instance(self, pop: Pop, worker: Worker, instance: Instance) -> None:
        """Nothing is held for it."""
        del pop, worker
        instance.handle = None

    async def fetch_origin(self, pop: Pop, request: Request) -> Response:
        """The origin answers for as long as the request's stream says."""
        del pop
        costs = self._costs
        origin_s = costs.draw(costs.origin_s, request.stream)
        fails = costs.failing_share > 0.0 and request.stream.uniform() < costs.failing_share
        if origin_s > request.deadline_s - self._w.now():
            await past_deadline(self._w, request.deadline_s)
        await self._w.sleep(origin_s)
        if fails:
            raise OriginError("the modelled origin broke the connection")
        return Response(200, "ok")
