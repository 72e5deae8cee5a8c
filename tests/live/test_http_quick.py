"""Plain requests past aiohttp's objects: what counts as plain, order, disconnects, errors, shutdown."""

from __future__ import annotations

import asyncio
import logging

import pytest
from multidict import CIMultiDict

from edgesim.errors import GuestTrapError
from edgesim.live import http_quick
from edgesim.live.http_server import send
from tests.support.request_path import CountedBody, settled

PLAIN = b"GET /%d HTTP/1.1\r\nHost: a\r\nX-Kept: 1\r\nX-Edgesim-Meta: m\r\n\r\n"


class Server:
    """Both handlers, with what each of them has been asked."""

    def __init__(self):
        self.plain, self.other = [], []
        self.listener = None

    async def answer(self, request):
        """To a plain request, unless the test says something else."""
        return http_quick.wire(200, (("content-type", "text/plain"),), request.target.encode())

    def quick(self, request):
        """Everything but `/other`."""
        if request.target == "/other":
            return None
        self.plain.append(request.target)
        self.request = request
        return self.answer(request)

    async def handle(self, request):
        """What aiohttp makes a request of."""
        self.other.append((request.method, request.raw_path))
        return await send(request, 200, CIMultiDict(), request.raw_path.encode())

    async def connect(self):
        """A connection to it."""
        return await asyncio.open_connection("127.0.0.1", self.listener.port)


@pytest.fixture
async def server():
    """Listens while the test runs."""
    server = Server()
    server.listener = await http_quick.listen(server.handle, server.quick, port=0)
    yield server
    await server.listener.close(0.0)


async def answer_of(reader):
    """Status and body of the next answer."""
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10.0)
    length = next(
        int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")
    )
    return int(head.split()[1]), await reader.readexactly(length)


async def test_plain_requests_one_after_another(server):
    """The connection stays open; our own fields are told apart from the client's."""
    reader, writer = await server.connect()
    answers = []
    for number in range(3):
        writer.write(PLAIN % number)
        answers.append(await answer_of(reader))
    writer.close()

    assert answers == [(200, b"/0"), (200, b"/1"), (200, b"/2")]
    assert server.plain == ["/0", "/1", "/2"]
    assert server.request.headers == (("host", "a"), ("x-kept", "1"))
    assert server.request.ours == {"x-edgesim-meta": "m"}


@pytest.mark.parametrize("size", [1, 7, 64, 4096])
async def test_pipelined_requests_of_both_kinds(server, size):
    """Answered in their order, each once, however they are cut into pieces."""
    other = b"GET /other HTTP/1.1\r\nHost: a\r\n\r\n"
    body = b"POST /%d HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"
    data = PLAIN % 1 + other + PLAIN % 2 + PLAIN % 3 + body % 4 + PLAIN % 5 + other + PLAIN % 6
    reader, writer = await server.connect()
    for at in range(0, len(data), size):
        writer.write(data[at : at + size])
        await asyncio.sleep(0)
    got = [(await answer_of(reader))[1] for _ in range(8)]
    writer.close()

    assert got == [b"/1", b"/other", b"/2", b"/3", b"/4", b"/5", b"/other", b"/6"]
    assert len(server.plain) + len(server.other) == 8
    assert server.plain[0] == "/1"


@pytest.mark.parametrize(
    "request_",
    [
        b"GET / HTTP/1.0\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: x-kept\r\nX-Kept: 1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ],
    ids=["1.0", "close", "named field", "te", "upgrade", "expect", "chunked"],
)
async def test_requests_that_are_not_plain(server, request_):
    """What aiohttp makes a request of."""
    reader, writer = await server.connect()
    writer.write(request_)
    answer = await answer_of(reader)
    writer.close()

    assert answer == (200, b"/")
    assert server.plain == []


@pytest.mark.parametrize("before", [0, 1, 3])
async def test_a_malformed_request_after_plain_ones(server, before):
    """They are answered first; then 400, and the end."""
    reader, writer = await server.connect()
    answers = []
    for _ in range(before):
        writer.write(PLAIN % 1)
        answers.append(await answer_of(reader))
    writer.write(b"nonsense\r\n\r\n")
    rest = await asyncio.wait_for(reader.read(), 10.0)
    writer.close()

    assert answers == [(200, b"/1")] * before
    assert rest.split(b" ", 2)[1] == b"400"
    assert b"proxy-status: edgesim; error=http_request_error" in rest.lower()


async def test_a_disconnect_cancels(server):
    """Also a handler that waits and writes nothing; what is pipelined behind it is never begun."""
    begun, ended = asyncio.Event(), asyncio.Event()

    async def wait(request):
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    server.answer = wait
    _, writer = await server.connect()
    writer.write(PLAIN % 1 + PLAIN % 2)
    await begun.wait()
    writer.transport.abort()
    await asyncio.wait_for(ended.wait(), 10.0)

    assert server.plain == ["/1"]


async def test_a_bug_is_logged_and_not_shown(server, caplog):
    """500 without a traceback; the log has it."""

    async def broken(request):
        raise ZeroDivisionError("secret")

    server.answer = broken
    reader, writer = await server.connect()
    with caplog.at_level(logging.ERROR):
        writer.write(PLAIN % 1)
        answer = await asyncio.wait_for(reader.read(), 10.0)
    writer.close()

    assert answer.startswith(b"HTTP/1.1 500 ")
    assert b"secret" not in answer
    assert "ZeroDivisionError" in caplog.text


async def test_a_handler_that_breaks_the_connection(server):
    """As a dead PoP's does."""

    async def cut(request):
        request.transport.abort()
        raise asyncio.CancelledError

    server.answer = cut
    reader, writer = await server.connect()
    writer.write(PLAIN % 1)
    with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
        await asyncio.wait_for(reader.readexactly(1), 10.0)
    writer.close()


async def test_a_streamed_answer(server):
    """In chunks, and the connection goes on; one that breaks ends it."""

    async def stream(request):
        error = GuestTrapError("x") if request.target == "/2" else None
        return await send(request.whole(), 200, CIMultiDict(), CountedBody(3, size=5, error=error))

    server.answer = stream
    reader, writer = await server.connect()
    writer.write(PLAIN % 1)
    whole = await asyncio.wait_for(reader.readuntil(b"\r\n0\r\n\r\n"), 10.0)
    writer.write(PLAIN % 2)
    with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
        await asyncio.wait_for(reader.readuntil(b"\r\n0\r\n\r\n"), 10.0)
    writer.close()

    assert b"transfer-encoding: chunked" in whole.lower()


async def test_a_slow_reader_holds_the_sender_back(server):
    """Half of 30 MB never leaves the sender while nobody reads; a disconnect then ends it."""
    body = CountedBody(480)

    async def stream(request):
        return await send(request.whole(), 200, CIMultiDict(), body)

    server.answer = stream
    _, writer = await server.connect()
    writer.write(PLAIN % 1)
    await settled(lambda: body.pulled)
    pulled = body.pulled
    writer.transport.abort()
    await settled(lambda: body.closed)

    assert 0 < pulled < 65536 * 240


async def test_shutdown_waits_for_the_answer(server):
    """A request in flight is answered; the connection then ends."""
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def slow(request):
        begun.set()
        await go_on.wait()
        return http_quick.wire(200, (), b"late")

    server.answer = slow
    reader, writer = await server.connect()
    writer.write(PLAIN % 1)
    await begun.wait()
    closing = asyncio.create_task(server.listener.close(10.0))
    await asyncio.sleep(0)
    go_on.set()
    answer = await asyncio.wait_for(reader.read(), 10.0)
    await asyncio.wait_for(closing, 10.0)
    writer.close()

    assert answer.endswith(b"\r\n\r\nlate")


async def test_shutdown_does_not_wait_for_ever(server):
    """After its time what is in flight is cancelled."""
    begun, ended = asyncio.Event(), asyncio.Event()

    async def wait(request):
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    server.answer = wait
    _, writer = await server.connect()
    writer.write(PLAIN % 1)
    await begun.wait()
    await asyncio.wait_for(server.listener.close(0.01), 10.0)
    await asyncio.wait_for(ended.wait(), 10.0)
    writer.close()


async def test_idle_connections_end_and_busy_ones_do_not(server):
    """The time of an idle connection begins with its last answer."""
    go_on = asyncio.Event()

    async def slow(request):
        await go_on.wait()
        return http_quick.wire(200, (), b"late")

    server.answer = slow
    reader, writer = await server.connect()
    writer.write(PLAIN % 1)
    await settled(lambda: server.plain)
    protocol = server.request._protocol
    protocol._next_keepalive_close_time = 0.0
    protocol._process_keepalive()
    go_on.set()
    answer = await answer_of(reader)
    armed = protocol._keepalive_handle is not None
    protocol._next_keepalive_close_time = 0.0
    protocol._process_keepalive()
    rest = await asyncio.wait_for(reader.read(), 10.0)
    writer.close()

    assert answer == (200, b"late")
    assert armed
    assert rest == b""


@pytest.mark.parametrize("field", [("x", "a\r\nb: c"), ("x", "a\nb"), ("x\r\n", "a"), ("x", "a\0b")])
def test_fields_with_line_breaks(field):
    """Nothing gets past that would become a field of its own."""
    with pytest.raises(ValueError, match="line break"):
        http_quick.wire(200, (field,), b"")


def test_what_is_sent():
    """Fields that end at a hop stay here; a length of the guest's does not count; bytes that are no text go out as they came."""
    headers = (("connection", "close"), ("content-length", "9"), ("x", "\udcff"))

    assert http_quick.wire(404, headers, b"body", ("y", "1")) == (
        b"HTTP/1.1 404 Not Found\r\nx: \xff\r\ny: 1\r\ncontent-length: 4\r\n\r\nbody"
    )
    assert http_quick.wire(599, (), b"") == b"HTTP/1.1 599 \r\ncontent-length: 0\r\n\r\n"
