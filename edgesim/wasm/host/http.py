"""wasi:http/types for incoming requests and their responses (`fields` are in `fields.py`).

A response's body is buffered, up to the window, until its head is sent; from then on it streams to the client. Trailers are
accepted and dropped. Outgoing requests are in `outgoing.py`.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from edgesim.errors import GuestOutputError
from edgesim.wasm.guest import WINDOW_BYTES
from edgesim.wasm.host.fields import Fields, from_headers
from edgesim.wasm.host.io import InputStream, OutputStream, Pollable
from edgesim.wasm.linking import HostTable
from edgesim.wasm.values import Err, Ok, Var

if TYPE_CHECKING:
    from edgesim.wasm.component import ComponentGuest
    from edgesim.wasm.guest import GuestRequest, Output

TABLE: Final = HostTable()
_TYPES: Final = "wasi:http/types"
METHODS: Final = frozenset({"get", "head", "post", "put", "delete", "connect", "options", "trace", "patch"})


class IncomingRequest:
    """The client's request."""

    __slots__ = ("consumed", "fields", "request")

    def __init__(self, request: GuestRequest) -> None:
        self.request = request
        self.fields: Fields | None = None
        self.consumed = False


class IncomingBody:
    """A body that can be read once."""

    __slots__ = ("taken",)

    def __init__(self) -> None:
        self.taken = False


class FutureTrailers:
    """The trailers of a request: there are none."""

    __slots__ = ("taken",)

    def __init__(self) -> None:
        self.taken = False


class OutgoingBody:
    """The sink of a response's body: keeps bytes until the head is sent, then passes them on."""

    __slots__ = ("_kept", "_kept_bytes", "expected_bytes", "finished", "output", "taken", "written_bytes")

    def __init__(self) -> None:
        self.output: Output | None = None
        self.taken = False
        self.finished = False
        self.expected_bytes: int | None = None
        self.written_bytes = 0
        self._kept: list[bytes] = []
        self._kept_bytes = 0

    @property
    def room(self) -> int:
        """Bytes that may be written now."""
        return self.output.room if self.output is not None else max(0, WINDOW_BYTES - self._kept_bytes)

    def write(self, data: bytes) -> None:
        """Take bytes. Raises GuestOutputError beyond the body limit."""
        self.written_bytes += len(data)
        if self.output is not None:
            self.output.write(data)
        else:
            self._kept.append(data)
            self._kept_bytes += len(data)

    async def wait_room(self) -> None:
        """Wait, on the loop, for room; for ever when the guest fills the window without ever sending its head."""
        if self.output is not None:
            await self.output.wait_room()
        elif not self.room:
            await asyncio.get_running_loop().create_future()

    def connect(self, output: Output) -> None:
        """The head is out: what was kept follows it."""
        self.output = output
        kept, self._kept = self._kept, []
        for data in kept:
            output.write(data)


class OutgoingResponse:
    """The guest's response before it is sent."""

    __slots__ = ("body", "body_taken", "fields", "status")

    def __init__(self, fields: Fields) -> None:
        fields.mutable = False
        self.fields = fields
        self.status = 200
        self.body = OutgoingBody()
        self.body_taken = False


class ResponseOutparam:
    """Where the guest puts its response: once, or an error instead."""

    __slots__ = ("error", "response")

    def __init__(self) -> None:
        self.response: OutgoingResponse | None = None
        self.error: str = ""


# -- incoming -----------------------------------------------------------------------------------------------------------


@TABLE.add(_TYPES, "[method]incoming-request.method")
def method(_guest: ComponentGuest, incoming: IncomingRequest) -> Var:
    """The method."""
    name = incoming.request.method
    return Var(name.lower()) if name.lower() in METHODS and name.isupper() else Var("other", name)


@TABLE.add(_TYPES, "[method]incoming-request.path-with-query")
def path_with_query(_guest: ComponentGuest, incoming: IncomingRequest) -> str:
    """Path and query as received."""
    return incoming.request.target


@TABLE.add(_TYPES, "[method]incoming-request.scheme")
def scheme(_guest: ComponentGuest, incoming: IncomingRequest) -> Var:
    """HTTP or HTTPS."""
    return Var(incoming.request.scheme.upper())


@TABLE.add(_TYPES, "[method]incoming-request.authority")
def authority(_guest: ComponentGuest, incoming: IncomingRequest) -> str:
    """Host and port as the client named them."""
    return incoming.request.authority


@TABLE.add(_TYPES, "[method]incoming-request.headers")
def request_headers(_guest: ComponentGuest, incoming: IncomingRequest) -> Fields:
    """The fields, immutable."""
    if incoming.fields is None:
        incoming.fields = from_headers(incoming.request.headers)
    return incoming.fields


@TABLE.add(_TYPES, "[method]incoming-request.consume")
def consume(_guest: ComponentGuest, incoming: IncomingRequest) -> IncomingBody:
    """The body, once."""
    if incoming.consumed:
        raise Err
    incoming.consumed = True
    return IncomingBody()


@TABLE.add(_TYPES, "[method]incoming-body.stream")
def body_stream(guest: ComponentGuest, body: IncomingBody) -> InputStream:
    """The body's bytes, once."""
    if body.taken:
        raise Err
    body.taken = True
    return InputStream(guest.input)


@TABLE.add(_TYPES, "[static]incoming-body.finish")
def finish_incoming(_guest: ComponentGuest, _body: IncomingBody) -> FutureTrailers:
    """Done with the body; its trailers."""
    return FutureTrailers()


@TABLE.add(_TYPES, "[method]future-trailers.subscribe")
def trailers_ready(_guest: ComponentGuest, _trailers: FutureTrailers) -> Pollable:
    """Ready at once."""
    return Pollable()


@TABLE.add(_TYPES, "[method]future-trailers.get")
def trailers(_guest: ComponentGuest, future: FutureTrailers) -> Ok | Err:
    """Some(ok(ok(none))), then Some(err)."""
    if future.taken:
        return Err()
    future.taken = True
    return Ok(Ok(None))


# -- outgoing -----------------------------------------------------------------------------------------------------------


@TABLE.add(_TYPES, "[constructor]outgoing-response")
def outgoing_response(_guest: ComponentGuest, fields: Fields) -> OutgoingResponse:
    """A response with status 200."""
    return OutgoingResponse(fields)


@TABLE.add(_TYPES, "[method]outgoing-response.status-code")
def status_code(_guest: ComponentGuest, response: OutgoingResponse) -> int:
    """The status."""
    return response.status


@TABLE.add(_TYPES, "[method]outgoing-response.set-status-code")
def set_status_code(_guest: ComponentGuest, response: OutgoingResponse, status: int) -> None:
    """Set the status: a final one, 200 to 599."""
    if not 200 <= status <= 599:
        raise Err
    response.status = status


@TABLE.add(_TYPES, "[method]outgoing-response.headers")
def response_headers(_guest: ComponentGuest, response: OutgoingResponse) -> Fields:
    """The fields, immutable."""
    return response.fields


@TABLE.add(_TYPES, "[method]outgoing-response.body")
def response_body(_guest: ComponentGuest, response: OutgoingResponse) -> OutgoingBody:
    """The body, once."""
    if response.body_taken:
        raise Err
    response.body_taken = True
    return response.body


@TABLE.add(_TYPES, "[method]outgoing-body.write")
def body_write(_guest: ComponentGuest, body: OutgoingBody) -> OutputStream:
    """The body's stream, once."""
    if body.taken:
        raise Err
    body.taken = True
    return OutputStream(body)


@TABLE.add(_TYPES, "[static]outgoing-body.finish")
def finish_outgoing(_guest: ComponentGuest, body: OutgoingBody, _trailers: Fields | None) -> None:
    """The body is complete. Trailers are dropped."""
    if body.expected_bytes is not None and body.expected_bytes != body.written_bytes:
        raise Err(Var("HTTP-response-body-size", body.written_bytes))
    body.finished = True


@TABLE.add(_TYPES, "[static]response-outparam.set")
def set_response(guest: ComponentGuest, outparam: ResponseOutparam, result: OutgoingResponse | Err) -> None:
    """Send the head, or report an error instead of a response."""
    if isinstance(result, Err):
        outparam.error = result.value.tag if isinstance(result.value, Var) else "an error"
        return
    outparam.response = result
    declared = result.fields.get("content-length")
    if declared:
        if not declared[0].isdigit() or len(set(declared)) > 1:
            raise GuestOutputError(f"the worker's Content-Length is malformed: {declared[0][:40]!r}")
        result.body.expected_bytes = int(declared[0])
    guest.output.send_head(result.status, result.fields.headers())
    result.body.connect(guest.output)


@TABLE.add(_TYPES, "http-error-code")
def http_error_code(_guest: ComponentGuest, _error: Any) -> None:
    """No stream error here comes from HTTP."""
