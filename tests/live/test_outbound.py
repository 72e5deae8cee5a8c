"""Requests that workers send: who may be reached, what fails how. Against real servers on loopback."""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web

from edgesim.live import outbound
from edgesim.live.hop import INSIDE
from edgesim.live.outbound import MAX_HOPS, OutboundNetwork
from edgesim.live.outbound_errors import outbound_error
from edgesim.model.ids import AppName, PopId
from edgesim.wasm.guest import RequestPipe
from edgesim.wasm.outbound import OutboundError, OutboundRequest


@asynccontextmanager
async def serving(handler):
    """An HTTP server on a free loopback port; the port."""
    server = web.Server(handler)
    sockets = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0)
    try:
        yield sockets.sockets[0].getsockname()[1]
    finally:
        sockets.close()
        await server.shutdown(0.1)


@asynccontextmanager
async def answering(*lines: bytes, close: bool = True):
    """A server that answers every connection with these bytes, whatever it is asked; the port."""
    writers = []

    async def answer(reader, writer):
        writers.append(writer)
        if lines:
            await reader.readuntil(b"\r\n\r\n")
        writer.writelines(lines)
        if close:
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        for writer in writers:
            writer.close()
        server.close()


@pytest.fixture
async def network():
    """The connections of a process whose front door is nowhere."""
    made = OutboundNetwork("http://127.0.0.1:1")
    yield made
    await made.close()


def worker(network, *allowed):
    """A worker that may reach these hosts."""
    return network.worker(AppName("shop"), PopId("fra1"), allowed)


def get(authority, *, target="/", method="GET", scheme="http", headers=(), body=None, **timeouts) -> OutboundRequest:
    """A request."""
    return OutboundRequest(
        method=method, scheme=scheme, authority=authority, target=target, headers=headers, body=body, **timeouts
    )


async def code_of(opening) -> OutboundError:
    """The error of a request that must fail."""

    async def whole() -> None:
        await read(await opening)

    with pytest.raises(OutboundError) as caught:
        await whole()
    return caught.value


async def read(response) -> bytes:
    """The whole body."""
    parts = []
    while (chunk := await response.body.next()) is not None:
        parts.append(chunk)
    response.body.close()
    return b"".join(parts)


async def test_a_request_and_its_answer(network):
    """Method, target, fields and body arrive; nothing is added but what HTTP and the edge need."""
    seen = {}

    async def handler(request):
        seen.update(
            method=request.method,
            target=request.raw_path,
            headers=list(request.headers.items()),
            body=await request.read(),
        )
        return web.Response(status=201, body=b"made", headers={"X-A": "1", "Content-Type": "text/plain"})

    async with serving(handler) as port:
        request = get(
            f"127.0.0.1:{port}", method="PUT", target="/a%20b?c=%2f", body=b"hello",
            headers=(("x-b", "2"), ("expect", "100-continue"), ("content-length", "5"), ("content-length", "5")),
        )  # fmt: skip
        response = await worker(network, f"http://127.0.0.1:{port}").open(request, (("cdn-loop", "other"),))
        body = await read(response)

    assert (seen["method"], seen["target"], seen["body"]) == ("PUT", "/a%20b?c=%2f", b"hello")
    assert {n.lower(): v for n, v in seen["headers"]} == {
        "host": f"127.0.0.1:{port}", "x-b": "2", "cdn-loop": "other, edgesim", "content-length": "5",
    }  # fmt: skip
    assert len(seen["headers"]) == 4
    assert (response.status, body, dict(response.headers)["x-a"]) == (201, b"made", "1")


async def test_bodies_stream_both_ways(network):
    """The answer begins before the request has ended, and nobody holds a whole body."""

    async def handler(request):
        response = web.StreamResponse()
        await response.prepare(request)
        async for chunk in request.content.iter_any():
            await response.write(chunk)
        return response

    async with serving(handler) as port:
        pipe = RequestPipe(1 << 20)
        pipe.attach(asyncio.get_running_loop())
        pipe.write(b"one")
        response = await worker(network, "*://127.0.0.1:*").open(get(f"127.0.0.1:{port}", method="POST", body=pipe), ())
        first = await response.body.next()
        pipe.write(b"two")
        pipe.finish()
        rest = await read(response)

    assert (first, rest) == (b"one", b"two")
    assert pipe.closed


async def test_a_body_that_breaks_off_is_the_requests_error(network):
    """The server never takes the rest for a whole body."""
    got = []

    async def handler(request):
        try:
            got.append(await request.read())
        except Exception as exc:
            got.append(type(exc).__name__)
        return web.Response()

    async with serving(handler) as port:
        pipe = RequestPipe(1 << 20)
        pipe.attach(asyncio.get_running_loop())
        pipe.write(b"half")
        opening = asyncio.create_task(
            worker(network, "*://127.0.0.1:*").open(get(f"127.0.0.1:{port}", method="POST", body=pipe), ())
        )
        pipe.finish(OutboundError("HTTP-protocol-error"))
        error = await code_of(opening)

    assert error.code == "HTTP-protocol-error"
    assert b"half" not in got


@pytest.mark.parametrize(
    ("allowed", "authority", "code"),
    [
        ((), "127.0.0.1:9", None),
        (("http://example.com",), "example.org", "HTTP-request-denied"),
        (("http://example.com",), "example.com:81", "HTTP-request-denied"),
        (("https://example.com",), "example.com", "HTTP-request-denied"),
        (("*://*:*",), "127.0.0.1:9", "destination-IP-prohibited"),
        (("*://*:*",), "localhost:9", "destination-IP-prohibited"),
        (("*://*:*",), "shop.localhost:9", "destination-IP-prohibited"),
        (("*://*:*",), "[::1]:9", "destination-IP-prohibited"),
        (("*://*:*",), "[::ffff:127.0.0.1]:9", "destination-IP-prohibited"),
        (("*://*:*",), "169.254.169.254", "destination-IP-prohibited"),
        (("*://*:*",), "10.0.0.1", "destination-IP-prohibited"),
        (("*://*:*",), "2130706433", "HTTP-request-URI-invalid"),
        (("*://*:*",), "127.1", "HTTP-request-URI-invalid"),
        (("*://*:*",), "[1]", "HTTP-request-URI-invalid"),
        (("http://self",), "127.0.0.1:9", "HTTP-request-denied"),
        (("http://example.com",), None, "HTTP-request-denied"),
    ],
)
async def test_who_may_be_reached(network, allowed, authority, code):
    """Before a connection is made. Nobody is allowed: there is nothing to call at all."""
    sender = worker(network, *allowed)

    if code is None:
        assert sender is None
        return
    assert (await code_of(sender.open(get(authority), ()))).code == code


class Answers:
    """A resolver whose answers are given."""

    def __init__(self, *addresses):
        self.addresses = addresses

    async def resolve(self, host, port, family):
        """What it was told to say."""
        return [
            {"hostname": host, "host": address, "port": port, "family": socket.AF_INET, "proto": 0, "flags": 0}
            for address in self.addresses
        ]


@pytest.mark.parametrize("allowed", ["*://*:*", "http://evil.example:*"])
async def test_a_name_that_leads_home_is_refused(network, allowed):
    """Whatever allows it: its owner decides what it resolves to."""

    async def handler(request):
        raise AssertionError("it was reached")

    async with serving(handler) as port:
        network.public.connector._resolver._system = Answers("127.0.0.1", "10.0.0.1")
        error = await code_of(worker(network, allowed).open(get(f"evil.example:{port}"), ()))

    assert error.code == "destination-IP-prohibited"


async def test_the_socket_itself_is_checked(network, monkeypatch):
    """An answer that changes between the check and the connection gains nothing."""

    async def handler(request):
        raise AssertionError("it was reached")

    async with serving(handler) as port:
        network.public.connector._resolver._system = Answers("127.0.0.1")
        network.public.connector._resolver._guarded = False
        error = await code_of(worker(network, "*://*:*").open(get(f"evil.example:{port}"), ()))

    assert error.code == "destination-IP-prohibited"


async def test_a_literal_host_is_allowed(network):
    """By address and as localhost."""

    async def handler(request):
        return web.Response(text=request.host)

    async with serving(handler) as port:
        for host in ("127.0.0.1", "localhost", "shop.localhost"):
            sender = worker(network, f"http://{host}:{port}")
            assert await read(await sender.open(get(f"{host}:{port}"), ())) == f"{host}:{port}".encode()


async def test_self_is_the_apps_own_front_door_at_this_pop():
    """Relative requests and `self` alike; where the client is, is not the guest's to say."""
    seen = []

    async def handler(request):
        seen.append((request.host, request.raw_path, "X-Forwarded-For" in request.headers, request.headers[INSIDE]))
        return web.Response()

    async with serving(handler) as port:
        network = OutboundNetwork(f"http://127.0.0.1:{port}")
        sender = worker(network, "http://self")
        for authority in (None, "self", "self.alt"):
            response = await sender.open(
                get(authority, target="/x?y", headers=(("x-forwarded-for", "1.1.1.1"), (INSIDE, "lhr1"))), ()
            )
            await read(response)
        await network.close()

    assert seen == [(f"shop.fra1.localhost:{port}", "/x?y", False, "fra1")] * 3


async def test_a_loop_ends(network):
    """RFC 8586: the edge finds its own name in CDN-Loop too often; other names do not count."""
    sender = worker(network, "*://*:*")
    looped = (("cdn-loop", ", ".join(["edgesim; v=1"] * (MAX_HOPS - 1)) + ", other"), ("cdn-loop", "edgesim"))

    assert (await code_of(sender.open(get("127.0.0.1:9"), looped))).code == "loop-detected"
    assert (await code_of(sender.open(get("127.0.0.1:9"), looped[:1]))).code == "destination-IP-prohibited"


async def test_connection_refused(network):
    """Nobody listens."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        error = await code_of(worker(network, "*://127.0.0.1:*").open(get(f"127.0.0.1:{port}"), ()))

    assert error.code == "connection-refused"


@pytest.mark.parametrize(
    ("lines", "code"),
    [
        ((b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf",), "HTTP-response-incomplete"),
        ((b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhel",), "HTTP-response-incomplete"),
        ((b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",), "HTTP-protocol-error"),
        ((b"what is this\r\n\r\n",), "HTTP-protocol-error"),
        ((b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",), "HTTP-upgrade-failed"),
        ((b"HTTP/1.1 200 OK\r\nx: " + b"y" * 40000 + b"\r\n\r\n",), "HTTP-response-header-section-size"),
        ((b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 200 + b"\r\n",), "HTTP-response-header-section-size"),
        ((b"",), "connection-terminated"),
    ],
)
async def test_answers_that_are_broken(network, lines, code):
    """Each with its own code."""
    async with answering(*lines) as port:
        error = await code_of(worker(network, "*://127.0.0.1:*").open(get(f"127.0.0.1:{port}"), ()))

    assert error.code == code


@pytest.mark.parametrize("reading", [True, False])
async def test_a_malformed_chunk_ends_the_body(network, reading):
    """Whether the guest waits for the body when it comes, or reads only later, when the connection is gone."""
    go, gone = asyncio.Event(), asyncio.Event()

    async def answer(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        await go.wait()
        writer.write(b"zz\r\nabc\r\n")
        await reader.read()  # until the other side hangs up
        writer.close()
        gone.set()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        authority = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        response = await worker(network, "*://127.0.0.1:*").open(get(authority), ())
        if reading:
            body = asyncio.create_task(code_of(returned(response)))
            await asyncio.sleep(0)
            go.set()
        else:
            go.set()
            await gone.wait()
            body = asyncio.create_task(code_of(returned(response)))
        error = await asyncio.wait_for(body, 5)
        await gone.wait()

    assert error.code == "HTTP-response-incomplete"


async def returned(value):
    """The value, awaited."""
    return value


async def test_a_server_that_speaks_no_tls(network):
    """The handshake fails."""

    async def answer(reader, writer):
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 no\r\n\r\n")
        await reader.read()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    error = await code_of(worker(network, "*://127.0.0.1:*").open(get(f"127.0.0.1:{port}", scheme="https"), ()))
    server.close()

    assert error.code == "TLS-protocol-error"


@pytest.mark.parametrize(
    ("raised", "code", "payload"),
    [
        (socket.gaierror(socket.EAI_NONAME, "x"), "DNS-error", {"rcode": "NXDOMAIN", "info-code": None}),
        (socket.gaierror(socket.EAI_AGAIN, "x"), "DNS-error", {"rcode": "SERVFAIL", "info-code": None}),
        (OSError(errno.EHOSTUNREACH, "x"), "destination-unavailable", None),
        (OSError(errno.ENETUNREACH, "x"), "destination-IP-unroutable", None),
        (OSError(errno.ETIMEDOUT, "x"), "connection-timeout", None),
        (OSError(errno.EMFILE, "x"), "connection-limit-reached", None),
        (ssl.SSLCertVerificationError("x"), "TLS-certificate-error", None),
        (ssl.SSLError("x"), "TLS-protocol-error", None),
        (aiohttp.InvalidURL("http://"), "HTTP-request-URI-invalid", None),
        (ValueError("odd"), "internal-error", "odd"),
    ],
)
def test_codes_of_errors(raised, code, payload):
    """Alone, and as the cause of another."""
    wrapped = aiohttp.ClientError("outer")
    wrapped.__cause__ = raised

    assert (outbound_error(raised).code, outbound_error(raised).payload) == (code, payload)
    if code != "internal-error":
        assert outbound_error(wrapped).code == code


def test_tls_alerts_are_told():
    """With what the server said."""
    raised = ssl.SSLError(1, "x")
    raised.reason = "TLSV1_ALERT_UNKNOWN_CA"

    assert outbound_error(raised).payload == {"alert-id": None, "alert-message": "tlsv1 alert unknown ca"}


async def test_timeouts_that_are_over_at_once(network):
    """First byte, and between bytes: a server that has connected and says nothing, or nothing more."""
    async with answering(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf", close=False) as port:
        sender = worker(network, "*://127.0.0.1:*")
        first = await code_of(sender.open(get(f"127.0.0.1:{port}", first_byte_timeout_s=0.0), ()))
        response = await sender.open(get(f"127.0.0.1:{port}", between_bytes_timeout_s=0.02), ())
        begin = await response.body.next()
        between = await code_of(sender.open(get(f"127.0.0.1:{port}", between_bytes_timeout_s=0.0), ()))
        response.body.close()

    assert (first.code, between.code, begin) == ("connection-read-timeout", "connection-read-timeout", b"half")


async def test_a_connection_that_takes_too_long(network, monkeypatch):
    """The connect timeout includes the name's resolution."""

    class Never:
        async def resolve(self, host, port, family):
            await asyncio.get_running_loop().create_future()

    network.public.connector._resolver._system = Never()
    error = await code_of(worker(network, "*://*:*").open(get("slow.example", connect_timeout_s=0.0), ()))
    monkeypatch.setattr(outbound, "DNS_S", 0.0)
    unknown = await code_of(worker(network, "*://*:*").open(get("slower.example"), ()))

    assert (error.code, unknown.code) == ("connection-timeout", "DNS-timeout")


async def test_cancelling_ends_the_connection(network):
    """The server sees it go."""
    gone = asyncio.Event()
    begun = asyncio.Event()

    async def handler(request):
        begun.set()
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            gone.set()

    server = web.Server(handler, handler_cancellation=True)
    sockets = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0)
    port = sockets.sockets[0].getsockname()[1]
    task = asyncio.create_task(worker(network, "*://127.0.0.1:*").open(get(f"127.0.0.1:{port}"), ()))
    await begun.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await asyncio.wait_for(gone.wait(), 10)
    sockets.close()
    await server.shutdown(0.1)

    assert task.cancelled()
