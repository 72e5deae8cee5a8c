"""wasi:http/types and wasi:http/client of WASI 0.3: a message is fields, a stream of bytes and a future of trailers.

A message that came from outside has host sources behind its channels, one that the guest made has the guest's writers; both can
be sent, so a body may pass through the host alone. Trailers that a guest sends count when they are there before its task ends.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from edgesim.errors import GuestOutputError
from edgesim.wasm.flat.async_channel import Channel, HostFuture, ValueSink
from edgesim.wasm.flat.p3_body import BodySink, code_of
from edgesim.wasm.guest import Input, RequestPipe, Suspend
from edgesim.wasm.host import fields as p2_fields
from edgesim.wasm.host.bodies import OutgoingBody
from edgesim.wasm.host.fields import Fields, content_length, from_headers
from edgesim.wasm.host.http import method_case, send_head
from edgesim.wasm.host.outgoing import RequestOptions, add_request_rules, describe, way_out
from edgesim.wasm.linking import HostTable
from edgesim.wasm.outbound import OutboundError
from edgesim.wasm.values import Err, Var

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgesim.model.http import Headers
    from edgesim.wasm.flat.async_guest import AsyncGuest
    from edgesim.wasm.guest import GuestRequest
    from edgesim.wasm.outbound import OutboundResponse

TABLE: Final = HostTable()
_TYPES: Final = "wasi:http/types"


class Message:
    """What requests and responses have in common."""

    __slots__ = ("contents", "fields", "sent", "trailers")

    def __init__(self, fields: Fields, contents: Channel | None, trailers: Channel) -> None:
        fields.mutable = False
        self.fields = fields
        self.contents = contents
        """None: there is no body."""
        self.trailers = trailers
        self.sent = HostFuture()
        """How the transmission has ended: `result<_, error-code>`."""

    def drop(self) -> None:
        """The guest does not want it."""
        if self.contents is not None:
            self.contents.drop()
        self.trailers.drop()


def _received(source: Input, ended: Callable[[], Any]) -> tuple[Channel, Channel]:
    """Contents and trailers of a message from outside; `ended` is called when it is not read any more, and gives the trailers."""
    trailers = HostFuture()

    def over(error: Exception | None) -> None:
        found = ended()
        trailers.set(found if error is None else Err(code_of(error)))

    return Channel(source, over), Channel(trailers)


class Request(Message):
    """A request, in either direction."""

    __slots__ = ("authority", "method", "options", "path", "scheme")

    def __init__(self, fields: Fields, contents: Channel | None, trailers: Channel) -> None:
        super().__init__(fields, contents, trailers)
        self.method = Var("get")
        self.path: str | None = None
        self.scheme: Var | None = None
        self.authority: str | None = None
        self.options: RequestOptions | None = None


class Response(Message):
    """A response, in either direction."""

    __slots__ = ("status",)

    def __init__(self, fields: Fields, contents: Channel | None, trailers: Channel) -> None:
        super().__init__(fields, contents, trailers)
        self.status = 200


def _fields(trailers: Headers) -> Fields | None:
    return from_headers(trailers) if trailers else None


def incoming_request(request: GuestRequest, body: Input) -> Request:
    """The client's request."""
    contents = _received(body, lambda: _fields(body.trailers()) if body.drained else None)
    incoming = Request(from_headers(request.headers), *contents)
    incoming.method = method_case(request.method)
    incoming.path, incoming.authority = request.target, request.authority
    incoming.scheme = Var(request.scheme.upper())
    return incoming


def send_response(guest: AsyncGuest, result: Response | Err) -> None:
    """The task's result: the head goes out, and the body follows. Raises GuestOutputError for an error instead."""
    if isinstance(result, Err):
        what = result.value.tag if isinstance(result.value, Var) else "an error"
        raise GuestOutputError(f"the worker answered with the error {what}{guest.log.tail()}")
    body = OutgoingBody("response", content_length(result.fields))
    send_head(guest, result.status, result.fields, body)
    _transmit(guest, result, BodySink(body, guest.output, result.sent))


def _transmit(guest: AsyncGuest, message: Message, sink: BodySink) -> None:
    if message.contents is None:
        sink.finish()
    else:
        guest.connect(message.contents, sink)
    guest.connect(message.trailers, ValueSink(sink.trailers))


# -- fields -------------------------------------------------------------------------------------------------------------

for _name in (
    "[constructor]fields", "[static]fields.from-list", "[method]fields.get", "[method]fields.has", "[method]fields.set",
    "[method]fields.append", "[method]fields.delete", "[method]fields.clone",
):  # fmt: skip
    TABLE.add(_TYPES, _name)(p2_fields.TABLE.functions[_TYPES, _name].call)
TABLE.add(_TYPES, "[method]fields.copy-all")(p2_fields.TABLE.functions[_TYPES, "[method]fields.entries"].call)


@TABLE.add(_TYPES, "[method]fields.get-and-delete")
def get_and_delete(guest: AsyncGuest, fields: Fields, name: str) -> list[bytes]:
    """Take every value of a name out."""
    values = fields.get(name)
    p2_fields.delete(guest, fields, name)
    return values


# -- requests -----------------------------------------------------------------------------------------------------------


@TABLE.add(_TYPES, "[static]request.new")
def new_request(
    _guest: AsyncGuest, fields: Fields, contents: Channel | None, trailers: Channel, options: RequestOptions | None
) -> tuple[Request, Channel]:
    """A GET request, and a future of how its transmission ends."""
    request = Request(fields, contents, trailers)
    request.options = options
    if options is not None:
        options.mutable = False
    return request, Channel(request.sent)


add_request_rules(TABLE, "[method]request.", "[method]request-options.", getter="get-")


@TABLE.add(_TYPES, "[constructor]request-options")
def new_options(_guest: AsyncGuest) -> RequestOptions:
    """No timeouts."""
    return RequestOptions()


@TABLE.add(_TYPES, "[method]request-options.clone")
def clone_options(_guest: AsyncGuest, options: RequestOptions) -> RequestOptions:
    """A mutable copy."""
    copy = RequestOptions()
    copy.timeouts = dict(options.timeouts)
    return copy


@TABLE.add(_TYPES, "[method]request.get-options")
def get_options(_guest: AsyncGuest, request: Request) -> RequestOptions | None:
    """The options, immutable."""
    return request.options


@TABLE.add(_TYPES, "[method]request.get-headers")
@TABLE.add(_TYPES, "[method]response.get-headers")
def get_headers(_guest: AsyncGuest, message: Message) -> Fields:
    """The fields, immutable."""
    return message.fields


@TABLE.add(_TYPES, "[static]request.consume-body")
@TABLE.add(_TYPES, "[static]response.consume-body")
def consume_body(guest: AsyncGuest, message: Message, outcome: Channel) -> tuple[Channel, Channel]:
    """The body and its trailers. `outcome` is what the guest makes of them, which interests nobody here."""
    guest.connect(outcome, ValueSink(lambda _value: None))
    message.sent.set(None)
    return message.contents or Channel(Input(None, 0)), message.trailers


# -- responses ----------------------------------------------------------------------------------------------------------


@TABLE.add(_TYPES, "[static]response.new")
def new_response(
    _guest: AsyncGuest, fields: Fields, contents: Channel | None, trailers: Channel
) -> tuple[Response, Channel]:
    """A response with status 200, and a future of how its transmission ends."""
    response = Response(fields, contents, trailers)
    return response, Channel(response.sent)


@TABLE.add(_TYPES, "[method]response.get-status-code")
def get_status_code(_guest: AsyncGuest, response: Response) -> int:
    """The status."""
    return response.status


@TABLE.add(_TYPES, "[method]response.set-status-code")
def set_status_code(_guest: AsyncGuest, response: Response, status: int) -> None:
    """Set the status: a final one, 200 to 599."""
    if not 200 <= status <= 599:
        raise Err
    response.status = status


# -- sending ------------------------------------------------------------------------------------------------------------


@TABLE.add("wasi:http/client", "send", waits=True)
def send(guest: AsyncGuest, request: Request) -> Suspend:
    """Send a request and give its response. Raises Err(error-code)."""
    try:
        return _send(guest, request)
    except Err:
        request.drop()
        raise


def _send(guest: AsyncGuest, request: Request) -> Suspend:
    outbound = way_out(guest)
    wanted = describe(request, request.options or RequestOptions())
    guest.sent_requests += 1
    pipe = RequestPipe(guest.limits.body_bytes)
    body = OutgoingBody("request", content_length(request.fields))
    if request.contents is not None:
        body.connect(pipe)
        wanted.body = pipe
    _transmit(guest, request, BodySink(body, pipe, request.sent))

    async def start() -> Response:
        pipe.attach(asyncio.get_running_loop())
        try:
            answer = await outbound.open(wanted, guest.request.headers)
        except OutboundError as exc:
            pipe.close()
            request.sent.set(Err(code_of(exc)))
            raise Err(code_of(exc)) from exc
        except BaseException:
            pipe.close()
            raise
        return _incoming_response(guest, answer, pipe)

    return Suspend(start, lambda response: response)


def _incoming_response(guest: AsyncGuest, answer: OutboundResponse, sent: RequestPipe) -> Response:
    """The answer, on the loop. Whoever lets go of it ends the exchange."""
    loop = asyncio.get_running_loop()

    def close() -> None:
        answer.body.close()
        sent.close()

    source = Input(
        answer.body, guest.limits.response_bytes, lambda limit: OutboundError("HTTP-response-body-size", limit)
    )

    def ended() -> Fields | None:
        trailers = answer.trailers() if source.drained else ()
        loop.call_soon_threadsafe(close)
        return _fields(trailers)

    guest.at_end.append(close)
    response = Response(from_headers(answer.headers), *_received(source, ended))
    response.status = answer.status
    return response
