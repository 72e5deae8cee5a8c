"""wasi:http/types for incoming requests and their responses (`fields` are in `fields.py`, bodies in `bodies.py`).

A response's body is buffered, up to the window, until its head is sent; from then on it streams to the client. Outgoing
requests are in `outgoing.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edgesim.errors import GuestOutputError
from edgesim.model.http import BODILESS
from edgesim.wasm.guest import Suspend
from edgesim.wasm.host.bodies import IncomingBody, OutgoingBody
from edgesim.wasm.host.fields import Fields, content_length, from_headers
from edgesim.wasm.linking import HostTable
from edgesim.wasm.values import Err, Var

if TYPE_CHECKING:
    from edgesim.wasm.component import ComponentGuest
    from edgesim.wasm.guest import GuestRequest
    from edgesim.wasm.guest_store import Guest
    from edgesim.wasm.host.io import IoError

TABLE: Final = HostTable()
_TYPES: Final = "wasi:http/types"
INFORMATIONAL_MAX: Final = 8
"""Informational responses before one final response."""
METHODS: Final = frozenset({"get", "head", "post", "put", "delete", "connect", "options", "trace", "patch"})


class IncomingRequest:
    """The client's request."""

    __slots__ = ("consumed", "fields", "request")

    def __init__(self, request: GuestRequest) -> None:
        self.request = request
        self.fields: Fields | None = None
        self.consumed = False


class OutgoingResponse:
    """The guest's response before it is sent."""

    __slots__ = ("body", "body_taken", "fields", "status")

    def __init__(self, fields: Fields) -> None:
        fields.mutable = False
        self.fields = fields
        self.status = 200
        self.body = OutgoingBody("response", content_length(fields))
        self.body_taken = False


class ResponseOutparam:
    """Where the guest puts its response: once, or an error instead."""

    __slots__ = ("error", "informed", "response")

    def __init__(self) -> None:
        self.informed = 0
        """Informational responses so far."""
        self.response: OutgoingResponse | None = None
        self.error: str = ""


# -- incoming -----------------------------------------------------------------------------------------------------------


@TABLE.add(_TYPES, "[method]incoming-request.method")
def method(_guest: ComponentGuest, incoming: IncomingRequest) -> Var:
    """The method."""
    return method_case(incoming.request.method)


def method_case(name: str) -> Var:
    """A method as a case of the variant."""
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
def consume(guest: ComponentGuest, incoming: IncomingRequest) -> IncomingBody:
    """The body, once."""
    if incoming.consumed:
        raise Err
    incoming.consumed = True
    return IncomingBody(guest.input, trailers=guest.input.trailers)


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


@TABLE.add(_TYPES, "[static]response-outparam.set")
def set_response(guest: ComponentGuest, outparam: ResponseOutparam, result: OutgoingResponse | Err) -> None:
    """Send the head, or report an error instead of a response."""
    if isinstance(result, Err):
        outparam.error = result.value.tag if isinstance(result.value, Var) else "an error"
        return
    outparam.response = result
    send_head(guest, result.status, result.fields, result.body)


def send_head(guest: Guest, status: int, fields: Fields, body: OutgoingBody) -> None:
    """Send the head of a response; its body follows, if it has one. Raises GuestOutputError."""
    declared = fields.get("content-length")
    if declared and content_length(fields) is None:
        raise GuestOutputError(f"the worker's Content-Length is malformed: {declared[0][:40]!r}")
    guest.output.send_head(status, fields.headers())
    if guest.request.method == "HEAD" or status in BODILESS:
        body.discard()
    else:
        body.connect(guest.output)


@TABLE.add(_TYPES, "[method]response-outparam.send-informational", waits=True)
def send_informational(
    guest: ComponentGuest, outparam: ResponseOutparam, status: int, fields: Fields
) -> Suspend | None:
    """Send a 1xx response ahead of the final one (RFC 9110 §15.2), e.g. early hints (RFC 8297).

    A client of HTTP/1.0 gets none, and 100 goes nowhere: the edge has answered `Expect` by itself. 101 would be another protocol.
    """
    if not 100 <= status <= 199 or status == 101:
        raise Err(Var("HTTP-protocol-error"))
    outparam.informed += 1
    if outparam.informed > INFORMATIONAL_MAX:
        raise Err(Var("internal-error", f"more than {INFORMATIONAL_MAX} informational responses"))
    inform = guest.request.inform
    if inform is None or status == 100:
        return None
    headers = tuple(field for field in fields.headers() if field[0] != "content-length")  # RFC 9110 §8.6

    async def start() -> None:
        inform(status, headers)

    return Suspend(start, lambda _: None)


@TABLE.add(_TYPES, "http-error-code")
def http_error_code(_guest: ComponentGuest, error: IoError) -> Var | None:
    """The HTTP error behind a stream's error, if there is one."""
    return error.http_code
