"""One suite for both ways from the front door to a PoP: in this process, and HTTP over real loopback sockets.

Guests and origins are scripted; everything between the front door's flow and the guest is production code.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import hashlib

import aiohttp
import pytest

from edgesim.core.front_door import front_door
from edgesim.core.pop import Pop
from edgesim.core.request import Response, Timings
from edgesim.errors import DeadlineExceededError, EdgesimError, GuestTrapError, PopUnreachableError, RequestError
from edgesim.live import http_server
from edgesim.live.front_door import FrontDoorServer
from edgesim.live.host_state import HostState
from edgesim.live.local import LocalPops
from edgesim.live.pop_host import PopHost
from edgesim.live.signing import Signer, Verifier
from edgesim.live.transport import HttpTransport
from edgesim.live.world import LiveWorld
from edgesim.model.http import BytesBody
from edgesim.model.ids import HostId, PopId
from edgesim.model.worker import Limits
from edgesim.observe.recorder import Recorder
from tests.support.request_path import (
    BERLIN,
    FRA,
    LHR,
    CountedBody,
    Guests,
    Origin,
    door,
    read_all,
    request,
    serve,
    settled,
    spec,
)

SPECS = [spec(FRA, slots=1, queue=0), spec(LHR)]
BIG_CHUNKS = 480
"""30 MB in chunks of 64 KiB: several times what the kernel buffers on a loopback connection."""


class Edge:
    """A front door and two PoPs behind one of the transports."""

    def __init__(self, guests, pops, transport, kill) -> None:
        self.guests = guests
        self.pops = pops
        self.transport = transport
        self.kill = kill
        self.events = []
        self.world = LiveWorld(self.events.append)
        self.door = door(SPECS, now_s=self.world.now())
        self.server = FrontDoorServer(
            self.world,
            self.door,
            locate=lambda _: BERLIN,
            pops={s.id: s for s in SPECS},
            limits=Limits(),
            policy="nearest",
        )
        self.world.equip(transport=transport, replies=self.server)

    def forward(self, *args, pop=FRA, **changes):
        """Forward one request, with a deadline in the loop's time."""
        return self.transport.forward(pop, request(*args, now_s=self.world.now(), **changes))

    def idle(self):
        """Whether every slot has been given back."""
        return all(p.pool.busy == 0 and p.pool.queued == 0 for p in self.pops.values())


@pytest.fixture(params=["local", "http"])
async def edge(request, tmp_path):
    """Each test runs once per transport."""
    guests, origin = Guests(), Origin()
    if request.param == "local":
        pops = {s.id: Pop(s) for s in SPECS}
        world = LiveWorld(lambda _: None)
        local = LocalPops(world, pops)
        world.equip(guests=guests, origins=origin)
        edge = Edge(guests, pops, local, local.kill)
        listener = transport = None
    else:
        signer = Signer.load_or_create(tmp_path / "key")
        host = PopHost(
            HostId("host1"), SPECS, recorder=Recorder(process="host1", version="0", python="3", started_s=0.0),
            state=HostState(tmp_path / "pops"), verifier=Verifier(signer.public_hex), token="t0ken", beat_s=1.0,
        )  # fmt: skip
        pops, world = host.pops, host.world
        world.equip(guests=guests, origins=origin)
        listener = await host.listen()
        transport = HttpTransport("t0ken")
        for pop in pops:
            transport.place(pop, f"http://127.0.0.1:{listener.port}")
        edge = Edge(guests, pops, transport, host.kill)
    for pop in pops.values():
        serve(pop)
    yield edge
    if transport is not None:
        await transport.close()
        await listener.close(0.0)
    await world.close()
    await edge.world.close()


async def test_an_answer_arrives_whole(edge):
    """Status, fields, body, and how the answer came about."""
    fields = (("content-type", "text/x"), ("set-cookie", "a=1"), ("set-cookie", "b=2"))

    async def answer(pop, worker, request):
        return Response(201, "ok", headers=fields, body=b"made", timings=Timings(instantiate_s=0.125, execute_s=0.25))

    edge.guests.answer = answer
    response = await edge.forward()

    assert (response.status, response.outcome, response.pop, response.version) == (201, "ok", FRA, 1)
    assert (response.start, response.role) == ("absent", "trigger")
    assert (response.timings.instantiate_s, response.timings.execute_s) == (0.125, 0.25)
    assert [f for f in response.headers if f[0] in {"content-type", "set-cookie"}] == list(fields)
    assert await read_all(response.body) == b"made"


async def test_a_request_arrives_whole(edge):
    """Method, target, fields, the client's place, time left and body."""
    bodies = []

    async def answer(pop, worker, request):
        bodies.append(await read_all(request.body))
        return Response(200, "ok")

    edge.guests.answer = answer
    fields = (("host", "hello.localhost"), ("x-twice", "1"), ("x-twice", "2"))
    await edge.forward("/w?q=%2F%20&x=[1]", method="PUT", headers=fields, body=BytesBody(b"abc"), network_s=0.125)
    seen = edge.guests.seen[0]

    assert (seen.method, seen.target, seen.path, seen.app) == ("PUT", "/w?q=%2F%20&x=[1]", "/w", "hello")
    assert [f for f in seen.headers if f[0] in {"host", "x-twice"}] == list(fields)
    assert (seen.place, seen.network_s) == (BERLIN, 0.125)
    assert 9.0 < seen.deadline_s - edge.world.now() < 10.0
    assert bodies == [b"abc"]


@pytest.mark.parametrize("announced", [True, False])
async def test_a_megabyte_in_and_out(edge, announced):
    """A body of 1 MB goes in as a stream and comes out as one, with and without content-length."""
    digests = []

    async def answer(pop, worker, request):
        digests.append(hashlib.sha256(await read_all(request.body)).hexdigest())
        length = (("content-length", str(16 * 65536)),) if announced else ()
        return Response(200, "ok", headers=length, body=CountedBody(16))

    edge.guests.answer = answer
    length = (("content-length", str(16 * 65536)),) if announced else ()
    response = await edge.forward(method="POST", headers=length, body=CountedBody(16))
    data = await read_all(response.body)

    assert digests == [hashlib.sha256(b"x" * (1 << 20)).hexdigest()]
    assert data == b"x" * (1 << 20)


async def test_a_slow_reader_holds_the_guest_back(edge):
    """Who does not read does not make anybody buffer the answer: the guest is asked for a bounded part of it."""
    body = CountedBody(BIG_CHUNKS)

    async def answer(pop, worker, request):
        return Response(200, "ok", body=body)

    edge.guests.answer = answer
    response = await edge.forward()
    await response.body.next()
    await settled(lambda: body.pulled)
    first = body.pulled
    response.body.close()
    await settled(lambda: body.closed)

    assert first < 65536 * BIG_CHUNKS / 2
    assert body.pulled == first
    assert body.closed > 0


async def test_a_guest_that_does_not_read_holds_the_client_back(edge):
    """The same the other way: a bounded part of the upload leaves the client."""
    body, go = CountedBody(240), asyncio.Event()

    async def answer(pop, worker, request):
        await go.wait()
        return Response(200, "ok", body=b"never mind")

    edge.guests.answer = answer
    task = asyncio.create_task(edge.forward(method="POST", body=body))
    await settled(lambda: body.pulled)
    pulled = body.pulled
    go.set()
    response = await task

    assert pulled < 65536 * 240
    assert await read_all(response.body) == b"never mind"


async def test_a_kill_before_the_response(edge):
    """The connection breaks, the slot is free, and the next request is refused."""
    begun = asyncio.Event()

    async def answer(pop, worker, request):
        begun.set()
        await asyncio.Event().wait()

    edge.guests.answer = answer
    task = asyncio.create_task(edge.forward())
    await begun.wait()
    pool = edge.pops[FRA].pool
    edge.kill(FRA)
    with pytest.raises(PopUnreachableError):
        await task
    with pytest.raises(PopUnreachableError):
        await edge.forward()

    assert pool.busy == 0
    assert len(edge.guests.seen) == 1  # nobody has sent it a second time


async def test_a_kill_after_the_first_byte(edge):
    """The reader gets an error in the middle, never a short body that looks whole, and the guest is stopped."""
    gate, body = asyncio.Event(), None

    async def answer(pop, worker, request):
        nonlocal body
        body = CountedBody(2, gate=gate)
        return Response(200, "ok", body=body)

    edge.guests.answer = answer
    response = await edge.forward()
    first = await response.body.next()
    reading = asyncio.create_task(response.body.next())
    await settled(reading.done)
    edge.kill(FRA)
    gate.set()
    with contextlib.suppress(PopUnreachableError):
        await reading
    with pytest.raises(PopUnreachableError):
        await read_all(response.body)
    response.body.close()

    assert first
    assert body.closed > 0


async def test_a_client_that_goes_frees_the_slot(edge):
    """Cancelling the request cancels the guest, wherever it runs."""
    begun, stopped = asyncio.Event(), asyncio.Event()

    async def answer(pop, worker, request):
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()

    edge.guests.answer = answer
    task = asyncio.create_task(edge.forward())
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await stopped.wait()
    await settled(edge.idle)

    assert edge.idle()


async def test_a_full_queue_and_a_deadline_are_answers(edge):
    """What goes wrong at a living PoP is its answer, with outcome and error token: no reason to fail over."""
    begun, go = asyncio.Event(), asyncio.Event()

    async def answer(pop, worker, request):
        begun.set()
        await go.wait()
        raise DeadlineExceededError("too late")

    edge.guests.answer = answer
    first = asyncio.create_task(edge.forward())
    await begun.wait()
    refused = await edge.forward()
    go.set()
    late = await first

    assert (refused.status, refused.outcome, refused.error) == (503, "queue_full", "connection_limit_reached")
    assert (late.status, late.outcome, late.error) == (504, "deadline", "http_response_timeout")


async def test_a_deadline_that_has_passed(edge):
    """No guest runs beyond the request's deadline in the queue; a PoP that hangs is given up."""
    edge.pops[FRA].pool.slots = 0
    edge.pops[FRA].pool.queue = 1
    response = await edge.transport.forward(FRA, request(now_s=edge.world.now() - 10.0))

    assert (response.status, response.outcome) == (504, "deadline")
    assert edge.guests.seen == []


async def test_an_unknown_pop(edge):
    """A PoP that nobody carries cannot be reached."""
    with pytest.raises(PopUnreachableError):
        await edge.forward(pop=PopId("xxx9"))


async def test_a_guest_that_fails_in_the_middle(edge):
    """The reader gets an error of the edge's own, and the next request is served."""

    async def answer(pop, worker, request):
        return Response(200, "ok", body=CountedBody(2, error=GuestTrapError("unreachable")))

    edge.guests.answer = answer
    response = await edge.forward()
    with pytest.raises(EdgesimError):
        await read_all(response.body)
    response.body.close()
    edge.guests.answer = edge.guests.hello

    assert (await edge.forward()).body == b"hello\n"


async def test_a_client_whose_body_is_wrong(edge):
    """An upload that fails is the client's fault: 4xx, and the PoP stays in."""

    async def answer(pop, worker, request):
        await read_all(request.body)

    class NoReply:
        async def reply(self, request, response):
            pass

    edge.guests.answer = answer
    edge.world.equip(replies=NoReply())
    body = CountedBody(2, error=RequestError("the request body broke off"))
    response = await front_door(
        edge.world, edge.door, request(now_s=edge.world.now(), method="POST", body=body)
    )  # fmt: skip

    assert (response.status, response.outcome) == (400, "bad_request")
    assert edge.door.health.is_up(FRA, edge.world.now())


async def test_as_many_fields_as_the_front_door_takes(edge):
    """What the front door lets through is not malformed at the PoP."""
    fields = (*((f"x-{n}", "v") for n in range(http_server.FIELDS_MAX - 1)), ("x-long", "v" * 16000))
    response = await edge.forward(headers=fields)

    assert response.outcome == "ok"
    assert dict(edge.guests.seen[0].headers).keys() >= dict(fields).keys()


async def test_an_answer_with_large_fields(edge):
    """A guest's long field does not make its PoP look dead."""
    fields = (("x-long", "v" * 20000),)

    async def answer(pop, worker, request):
        return Response(200, "ok", headers=fields)

    edge.guests.answer = answer
    response = await edge.forward()

    assert ("x-long", "v" * 20000) in response.headers


# -- through the front door's port ------------------------------------------------------------------------------------


@pytest.fixture
async def client(edge):
    """An HTTP client of the front door's port."""
    listener = await http_server.Listener.open(edge.server.handle, port=0)
    async with aiohttp.ClientSession(
        f"http://127.0.0.1:{listener.port}", headers={"Host": "hello.localhost"}, auto_decompress=False
    ) as session:
        yield session
    await listener.close(0.0)


async def test_failover_is_invisible_to_the_client(edge, client):
    """A dead PoP costs a retry, and its name in the explanation; the client gets its answer."""
    edge.kill(FRA)
    async with client.get("/w", headers={"X-Edge-Debug": "1"}) as answer:
        body = await answer.read()

    assert (answer.status, body, answer.headers["X-Edge-Pop"]) == (200, b"hello\n", LHR)
    assert '"failed":["fra1"]' in answer.headers["X-Edge-Route"]
    assert edge.events[-1].failed == (FRA,)


async def test_a_kill_in_the_middle_aborts_the_clients_connection(edge, client):
    """The client sees a broken connection, not a short body; the failure is counted as one."""
    gate = asyncio.Event()

    async def answer(pop, worker, request):
        return Response(200, "ok", body=CountedBody(2, gate=gate))

    edge.guests.answer = answer
    async with client.get("/w") as response:
        first = await response.content.readany()
        edge.kill(FRA)
        gate.set()
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.read()
    await settled(lambda: len(edge.events))

    assert first
    assert edge.events[-1].outcome == "unreachable"


async def test_a_client_that_disconnects_stops_the_guest(edge, client):
    """A disconnect in the middle of a body travels all the way to the guest."""
    body = CountedBody(BIG_CHUNKS)

    async def answer(pop, worker, request):
        return Response(200, "ok", body=body)

    edge.guests.answer = answer
    async with client.get("/w") as response:
        await response.content.readany()
        response.close()
    await settled(lambda: (body.closed, body.pulled, len(edge.events)))

    assert body.closed > 0
    assert body.left > 0
    assert edge.idle()
    assert edge.events[-1].outcome == "client_gone"


@pytest.mark.parametrize("coding", ["gzip", "br", "deflate"])
async def test_a_coded_body_is_not_touched(edge, client, coding):
    """Content-Encoding is between client and worker, whatever the bytes are."""
    seen = []

    async def answer(pop, worker, request):
        seen.append(await read_all(request.body))
        return Response(200, "ok", headers=(("content-encoding", coding),), body=seen[0])

    edge.guests.answer = answer
    sent = gzip.compress(b"edge" * 1000) if coding == "gzip" else b"no such thing at all"
    async with client.post("/w", data=sent, headers={"Content-Encoding": coding}) as response:
        got = await response.read()

    assert (response.status, response.headers["Content-Encoding"]) == (200, coding)
    assert seen == [sent] == [got]


async def test_head_has_no_body(edge, client):
    """A streamed answer to HEAD leaves the connection usable."""

    async def answer(pop, worker, request):
        return Response(200, "ok", body=CountedBody(2, size=5))

    edge.guests.answer = answer
    async with client.head("/w") as head, client.get("/w") as got:
        body = await got.read()

    assert head.status == 200
    assert body == b"x" * 10


async def test_a_body_shorter_than_announced_is_broken_off(edge, client):
    """A client that was promised more is not left waiting for it."""

    async def answer(pop, worker, request):
        return Response(200, "ok", headers=(("content-length", "99999"),), body=CountedBody(1))

    edge.guests.answer = answer
    with pytest.raises(aiohttp.ClientPayloadError):
        async with client.get("/w") as response:
            await response.read()


async def test_expect_continue(edge, client):
    """A client that waits for leave to send its body gets it."""

    async def answer(pop, worker, request):
        return Response(200, "ok", body=await read_all(request.body))

    edge.guests.answer = answer
    async with client.post("/w", data=b"abc", expect100=True) as response:
        body = await response.read()

    assert (response.status, body) == (200, b"abc")
    assert "expect" not in dict(edge.guests.seen[0].headers)


async def test_an_upload_over_the_limit(edge, client):
    """17 MiB without content-length: 413 in the edge's words, and no PoP is to blame."""

    async def answer(pop, worker, request):
        await read_all(request.body)

    async def upload():
        for _ in range(17):
            yield b"x" * (1 << 20)

    edge.guests.answer = answer
    async with client.post("/w", data=upload()) as response:
        text = await response.text()

    assert response.status == 413
    assert "larger than 16777216 bytes" in text
    assert edge.door.health.is_up(FRA, edge.world.now())


async def test_bytes_that_are_no_text(edge):
    """A field or target in another encoding is no reason to call a PoP dead, over either way."""
    port = (listener := await http_server.Listener.open(edge.server.handle, port=0)).port
    for line in (b"GET /w?\xe9 HTTP/1.1\r\n", b"GET /w HTTP/1.1\r\nX-A: caf\xe9\r\n"):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(line + b"Host: hello.localhost\r\nConnection: close\r\n\r\n")
        answer = await asyncio.wait_for(reader.read(), 10.0)
        writer.close()

        assert answer.startswith((b"HTTP/1.1 200 ", b"HTTP/1.1 400 ", b"HTTP/1.0 400 "))
        assert edge.door.health.is_up(FRA, edge.world.now())
    await listener.close(0.0)


async def test_trailers_cross_the_hop(edge):
    """Both ways; to the front door they come after the last byte."""
    trailers = (("x-sum", "9"), ("x-odd", "\udcff"))

    async def answer(pop, worker, request):
        data = await read_all(request.body)
        return Response(200, "ok", body=BytesBody(data, request.body.trailers()))

    edge.guests.answer = answer
    response = await edge.forward(method="POST", body=BytesBody(b"abc", trailers))

    assert await read_all(response.body) == b"abc"
    assert response.body.trailers() == trailers


async def test_informational_answers_cross_the_hop(edge):
    """At once, in their order, before the answer; where nobody listens they go nowhere."""
    heard, asked = [], asyncio.Event()

    async def answer(pop, worker, request):
        if request.inform is not None:
            request.inform(103, (("link", "</a.css>; rel=preload"), ("link", "</b.js>; rel=preload")))
            request.inform(110, ())
        await asked.wait()
        return Response(200, "ok", body=b"whole")

    edge.guests.answer = answer
    forwarded = asyncio.ensure_future(edge.forward(inform=lambda *each: heard.append(each)))
    await settled(lambda: len(heard))
    asked.set()

    assert heard == [(103, (("link", "</a.css>; rel=preload"), ("link", "</b.js>; rel=preload"))), (110, ())]
    assert await read_all((await forwarded).body) == b"whole"
    assert (await edge.forward()).status == 200
    assert len(heard) == 2


async def test_a_client_gets_both(edge):
    """Through the front door: hints, then the answer with its trailers, on the wire of HTTP/1.1; one of HTTP/1.0 gets neither."""

    async def answer(pop, worker, request):
        if request.inform is not None:
            request.inform(103, (("link", "</a.css>; rel=preload"),))
        return Response(200, "ok", body=BytesBody(b"abc", (("x-sum", "9"),)))

    edge.guests.answer = answer
    listener = await http_server.Listener.open(edge.server.handle, port=0)
    got = []
    for version in ("1.1", "1.0"):
        reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
        writer.write(f"GET /w HTTP/{version}\r\nHost: hello.localhost\r\nConnection: close\r\n\r\n".encode())
        got = await asyncio.wait_for(reader.read(), 10.0)
        writer.close()

        assert got.startswith(
            b"HTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload\r\n\r\nHTTP/1.1 200 OK\r\n"
        ) == (version == "1.1")
        assert got.endswith(b"0\r\nx-sum: 9\r\n\r\n" if version == "1.1" else b"\r\n\r\nabc")
    await listener.close(0.0)


async def test_what_was_written_before_an_answer_breaks_off_arrives(edge):
    """Through the front door, to a client that lags behind: the head, every byte, no end of the body."""
    body = CountedBody(16 * BIG_CHUNKS, size=4096, error=GuestTrapError("unreachable"))

    async def answer(pop, worker, request):
        return Response(200, "ok", headers=(("x-made", "1"),), body=body)

    edge.guests.answer = answer
    listener = await http_server.Listener.open(edge.server.handle, port=0)
    reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
    writer.write(b"GET /w HTTP/1.1\r\nHost: hello.localhost\r\n\r\n")
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10.0)
    await settled(lambda: body.pulled)
    read, last = 0, b""
    while chunk := await asyncio.wait_for(reader.read(65536), 10.0):
        read, last = read + chunk.count(b"x"), chunk
    writer.close()
    await listener.close(0.0)

    assert b"x-made: 1" in head.lower()
    assert read == BIG_CHUNKS * 65536
    assert not last.endswith(b"0\r\n\r\n")


async def test_a_reader_that_comes_late_gets_what_was_written(edge):
    """The PoP has broken off before anybody reads: first the bytes, then the error."""
    body = CountedBody(3, size=4096, error=GuestTrapError("unreachable"))

    async def answer(pop, worker, request):
        return Response(200, "ok", body=body)

    edge.guests.answer = answer
    response = await edge.forward()
    await settled(lambda: body.pulled)
    data = []

    async def read() -> None:
        while chunk := await response.body.next():
            data.append(chunk)

    with pytest.raises(EdgesimError):
        await read()
    response.body.close()

    assert b"".join(data) == b"x" * 3 * 4096
