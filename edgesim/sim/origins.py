"""The origins of a simulated world: the way to the origin's place as the network model says, then its own time.

The built-in one answers after its `latency` when one of its `capacity` places is free, as live. What a `url` origin takes is
not known here: it counts with the same two numbers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from edgesim.core.pool import Pool
from edgesim.core.request import Response
from edgesim.core.waiter import TimedOut
from edgesim.errors import OriginTimeoutError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgesim.core.pop import Pop
    from edgesim.core.request import Request
    from edgesim.core.world import World
    from edgesim.model.ids import PopId
    from edgesim.model.topology import OriginSpec

_WAITING_MAX: Final = 1 << 30
"""The live origin's line is as long as there are requests."""


class OriginNetwork(Protocol):
    """What the origins need of the network model."""

    def pop_origin_rtt_s(self, pop: PopId, origin: str) -> float:
        """Round trip between a PoP and an origin in seconds, unscaled."""
        ...


class ModelledOrigins:
    """The origins of a topology."""

    def __init__(
        self, w: World, origins: Mapping[str, OriginSpec], network: OriginNetwork, *, time_scale: float = 1.0
    ) -> None:
        self._w = w
        self._origins = dict(origins)
        self._network = network
        self._time_scale = time_scale
        self._places = {name: Pool(origin.capacity, _WAITING_MAX) for name, origin in origins.items()}

    async def fetch_origin(self, pop: Pop, request: Request) -> Response:
        """The origin's answer. Raises OriginTimeoutError when it does not come by the request's deadline."""
        origin = self._origins[pop.spec.origin]
        rtt_s = self._network.pop_origin_rtt_s(pop.spec.id, origin.name) * self._time_scale
        await self._pass(rtt_s, origin, request)
        lease = self._places[origin.name].acquire()
        assert lease is not None
        try:
            if lease.waiter is not None:
                got = await self._w.wait(lease.waiter, request.deadline_s)
                if isinstance(got, TimedOut):
                    raise _too_late(origin)
            await self._pass(origin.latency_s, origin, request)
        finally:
            lease.close()
        return Response(200, "ok")

    async def _pass(self, seconds: float, origin: OriginSpec, request: Request) -> None:
        """Let time pass, until the deadline at most."""
        left_s = request.deadline_s - self._w.now()
        await self._w.sleep(min(seconds, left_s))
        if seconds > left_s:
            raise _too_late(origin)


def _too_late(origin: OriginSpec) -> OriginTimeoutError:
    return OriginTimeoutError(f"origin {origin.name} did not answer by the request's deadline")
