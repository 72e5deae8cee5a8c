"""Trailer fields: across aiohttp's server and client in both directions, and never into the next message of a connection."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest
from multidict import CIMultiDict

from edgesim.live.answers import TrailedAnswer, complete
from edgesim.live.http_client import AnswerBody, Upload
from edgesim.live.http_server import Listener, request_body, request_headers, send
from edgesim.live.trailers import sendable
from edgesim.model.http import BytesBody
from tests.support.request_path import read_all

CHUNKED = b"Transfer-Encoding: chunked\r\n"
SEEN = []
"""What the server's handler was asked: fields, body, trailers."""


async def answer(request):
    """Remember the request; answer with its body and trailers."""
    body = request_body(request, 1 << 20)
    data = b"" if body is None else await read_all(body)
    trailers = () if body is None else body.trailers()
    SEEN.append((request_headers(request), data, trailers))
    return await send(request, 200, CIMultiDict(), BytesBody(data, trailers))


@pytest.fixture
async def port():
    """Of a server that answers so."""
    SEEN.clear()
    listener = await Listener.open(answer, port=0)
    yield listener.port
    await listener.close(0.0)


async def ask(port, *parts, pause=False):
    """Send bytes on one connection and read it to its end."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for part in parts:
        writer.write(part)
        await writer.drain()
        if pause:
            while not SEEN and part != parts[-1]:
                await asyncio.sleep(0)
    data = await asyncio.wait_for(reader.read(), 10.0)
    writer.close()
    return data


POST = b"POST / HTTP/1.1\r\nHost: a\r\n" + CHUNKED + b"Connection: close\r\n\r\n"


@pytest.mark.parametrize("cut", [None, 1, 7, 20])
async def test_both_ways(port, cut):
    """Trailers of a request are read, wherever the network cuts it, and those of an answer are named and sent."""
    data = POST + b'3;a="b: c"\r\nabc\r\n0;x=1\r\nX-Sum: 9\r\nX-Odd:\t\xffd \r\n\r\n'
    parts = [data] if cut is None else [data[:-cut], data[-cut:]]
    got = await ask(port, *parts)

    assert SEEN[0][1:] == (b"abc", (("x-sum", "9"), ("x-odd", "\udcffd")))
    assert b"trailer: x-sum, x-odd\r\n" in got.lower()
    assert got.endswith(b"\r\n3\r\nabc\r\n0\r\nx-sum: 9\r\nx-odd: \xffd\r\n\r\n")


@pytest.mark.parametrize("end", [b"0\r\n\r\n", b"3\r\nabc\r\n0\r\n\r\n", b"f\r\n0\r\nX-Sum: 9\r\n\r\n\r\n0\r\n\r\n"])
async def test_without_trailers(port, end):
    """None, even where the body looks like some."""
    got = await ask(port, POST + end)

    assert SEEN[0][2] == ()
    assert b"trailer" not in got.lower()
    assert got.endswith(b"0\r\n\r\n")


async def test_the_last_trailer_is_not_a_field_of_the_next_request(port):
    """As aiohttp has it: on the hop, the next request is somebody else's."""
    first = b"POST / HTTP/1.1\r\nHost: a\r\n" + CHUNKED + b"\r\n1\r\na\r\n0\r\nX-One: 1\r\nX-Two: 2\r\n\r\n"
    await ask(port, first, b"GET / HTTP/1.1\r\nHost: b\r\nConnection: close\r\n\r\n", pause=True)

    assert [fields for fields, _, _ in SEEN] == [(("host", "a"),), (("host", "b"),)]


async def test_the_client_sends_and_reads_them(port):
    """Streams with trailers, twice over one connection."""
    connector = complete(aiohttp.TCPConnector(limit=1))
    async with aiohttp.ClientSession(connector=connector, response_class=TrailedAnswer) as session:
        for number in "12":
            upload = Upload(BytesBody(b"abc", (("x-number", number), ("content-length", "7"))))
            got = await session.post(f"http://127.0.0.1:{port}/", data=upload.payload())
            body = AnswerBody(got, AssertionError)

            assert await read_all(body) == b"abc"
            assert body.trailers() == (("x-number", number),)


async def test_a_length_leaves_no_room_for_them(port):
    """They are dropped, and the message is whole."""

    async def fixed(request):
        return await send(request, 200, CIMultiDict({"content-length": "3"}), BytesBody(b"abc", (("x-sum", "9"),)))

    listener = await Listener.open(fixed, port=0)
    got = await ask(listener.port, b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    await listener.close(0.0)

    assert got.endswith(b"\r\n\r\nabc")


def test_what_must_not_come_after_a_body():
    """Framing, routing, authentication, the edge's own fields, and what would break out of a line."""
    fields = [
        ("x-ok", "1"),
        ("content-length", "1"),
        ("set-cookie", "a=b"),
        ("x-edge-pop", "x"),
        ("x-bad", "a\r\nb"),
        ("a b", "c"),
    ]

    assert sendable(tuple(fields)) == (("x-ok", "1"),)
