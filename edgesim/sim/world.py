"""The simulated world: the World protocol on the kernel, with modelled leaves.

It runs the same flows as the live world. Kills, deploys and arrivals are external events of the kernel; `sim/run.py` sets
them up. It does not print, keep time series or read files.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from edgesim.core.memory import unload
from edgesim.core.serve import serve_at_pop
from edgesim.core.waiter import TIMED_OUT, TimedOut, Waiter
from edgesim.errors import PopUnreachableError
from edgesim.model.events import HealthReported
from edgesim.sim.kernel import Kernel, sleep, wait
from edgesim.sim.leaves import ModelledLeaves

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Generator, Mapping

    from edgesim.core.faults import Faults
    from edgesim.core.health import HealthTable
    from edgesim.core.pop import Pop
    from edgesim.core.request import Request, Response
    from edgesim.model.events import Event
    from edgesim.model.ids import Digest, HostId, PopId
    from edgesim.sim.costs import Measured
    from edgesim.sim.kernel import Flow
    from edgesim.sim.leaves import Costs
    from edgesim.sim.machine import Machine

T = TypeVar("T")


class _Done:
    """An awaitable that does not suspend: its iterator has nothing to yield."""

    __slots__ = ()
    __await__: Callable[[], Generator[Any, None, None]] = ().__iter__  # type: ignore[assignment]


_DONE = _Done()


class SimWorld:
    """Twenty or four thousand PoPs, one clock."""

    def __init__(
        self,
        kernel: Kernel,
        *,
        pops: Mapping[PopId, Pop],
        host_of: Mapping[PopId, HostId],
        health: HealthTable,
        costs: Costs,
        on_event: Callable[[Event], None],
        measured: Mapping[Digest, Measured] | None = None,
        seed: int = 0,
        machine: Machine | None = None,
        tells_requests: bool = True,
    ) -> None:
        """Make a world.

        Args:
            kernel: who carries flows out.
            pops: the PoPs.
            host_of: PoP to its process.
            health: what the front door believes of them.
            costs: what things take whose costs were not measured.
            on_event: told of everything but beats.
            measured: costs by the digest of a component's file.
            seed: of what no request's stream draws.
            machine: the edge's own share of each request's time; None leaves it out.
            tells_requests: see World; False for an `on_event` that does not look at single requests.
        """
        self.kernel = kernel
        self.pops = pops
        self._host_of = host_of
        self._health = health
        self._costs = costs
        self._on_event = on_event
        self.tells_requests = tells_requests
        self.machine = machine
        self.faults: Faults | None = None
        """Of links to the control plane, over which beats travel."""
        self._visitors: dict[PopId, dict[Flow, None]] = {pop: {} for pop in pops}
        leaves = ModelledLeaves(self, costs, host_of, measured=measured, seed=seed)
        self.fetch_bundle = leaves.fetch_bundle
        self.load_worker = leaves.load_worker
        self.unload_worker = leaves.unload_worker
        self.run_worker = leaves.run_worker
        self.filter_request = leaves.filter_request
        self.filter_response = leaves.filter_response
        self.end_filter = leaves.end_filter
        self.make_instance = leaves.make_instance
        self.drop_instance = leaves.drop_instance
        self.fetch_origin: Callable[[Pop, Request], Awaitable[Response]] = leaves.fetch_origin

    sleep = staticmethod(sleep)  # the kernel's own, without a call in between

    def now(self) -> float:
        """Virtual seconds since the start of the simulation."""
        return self.kernel.now_s

    async def wait(self, waiter: Waiter[T], deadline_s: float) -> T | TimedOut:
        """See World.wait."""
        if waiter.done:
            return waiter.value
        if deadline_s <= self.kernel.now_s:
            return TIMED_OUT
        return await wait(waiter, deadline_s)

    async def forward(self, pop: PopId, request: Request) -> Response:
        """Serve at the PoP, in this flow; a kill is thrown into it."""
        if self.machine is not None:
            await sleep(self.machine.delay_s(self._host_of[pop], self.kernel.now_s, request.stream.bits()))
        target = self.pops[pop]
        if not target.alive:
            raise PopUnreachableError(f"{pop} refused the connection")
        flow = self.kernel.current
        assert flow is not None
        visitors = self._visitors[pop]
        visitors[flow] = None
        try:
            return await serve_at_pop(self, target, request)
        finally:
            del visitors[flow]

    def reply(self, request: Request, response: Response) -> Awaitable[None]:  # noqa: ARG002 - as in World
        """Nothing is left to model: the response leg has been waited for."""
        return _DONE

    def spawn(self, flow: Coroutine[Any, Any, None], name: str) -> None:
        """Start a flow of its own."""
        self.kernel.spawn(flow, name)

    def publish(self, event: Event) -> None:
        """Beats reach the front door after the bus delay; everything else is the observer's."""
        if event.__class__ is HealthReported:
            self.kernel.spawn(self._deliver(event), "deliver")
        else:
            self._on_event(event)

    async def _deliver(self, beat: HealthReported) -> None:
        await self.sleep(self._costs.quantise(self._costs.bus_s))
        now_s = self.kernel.now_s
        faults = self.faults
        for pop in beat.pops:
            if faults is None or (link := faults.link(pop.pop, "control-plane", now_s)) is None or not link.cut:
                self._health.beat(pop.pop, pop.state, now_s)

    def kill(self, pop: PopId) -> None:
        """The PoP dies: its requests in flight break, its memory is lost, its beats stop. Nobody is told."""
        target = self.pops[pop]
        if not target.alive:
            return
        for flow in list(self._visitors[pop]):
            self.kernel.interrupt(flow, PopUnreachableError(f"{pop} broke the connection"))
        for worker in target.loaded():
            unload(self, target, worker)
        target.kill()
