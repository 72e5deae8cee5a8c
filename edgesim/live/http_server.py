"""What the front door and the PoP hosts share as HTTP servers: bodies in and out, limits, errors of the protocol itself.

Low-level aiohttp (`web.Server`): no routing table, no middleware. Handlers are cancelled when their client disconnects.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from aiohttp import HttpVersion11, web
from aiohttp.helpers import rfc822_formatted_time
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.http_parser import HttpRequestParser
from aiohttp.web_protocol import MAX_MSG_QUEUE_SIZE, RequestHandler, _ErrInfo
from multidict import CIMultiDict

from edgesim.errors import EdgesimError, GuestOutputError, RequestError
from edgesim.live.client_fields import PREFIX
from edgesim.live.trailers import Tail, announce, write_trailers
from edgesim.model.http import BODILESS, HOP_BY_HOP

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aiohttp.streams import StreamReader

    from edgesim.model.http import Body, Headers

BACKLOG: Final = 4096
"""With 128, a server that stalls for half a second shows its clients a whole second: SYNs are lost and sent again."""
LINE_BYTES_MAX: Final = 8190
FIELD_BYTES_MAX: Final = 16 * 1024
FIELDS_MAX: Final = 128
KEEPALIVE_S: Final = 75.0
SERVER: Final = "edgesim"
"""The `server` field of answers that bring none; aiohttp would name itself and Python's version."""
SMALL_BYTES: Final = 64 * 1024
"""Bodies up to this go out in one write with their head."""
_log = logging.getLogger(__name__)
_NOT_FORWARDED: Final = HOP_BY_HOP | {"expect"}
_OURS: Final = ("x-edgesim-", PREFIX)
"""No client says these to us."""


class IncomingBody:
    """A request's body, read from the connection as it is asked for, up to a limit."""

    __slots__ = ("_left", "_limit", "_stream", "_tail", "_transport")

    def __init__(
        self,
        stream: StreamReader,
        limit_bytes: int,
        expects_continue: asyncio.WriteTransport | None = None,
        tail: Tail | None = None,
    ) -> None:
        self._stream = stream
        self._tail = tail
        self._transport = expects_continue
        """Set while a client that sent `Expect: 100-continue` waits for leave to send."""
        self._limit = self._left = limit_bytes

    async def next(self) -> bytes | None:
        """The next chunk.

        Raises:
            RequestError: the body is larger than the limit, or broken.
        """
        self.invite()
        try:
            chunk = await self._stream.readany()
        except (web.RequestPayloadError, HttpProcessingError, ConnectionError) as exc:
            raise RequestError("the request body broke off or is malformed") from exc
        if not chunk:
            return None
        self._left -= len(chunk)
        if self._left < 0:
            raise too_large(self._limit)
        return chunk

    def invite(self) -> None:
        """Let a client that waits for leave send its body. Not after the head of the answer, which must come later."""
        if self._transport is not None:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")  # RFC 9110 §10.1.1: this hop's to answer
            self._transport = None

    def trailers(self) -> Headers:
        """What a chunked body ended with."""
        return () if self._tail is None else self._tail.fields

    def close(self) -> None:
        """Nothing: aiohttp drains or closes the connection itself."""


_WAITING: Final = web.RequestKey("waiting body", IncomingBody)
"""Where a request's body stands while its client waits for leave to send it."""


class TooLargeError(RequestError):
    """The request's body is over the limit."""

    code = "E0508"
    status = 413


def too_large(limit_bytes: int) -> TooLargeError:
    """The error for a body beyond `limit_bytes`."""
    return TooLargeError(f"the request body is larger than {limit_bytes} bytes")


def request_headers(request: web.BaseRequest) -> Headers:
    """The end-to-end header fields, names in lowercase. Our own (`x-edgesim-…`, `x-edge-client-…`) are left out."""
    headers = request.headers
    dropped = _NOT_FORWARDED
    if "Connection" in headers:  # RFC 9110 §7.6.1: it names more fields that end here
        named = ",".join(headers.getall("Connection")).lower().split(",")
        dropped = dropped.union(name.strip() for name in named)
    return tuple(
        (name, value)
        for key, value in headers.items()
        if (name := key.lower()) not in dropped and not name.startswith(_OURS)
    )


def request_body(request: web.BaseRequest, limit_bytes: int) -> IncomingBody | None:
    """The request's body, or None when it has none. Raises TooLargeError when it announces too much."""
    if not request.body_exists:
        return None
    if (request.content_length or 0) > limit_bytes:
        raise too_large(limit_bytes)
    waits = request.headers.get("Expect", "").lower() == "100-continue" and request.version >= HttpVersion11
    protocol = request.protocol
    tail = protocol.tail_of(request.content) if isinstance(protocol, _Protocol) else None
    body = IncomingBody(request.content, limit_bytes, request.transport if waits else None, tail)
    if waits:
        request[_WAITING] = body
    return body


async def send(
    request: web.BaseRequest, status: int, headers: CIMultiDict[str], body: bytes | Body
) -> web.StreamResponse:
    """Answer. A body in memory is sent by aiohttp after the handler; a stream is sent here, with back-pressure.

    Raises:
        EdgesimError: the stream failed midway; the connection has been aborted.
        GuestOutputError: it ended before the `content-length` that its sender had announced; likewise.
    """
    headers.setdefault("server", SERVER)
    if status == 205:
        body = _without_body(headers, body)
    if isinstance(body, bytes):
        return _whole(request, status, headers, body)
    if _WAITING in request:  # whoever makes this body may still read the client's
        request[_WAITING].invite()
    response = web.StreamResponse(status=status, headers=headers)
    has_body = request.method != "HEAD" and status not in BODILESS  # RFC 9110 §6.4.1
    announced = headers.get("content-length")
    # For a client of HTTP/1.0 the end of the connection is that of the body.
    chunked = announced is None and has_body and request.version >= HttpVersion11
    if chunked:
        response.enable_chunked_encoding()
        announce(response.headers, body)
    try:
        await response.prepare(request)
        if has_body:
            await _pass_on(body, response, announced)
        if chunked:
            await write_trailers(request.writer, body)
        await response.write_eof()
    except BaseException as exc:
        if isinstance(exc, EdgesimError):  # its status cannot be sent any more
            _log.warning("%s %s: the response broke off: %s", request.method, request.raw_path[:200], exc)
        _cut_off(request, exc, framed=chunked or announced is not None)
        raise
    finally:
        body.close()
    return response


def _whole(request: web.BaseRequest, status: int, headers: CIMultiDict[str], body: bytes) -> web.StreamResponse:
    """An answer whose body is here, for aiohttp to send."""
    if request.method != "HEAD":
        headers.popall("content-length", None)
        if (
            len(body) <= SMALL_BYTES
            and request.version == HttpVersion11
            and request.keep_alive
            and status >= 200
            and status not in (204, 304)
        ):
            return _SmallResponse(status, headers, body)
    return web.Response(status=status, headers=headers, body=body)


def _without_body(headers: CIMultiDict[str], body: bytes | Body) -> bytes:
    """Of a 205, which has no content but, other than 204 and 304, a framing that says so (RFC 9110 §15.3.6)."""
    if not isinstance(body, bytes):
        body.close()
    for name in ("content-length", "content-type"):
        headers.popall(name, None)
    return b""


async def _pass_on(body: Body, response: web.StreamResponse, announced: str | None) -> None:
    """The body of an answer. Raises GuestOutputError unless it is as long as announced, and what `body` raises."""
    sent = 0
    while (chunk := await body.next()) is not None:
        await response.write(chunk)
        sent += len(chunk)
    if announced is not None and announced != str(sent):
        raise GuestOutputError(f"the body has {sent} bytes, content-length says {announced}")


class _SmallResponse(web.StreamResponse):
    """The usual answer: all of it is here and the connection stays open. Takes two thirds of aiohttp's own CPU time.

    Raises ValueError for a field with a line break, which has then got past whoever should have refused it.
    """

    def __init__(self, status: int, headers: CIMultiDict[str], body: bytes) -> None:
        super().__init__(status=status, headers=headers)
        lines = [f"{name}: {value}\r\n" for name, value in headers.items()]
        if body and "content-type" not in headers:
            lines.append("content-type: application/octet-stream\r\n")  # as aiohttp does
        if "date" not in headers:
            lines.append(f"date: {rfc822_formatted_time()}\r\n")
        head = "".join(lines)
        if head.count("\r") != len(lines) or head.count("\n") != len(lines) or "\0" in head:
            raise ValueError("a header field contains a line break or NUL")
        start = f"HTTP/1.1 {status} {self.reason}\r\n{head}content-length: {len(body)}\r\n\r\n"
        self._wire = start.encode(errors="surrogateescape") + body  # foreign bytes go out as they came (PEP 383)

    async def prepare(self, request: web.BaseRequest) -> None:
        """Write head and body."""
        transport = request.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the client has gone")
        transport.write(self._wire)
        self._keep_alive = self._eof_sent = True
        if request.protocol.writing_paused:
            await request.writer.drain()

    async def write_eof(self, data: bytes = b"") -> None:
        """Nothing is left to write."""


def _cut_off(request: web.BaseRequest, error: BaseException, *, framed: bool) -> None:
    """End the connection of an answer that breaks off, so that the client does not take what it has for the whole.

    Where the framing tells it so, after what has been written; else, and for what nobody has foreseen, by a reset.
    """
    transport = request.transport
    if not (framed and isinstance(error, EdgesimError)):
        abort(request)
    elif transport is not None and not transport.is_closing():
        request.writer.send_headers()
        transport.close()


def abort(request: web.BaseRequest) -> None:
    """Reset the client's connection."""
    if request.transport is not None:
        request.transport.abort()


def to_multidict(headers: Headers) -> CIMultiDict[str]:
    """Header fields for aiohttp, without those that end at a hop."""
    fields: CIMultiDict[str] = CIMultiDict()
    for name, value in headers:
        if name not in HOP_BY_HOP:
            fields.add(name, value)
    return fields


class _Protocol(RequestHandler):
    """Answers requests that aiohttp cannot parse in the edge's own words, and tells readers of a body that it is malformed."""

    tail: Tail | None = None
    """Of the last request, if its body is chunked."""

    def data_received(self, data: bytes) -> None:
        """Parse. Of what is wrong within a body aiohttp 3.14 makes a malformed request after it, and its reader waits on."""
        known = len(self._messages)
        super().data_received(data)
        if len(self._messages) > known:
            message, stream = self._messages[-1]
            if isinstance(message, _ErrInfo):
                self._refuse_body()
            else:
                self.tail = Tail(stream) if message.chunked else None
        if self.tail is not None and self.tail.add(data):
            # aiohttp 3.14 makes the last trailer of a request a field of the next one, which on the hop is somebody else's.
            self._parser = HttpRequestParser(
                self,
                self._loop,
                self._read_bufsize,
                max_line_size=self.max_line_size,
                max_field_size=self.max_field_size,
                max_headers=self.max_headers,
                payload_exception=web.RequestPayloadError,
                auto_decompress=False,
                max_msg_queue_size=MAX_MSG_QUEUE_SIZE,
            )

    def tail_of(self, stream: StreamReader) -> Tail | None:
        """Of a request's body; None when it is not chunked, or its client has sent another request since."""
        tail = self.tail
        return tail if tail is not None and tail.stream is stream else None

    def _refuse_body(self) -> None:
        """What cannot be parsed follows the request before it, or is in its body."""
        before = self._messages[-2][1] if len(self._messages) > 1 else self._body_in_hand()
        if before is not None and not before.is_eof():
            before.set_exception(web.RequestPayloadError("malformed body"))
            self._lingering_time = 0.0  # nothing that follows can be understood

    def _body_in_hand(self) -> StreamReader | None:
        """The body of the request that is being answered."""
        return None if self._current_request is None else self._current_request.content

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The response for a malformed request or an internal error; never a traceback."""
        transport = request.transport
        if transport is None or transport.is_closing() or request.writer.output_size > 0:
            # The answer has broken off; another one must not be written into its body.
            if exc is not None and not isinstance(exc, EdgesimError | ConnectionError):
                self.log_exception("Error in the middle of a response", exc_info=exc)
            if transport is not None and not transport.is_closing():
                abort(request)
            raise ConnectionError("the response has broken off") from exc
        if status >= 500:  # a fault of ours: logged, not shown
            self.log_exception("Error handling request", exc_info=exc)
            token, text = "proxy_internal_error", "an internal error; see the log"
        else:
            token, text = "http_request_error", (message or str(exc) or "malformed request").split("\n", 1)[0]
        response = web.Response(status=status, text=f"{status}: {text}\n")
        response.headers["proxy-status"] = f"edgesim; error={token}"
        response.headers["server"] = SERVER
        response.force_close()
        return response


class EdgeServer(web.Server):
    """aiohttp's low-level server with the edge's limits and errors.

    A PoP host is behind the front door: it takes a little more, so that what the front door lets through, with the hop's
    own fields, is never malformed there and mistaken for a dead PoP.
    """

    def __init__(
        self, handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]], *, behind_door: bool = False
    ) -> None:
        super().__init__(
            handler,
            handler_cancellation=True,
            access_log=None,
            auto_decompress=False,  # a coded body is the worker's, byte for byte; the edge neither looks into it nor inflates it
            max_line_size=LINE_BYTES_MAX + behind_door * 1024,
            max_field_size=FIELD_BYTES_MAX + behind_door * 1024,
            max_headers=FIELDS_MAX + behind_door * 16,
            keepalive_timeout=KEEPALIVE_S,
        )

    def __call__(self) -> RequestHandler:
        """A protocol for one connection."""
        return _Protocol(self, loop=self._loop, **self._kwargs)


class Listener:
    """A server on a loopback port."""

    def __init__(self, server: EdgeServer, sockets: asyncio.Server) -> None:
        self._server = server
        self._sockets = sockets
        self.port: int = sockets.sockets[0].getsockname()[1]

    @classmethod
    async def open(
        cls,
        handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]],
        *,
        port: int,
        host: str = "127.0.0.1",
        behind_door: bool = False,
    ) -> Listener:
        """Listen on `port`, 0 for any free one; `behind_door` for a PoP host's (see EdgeServer)."""
        server = EdgeServer(handler, behind_door=behind_door)
        sockets = await asyncio.get_running_loop().create_server(server, host, port, backlog=BACKLOG)
        return cls(server, sockets)

    async def close(self, drain_s: float = 5.0) -> None:
        """Stop listening, let the requests in flight end, then close the connections."""
        self._sockets.close()
        self._server.pre_shutdown()  # idle connections end now; without it each is waited for
        await self._server.shutdown(drain_s)
