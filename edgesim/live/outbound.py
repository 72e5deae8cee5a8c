"""Requests that workers send: who may be reached, over connections that never end at the host's own networks by accident.

Two pools of connections: one for everybody, whose every socket is checked when it is made, on the very address that it is
about to connect to (so a name that resolves to something else the second time gains nothing), and one for hosts that a
manifest names literally, such as `http://127.0.0.1:9000`. `self` is the app's own front door. Redirects are the guest's to
follow; bodies are passed on as they are; cookies and proxies of the environment play no part.

Loops end by hop count: each request carries `CDN-Loop` (RFC 8586) with one `edgesim` per worker that forwarded it.
"""

from __future__ import annotations

import asyncio
import socket
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import aiohttp
from aiohttp.abc import AbstractResolver
from yarl import URL

from edgesim.live.answers import TrailedAnswer, complete
from edgesim.live.hop import INSIDE
from edgesim.live.http_client import fields_of, next_chunk
from edgesim.live.http_server import FIELD_BYTES_MAX, FIELDS_MAX, to_multidict
from edgesim.live.outbound_errors import ProhibitedAddressError, outbound_error
from edgesim.live.trailers import TrailedPayload
from edgesim.model.http import BODILESS, BytesBody
from edgesim.model.outbound import PORTS, SELF, is_localhost, is_special, parse_address, parse_allowed_host
from edgesim.wasm.outbound import OutboundError, OutboundResponse

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from types import SimpleNamespace

    from aiohttp.abc import ResolveResult

    from edgesim.model.http import Body, Headers
    from edgesim.model.ids import AppName, PopId
    from edgesim.wasm.outbound import OutboundRequest

MAX_HOPS: Final = 4
"""Workers that one request may pass: a worker that calls itself through the front door ends here."""
MAX_CONNECTIONS: Final = 4096
"""Of a process, in each pool; more wait, within their connect timeout."""
CONNECT_S: Final = 30.0
FIRST_BYTE_S: Final = 600.0
BETWEEN_BYTES_S: Final = 600.0
"""Where the guest sets no timeout; wasmtime's are 600 s too, and the worker's wall-clock limit ends it sooner."""
DNS_S: Final = 10.0
_LOOP_FIELD: Final = "cdn-loop"
_CDN_ID: Final = "edgesim"
_LEFT_OUT: Final = frozenset({"expect", _LOOP_FIELD, "host"})
_FROM_CLIENTS: Final = frozenset({"forwarded", "x-forwarded-for"})
"""Where a client is: not a worker's to say when it calls its own app."""
_SKIPPED: Final = ("User-Agent", "Accept", "Accept-Encoding", "Content-Type")


class _Destination(NamedTuple):
    """Where a request goes."""

    url: str
    host: str | None
    """What the Host field says, if it is not the URL's."""
    literal: bool
    """The manifest names this very address."""


class OutboundNetwork:
    """The connections of one process. Make it on the loop that it serves, and close it there."""

    def __init__(self, front_door: str) -> None:
        """`front_door` is its base URL."""
        self.front_door = URL(front_door)
        self.public = _session(guarded=True)
        self.literal = _session(guarded=False)

    def worker(self, app: AppName, pop: PopId, allowed: Sequence[str]) -> WorkerOutbound | None:
        """What the guests of a worker at a PoP get; None when they may send requests to nobody."""
        return WorkerOutbound(self, app, pop, allowed) if allowed else None

    async def close(self) -> None:
        """Close every connection."""
        await self.public.close()
        await self.literal.close()


class WorkerOutbound:
    """What one worker is allowed: a `wasm.guest.Outbound`."""

    def __init__(self, network: OutboundNetwork, app: AppName, pop: PopId, allowed: Sequence[str]) -> None:
        self._network = network
        self._pop = pop
        self._own_host = f"{app}.{pop}.localhost"
        self._allowed = [parse_allowed_host(entry) for entry in allowed]

    async def open(self, request: OutboundRequest, hops: Headers) -> OutboundResponse:
        """Send a request. See `wasm.guest.Outbound`."""
        count = _hop_count(hops)
        if count >= MAX_HOPS:
            raise OutboundError("loop-detected")
        destination = self._destination(request)
        fields = to_multidict(tuple((n, v) for n, v in request.headers if n not in _LEFT_OUT))
        if "content-length" in fields:
            fields["content-length"] = fields[
                "content-length"
            ]  # once: the same value twice is as good as a smuggled one
        if destination.host is not None:
            fields["Host"] = destination.host
            for name in _FROM_CLIENTS:
                fields.popall(name, None)
            fields[INSIDE] = self._pop
        fields[_LOOP_FIELD] = ", ".join([*(v for n, v in hops if n == _LOOP_FIELD), _CDN_ID])
        session = self._network.literal if destination.literal else self._network.public
        return await _exchange(session, URL(destination.url, encoded=True), fields, request)

    def _destination(self, request: OutboundRequest) -> _Destination:
        """Where it goes. Raises OutboundError when nobody allows that."""
        if not request.target.startswith("/"):
            raise OutboundError("HTTP-request-URI-invalid")
        host, port = _split_authority(request.authority or "self", request.scheme)
        if request.authority is None or host in SELF:
            if not any(entry.allows_self(request.scheme) for entry in self._allowed):
                raise OutboundError("HTTP-request-denied")
            base = self._network.front_door
            return _Destination(f"{base.origin()}{request.target}", f"{self._own_host}:{base.port}", literal=True)
        if not any(entry.allows(request.scheme, host, port) for entry in self._allowed):
            raise OutboundError("HTTP-request-denied")
        literal = any(entry.names(request.scheme, host, port) for entry in self._allowed)
        address = parse_address(host)
        if address is not None and not literal and is_special(address):
            raise OutboundError("destination-IP-prohibited")
        shown = f"[{host}]" if ":" in host else host
        return _Destination(f"{request.scheme}://{shown}:{port}{request.target}", None, literal)


def _split_authority(authority: str, scheme: str) -> tuple[str, int]:
    """Host in lowercase without brackets, and port. The guest's setters have checked its form."""
    if authority.startswith("["):
        host, _, port = authority[1:].partition("]")
        if parse_address(host) is None:
            raise OutboundError("HTTP-request-URI-invalid")
    else:
        host, _, port = authority.partition(":")
    digits = port.lstrip(":")
    return host.lower(), int(digits) if digits else PORTS[scheme]


def _hop_count(hops: Headers) -> int:
    """How many workers of this edge have forwarded the request: cdn-ids of CDN-Loop, without their parameters."""
    ids = (part.partition(";")[0].strip() for n, v in hops if n == _LOOP_FIELD for part in v.split(","))
    return sum(cdn == _CDN_ID for cdn in ids)


# -- one exchange -------------------------------------------------------------------------------------------------------


class _Clock:
    """Times the phases of a request: until there is a connection, then until the first byte of the answer."""

    def __init__(self, request: OutboundRequest, timer: asyncio.Timeout) -> None:
        self._first_byte_s = request.first_byte_timeout_s
        self._timer = timer
        self.connected = False

    def on_connected(self) -> None:
        """There is a connection: from here it is the server's time."""
        self.connected = True
        seconds = FIRST_BYTE_S if self._first_byte_s is None else self._first_byte_s
        self._timer.reschedule(asyncio.get_running_loop().time() + seconds)


class _Upload:
    """The guest's body as aiohttp sends it."""

    def __init__(self, body: Body) -> None:
        self._body = body
        self.error: OutboundError | None = None
        """Why the guest's body broke off; it is the whole request's error then."""

    def payload(self) -> TrailedPayload:
        """For aiohttp's `data`."""
        return TrailedPayload(self._chunks(), self._body)

    async def _chunks(self) -> AsyncIterator[bytes]:
        """The body. The guest is told when nobody reads it any more."""
        try:
            while (chunk := await self._body.next()) is not None:
                yield chunk
        except OutboundError as exc:
            self.error = exc
            raise
        finally:
            self._body.close()


async def _exchange(
    session: aiohttp.ClientSession, url: URL, fields: Any, request: OutboundRequest
) -> OutboundResponse:
    """Send, and wait for the head of the answer. Raises OutboundError."""
    body = request.body
    upload = None if body is None or isinstance(body, bytes) else _Upload(body)
    timer = asyncio.timeout(CONNECT_S if request.connect_timeout_s is None else request.connect_timeout_s)
    clock = _Clock(request, timer)
    try:
        async with timer:
            answer = await session.request(
                request.method,
                url,
                headers=fields,
                data=body if upload is None else upload.payload(),
                allow_redirects=False,
                skip_auto_headers=_SKIPPED,
                trace_request_ctx=clock,
            )
    except (aiohttp.ClientError, OSError, ValueError) as exc:
        if timer.expired():
            raise OutboundError("connection-read-timeout" if clock.connected else "connection-timeout") from exc
        if upload is not None and upload.error is not None:
            raise upload.error from exc
        raise outbound_error(exc) from exc
    if answer.status == 101:
        answer.close()
        raise OutboundError("HTTP-upgrade-failed")
    between_s = BETWEEN_BYTES_S if request.between_bytes_timeout_s is None else request.between_bytes_timeout_s
    content: Body = _AnswerBody(answer, between_s, upload)
    if request.method == "HEAD" or answer.status in BODILESS:
        content.close()
        content = BytesBody(b"")
    return OutboundResponse(status=answer.status, headers=fields_of(answer), body=content, trailers=content.trailers)


class _AnswerBody:
    """The body of an answer that is still coming."""

    __slots__ = ("_answer", "_between_s", "_upload")

    def __init__(self, answer: aiohttp.ClientResponse, between_s: float, upload: _Upload | None) -> None:
        self._answer = answer
        self._between_s = between_s
        self._upload = upload

    async def next(self) -> bytes | None:
        """The next chunk. Raises OutboundError when the sender fails or is silent for too long."""
        try:
            async with asyncio.timeout(self._between_s):
                return await next_chunk(self._answer)
        except TimeoutError as exc:
            self._answer.close()
            raise OutboundError("connection-read-timeout") from exc
        except (aiohttp.ClientError, OSError) as exc:
            self._answer.close()
            if self._upload is not None and self._upload.error is not None:
                raise self._upload.error from exc
            raise outbound_error(exc) from exc

    def trailers(self) -> Headers:
        """What came after it."""
        return self._answer.trailers() if isinstance(self._answer, TrailedAnswer) else ()

    def close(self) -> None:
        """Give the connection back when the body was read to its end, else drop it."""
        if self._answer.content.at_eof():
            self._answer.release()
        else:
            self._answer.close()


# -- connections --------------------------------------------------------------------------------------------------------


def _session(*, guarded: bool) -> aiohttp.ClientSession:
    trace = aiohttp.TraceConfig()
    trace.on_connection_create_end.append(_connected)
    trace.on_connection_reuseconn.append(_connected)
    connector = aiohttp.TCPConnector(
        limit=MAX_CONNECTIONS,
        resolver=_Resolver(guarded=guarded),
        socket_factory=_guarded_socket if guarded else None,
        use_dns_cache=guarded,
    )
    return aiohttp.ClientSession(
        connector=complete(connector),
        response_class=TrailedAnswer,
        auto_decompress=False,
        timeout=aiohttp.ClientTimeout(total=None),
        cookie_jar=aiohttp.DummyCookieJar(),
        trace_configs=[trace],
        read_bufsize=1 << 16,
        max_line_size=FIELD_BYTES_MAX,
        max_field_size=FIELD_BYTES_MAX,
        max_headers=FIELDS_MAX,
    )


async def _connected(_session: aiohttp.ClientSession, context: SimpleNamespace, _params: object) -> None:
    context.trace_request_ctx.on_connected()


def _guarded_socket(info: Any) -> socket.socket:
    """A socket for an address that is about to be connected to. Raises ProhibitedAddressError."""
    family, kind, protocol, _, address = info
    if is_special(ip_address(address[0])):
        raise ProhibitedAddressError(address[0])
    made = socket.socket(family, kind, protocol)
    made.setblocking(False)
    return made


class _Resolver(AbstractResolver):
    """The operating system's resolver within a time; `localhost` is always this machine (RFC 6761 §6.3)."""

    def __init__(self, *, guarded: bool) -> None:
        self._guarded = guarded
        self._system = aiohttp.ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """The addresses of a name; for the guarded pool those that are public. Raises OSError, OutboundError."""
        if is_localhost(host):
            found = [_result(host, "127.0.0.1", port, socket.AF_INET), _result(host, "::1", port, socket.AF_INET6)]
        else:
            try:
                async with asyncio.timeout(DNS_S):
                    found = await self._system.resolve(host, port, family)
            except TimeoutError as exc:
                raise OutboundError("DNS-timeout") from exc
        if not self._guarded:
            return found
        public = [each for each in found if not is_special(ip_address(each["host"]))]
        if found and not public:
            raise ProhibitedAddressError(host)
        return public

    async def close(self) -> None:
        """Nothing is held."""


def _result(host: str, address: str, port: int, family: socket.AddressFamily) -> ResolveResult:
    return {"hostname": host, "host": address, "port": port, "family": family, "proto": 0, "flags": 0}
