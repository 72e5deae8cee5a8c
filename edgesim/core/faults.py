"""Faults that are injected for a time: origins that fail, and links of PoPs that are slow, lossy or cut.

The same code runs in both worlds: `FaultedNetwork` stands before the network model, `faulted_origin` before the world's way
to origins. Neither is in the way while there is no fault: whoever takes a fault in puts them there. What faults do to the
bus (the link to the control plane) is the hosts' business, who ask `Faults.link`. Time is an argument.

Loss is modelled as what TCP makes of it: a lost packet is sent again after `RETRANSMIT_S`, doubled each time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, TypeAlias

from edgesim.core.request import Response
from edgesim.errors import OriginError, OriginTimeoutError, PopUnreachableError
from edgesim.model.stream import Stream, key, mix

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from edgesim.core.front_door import Network
    from edgesim.core.pop import Pop
    from edgesim.core.request import Request
    from edgesim.core.world import World
    from edgesim.model.geo import Place
    from edgesim.model.ids import PopId

    FetchOrigin = Callable[[Pop, Request], Awaitable[Response]]

Peer: TypeAlias = Literal["clients", "origin", "control-plane"]
FAULTS_MAX: Final = 1000
"""Faults at the same time in one process."""
RETRANSMIT_S: Final = 0.2
"""First retransmission timeout: Linux' minimum; RFC 6298 §2.4 asks for 1 s, which nobody does."""
_RESENDS_MAX: Final = 6
_FAILING: Final = (("content-type", "text/plain"), ("cache-control", "no-store"))


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkFault:
    """Something is wrong between PoPs and one of those they talk to."""

    pops: frozenset[PopId]
    peer: Peer
    until_s: float
    """When it ends, on the world's clock."""
    add_s: float = 0.0
    """More round trip."""
    jitter_s: float = 0.0
    """Up to so much more round trip, drawn evenly for each exchange."""
    loss: float = 0.0
    """Share of packets lost, each way."""
    cut: bool = False
    """Nothing gets through."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OriginFault:
    """An origin does not do what it should."""

    origin: str
    """Its name in the topology; empty for every origin."""
    until_s: float
    refuse: bool = False
    """Connections are refused."""
    status: int = 0
    """It answers everything with this status; 0 for its own answers."""
    delay_s: float = 0.0
    """It takes so much longer."""


class Link(NamedTuple):
    """What all faults of one link come to."""

    add_s: float
    jitter_s: float
    loss: float
    cut: bool
    until_s: float
    """When the last cut ends; 0 without one."""

    def extra_s(self, stream: Stream) -> tuple[float, float]:
        """More time up and down of one exchange."""
        half_s = 0.5 * self.add_s
        up_s = half_s + 0.5 * self.jitter_s * stream.uniform() + self._resent_s(stream)
        return up_s, half_s + 0.5 * self.jitter_s * stream.uniform() + self._resent_s(stream)

    def _resent_s(self, stream: Stream) -> float:
        """Time until a packet gets through."""
        waited_s, timeout_s = 0.0, RETRANSMIT_S
        for _ in range(_RESENDS_MAX if self.loss else 0):
            if stream.uniform() >= self.loss:
                break
            waited_s += timeout_s
            timeout_s *= 2
        return waited_s


class Faults:
    """The faults in force in one process, or in a simulated world."""

    def __init__(self, seed: int = 0) -> None:
        self._links: list[LinkFault] = []
        self._origins: list[OriginFault] = []
        self.stream = Stream(key(seed, "faults"))
        """For what has no request's stream at hand."""

    def add(self, fault: LinkFault | OriginFault, now_s: float) -> None:
        """Take a fault in; those that are over go."""
        self._links = [f for f in self._links if f.until_s > now_s][-FAULTS_MAX:]
        self._origins = [f for f in self._origins if f.until_s > now_s][-FAULTS_MAX:]
        if isinstance(fault, LinkFault):
            self._links.append(fault)
        else:
            self._origins.append(fault)

    def clear(self) -> None:
        """End everything now."""
        self._links, self._origins = [], []

    def link(self, pop: PopId, peer: Peer, now_s: float) -> Link | None:
        """What is wrong with a link now; None when nothing is. Losses of several faults are independent."""
        found = [f for f in self._links if f.peer == peer and pop in f.pops and f.until_s > now_s]
        if not found:
            return None
        kept = 1.0
        for fault in found:
            kept *= 1.0 - fault.loss
        add_s, jitter_s = sum(f.add_s for f in found), sum(f.jitter_s for f in found)
        until_s = max((f.until_s for f in found if f.cut), default=0.0)
        return Link(add_s, jitter_s, 1.0 - kept, any(f.cut for f in found), until_s)

    def origin(self, name: str, now_s: float) -> OriginFault | None:
        """What is wrong with an origin now: the fault that was taken in last."""
        for fault in reversed(self._origins):
            if fault.until_s > now_s and fault.origin in {"", name}:
                return fault
        return None


class FaultedNetwork:
    """A network model with the faults of client links on top."""

    def __init__(self, network: Network, faults: Faults, now: Callable[[], float]) -> None:
        self._network = network
        self._faults = faults
        self._now = now

    def legs(self, place: Place, pop: PopId, bits: int) -> tuple[float, float]:
        """As `Network.legs`. Raises PopUnreachableError when the link is cut."""
        up_s, down_s = self._network.legs(place, pop, bits)
        link = self._faults.link(pop, "clients", self._now())
        if link is None:
            return up_s, down_s
        if link.cut:
            raise PopUnreachableError(f"{pop} is cut off from clients")
        more_up_s, more_down_s = link.extra_s(Stream(mix(bits)))
        return up_s + more_up_s, down_s + more_down_s


def faulted_origin(w: World, fetch: FetchOrigin, faults: Faults, *, time_scale: float = 1.0) -> FetchOrigin:
    """`World.fetch_origin` with the faults of origins, and of the links to them, before it.

    Args:
        w: whose clock and sleep are used.
        fetch: the way to origins without faults.
        faults: asked at each request.
        time_scale: of what is added on the network; what an origin takes is not scaled.
    """

    async def fetch_origin(pop: Pop, request: Request) -> Response:
        link = faults.link(pop.spec.id, "origin", w.now())
        if link is not None:
            if link.cut:
                await w.sleep(request.deadline_s - w.now())
                raise OriginTimeoutError(f"the origin {pop.spec.origin} cannot be reached from {pop.spec.id}")
            await w.sleep(sum(link.extra_s(faults.stream)) * time_scale)
        fault = faults.origin(pop.spec.origin, w.now())
        if fault is not None:
            if fault.delay_s:
                left_s = request.deadline_s - w.now()
                await w.sleep(min(fault.delay_s, left_s))
                if fault.delay_s >= left_s:
                    raise OriginTimeoutError(f"the origin {pop.spec.origin} did not answer by the request's deadline")
            if fault.refuse:
                raise OriginError(f"the origin {pop.spec.origin} refused the connection")
            if fault.status:
                return Response(fault.status, "ok", headers=_FAILING, body=b"the origin is failing\n")
        return await fetch(pop, request)

    return fetch_origin
