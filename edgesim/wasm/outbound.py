"""How a guest's own requests leave the runtime: what is asked, what comes back, and how it fails.

Who may be reached, and the connections themselves, are `live/outbound.py`.
"""

from __future__ import annotations

from collections.abc import Callable  # noqa: TC003 - a dataclass field
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from edgesim.model.http import Body, Headers


@dataclass(slots=True, kw_only=True)
class OutboundRequest:
    """A request that a guest sends. Times are seconds; None is the sender's own limit."""

    method: str
    scheme: str
    """`http` or `https`."""
    authority: str | None
    """Host and port, without user information; None: the app itself."""
    target: str
    """Path and query."""
    headers: Headers
    body: bytes | Body | None
    """All of it, a stream, or none."""
    connect_timeout_s: float | None = None
    first_byte_timeout_s: float | None = None
    between_bytes_timeout_s: float | None = None


@dataclass(slots=True, kw_only=True)
class OutboundResponse:
    """The answer to a guest's request, once its head is there."""

    status: int
    headers: Headers
    body: Body
    """Raises OutboundError. Closing it ends the exchange."""
    trailers: Callable[[], Headers] = tuple
    """The trailer fields, once the body has ended."""


class OutboundError(Exception):
    """Why an outgoing request failed: a case of `wasi:http/types.error-code` and its payload, in the form of `values.py`."""

    def __init__(self, code: str, payload: Any = None) -> None:
        super().__init__(code)
        self.code = code
        self.payload = payload


class Outbound(Protocol):
    """How the guests of one worker reach others: what is allowed is decided behind it."""

    async def open(self, request: OutboundRequest, hops: Headers) -> OutboundResponse:
        """Send a request and wait for the head of its answer, on the loop. Cancelling it breaks the connection off.

        Args:
            request: what to send; its body is pulled while the answer is awaited, and closed in the end.
            hops: the fields of the request that the guest serves: who has forwarded it so far.

        Raises:
            OutboundError: it was refused or failed.
        """
        ...
