"""The HTTP client against real servers, well-behaved and broken, on both event loops."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from edgesim.live.load.client import HEADER_BYTES_MAX, Answer, Pool, encode_request

GET = encode_request("GET", "/", "test")


@asynccontextmanager
async def serving(
    answer: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]], **options: int
) -> AsyncIterator[Pool]:
    """A pool of connections to a server that answers each connection by hand."""
    handlers: set[asyncio.Task[None]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        handlers.add(task)
        await answer(reader, writer)

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    pool = Pool("127.0.0.1", server.sockets[0].getsockname()[1], limit=options.get("limit", 8))
    try:
        yield pool
    finally:
        pool.close()
        server.close()
        await asyncio.gather(*handlers)
        await server.wait_closed()


def replying(*parts: bytes, then: str = "close") -> Callable[..., Awaitable[None]]:
    """A server that reads one request, writes the parts one after the other, and closes, resets or keeps."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            for part in parts:
                writer.write(part)
                await writer.drain()
                await asyncio.sleep(0)
            if then == "keep":
                await reader.read()
            if then == "reset":
                # Without lingering, closing sends RST.
                sock = writer.get_extra_info("socket")
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    return answer


async def ask(pool: Pool, method: str = "GET", data: bytes = GET, timeout_s: float = 5.0) -> Answer:
    """One request."""
    return await pool.send(method, data, timeout_s)


@pytest.mark.parametrize(
    ("parts", "status", "body_bytes"),
    [
        ((b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", b"he", b"llo"), 200, 5),
        ((b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"3\r\nabc\r\n", b"2\r\nde\r\n0\r\n\r\n"), 200, 5),
        ((b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n",), 500, 0),
        ((b"HTTP/1.1 204 No Content\r\n\r\n",), 204, 0),
        ((b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n",), 304, 0),
        ((b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx"), 200, 1),
        ((b"HTTP/1.0 200 OK\r\n\r\n", b"until ", b"close"), 200, 11),
    ],
)
async def test_complete_answers(parts: tuple[bytes, ...], status: int, body_bytes: int) -> None:
    """Every framing of RFC 9112 §6.3, split over packets."""
    async with serving(replying(*parts)) as pool:
        answer = await ask(pool)

    assert (answer.error, answer.status, answer.body_bytes) == ("", status, body_bytes)


@pytest.mark.parametrize(
    ("parts", "then", "error"),
    [
        ((), "close", "broken"),
        ((), "reset", "broken"),
        ((b"HTTP/1.1 200 OK\r\nContent-Le",), "close", "broken"),
        ((b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe",), "close", "broken"),
        ((b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe",), "reset", "broken"),
        ((b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhe",), "close", "broken"),
        ((b"HTTP/1.0 200 OK\r\n\r\nhe",), "reset", "broken"),
        ((b"SSH-2.0-server\r\n",), "close", "malformed"),
        ((b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",), "keep", "malformed"),
        ((b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx",), "keep", "malformed"),
        ((b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * (HEADER_BYTES_MAX // 4),), "keep", "malformed"),
    ],
)
async def test_broken_answers(parts: tuple[bytes, ...], then: str, error: str) -> None:
    """A connection that ends inside an answer, and what is not HTTP, are outcomes, not exceptions."""
    async with serving(replying(*parts, then=then)) as pool:
        answer = await ask(pool)

    assert (answer.error, answer.status) == (error, 0)


async def test_refused_connection(unused_port: int) -> None:
    """Nobody listens."""
    answer = await ask(Pool("127.0.0.1", unused_port, limit=1))

    assert answer == Answer(0, error="connect")


@pytest.fixture
async def unused_port() -> int:
    """A port that nobody listens on."""
    server = await asyncio.start_server(replying(), "127.0.0.1", 0)
    port: int = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    return port


async def test_timeout_drops_the_connection() -> None:
    """A server that says nothing: the request times out, and its connection is not used again."""
    opened = 0

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal opened
        opened += 1
        await reader.read()
        writer.close()

    async with serving(silent, limit=1) as pool:
        answers = [await ask(pool, timeout_s=0.02) for _ in range(2)]

    assert [a.error for a in answers] == ["timeout", "timeout"]
    assert opened == 2


async def test_connections_are_kept_and_shared() -> None:
    """Sequential requests use one connection; only the one that opened it knows a connect time."""
    ports = set()

    async def hello(request: web.Request) -> web.Response:
        assert request.transport is not None
        ports.add(request.transport.get_extra_info("peername")[1])
        return web.Response(text="hello")

    async with aiohttp_server(hello) as pool:
        answers = [await ask(pool) for _ in range(5)]

    assert [a.status for a in answers] == [200] * 5
    assert len(ports) == 1
    assert [a.connect_s is None for a in answers] == [False, True, True, True, True]


async def test_the_pool_is_bounded_and_first_come_first_served() -> None:
    """Twelve requests over at most three connections all get their answer."""
    gate = asyncio.Event()
    ports = set()

    async def hello(request: web.Request) -> web.Response:
        assert request.transport is not None
        ports.add(request.transport.get_extra_info("peername")[1])
        if len(ports) == 3:
            gate.set()
        await gate.wait()
        return web.Response(text="hello")

    async with aiohttp_server(hello, limit=3) as pool:
        answers = await asyncio.gather(*(ask(pool) for _ in range(12)))

    assert {a.status for a in answers} == {200}
    assert len(ports) == 3


async def test_connection_close_is_obeyed() -> None:
    """After `Connection: close` the next request opens a new connection."""

    async def bye(_: web.Request) -> web.Response:
        response = web.Response(text="bye")
        response.force_close()
        return response

    async with aiohttp_server(bye) as pool:
        answers = [await ask(pool) for _ in range(2)]

    assert [a.status for a in answers] == [200, 200]
    assert all(a.connect_s is not None and not a.retried for a in answers)


@pytest.mark.parametrize(("method", "error"), [("GET", ""), ("POST", "broken")])
async def test_a_stale_connection_is_retried_for_idempotent_requests(method: str, error: str) -> None:
    """The server closed a kept connection while the next request was on its way (RFC 9112 §9.3.1)."""
    connections = 0

    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        try:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            await reader.readuntil(b"\r\n\r\n")  # the second request arrives, and finds nobody
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()

    async with serving(once) as pool:
        await ask(pool)
        answer = await ask(pool, method, encode_request(method, "/", "test"))

    assert answer.error == error
    assert answer.retried is (error == "")
    assert connections == (2 if error == "" else 1)


async def test_a_second_answer_is_never_taken_for_the_next_one() -> None:
    """A server that answers twice: the connection is out of step and must not be used again."""
    twice = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1HTTP/1.1 404 Not Found\r\nContent-Length: 1\r\n\r\n2"
    async with serving(replying(twice, then="keep")) as pool:
        answers = [await ask(pool) for _ in range(2)]

    assert [a.status for a in answers] == [200, 200]
    assert all(a.connect_s is not None for a in answers)


async def test_bodies_are_sent_and_large_ones_received() -> None:
    """A POST arrives whole; a chunked megabyte is counted."""
    received: list[bytes] = []

    async def echo(request: web.Request) -> web.StreamResponse:
        received.append(await request.read())
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        for _ in range(16):
            await response.write(b"x" * 65536)
        return response

    async with aiohttp_server(echo, method="POST") as pool:
        answer = await ask(pool, "POST", encode_request("POST", "/", "test", (("a", "b"),), b"body"))

    assert received == [b"body"]
    assert (answer.status, answer.body_bytes) == (200, 1 << 20)


def test_encoding() -> None:
    """Host, fields, and a length where the method has a body."""
    assert encode_request("GET", "/a?b", "h", (("x", "ÿ"),)) == b"GET /a?b HTTP/1.1\r\nhost: h\r\nx: \xff\r\n\r\n"
    assert encode_request("POST", "/", "h") == b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 0\r\n\r\n"


@asynccontextmanager
async def aiohttp_server(
    handler: Callable[[web.Request], Awaitable[web.StreamResponse]], *, method: str = "GET", limit: int = 8
) -> AsyncIterator[Pool]:
    """A pool of connections to an aiohttp server."""
    app = web.Application()
    app.router.add_route(method, "/", handler)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    pool = Pool("127.0.0.1", runner.addresses[0][1], limit=limit)
    try:
        yield pool
    finally:
        pool.close()
        await runner.cleanup()


async def test_bodies_are_kept_only_when_wanted_and_only_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """A check needs the body; a load test of large files does not."""
    monkeypatch.setattr("edgesim.live.load.client.BODY_KEPT_MAX", 5)
    for body, wanted, kept in ((b"hello", True, b"hello"), (b"hello", False, None), (b"hello!", True, None)):
        head = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body)
        async with serving(replying(head, body)) as pool:
            answer = await pool.send("GET", GET, 5.0, keep_body=wanted)

        assert (answer.body, answer.body_bytes) == (kept, len(body))
