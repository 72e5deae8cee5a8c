"""wasi:http/outgoing-handler: not supported yet. A guest may build a request; sending it is refused by name.

Manifests with a non-empty `allowed_outbound_hosts` are refused, so a guest that gets here was never promised anything else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from edgesim.wasm.host.http import OutgoingBody
from edgesim.wasm.linking import HostTable
from edgesim.wasm.values import Err, Var

if TYPE_CHECKING:
    from edgesim.wasm.component import ComponentGuest
    from edgesim.wasm.host.fields import Fields

TABLE: Final = HostTable()
_TYPES: Final = "wasi:http/types"
_REQUEST: Final = "[method]outgoing-request."
_OPTIONS: Final = "[method]request-options."


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
        self.body = OutgoingBody()
        self.body_taken = False


class RequestOptions:
    """Timeouts that the guest asks for, by name, in nanoseconds."""

    __slots__ = ("timeouts",)

    def __init__(self) -> None:
        self.timeouts: dict[str, int | None] = {}


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


def _property(wit_name: str, attribute: str) -> None:
    """Register getter and setter of one property."""

    def getter(_guest: ComponentGuest, request: OutgoingRequest) -> Any:
        return getattr(request, attribute)

    def setter(_guest: ComponentGuest, request: OutgoingRequest, value: Any) -> None:
        setattr(request, attribute, value)

    TABLE.add(_TYPES, _REQUEST + wit_name)(getter)
    TABLE.add(_TYPES, _REQUEST + "set-" + wit_name)(setter)


def _timeout(name: str) -> None:
    """Register getter and setter of one timeout."""

    def getter(_guest: ComponentGuest, options: RequestOptions) -> int | None:
        return options.timeouts.get(name)

    def setter(_guest: ComponentGuest, options: RequestOptions, value: int | None) -> None:
        options.timeouts[name] = value

    TABLE.add(_TYPES, _OPTIONS + name)(getter)
    TABLE.add(_TYPES, _OPTIONS + "set-" + name)(setter)


for _wit_name, _attribute in (
    ("method", "method"),
    ("path-with-query", "path"),
    ("scheme", "scheme"),
    ("authority", "authority"),
):
    _property(_wit_name, _attribute)
for _name in ("connect-timeout", "first-byte-timeout", "between-bytes-timeout"):
    _timeout(_name)


@TABLE.add(_TYPES, "[constructor]request-options")
def request_options(_guest: ComponentGuest) -> RequestOptions:
    """No timeouts."""
    return RequestOptions()


@TABLE.add("wasi:http/outgoing-handler", "handle")
def handle(guest: ComponentGuest, _request: OutgoingRequest, _options: RequestOptions | None) -> None:
    """Refused, and said so in the worker's log."""
    guest.log.write(b"edgesim: outgoing requests are not supported yet (allowed_outbound_hosts)\n")
    raise Err(Var("HTTP-request-denied"))


@TABLE.add(
    _TYPES,
    "[method]future-incoming-response.subscribe",
    "[method]future-incoming-response.get",
    "[method]incoming-response.status",
    "[method]incoming-response.headers",
    "[method]incoming-response.consume",
)
def never(_guest: ComponentGuest, *_args: Any) -> None:
    """There is never such a resource, since `handle` refuses."""
    raise AssertionError("a resource that is never made")
