"""wasi:http/outgoing-handler: requests that the guest sends, their options, and the answers.

The host function checks what can be checked without the network and hands the request to `Grants.outbound`, whose task runs
on the loop. Its body streams through a window; the answer's is pulled as the guest reads it. Dropping the future, the answer
or its body ends the exchange, and so does the end of the guest.
"""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any, Final, Protocol

from edgesim.wasm.guest import Input, RequestPipe, Suspend
from edgesim.wasm.host.bodies import IncomingBody, OutgoingBody
from edgesim.wasm.host.fields import content_length, from_headers
from edgesim.wasm.host.http import METHODS
from edgesim.wasm.host.io import Pollable
from edgesim.wasm.linking import HostTable
from edgesim.wasm.outbound import OutboundError, OutboundRequest
from edgesim.wasm.values import Err, Ok, Var

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgesim.model.http import Body
    from edgesim.wasm.component import ComponentGuest
    from edgesim.wasm.guest_store import Guest
    from edgesim.wasm.host.fields import Fields
    from edgesim.wasm.outbound import Outbound, OutboundResponse

TABLE: Final = HostTable()
_TYPES: Final = "wasi:http/types"
_REQUEST: Final = "[method]outgoing-request."
_OPTIONS: Final = "[method]request-options."
_FUTURE: Final = "[method]future-incoming-response."
_RESPONSE: Final = "[method]incoming-response."
MAX_TARGET_BYTES: Final = 8 * 1024
_TOKEN: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,64}")
_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]{0,31}")
_TARGET: Final = re.compile(r"(\*|[/?][!\"$-~]*)?")
"""Path and query: visible ASCII without `#`."""
_AUTHORITY: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._\-]+)(:[0-9]{0,5})?")
"""Host and port; user information is not sent (RFC 9110 §4.2.4)."""


class OutgoingRequest:
    """A request as the guest describes it."""

    __slots__ = ("authority", "body", "body_taken", "fields", "method", "path", "scheme")

    def __init__(self, fields: Fields) -> None:
        fields.mutable = False
        self.fields = fields
        self.method = Var("get")
        self.path: str | None = None
        self.scheme: Var | None = None
        self.authority: str | None = None
        self.body = OutgoingBody("request", content_length(fields))
        self.body_taken = False


class Described(Protocol):
    """A request as a guest of either preview describes it."""

    authority: str | None
    fields: Fields
    method: Var
    path: str | None
    scheme: Var | None


class RequestOptions:
    """Timeouts that the guest asks for, by name, in nanoseconds."""

    __slots__ = ("mutable", "timeouts")

    def __init__(self) -> None:
        self.mutable = True
        """Those of WASI 0.3 are not any more once they belong to a request."""
        self.timeouts: dict[str, int | None] = {}

    def seconds(self, name: str) -> float | None:
        """One of them."""
        value = self.timeouts.get(name)
        return None if value is None else value / 1e9


class FutureResponse:
    """A request under way. `start` runs on the loop, the rest on the fiber unless it says otherwise."""

    __slots__ = ("_done", "_failure", "_limit", "_loop", "_outbound", "_request", "_response", "_task", "taken")

    def __init__(self, outbound: Outbound, request: OutboundRequest, limit_bytes: int) -> None:
        self._outbound = outbound
        self._request = request
        self._limit = limit_bytes
        self._done = asyncio.Event()
        self._failure: Exception | None = None
        self._response: OutboundResponse | None = None
        self._loop: asyncio.AbstractEventLoop
        self._task: asyncio.Task[None] | None = None
        self.taken = False

    async def start(self, guest: ComponentGuest) -> None:
        """Begin, on the loop."""
        self._loop = asyncio.get_running_loop()
        if isinstance(self._request.body, RequestPipe):
            self._request.body.attach(self._loop)
        self._task = self._loop.create_task(self._run(guest.request.headers), name="wasm-guest-request")
        guest.at_end.append(self.close)

    async def _run(self, hops: Any) -> None:
        try:
            self._response = await self._outbound.open(self._request, hops)
        except Exception as exc:  # noqa: BLE001 - raised by `get`, on the fiber
            self._failure = exc
            if isinstance(self._request.body, RequestPipe):
                self._request.body.close()
        finally:
            self._done.set()

    @property
    def done(self) -> bool:
        """Whether `get` has a result."""
        return self._done.is_set()

    async def wait(self) -> None:
        """Wait, on the loop, until it is done."""
        await self._done.wait()

    def get(self) -> Ok | Err | None:
        """None, then some(ok(the response or why there is none)), then some(err). Raises what is no HTTP error."""
        if not self.done:
            return None
        if self.taken:
            return Err()
        self.taken = True
        if isinstance(self._failure, OutboundError):
            return Ok(Err(Var(self._failure.code, self._failure.payload)))
        if self._failure is not None:
            raise self._failure
        assert self._response is not None
        return Ok(Ok(IncomingResponse(self._response, self._limit, self.abandon)))

    def drop(self) -> None:
        """The guest does not want the answer."""
        if not self.taken:
            self.abandon()

    def abandon(self) -> None:
        """End the exchange."""
        self._loop.call_soon_threadsafe(self.close)

    def close(self) -> None:
        """End the exchange, on the loop. Idempotent."""
        if self._task is not None:
            self._task.cancel()
        if self._response is not None:
            self._response.body.close()
        if isinstance(self._request.body, RequestPipe):
            self._request.body.close()


class IncomingResponse:
    """The answer to a request."""

    __slots__ = ("_abandon", "_limit", "_response", "consumed", "fields", "status")

    def __init__(self, response: OutboundResponse, limit_bytes: int, abandon: Callable[[], None]) -> None:
        self._abandon = abandon
        self._response = response
        self._limit = limit_bytes
        self.status = response.status
        self.fields = from_headers(response.headers)
        self.consumed = False

    def consume(self) -> IncomingBody:
        """The body, once. Raises Err."""
        if self.consumed:
            raise Err
        self.consumed = True
        answer = self._response
        source = Input(answer.body, self._limit, lambda limit: OutboundError("HTTP-response-body-size", limit))
        return IncomingBody(source, self._abandon, answer.trailers)

    def drop(self) -> None:
        """The guest has let go of it; without its body, the exchange is over."""
        if not self.consumed:
            self._abandon()


# -- the request --------------------------------------------------------------------------------------------------------


@TABLE.add(_TYPES, "[constructor]outgoing-request")
def outgoing_request(_guest: ComponentGuest, fields: Fields) -> OutgoingRequest:
    """A GET request."""
    return OutgoingRequest(fields)


@TABLE.add(_TYPES, _REQUEST + "body")
def body(_guest: ComponentGuest, request: OutgoingRequest) -> OutgoingBody:
    """The body, once."""
    if request.body_taken:
        raise Err
    request.body_taken = True
    return request.body


@TABLE.add(_TYPES, _REQUEST + "headers")
def headers(_guest: ComponentGuest, request: OutgoingRequest) -> Fields:
    """The fields, immutable."""
    return request.fields


def good_method(value: Var) -> bool:
    """Whether it is a method that can be sent."""
    return value.tag != "other" or bool(_TOKEN.fullmatch(value.value))


def good_target(value: str | None) -> bool:
    """Whether it is a path with its query, or none."""
    return value is None or bool(_TARGET.fullmatch(value))


def good_scheme(value: Var | None) -> bool:
    """Whether it is a scheme, or none."""
    return value is None or value.tag != "other" or bool(_SCHEME.fullmatch(value.value))


def good_authority(value: str | None) -> bool:
    """Whether it is a host with its port, or none."""
    if not value:  # empty: as if it was not set
        return True
    found = _AUTHORITY.fullmatch(value)
    return found is not None and int((found[2] or ":0")[1:] or 0) <= 65535


def add_request_rules(table: HostTable, request: str, options: str, *, getter: str = "") -> None:
    """Register getters and setters of a request's properties and of the timeouts; setters refuse what is malformed.

    Args:
        table: of the preview.
        request: prefix of the request's methods.
        options: prefix of the options' methods.
        getter: what the names of getters begin with.
    """
    for name, attribute, is_good in _PROPERTIES:
        _add_property(table, f"{request}{getter}{name}", f"{request}set-{name}", attribute, is_good)
    for name in _TIMEOUTS:
        _add_timeout(table, f"{options}{getter}{name}", f"{options}set-{name}", name)


_PROPERTIES: Final[tuple[tuple[str, str, Callable[[Any], bool]], ...]] = (
    ("method", "method", good_method),
    ("path-with-query", "path", good_target),
    ("scheme", "scheme", good_scheme),
    ("authority", "authority", good_authority),
)
"""Name in the WIT, attribute, and what may be set."""
_TIMEOUTS: Final = ("connect-timeout", "first-byte-timeout", "between-bytes-timeout")


def _add_property(table: HostTable, get: str, put: str, attribute: str, is_good: Callable[[Any], bool]) -> None:
    def getter(_guest: ComponentGuest, request: Described) -> Any:
        return getattr(request, attribute)

    def setter(_guest: ComponentGuest, request: Described, value: Any) -> None:
        if not is_good(value):
            raise Err
        setattr(request, attribute, value)

    table.add(_TYPES, get)(getter)
    table.add(_TYPES, put)(setter)


def _add_timeout(table: HostTable, get: str, put: str, name: str) -> None:
    def getter(_guest: ComponentGuest, options: RequestOptions) -> int | None:
        return options.timeouts.get(name)

    def setter(_guest: ComponentGuest, options: RequestOptions, value: int | None) -> None:
        if not options.mutable:
            raise Err(Var("immutable"))
        options.timeouts[name] = value

    table.add(_TYPES, get)(getter)
    table.add(_TYPES, put)(setter)


add_request_rules(TABLE, _REQUEST, _OPTIONS)


@TABLE.add(_TYPES, "[constructor]request-options")
def request_options(_guest: ComponentGuest) -> RequestOptions:
    """No timeouts."""
    return RequestOptions()


@TABLE.add("wasi:http/outgoing-handler", "handle", waits=True)
def handle(guest: ComponentGuest, request: OutgoingRequest, options: RequestOptions | None) -> Suspend:
    """Send it: a future of the answer. Raises Err(error-code) for what needs no network to be refused."""
    outbound = way_out(guest)
    wanted = describe(request, options or RequestOptions())
    wanted.body = _body_of(guest, request)
    guest.sent_requests += 1
    future = FutureResponse(outbound, wanted, guest.limits.response_bytes)
    return Suspend(lambda: future.start(guest), lambda _: future)


def way_out(guest: Guest) -> Outbound:
    """How the guest may send one more request. Raises Err(error-code), and tells its log why."""
    outbound = guest.grants.outbound
    if outbound is None:
        guest.log.write(b"edgesim: an outgoing request was refused: allowed_outbound_hosts is empty\n")
        raise Err(Var("HTTP-request-denied"))
    if guest.sent_requests >= guest.limits.subrequests:
        guest.log.write(b"edgesim: an outgoing request was refused: %d were sent\n" % guest.sent_requests)
        raise Err(Var("connection-limit-reached"))
    return outbound


def describe(request: Described, options: RequestOptions) -> OutboundRequest:
    """The request as a value, without its body. Raises Err(error-code)."""
    own = request.authority in (None, "")
    scheme = request.scheme or Var("HTTP" if own else "HTTPS")
    if scheme.tag == "other":
        raise Err(Var("HTTP-protocol-error"))
    method = request.method.tag.upper() if request.method.tag in METHODS else request.method.value
    if method == "CONNECT":
        raise Err(Var("HTTP-request-method-invalid"))
    target = request.path or "/"
    if len(target) > MAX_TARGET_BYTES:
        raise Err(Var("HTTP-request-URI-too-long"))
    if request.fields.get("content-length") and content_length(request.fields) is None:
        raise Err(Var("HTTP-protocol-error"))
    return OutboundRequest(
        method=method,
        scheme=scheme.tag.lower(),
        authority=None if own else request.authority,
        target=f"/{target}" if target.startswith("?") else target,
        headers=request.fields.headers(),
        body=None,
        connect_timeout_s=options.seconds("connect-timeout"),
        first_byte_timeout_s=options.seconds("first-byte-timeout"),
        between_bytes_timeout_s=options.seconds("between-bytes-timeout"),
    )


def _body_of(guest: ComponentGuest, request: OutgoingRequest) -> bytes | Body | None:
    """All of the body when it is complete, else a pipe that follows the guest. Raises Err(error-code)."""
    content = request.body
    if not request.body_taken:
        if content.expected_bytes:
            raise Err(Var("HTTP-request-body-size", 0))
        return None
    if content.dropped:
        raise Err(Var("HTTP-protocol-error"))
    if content.finished:
        return content.take_kept()
    pipe = RequestPipe(guest.limits.body_bytes)
    content.connect(pipe)
    return pipe


# -- the answer ---------------------------------------------------------------------------------------------------------


@TABLE.add(_TYPES, _FUTURE + "subscribe")
def subscribe_response(_guest: ComponentGuest, future: FutureResponse) -> Pollable:
    """Ready when there is an answer or an error."""
    return Pollable(lambda: future.done, future.wait)


@TABLE.add(_TYPES, _FUTURE + "get")
def get_response(_guest: ComponentGuest, future: FutureResponse) -> Ok | Err | None:
    """The answer, once."""
    return future.get()


@TABLE.add(_TYPES, _RESPONSE + "status")
def response_status(_guest: ComponentGuest, response: IncomingResponse) -> int:
    """The status."""
    return response.status


@TABLE.add(_TYPES, _RESPONSE + "headers")
def response_headers(_guest: ComponentGuest, response: IncomingResponse) -> Fields:
    """The fields, immutable."""
    return response.fields


@TABLE.add(_TYPES, _RESPONSE + "consume")
def consume_response(_guest: ComponentGuest, response: IncomingResponse) -> IncomingBody:
    """The body, once."""
    return response.consume()
