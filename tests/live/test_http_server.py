"""The HTTP server below front door and PoP hosts: malformed and oversize requests, streams and disconnects."""

from __future__ import annotations

import asyncio
import logging

import pytest
from aiohttp import web
from multidict import CIMultiDict

from edgesim.errors import GuestTrapError, RequestError
from edgesim.live import http_server
from edgesim.live.http_server import Listener, TooLargeError, request_body, request_headers, send
from tests.support.request_path import CountedBody, read_all, settled


@pytest.fixture
async def serve():
    """Starts a server with a handler; returns a function that sends bytes and reads to the end of the connection."""
    listeners = []

    async def start(handler):
        listener = await Listener.open(handler, port=0)
        listeners.append(listener)

        async def ask(data, *, until_eof=True):
            reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
            writer.write(data)
            if not until_eof:
                return reader, writer
            try:
                return await asyncio.wait_for(reader.read(), 10.0)
            finally:
                writer.close()

        return ask

    yield start
    for listener in listeners:
        await listener.close(0.0)


def get(path="/", *fields, method="GET", body=b""):
    """A request on a connection that closes."""
    lines = [f"{method} {path} HTTP/1.1", "Host: a", "Connection: close", *fields]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


async def hello(request):
    """A handler."""
    return await send(request, 200, CIMultiDict({"content-type": "text/plain"}), b"hello\n")


@pytest.mark.parametrize(
    "data",
    [
        b"nonsense\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        get("/", "Content-Length: x"),
        get("/", "Content-Length: 1", "Transfer-Encoding: chunked"),
        get("/", "Bad Name: x"),
        get("/" + "a" * 9000),
        get("/", "X-Long: " + "a" * 20000),
        get("/", *[f"X-{n}: v" for n in range(http_server.FIELDS_MAX + 1)]),
    ],
    ids=["line", "version", "length", "both lengths", "name", "long target", "long field", "many fields"],
)
async def test_malformed_requests(serve, data):
    """400 with an error token, in one line, and the connection is closed."""
    ask = await serve(hello)
    answer = await ask(data)

    assert answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.0 400 "))
    assert b"proxy-status: edgesim; error=http_request_error" in answer.lower()
    assert b"Traceback" not in answer
    assert answer.count(b"HTTP/1") == 1


async def test_a_bug_is_logged_and_not_shown(serve, caplog):
    """500 without a traceback; the log has it."""

    async def broken(request):
        raise ZeroDivisionError("secret")

    ask = await serve(broken)
    with caplog.at_level(logging.ERROR):
        answer = await ask(get())

    assert answer.startswith(b"HTTP/1.1 500 ")
    assert b"secret" not in answer
    assert "ZeroDivisionError" in caplog.text


@pytest.mark.parametrize("error", [GuestTrapError("x"), ZeroDivisionError("x")])
async def test_a_stream_that_breaks_is_cut_off(serve, error, caplog):
    """No end of the chunked body, and no second response written into the first."""

    async def broken(request):
        return await send(request, 200, CIMultiDict(), CountedBody(1, size=5, error=error))

    ask = await serve(broken)
    reader, writer = await ask(get(), until_eof=False)
    with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
        await asyncio.wait_for(reader.readuntil(b"\r\n0\r\n\r\n"), 10.0)
    writer.close()

    assert b"500" not in reader._buffer
    assert ("ZeroDivisionError" in caplog.text) == isinstance(error, ZeroDivisionError)


async def test_a_slow_reader_holds_the_sender_back(serve):
    """Half of 30 MB never leaves the sender while nobody reads; a disconnect then ends it."""
    body = CountedBody(480)

    async def stream(request):
        return await send(request, 200, CIMultiDict(), body)

    ask = await serve(stream)
    _, writer = await ask(get(), until_eof=False)
    await settled(lambda: body.pulled)
    pulled = body.pulled
    writer.transport.abort()
    await settled(lambda: body.closed)

    assert 0 < pulled < 65536 * 240
    assert body.closed == 1


async def test_a_disconnect_cancels_the_handler(serve):
    """Also one that waits and writes nothing."""
    begun, ended = asyncio.Event(), asyncio.Event()

    async def wait(request):
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    ask = await serve(wait)
    _, writer = await ask(get(), until_eof=False)
    await begun.wait()
    writer.transport.abort()
    await asyncio.wait_for(ended.wait(), 10.0)


async def test_bodies_have_a_limit(serve):
    """Announced too large: at once. Chunked: when the limit is passed. Exactly the limit is fine."""
    errors = []

    async def read(request):
        try:
            body = request_body(request, 10)
            data = b"" if body is None else await read_all(body)
        except TooLargeError as error:
            errors.append(error.status)
            data = b"too large"
        return await send(request, 200, CIMultiDict(), data)

    ask = await serve(read)
    chunk = b"6\r\nabcdef\r\n"
    answers = [
        await ask(get("/", "Content-Length: 11", method="POST", body=b"a" * 11)),
        await ask(get("/", "Transfer-Encoding: chunked", method="POST", body=chunk * 2 + b"0\r\n\r\n")),
        await ask(get("/", "Content-Length: 10", method="POST", body=b"a" * 10)),
    ]

    assert [a.rsplit(b"\r\n\r\n", 1)[1] for a in answers] == [b"too large", b"too large", b"a" * 10]
    assert errors == [413, 413]


async def test_a_body_that_is_malformed_midway(serve, caplog):
    """Who reads it hears of it at once; the connection ends after the one answer."""
    begun = asyncio.Event()

    async def handler(request):
        body = request_body(request, 100)
        assert body is not None
        await body.next()
        begun.set()
        try:
            await body.next()
        except RequestError as error:
            return await send(request, error.status, CIMultiDict(), str(error).encode())

    ask = await serve(handler)
    head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    reader, writer = await ask(head + b"3\r\nabc\r\n", until_eof=False)
    await begun.wait()
    writer.write(b"zz\r\nabc\r\n")
    answer = await asyncio.wait_for(reader.read(), 5.0)
    writer.close()

    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.count(b"HTTP/1") == 1
    assert not caplog.records


async def test_fields_that_end_at_this_hop(serve):
    """Hop-by-hop fields, those that Connection names, our own internal ones, and Expect are not passed on."""
    seen = []

    async def look(request):
        seen.append(request_headers(request))
        return web.Response()

    ask = await serve(look)
    await ask(
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close, X-Secret\r\nX-Secret: 1\r\nTE: trailers\r\n"
        b"X-Edgesim-Meta: []\r\nX-Edge-Client-City: Atlantis\r\nX-Kept: 1\r\nx-kept: 2\r\n\r\n"
    )

    assert seen == [(("host", "a"), ("x-kept", "1"), ("x-kept", "2"))]


async def test_leave_to_send_comes_before_the_head_of_a_streamed_answer(serve):
    """A worker may answer before it reads: `100 Continue` in the middle of its answer would be part of the body."""

    async def echo(request):
        return await send(request, 200, CIMultiDict(), request_body(request, 1 << 20))

    ask = await serve(echo)
    data = get("/", "Expect: 100-continue", "Content-Length: 5", method="POST")
    reader, writer = await ask(data, until_eof=False)
    leave = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10.0)
    writer.write(b"hello")
    rest = await asyncio.wait_for(reader.read(), 10.0)
    writer.close()

    assert leave == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert rest.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"hello" in rest
    assert b"100 Continue" not in rest


@pytest.mark.parametrize("streamed", [True, False])
async def test_a_205_has_no_body(serve, streamed):
    """Whatever its sender writes; its length says so, and the connection can go on."""
    body = CountedBody(3) if streamed else b"not wanted"

    async def reset(request):
        return await send(request, 205, CIMultiDict({"content-length": "10"}), body)

    ask = await serve(reset)
    answer = await ask(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" + get())
    heads = answer.lower().split(b"\r\n\r\n")

    assert [head.split(b"\r\n")[0] for head in heads] == [b"http/1.1 205 reset content"] * 2 + [b""]
    assert all(b"content-length: 0" in head for head in heads[:2])
    if streamed:
        assert (body.pulled, body.closed) == (0, 2)
