"""Requests without a body, served past aiohttp's request objects: its parser before them, one write after them.

What aiohttp makes of a request (a task between tasks, a request, a writer, a response) costs several times what parsing it
does. A plain request on a connection that stays open needs none of that. Which one is plain is decided here, by what aiohttp's
parser has found; all others go aiohttp's way, on the same connection and in their order (`http_server.py`). Limits, malformed
requests, pipelining, keep-alive and shutdown are aiohttp's own in both cases.
"""

from __future__ import annotations

import asyncio
from functools import lru_cache
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from aiohttp import HttpVersion11, web
from aiohttp.http_writer import StreamWriter
from aiohttp.streams import EMPTY_PAYLOAD
from aiohttp.web_protocol import _ErrInfo

from edgesim.live.http_server import _NOT_FORWARDED, _OURS, BACKLOG, EdgeServer, Listener, _Protocol
from edgesim.model.http import HOP_BY_HOP

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from aiohttp.http_parser import RawRequestMessage

    from edgesim.model.http import Headers

    Answer: TypeAlias = Coroutine[Any, Any, bytes | web.StreamResponse]
    """A whole answer as it goes over the wire (`wire`), or one of aiohttp's, sent already or not."""
    Quick: TypeAlias = "Callable[[QuickRequest], Answer | None]"
    """Serves a plain request; None leaves it to the other handler."""

_NOT_SENT: Final = HOP_BY_HOP | {"content-length"}
_STARTS: Final = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n" for status in HTTPStatus}


class QuickRequest:
    """A request with nothing unusual: HTTP/1.1, no body, no field that ends at this hop."""

    __slots__ = ("_message", "_protocol", "_whole", "headers", "method", "ours", "target")

    version: Final = HttpVersion11

    def __init__(
        self, message: RawRequestMessage, protocol: QuickProtocol, headers: Headers, ours: dict[str, str]
    ) -> None:
        self._message = message
        self._protocol = protocol
        self._whole: web.BaseRequest | None = None
        self.method: str = message.method
        self.target: str = message.path
        self.headers = headers
        """All fields but ours, names in lowercase."""
        self.ours = ours
        """The fields that no client may send (`x-edgesim-…`, `x-edge-client-…`), each one's first value."""

    @property
    def transport(self) -> asyncio.Transport | None:
        """The client's connection; None when it has gone."""
        return self._protocol.transport

    def whole(self) -> web.BaseRequest:
        """The object that aiohttp has, for an answer that needs more than one write."""
        if self._whole is None:
            self._whole = self._protocol.whole(self._message)
        return self._whole


_THEIRS, _UNUSUAL, _OWN = "theirs", "unusual", "own"


@lru_cache(1024)
def _name(key: str) -> tuple[str, str]:
    """A field's name in lowercase, and what kind of field it is."""
    name = key.lower()
    return name, _UNUSUAL if name in _NOT_FORWARDED else _OWN if name.startswith(_OURS) else _THEIRS


def _plain(message: RawRequestMessage, protocol: QuickProtocol) -> QuickRequest | None:
    """The request, if it is plain."""
    if message.should_close or message.upgrade or message.version != HttpVersion11:
        return None
    headers: list[tuple[str, str]] = []
    ours: dict[str, str] = {}
    for key, value in message.headers.items():
        name, kind = _name(key)
        if kind is _THEIRS:
            headers.append((name, value))
        elif kind is _UNUSUAL:
            return None
        else:
            ours.setdefault(name, value)
    return QuickRequest(message, protocol, tuple(headers), ours)


def wire(status: int, headers: Headers, body: bytes, *more: tuple[str, str]) -> bytes:
    """An answer with a body (not for HEAD, 1xx, 204 or 304) that leaves the connection open, as one piece.

    Raises ValueError for a field with a line break, which has then got past whoever should have refused it.
    """
    return b"%b%bcontent-length: %d\r\n\r\n%b" % (_head(status, headers), _fields(more), len(body), body)


@lru_cache(256)
def _head(status: int, headers: Headers) -> bytes:
    """Status line and fields: most workers answer with few different heads."""
    start = _STARTS.get(status) or f"HTTP/1.1 {status} \r\n"
    return start.encode() + _fields(headers)


def _fields(headers: Headers) -> bytes:
    lines = [f"{name}: {value}\r\n" for name, value in headers if name not in _NOT_SENT]
    text = "".join(lines)
    if text.count("\r") != len(lines) or text.count("\n") != len(lines) or "\0" in text:
        raise ValueError("a header field contains a line break or NUL")
    return text.encode(errors="surrogateescape")  # foreign bytes go out as they came (PEP 383)


class QuickProtocol(_Protocol):
    """One connection. While a plain request is served, aiohttp's own task for the connection sleeps as if there were none."""

    def __init__(self, server: QuickServer, quick: Quick, loop: asyncio.AbstractEventLoop, **settings: Any) -> None:
        super().__init__(server, loop=loop, **settings)
        self._quick = quick
        self._task: asyncio.Task[None] | None = None
        """Of the plain request that is being served."""

    def data_received(self, data: bytes) -> None:
        """Parse; whose turn it is to serve what was found is decided here, so aiohttp must not wake its task."""
        waiter, self._waiter = self._waiter, None
        super().data_received(data)
        self._waiter = waiter
        if self._task is None:
            self._next()

    def _next(self) -> None:
        """Serve the next request, or wake the task that does."""
        waiter = self._waiter
        if not self._messages or waiter is None or waiter.done():  # nothing to do, or aiohttp's task is at work
            return
        message, payload = self._messages[0]
        if payload is EMPTY_PAYLOAD and not isinstance(message, _ErrInfo):
            request = _plain(message, self)
            answer = None if request is None else self._quick(request)
            if request is not None and answer is not None:
                self._messages.popleft()
                self._request_in_progress = True
                self._task = self._loop.create_task(self._serve(request, answer))
                if self._parser is not None:
                    self._parser.message_consumed()
                if self._buffer_paused and len(self._messages) <= self._msg_queue_resume_size:
                    self._resume_reading_if_drained()
                return
        waiter.set_result(None)

    async def _serve(self, request: QuickRequest, answer: Answer) -> None:
        """Answer one request; the connection ends with whatever goes wrong in the middle of an answer."""
        keep = False
        try:
            try:
                found = await answer
            except ConnectionError:
                raise
            except Exception as exc:  # noqa: BLE001 - as aiohttp does: the client gets a 500, the log the traceback
                found = self.handle_error(request.whole(), 500, exc)
            if isinstance(found, bytes):
                if self.transport is not None:
                    self.transport.write(found)
                    keep = True
                if self.writing_paused:
                    await self._drain_helper()
            else:
                await found.prepare(request.whole())
                await found.write_eof()
                keep = bool(found.keep_alive)
        except ConnectionError:  # the client has gone, or was cut off
            pass
        finally:
            self._served(keep=keep)

    def _served(self, *, keep: bool) -> None:
        """The connection is free again."""
        self._task = None
        self._request_in_progress = False
        if self._handler_waiter is not None and not self._handler_waiter.done():
            self._handler_waiter.set_result(None)  # `shutdown` waits for it
        if self.transport is None:
            return
        if not keep or self._close or self._force_close:
            self.force_close()
            return
        self._next_keepalive_close_time = self._loop.time() + self._keepalive_timeout
        if self._keepalive_handle is None:
            self._keepalive_handle = self._loop.call_at(self._next_keepalive_close_time, self._process_keepalive)
        if self._messages:
            self._next()

    def _process_keepalive(self) -> None:
        """An idle connection ends; one that serves a plain request only looks idle to aiohttp."""
        if self._task is None:
            super()._process_keepalive()
        else:
            self._keepalive_handle = None

    def connection_lost(self, exc: BaseException | None) -> None:
        """The client has gone: what it asked for is cancelled."""
        super().connection_lost(exc)
        if self._task is not None:
            self._task.cancel()

    def whole(self, message: RawRequestMessage) -> web.BaseRequest:
        """Aiohttp's own object for the request that is being served."""
        assert self._task is not None
        return web.BaseRequest(message, EMPTY_PAYLOAD, self, StreamWriter(self, self._loop), self._task, self._loop)


class QuickServer(EdgeServer):
    """An EdgeServer whose plain requests go to `quick` first."""

    def __init__(
        self,
        handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]],
        quick: Quick,
        *,
        behind_door: bool = False,
    ) -> None:
        super().__init__(handler, behind_door=behind_door)
        self._quick = quick

    def __call__(self) -> QuickProtocol:
        """A protocol for one connection."""
        return QuickProtocol(self, self._quick, self._loop, **self._kwargs)


async def listen(
    handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]],
    quick: Quick,
    *,
    port: int,
    host: str = "127.0.0.1",
    behind_door: bool = False,
) -> Listener:
    """As `Listener.open`, with a way of their own for plain requests."""
    server = QuickServer(handler, quick, behind_door=behind_door)
    sockets = await asyncio.get_running_loop().create_server(server, host, port, backlog=BACKLOG)
    return Listener(server, sockets)
