"""A small HTTP/1.1 client for the load generator: one request at a time per connection, bodies counted and thrown away.

It exists because a general client costs three to five times the CPU per request, and what the generator uses is missing
at the edge. It speaks plain HTTP to one address; no redirects, cookies, compression or pipelining. Everything that a
broken server can do ends as an `Answer` with an `error`, never as an exception.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from time import perf_counter
from typing import TYPE_CHECKING, Final, Literal, cast

import httptools

if TYPE_CHECKING:
    from edgesim.model.http import Headers

HEADER_BYTES_MAX: Final = 64 * 1024
"""Header fields of one response, informational ones included."""

BODY_KEPT_MAX: Final = 1 << 20
"""Bodies beyond this are not looked at."""

Failure = Literal["", "connect", "timeout", "broken", "malformed", "cancelled"]
"""`connect`: no connection; `timeout`: no complete answer in time; `broken`: the connection ended inside the exchange;
`malformed`: not HTTP, or beyond a limit; `cancelled`: the run ended first. Empty: there is a complete answer."""

_IDEMPOTENT: Final = frozenset({"GET", "HEAD", "PUT", "DELETE", "OPTIONS"})


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a request."""

    status: int
    """0 when there is no complete answer."""
    headers: Headers = ()
    body_bytes: int = 0
    error: Failure = ""
    body: bytes | None = None
    """The body, when it was to be kept and is not longer than `BODY_KEPT_MAX`."""
    connect_s: float | None = None
    """Time to open the connection, when this request opened one."""
    retried: bool = False
    """Whether a kept-alive connection turned out to be gone, and a new one was opened (RFC 9112 §9.3.1)."""


def encode_request(method: str, target: str, host: str, headers: Headers = (), body: bytes = b"") -> bytes:
    """A request as it goes over the wire (RFC 9112 §2.1). Fields must not contain line breaks: the loader checks them."""
    lines = [f"{method} {target} HTTP/1.1", f"host: {host}", *(f"{name}: {value}" for name, value in headers)]
    if body or method in {"POST", "PUT"}:
        lines.append(f"content-length: {len(body)}")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


class Connection(asyncio.Protocol):
    """A client connection. `exchange` may be called again after it has returned an answer and while `reusable`."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._parser: httptools.HttpResponseParser | None = None
        self._waiting: asyncio.Future[Answer] | None = None
        self._headers: list[tuple[str, str]] = []
        self._header_bytes = 0
        self._body_bytes = 0
        self._kept: bytearray | None = None
        self._status = 0
        self._in_body = False
        self._until_close = False
        self.received = False
        """Whether a byte of an answer to the current request has come."""
        self.reusable = True

    # -- what the pool calls

    async def exchange(self, data: bytes, *, keep_body: bool = False) -> Answer:
        """Send a request and wait for its answer. The caller bounds the time; on cancellation the connection is dropped."""
        assert self._waiting is None, "one request at a time"
        if self._transport is None or self._transport.is_closing():
            return Answer(0, error="broken")
        self._parser = httptools.HttpResponseParser(self)
        self._header_bytes = self._body_bytes = 0
        self._kept = bytearray() if keep_body else None
        self.received = self._in_body = self._until_close = False
        self._waiting = asyncio.get_running_loop().create_future()
        self._transport.write(data)
        try:
            return await self._waiting
        except asyncio.CancelledError:
            self.abort()
            raise
        finally:
            self._waiting = None

    def abort(self) -> None:
        """Drop the connection at once."""
        self.reusable = False
        if self._transport is not None:
            self._transport.abort()

    # -- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's does not inherit from asyncio's

    def data_received(self, data: bytes) -> None:
        """Feed the parser; bytes that nobody asked for end the connection."""
        if self._parser is None or self._waiting is None or self._waiting.done():
            self.abort()
            return
        self.received = True
        if not self._in_body:
            # Counts the part of the body that shares a packet with the fields too: an upper bound is enough.
            self._header_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._fail("malformed")
            return
        if not self._in_body and self._header_bytes > HEADER_BYTES_MAX and not self._waiting.done():
            self._fail("malformed")

    def connection_lost(self, exc: Exception | None) -> None:
        """End a body that runs until the close (RFC 9112 §6.3), else fail the request."""
        self.reusable = False
        if self._until_close and self._in_body and exc is None:
            self._finish()
        else:
            self._fail("broken")

    # -- httptools

    def on_message_begin(self) -> None:
        """A status line follows."""
        if self._waiting is None or self._waiting.done():
            self.reusable = False  # a second answer to one request: the connection is out of step
            return
        self._headers = []

    def on_header(self, name: bytes, value: bytes) -> None:
        """One field."""
        self._headers.append((name.decode("latin-1").lower(), value.decode("latin-1")))

    def on_headers_complete(self) -> None:
        """The fields are there; the body follows unless the status is informational."""
        assert self._parser is not None
        self._status = self._parser.get_status_code()
        if self._status < 200:
            return
        self._in_body = True
        names = {name for name, _ in self._headers}
        self._until_close = not names & {"content-length", "transfer-encoding"}

    def on_body(self, body: bytes) -> None:
        """Count, and forget unless somebody wants to see it."""
        self._body_bytes += len(body)
        if self._kept is not None and self._body_bytes <= BODY_KEPT_MAX:
            self._kept += body

    def on_message_complete(self) -> None:
        """The answer is whole."""
        assert self._parser is not None
        if self._status < 200:  # 100 or 103: the real answer follows (RFC 9110 §15.2)
            return
        self.reusable = self.reusable and bool(self._parser.should_keep_alive())
        self._finish()

    def _finish(self) -> None:
        self._in_body = False
        if self._waiting is not None and not self._waiting.done():
            whole = self._kept is not None and self._body_bytes <= BODY_KEPT_MAX
            kept = bytes(self._kept or b"") if whole else None
            self._waiting.set_result(Answer(self._status, tuple(self._headers), self._body_bytes, body=kept))
        if not self.reusable and self._transport is not None:
            self._transport.close()

    def _fail(self, error: Failure) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(Answer(0, error=error))
        self.abort()


class Pool:
    """Keep-alive connections of one place to one server, at most `limit` of them; who finds none free waits in line."""

    def __init__(self, host: str, port: int, *, limit: int, sources: tuple[str, ...] = ()) -> None:
        """Describe the pool; connections open when they are needed.

        Args:
            host: IP address of the server.
            port: its port.
            limit: most connections at a time.
            sources: addresses of this machine that connections come from, taken in turn; none lets the system choose.
        """
        self._host = host
        self._port = port
        self._sources = sources
        self._opened = 0
        self._free = asyncio.Semaphore(limit)
        self._idle: list[Connection] = []

    async def send(self, method: str, data: bytes, timeout_s: float, *, keep_body: bool = False) -> Answer:
        """Send a request over an idle or a new connection.

        Args:
            method: for the decision whether it may be sent a second time.
            data: what `encode_request` returned.
            timeout_s: longest time until the answer is complete, the wait for a connection included.
            keep_body: whether the answer's body is to be looked at.
        """
        try:
            async with asyncio.timeout(timeout_s), self._free:
                return await self._send(method, data, keep_body)
        except TimeoutError:
            return Answer(0, error="timeout")

    def close(self) -> None:
        """Drop the idle connections."""
        for connection in self._idle:
            connection.abort()
        self._idle.clear()

    async def _send(self, method: str, data: bytes, keep_body: bool) -> Answer:  # noqa: FBT001
        retried = False
        while self._idle:
            connection = self._idle.pop()
            if not connection.reusable:
                continue
            answer = await self._exchange(connection, data, keep_body)
            if answer.error != "broken" or connection.received or method not in _IDEMPOTENT:
                return answer
            # The server closed a kept-alive connection while this request was on its way. Tried again once, newly opened.
            retried = True
            break
        began_s = perf_counter()
        try:
            connection = await self._open()
        except OSError:
            return Answer(0, error="connect", retried=retried)
        connect_s = perf_counter() - began_s
        answer = await self._exchange(connection, data, keep_body)
        return replace(answer, connect_s=connect_s, retried=retried)

    async def _exchange(self, connection: Connection, data: bytes, keep_body: bool) -> Answer:  # noqa: FBT001
        answer = await connection.exchange(data, keep_body=keep_body)
        if connection.reusable and not answer.error:
            self._idle.append(connection)
        return answer

    async def _open(self) -> Connection:
        source = (self._sources[self._opened % len(self._sources)], 0) if self._sources else None
        self._opened += 1
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(Connection, self._host, self._port, local_addr=source)
        return connection
