"""One request and its response as one filter sees them, and what its host calls have asked for. Values only: no waiting here."""

from __future__ import annotations

from dataclasses import dataclass, field
from time import time_ns
from typing import TYPE_CHECKING, Final

from edgesim.wasm.proxy.spec import Buffer, Map, Side

if TYPE_CHECKING:
    from edgesim.model.http import Headers
    from edgesim.wasm.guest import GuestRequest
    from edgesim.wasm.proxy.fields import Fields

_NOBODY: Final = frozenset[Map]()


@dataclass(slots=True, kw_only=True)
class LocalResponse:
    """What a filter answers itself (`proxy_send_local_response`)."""

    status: int
    headers: Headers
    body: bytes
    details: str
    """For people; it is not sent."""


@dataclass(slots=True, kw_only=True)
class HttpCall:
    """A request that a filter wants to be sent (`proxy_http_call`)."""

    id: int
    upstream: str
    fields: Fields
    body: bytes
    timeout_s: float


@dataclass(slots=True, kw_only=True)
class CallResponse:
    """What has become of an HttpCall. No fields: it failed."""

    id: int
    fields: Fields
    body: bytes
    trailers: Fields


@dataclass(slots=True, kw_only=True)
class Calls:
    """HTTP calls of one VM, made inside host calls and sent by whoever drives the VM."""

    wanted: list[HttpCall] = field(default_factory=list)
    """Not sent yet."""
    under_way: int = 0
    in_all: int = 0
    response: CallResponse | None = None
    """While `proxy_on_http_call_response` runs."""


class Stream:
    """See the module."""

    __slots__ = (
        "answer", "buffers", "can_answer", "closed", "created_ns", "maps", "paused", "properties", "request", "status", "writable",
        "writable_buffer",
    )  # fmt: skip

    def __init__(self, request: GuestRequest) -> None:
        self.request = request
        self.created_ns = time_ns()
        self.maps: dict[Map, Fields] = {}
        """Those that exist so far."""
        self.writable: frozenset[Map] = _NOBODY
        """Those that may be changed in this phase."""
        self.buffers: dict[Buffer, bytearray] = {}
        self.writable_buffer: Buffer | None = None
        self.paused: dict[Side, bool] = {Side.REQUEST: False, Side.RESPONSE: False}
        self.answer: LocalResponse | None = None
        self.can_answer = True
        """Until the head of the response has been sent."""
        self.closed = False
        """The filter has reset the stream."""
        self.status = 0
        """Of the response; 0 before there is one."""
        self.properties: dict[bytes, bytes] = {}
        """What the filter has set (`proxy_set_property`)."""
