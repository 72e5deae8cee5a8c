"""Origins: the built-in one and a server of the operator's that is slow, dead, or breaks off."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest
from aiohttp import web

from edgesim.core.pop import Pop
from edgesim.errors import OriginError, OriginTimeoutError, RequestError
from edgesim.live.http_server import Listener
from edgesim.live.origin import LiveOrigins
from edgesim.model.geo import LatLon
from edgesim.model.http import BytesBody
from edgesim.model.topology import OriginSpec
from tests.support.request_path import BERLIN, CountedBody, read_all, request, spec

POP = Pop(spec())


class Near:
    """An origin next door."""

    def pop_origin_rtt_s(self, pop, origin):
        """Nothing."""
        return 0.0


@pytest.fixture
async def fetch():
    """Starts an origin with a handler; returns a function that fetches through it."""
    session = aiohttp.ClientSession(auto_decompress=False)
    listeners = []

    async def start(handler=None, *, url="", **changes):
        if handler is not None:
            listeners.append(await Listener.open(handler, port=0))
            url = f"http://127.0.0.1:{listeners[-1].port}"
        kind = "url" if url else "builtin"
        origin = OriginSpec(name="demo", kind=kind, at=LatLon(0.0, 0.0), url=url, **changes)
        origins = LiveOrigins({"demo": origin}, Near(), session, 1.0)

        def fetch(*args, left_s=10.0, **changes):
            now_s = asyncio.get_running_loop().time()
            return origins.fetch_origin(POP, request(*args, now_s=now_s, deadline_s=now_s + left_s, **changes))

        return fetch

    yield start
    await session.close()
    for listener in listeners:
        await listener.close(0.0)


async def test_what_goes_in_and_comes_out(fetch):
    """Method, target, fields and body as the client sent them, plus who forwarded them for whom; the answer as it is."""
    seen = []

    async def handler(request):
        seen.append((request.method, request.raw_path, dict(request.headers), await request.read()))
        return web.Response(status=404, body=b"\x1f\x8b", headers={"Content-Encoding": "gzip", "X-A": "1"})

    fetch = await fetch(handler)
    fields = (("host", "hello.localhost"), ("x-b", "2"))
    response = await fetch("/p?q=%20", method="PUT", headers=fields, body=BytesBody(b"abc"))
    method, path, headers, body = seen[0]

    assert (method, path, body) == ("PUT", "/p?q=%20", b"abc")
    assert {k.lower() for k in headers} == {"host", "x-b", "transfer-encoding", "via", "x-forwarded-for"}
    assert (headers["Via"], headers["X-Forwarded-For"]) == ("1.1 edgesim", BERLIN.address)
    assert (response.status, response.outcome, await read_all(response.body)) == (404, "ok", b"\x1f\x8b")
    assert ("x-a", "1") in response.headers


async def test_a_dead_origin(fetch):
    """Nobody listens: an error that says where."""
    listener = await Listener.open(lambda _: None, port=0)
    url = f"http://127.0.0.1:{listener.port}"
    await listener.close(0.0)
    fetch = await fetch(url=url)
    with pytest.raises(OriginError, match=url):
        await fetch()


async def test_a_slow_origin(fetch):
    """Not by the deadline: a timeout, and the origin's request is dropped."""
    dropped = asyncio.Event()

    async def handler(request):
        try:
            await asyncio.Event().wait()
        finally:
            dropped.set()

    fetch = await fetch(handler)
    with pytest.raises(OriginTimeoutError):
        await fetch(left_s=0.125)
    await asyncio.wait_for(dropped.wait(), 10.0)


async def test_an_origin_that_breaks_off(fetch):
    """Before the head: an error. In the body: the reader gets one."""

    async def handler(request):
        if request.path == "/head":
            request.transport.abort()
            raise asyncio.CancelledError
        response = web.StreamResponse(headers={"Content-Length": "100"})
        await response.prepare(request)
        await response.write(b"abc")
        request.transport.close()
        return response

    fetch = await fetch(handler)
    with pytest.raises(OriginError):
        await fetch("/head")
    response = await fetch("/body")
    with pytest.raises(OriginError, match="in the middle"):
        await read_all(response.body)
    response.body.close()


async def test_an_origin_that_changes_the_protocol(fetch):
    """101 to a request that asked for nothing of the kind: an error of the origin's, and the connection is dropped."""
    dropped = asyncio.Event()

    async def answer(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\nhello")
        await reader.read()
        writer.close()
        dropped.set()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    fetch = await fetch(url=f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    with pytest.raises(OriginError, match="switch protocols"):
        await fetch()
    await asyncio.wait_for(dropped.wait(), 10.0)
    server.close()


async def test_a_client_whose_upload_breaks(fetch):
    """That is not the origin's fault."""

    async def handler(request):
        await request.read()

    fetch = await fetch(handler)
    with pytest.raises(RequestError):
        await fetch(method="POST", body=CountedBody(1, error=RequestError("broke off")))


async def test_the_built_in_origin_has_places(fetch):
    """A document about the request; who finds every place taken waits, at most until the deadline."""
    quick, slow = await fetch(latency_s=0.0, capacity=1), await fetch(latency_s=60.0, capacity=1)
    response = await quick("/x?y")
    first = asyncio.create_task(slow())
    await asyncio.sleep(0)
    with pytest.raises(OriginTimeoutError):
        await slow(left_s=0.0625)
    first.cancel()

    assert b'"path": "/x?y"' in response.body
    assert b'"via": "fra1"' in response.body
