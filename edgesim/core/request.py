"""A request and a response as the flows see them, in both worlds.

Requests are mutable and slotted: they are the hottest objects of a simulation. Times are seconds of the world's clock.
"""

from __future__ import annotations

from collections.abc import Callable  # noqa: TC003 - a dataclass field
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from edgesim.model.ids import NO_POP

if TYPE_CHECKING:
    from edgesim.core.waiter import Waiter
    from edgesim.model.geo import Place
    from edgesim.model.http import Body, Headers
    from edgesim.model.ids import AppName, Outcome, PhaseName, PopId, Role, Start
    from edgesim.model.stream import Stream


class Connection:
    """A client's connection to the edge: which PoP it ends at decides whether a handshake is due."""

    __slots__ = ("pop",)

    def __init__(self) -> None:
        self.pop: PopId = NO_POP


@dataclass(slots=True)
class Request:
    """One request on its way through the edge."""

    id: str
    app: AppName
    method: str
    target: str
    """Path and query as received."""
    headers: Headers
    body: Body | None
    place: Place
    connection: Connection
    stream: Stream
    arrived_s: float
    deadline_s: float
    """Absolute, on the world's clock."""
    pinned: PopId = NO_POP
    """The one PoP that may serve it (`http://<app>.<pop>.localhost/`); empty for geo-routing."""
    secure: bool = False
    network_s: float = 0.0
    """Modelled network time so far, unscaled; measured time is what the clock says."""
    tries: int = 0
    ranking: tuple[PopId, ...] = ()
    """Every PoP for this client, best first; set by the router."""
    back_s: float = 0.0
    """What the answer still needs to reach the client, scaled; 0 for an answer of the front door's own."""
    queue_s: float = 0.0
    """What the current attempt has waited for a slot."""
    start_s: float = 0.0
    """What the current attempt has waited for its worker to be started."""
    failed: tuple[PopId, ...] = ()
    """PoPs that broke under it, in order."""
    inform: Callable[[int, Headers], None] | None = None
    """Sends an informational response (1xx) ahead of the answer; None where the client can take none."""
    channel: Any = None
    """The live world's way back to the client; None in a simulation."""
    inside: PopId = NO_POP
    """The PoP whose worker sends it to its own app (`http://self`): there is no way to that one."""

    @property
    def path(self) -> str:
        """The path without its query."""
        return self.target.partition("?")[0]


@dataclass(slots=True)
class Timings:
    """Where a request's time at its PoP went, in seconds. Zero where a part did not occur."""

    queue_s: float = 0.0
    start_s: float = 0.0
    """Waiting for the worker to be fetched, compiled and loaded."""
    instantiate_s: float = 0.0
    init_s: float = 0.0
    execute_s: float = 0.0
    """The guest's own run, without instantiation."""
    cpu_s: float = 0.0
    """CPU time of the guest's run; 0 where it is not measured."""
    origin_s: float = 0.0
    filter_s: float = 0.0
    """In filters, with what they waited for; without starting them."""
    phases: tuple[tuple[PhaseName, float], ...] = ()
    """What a cold start's `start_s` went into; a waiter knows only that the work was `shared`."""


@dataclass(slots=True)
class Response:
    """The answer to a request, with how it came about."""

    status: int
    outcome: Outcome
    pop: PopId = NO_POP
    headers: Headers = ()
    body: bytes | Body = b""
    start: Start = ""
    role: Role = ""
    version: int = 0
    """Version of the app that answered; 0 when none did."""
    timings: Timings = field(default_factory=Timings)
    error: str = ""
    """RFC 9209 error token for `Proxy-Status`; empty when nothing failed here."""
    detail: str = ""
    """What happened, for people."""
    memory_bytes: int = 0
    """Linear memory of the guest when its head was out; 0 where it is not seen."""
    subrequests: int = 0
    """Requests that the guest had sent by then."""
    ended: Waiter[None] | None = None
    """For a guest that still runs while its body is being sent: resolved when the guest has ended."""


CLIENT_GONE: Final = Response(499, "client_gone")
"""What is recorded of a request whose client went away; never sent."""
