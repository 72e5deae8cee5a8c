"""The front door's port: what it takes a request to mean, and what it says about its answer."""

from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace

import aiohttp
import pytest

from edgesim.core.request import Response, Timings
from edgesim.errors import GuestTrapError, PopUnreachableError
from edgesim.live.front_door import FrontDoorServer
from edgesim.live.http_server import Listener
from edgesim.live.world import LiveWorld
from edgesim.model.worker import Limits
from tests.support.request_path import BERLIN, FRA, LHR, CountedBody, door, read_all, spec

SPECS = [spec(FRA), spec(LHR)]


class Bench:
    """A front door over HTTP whose PoPs do what `forward` says."""

    def __init__(self):
        self.seen = []
        self.located = []
        self.answer = lambda pop, request: Response(200, "ok", pop, body=b"hello\n")
        self.w = LiveWorld(lambda _: None)
        self.door = door(SPECS, now_s=self.w.now())
        self.server = FrontDoorServer(
            self.w, self.door, locate=self.locate, pops={s.id: s for s in SPECS}, limits=Limits(), policy="nearest"
        )
        self.w.equip(transport=self, replies=self.server)

    def locate(self, address):
        """Everybody is in Berlin."""
        self.located.append(address)
        return BERLIN

    async def forward(self, pop, request):
        """Remember it and answer."""
        self.seen.append(request)
        answer = self.answer(pop, request)
        return await answer if asyncio.iscoroutine(answer) else answer

    async def raw(self, data):
        """The whole answer to raw bytes."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.listener.port)
        writer.write(data)
        answer = await asyncio.wait_for(reader.read(), 10.0)
        writer.close()
        return answer


@pytest.fixture
async def bench():
    """A running front door."""
    bench = Bench()
    bench.listener = await Listener.open(bench.server.handle, port=0)
    async with aiohttp.ClientSession(
        f"http://127.0.0.1:{bench.listener.port}", headers={"Host": "hello.localhost"}
    ) as bench.http:
        yield bench
    await bench.listener.close(0.0)
    await bench.w.close()


async def test_what_it_says_about_an_answer(bench):
    """Who answered, which version, how it was started, where the time went; the guest's own fields stay."""
    bench.answer = lambda pop, request: Response(
        200, "ok", pop, headers=(("x-own", "1"), ("via", "1.1 guest"), ("connection", "x")), body=b"hi", start="absent",
        role="trigger", version=3, timings=Timings(start_s=0.5, execute_s=0.25, phases=(("fetch", 0.375), ("load", 0.125))),
    )  # fmt: skip
    async with bench.http.get("/w") as answer:
        headers = answer.headers
    timing = dict(
        part.split(";dur=") for part in headers["Server-Timing"].replace(';desc="modelled network"', "").split(", ")
    )

    assert headers["X-Edge-Pop"] == "fra1"
    assert headers["X-Edge-Start"] == "absent; role=trigger"
    assert headers["X-Edge-Version"] == "hello@3"
    assert headers["Cache-Status"] == "edgesim-fra1; fwd=bypass"
    assert headers.getall("Via") == ["1.1 guest", "1.1 edgesim"]
    assert headers["X-Own"] == "1"
    assert "Proxy-Status" not in headers
    assert (timing["start"], timing["execute"]) == ("500.000", "250.000")
    assert (timing["fetch"], timing["load"]) == ("375.000", "125.000")
    assert set(timing) == {"net", "start", "fetch", "load", "execute", "edge", "total"}
    assert len(headers["X-Edge-Request-Id"]) > 8


async def test_requests_have_ids_of_their_own(bench):
    """Two requests, two ids."""
    ids = set()
    for _ in range(2):
        async with bench.http.get("/w") as answer:
            ids.add(answer.headers["X-Edge-Request-Id"])

    assert len(ids) == 2


@pytest.mark.parametrize(
    ("host", "app", "pop"),
    [
        ("hello.localhost", "hello", ""),
        ("HELLO.localhost:8080", "hello", ""),
        ("hello.localhost.", "hello", ""),
        ("hello.lhr1.localhost:8080", "hello", "lhr1"),
    ],
)
async def test_hosts(bench, host, app, pop):
    """An app, or one PoP's view of it."""
    async with bench.http.get("/w", headers={"Host": host}) as answer:
        assert answer.status == 200

    assert (bench.seen[0].app, bench.seen[0].pinned) == (app, pop)


@pytest.mark.parametrize("host", ["", "localhost", "example.com", ".fra1.localhost", "a.b.c.localhost", ".localhost"])
async def test_hosts_that_name_no_app(bench, host):
    """400, and what to write instead."""
    async with bench.http.get("/w", headers={"Host": host}) as answer:
        text = await answer.text()

    assert answer.status == 400
    assert "http://<app>.localhost/" in text
    assert "error=http_request_error" in answer.headers["Proxy-Status"]


@pytest.mark.parametrize(
    ("pop", "hint"), [("fra9", "did you mean 'fra1'?"), ("zzz9", "PoPs: fra1, lhr1"), ("z" * 5000, "PoPs: fra1, lhr1")]
)
async def test_host_with_an_unknown_pop(bench, pop, hint):
    """400, and which PoPs there are."""
    async with bench.http.get("/w", headers={"Host": f"hello.{pop}.localhost"}) as answer:
        text = await answer.text()

    assert answer.status == 400
    assert f"there is no PoP '{pop[:64]}'" in text
    assert hint in text
    assert bench.seen == []


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("http://hello.localhost/a?b", "/a?b"),
        ("HTTP://hello.localhost", "/"),
        ("http://hello.localhost?q=/x", "/?q=/x"),
        ("//evil.example/x", "//evil.example/x"),
    ],
)
async def test_targets(bench, target, path):
    """A URL as target is a path at its host (RFC 9112 §3.2.2); a path is a path."""
    host = "hello.localhost" if target.startswith("/") else "ignored.example"
    answer = await bench.raw(f"GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())

    assert answer.startswith(b"HTTP/1.1 200 ")
    assert bench.seen[0].target == path


@pytest.mark.parametrize("line", ["CONNECT @evil.example:80", "CONNECT evil.example:80", "OPTIONS *"])
async def test_targets_that_are_no_paths(bench, line):
    """They would become part of another host's name where the target is appended to a URL."""
    answer = await bench.raw(f"{line} HTTP/1.1\r\nHost: hello.localhost\r\nConnection: close\r\n\r\n".encode())

    assert answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.0 400 "))
    assert bench.seen == []


async def test_who_is_asked_for(bench):
    """A trusted peer speaks for its clients; each has a handshake of its own, once per connection."""
    connections = []
    for address in ("240.0.0.1", "240.0.0.2", "240.0.0.1"):
        async with bench.http.get("/w", headers={"X-Forwarded-For": address}) as answer:
            await answer.read()
        connections.append(bench.seen[-1].connection)

    assert bench.located == ["240.0.0.1", "240.0.0.2", "240.0.0.1"]
    assert connections[0] is connections[2]
    assert connections[0] is not connections[1]


async def test_an_error_explains_itself(bench):
    """Status, error token, a sentence for people; 503 says when to come again."""
    bench.answer = lambda pop, request: Response(
        503, "queue_full", pop, error="connection_limit_reached", detail='E0501: "full"\r\nX-Evil: 1'
    )
    async with bench.http.get("/w") as answer:
        text = await answer.text()

    assert answer.status == 503
    assert (
        answer.headers["Proxy-Status"]
        == "edgesim-fra1; error=connection_limit_reached; details=\"E0501: 'full'X-Evil: 1\""
    )
    assert answer.headers["Retry-After"] == "1"
    assert text.startswith("503 queue_full: E0501")


async def test_the_explanation(bench):
    """With X-Edge-Debug: where the client is, how PoPs rank and stand, and what failed; without it, not."""

    async def answer(pop, request):
        if pop == FRA:
            raise PopUnreachableError("fra1 refused the connection")
        return Response(200, "ok", pop)

    bench.answer = answer
    async with bench.http.get("/w", headers={"X-Edge-Debug": "1"}) as first, bench.http.get("/w") as second:
        route = json.loads(first.headers["X-Edge-Route"])

    assert "X-Edge-Route" not in second.headers
    assert (route["chosen"], route["reason"], route["failed"], route["policy"]) == (
        "lhr1",
        "failover",
        ["fra1"],
        "nearest",
    )
    assert [(pop, state) for pop, _, state in route["ranked"]] == [("fra1", "down"), ("lhr1", "up")]
    assert route["client"]["city"] == "Berlin"


async def test_bodies_stream_both_ways_at_once(bench):
    """The answer begins before the upload has ended."""
    first, rest = asyncio.Event(), asyncio.Event()

    class Echo:
        """The request's body as it comes."""

        def __init__(self, body):
            self.body = body

        async def next(self):
            chunk = await self.body.next()
            first.set()
            return chunk

        def trailers(self):
            """None."""
            return ()

        def close(self):
            pass

    bench.answer = lambda pop, request: Response(200, "ok", pop, body=Echo(request.body))

    async def upload():
        yield b"one"
        await rest.wait()
        yield b"two"

    async with bench.http.post("/w", data=upload()) as answer:
        head = await answer.content.readany()
        rest.set()
        tail = await answer.content.read()

    assert first.is_set()
    assert (head, tail) == (b"one", b"two")


async def test_a_guest_that_fails_in_the_middle(bench, caplog):
    """The client's connection breaks, without a traceback in the log, and the next request is served."""
    bench.answer = lambda pop, request: Response(
        200, "ok", pop, body=CountedBody(1, error=GuestTrapError("unreachable"))
    )
    with pytest.raises(aiohttp.ClientPayloadError):
        async with bench.http.get("/w") as answer:
            await answer.read()
    bench.answer = lambda pop, request: Response(200, "ok", pop, body=b"fine")
    async with bench.http.get("/w") as answer:
        text = await answer.text()

    assert text == "fine"
    assert "Traceback" not in caplog.text


async def test_an_upload_that_is_announced_too_large(bench):
    """Refused before anything else happens."""
    reader, writer = await asyncio.open_connection("127.0.0.1", bench.listener.port)
    writer.write(b"POST / HTTP/1.1\r\nHost: hello.localhost\r\nContent-Length: 99999999\r\n\r\n")
    answer = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10.0)
    writer.close()

    assert answer.startswith(b"HTTP/1.1 413 ")
    assert bench.seen == []


async def test_bytes_that_are_no_text(bench):
    """Fields and targets in another encoding neither break the edge nor the guest's answer."""
    bench.answer = lambda pop, request: Response(200, "ok", pop, headers=(("x-back", dict(request.headers)["x-a"]),))
    answer = await bench.raw(b"GET /w HTTP/1.1\r\nHost: hello.localhost\r\nX-A: caf\xe9\r\nConnection: close\r\n\r\n")

    assert answer.startswith((b"HTTP/1.1 200 ", b"HTTP/1.1 400 "))


async def test_read_all_of_an_empty_upload(bench):
    """A body of no bytes is a body that ends at once."""

    async def answer(pop, request):
        return Response(200, "ok", pop, body=b"none" if request.body is None else await read_all(request.body))

    bench.answer = answer
    async with bench.http.post("/w") as response:
        assert await response.text() == "none"


async def test_a_worker_that_asks_its_own_app_is_at_its_pop(bench):
    """No way to wait for, and the PoP's place; a PoP that does not exist is nobody, and other PoPs are as far as they are."""
    seen = []
    bench.door.network = SimpleNamespace(legs=lambda *_: (0.001, 0.001))
    for named in ("lhr1", "fra1", "xyz9"):
        fields = {"Host": "hello.lhr1.localhost", "X-Edgesim-Inside": named}
        async with bench.http.get("/w", headers=fields) as answer:
            await answer.read()
        request = bench.seen[-1]
        seen.append((request.inside, request.place.city, request.network_s == 0.0))

    assert seen == [("lhr1", SPECS[1].city, True), ("fra1", SPECS[0].city, False), ("", BERLIN.city, False)]
    assert all(name != "x-edgesim-inside" for name, _ in bench.seen[0].headers)
