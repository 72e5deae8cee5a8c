"""One app without an edge, over HTTP: streams, limits, errors, disconnects, reloads."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

import pytest
from wasmtime import wat2wasm

from edgesim.config.manifest import AppSource, ComponentSource, load_app
from edgesim.config.resources import resource_path
from edgesim.errors import BundleError, UsageError
from edgesim.live.solo import Solo
from edgesim.model.profiles import judge_all
from edgesim.model.worker import Limits, Reuse, Route
from edgesim.wasm.runtime import Runtime
from tests.support.guests import guest

SPIN = '(module (memory (export "memory") 1) (func (export "_start") (loop (br 0))))'


def app_of(**files):
    """An app with a component per file, each at its name and the first one everywhere else."""
    first = next(iter(files))
    return AppSource(
        name="app",
        components=tuple(ComponentSource(id=name, file=file) for name, file in files.items()),
        routes=(Route(pattern="/...", component=first), *(Route(pattern=f"/{n}/...", component=n) for n in files)),
    )


@pytest.fixture
async def solo(tmp_path):
    """A server, and what it reports."""
    runtime = Runtime(tmp_path / "aot")
    records: asyncio.Queue = asyncio.Queue()
    served = Solo(runtime, on_request=records.put_nowait, environment=[("COLOUR", "blue")])
    served.records = records
    served.port = await served.listen(0)
    yield served
    await served.close()
    await runtime.close()


async def ask(solo, data):
    """Send bytes; the whole answer of a connection that closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", solo.port)
    writer.write(data)
    try:
        return await asyncio.wait_for(reader.read(), 20.0)
    finally:
        writer.close()


def get(path, *fields, method="GET", body=b""):
    """A request on a connection that closes."""
    lines = [f"{method} {path} HTTP/1.1", "Host: a", "Connection: close", *fields]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


HELLO, WAGI = resource_path("workers/hello/hello.wasm"), resource_path("workers/hello-wagi/hello.wasm")


async def test_requests_are_routed_served_and_told(solo):
    """Each by its component, with what it cost."""
    await solo.load(app_of(hello=HELLO, wagi=WAGI))
    answers = [await ask(solo, get(path)) for path in ("/", "/wagi/x", "/env")]
    records = [await solo.records.get() for _ in answers]

    assert all(answer.startswith(b"HTTP/1.1 200 OK") for answer in answers)
    assert b"server-timing: instantiate;dur=" in answers[0]
    assert b"COLOUR=blue" in answers[2]
    assert [(r.component, r.status, r.ran, r.error) for r in records] == [
        ("hello", 200, True, ""),
        ("wagi", 200, True, ""),
        ("hello", 200, True, ""),
    ]
    assert all(r.wall_s >= r.instantiate_s > 0 and r.cpu_s > 0 for r in records)
    assert [t.requests for t in solo.tallies()] == [2, 1]


async def test_bodies_stream_both_ways(solo):
    """The answer begins before the request's body has ended."""
    await solo.load(app_of(wagi=WAGI))
    reader, writer = await asyncio.open_connection("127.0.0.1", solo.port)
    writer.write(b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
    head = await asyncio.wait_for(reader.readuntil(b"hello\r\n"), 20.0)
    writer.write(b"5\r\nworld\r\n0\r\n\r\n")
    rest = await asyncio.wait_for(reader.readuntil(b"0\r\n\r\n"), 20.0)
    writer.close()
    record = await solo.records.get()

    assert head.startswith(b"HTTP/1.1 200 OK")
    assert b"world" in rest
    assert (record.body_bytes, record.response_bytes, record.error) == (10, 10, "")


async def test_a_client_that_goes_away_stops_the_guest(solo):
    """What it had cost is known."""
    await solo.load(app_of(wagi=WAGI))
    reader, writer = await asyncio.open_connection("127.0.0.1", solo.port)
    writer.write(b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
    await asyncio.wait_for(reader.readuntil(b"hello\r\n"), 20.0)
    writer.transport.abort()
    record = await asyncio.wait_for(solo.records.get(), 20.0)

    assert (record.status, record.error, record.ran) == (499, "the client went away", True)
    assert record.cpu_s > 0


async def test_limits_hold_as_in_a_pop(solo, tmp_path):
    """CPU time, request bodies and response bodies; each with the edge's status and error."""
    (tmp_path / "spin.wasm").write_bytes(bytes(wat2wasm(SPIN)))
    app = app_of(wagi=WAGI, spin=tmp_path / "spin.wasm")
    small = Limits(cpu_ms=10, body_bytes=1000, response_bytes=100)
    await solo.load(replace(app, components=tuple(replace(c, limits=small) for c in app.components)))
    spun = await ask(solo, get("/spin/"))
    large = await ask(solo, get("/echo", "Content-Length: 2000", method="POST", body=b"x" * 2000))
    echoed = await ask(solo, get("/echo", "Content-Length: 500", method="POST", body=b"x" * 500))
    records = [await solo.records.get() for _ in range(3)]

    assert spun.startswith(b"HTTP/1.1 504")
    assert b'proxy-status: edgesim; error=http_response_timeout; details="E0403: ' in spun
    assert large.startswith(b"HTTP/1.1 413")
    assert echoed.startswith(b"HTTP/1.1 502") or b"x" * 101 not in echoed
    assert [r.error.partition(":")[0] for r in records] == ["E0403", "E0508", "E0405"]
    assert [r.ran for r in records] == [True, False, True]
    assert records[0].cpu_s >= 0.01


async def test_a_worker_that_runs_out_of_memory_needed_more_than_it_had(solo, tmp_path):
    """So its verdict on a platform with the same limit is not that it fits."""
    (tmp_path / "grow.wasm").write_bytes(
        bytes(
            wat2wasm(
                '(module (memory (export "memory") 1) (func (export "_start") (loop'
                " (if (i32.eq (memory.grow (i32.const 1)) (i32.const -1)) (then unreachable)) (br 0))))"
            )
        )
    )
    await solo.load(app_of(grow=tmp_path / "grow.wasm"))
    answer = await ask(solo, get("/"))
    verdicts = {v.profile: v.line for v in judge_all(solo.tallies()[0].usage())}

    assert b"E0404" in answer
    assert "it needed more than 128 MiB of linear memory" in verdicts["akamai"]


async def test_paths_without_a_route_and_requests_before_the_app(solo):
    """404 and 503, and no guest runs."""
    early = await ask(solo, get("/"))
    app = app_of(wagi=WAGI)
    await solo.load(replace(app, routes=(Route(pattern="/a", component="wagi"),)))
    lost = await ask(solo, get("/b"))
    records = [await solo.records.get() for _ in range(2)]

    assert early.startswith(b"HTTP/1.1 503")
    assert lost.startswith(b"HTTP/1.1 404")
    assert not any(r.ran for r in records)


async def test_a_new_version_takes_the_place_of_the_old_one(solo, tmp_path):
    """And a broken one does not."""
    file = tmp_path / "app.wasm"
    file.write_bytes(WAGI.read_bytes())
    await solo.load(app_of(app=file))
    before = await ask(solo, get("/"))
    file.write_bytes(b"\0asm\x01\0\0\0\xff")
    with pytest.raises(BundleError):
        await solo.load(app_of(app=file))
    kept = await ask(solo, get("/"))
    file.write_bytes(resource_path("workers/hello-v2/hello.wasm").read_bytes())
    await solo.load(app_of(app=file))
    after = await ask(solo, get("/"))

    assert before.endswith(b"hello from local v0\n")
    assert kept.endswith(b"hello from local v0\n")
    assert b"200 OK" in after
    assert not after.endswith(b"hello from local v0\n")


async def test_a_sample_manifest(solo):
    """An app as `edgesim deploy` takes it."""
    await solo.load(load_app(resource_path("workers/hello")))

    assert (await ask(solo, get("/"))).endswith(b"hello from local v0\n")


def test_hosts_that_are_none():
    """They are refused before anything starts."""
    with pytest.raises(UsageError, match="has a path"):
        Solo(None, on_request=print, allowed=["http://a.example/b"])


# -- instances that serve again, and filters ------------------------------------------------------------------------------

MARKS = resource_path("workers/filter-headers/headers.wasm")


@pytest.mark.parametrize(("count", "idle_s", "asked"), [(3, 60.0, [1, 2, 3, 1]), (1, 60.0, [1, 1]), (9, 1e-6, [1, 1])])
async def test_instances_serve_as_often_as_the_manifest_says(solo, count, idle_s, asked):
    """And wait no longer than it says; a new version of the app begins with new ones."""
    reuse = Reuse(max_instance_reuse_count=(count, count), idle_instance_timeout_s=(idle_s, idle_s))
    app = app_of(counter=guest("c-echo"))
    app = replace(app, components=tuple(replace(c, reuse=reuse) for c in app.components))
    await solo.load(app)
    answers = [await ask(solo, get("/count")) for _ in asked]
    await solo.load(app)
    again = await ask(solo, get("/count"))

    assert [int(answer.rpartition(b"\r\n")[2]) for answer in answers] == asked
    assert again.endswith(b"\r\n1")


async def test_an_apps_filters_are_in_front_of_its_workers(solo):
    """They see the request first and the answer last, in a stream too; their own cost is counted beside."""
    app = app_of(echo=guest("c-echo"), marks=MARKS)
    await solo.load(replace(app, routes=app.routes[:1], filters=("marks",)))
    seen = await ask(solo, get("/headers"))
    stream = await ask(solo, get("/stream?chunks=3&size=70000"))
    records = [await solo.records.get() for _ in range(2)]

    assert b"x-filtered-by: marks\r\n" in seen.lower()
    assert b"x-edge-filter-pop" in seen.partition(b"\r\n\r\n")[2]
    assert [stream.count(bytes([n])) for n in range(3)] >= [70_000] * 3
    assert [(r.component, r.status) for r in records] == [("echo", 200)] * 2
    assert [(t.component, t.requests) for t in solo.tallies()] == [("echo", 2), ("marks", 2)]


async def test_a_bare_filter(solo):
    """In front of an origin that says what reached it."""
    await solo.load(app_of(worker=MARKS))
    answer = await ask(solo, get("/a?b=1", "Content-Length: 3", method="POST", body=b"abc"))
    record = await solo.records.get()
    found = json.loads(answer.partition(b"\r\n\r\n")[2])

    assert answer.startswith(b"HTTP/1.1 200 OK")
    assert (found["method"], found["target"], found["body"]) == ("POST", "/a?b=1", "abc")
    assert "x-edge-filter-pop: local" in found["headers"]
    assert (record.component, record.status, record.ran) == ("worker", 200, True)
    assert record.cpu_s > 0
    assert solo.tallies()[0].requests == 1


async def test_a_filter_that_refuses(solo):
    """Its own answer, and no worker runs."""
    app = app_of(echo=guest("c-echo"), auth=resource_path("workers/filter-auth/auth.wasm"))
    app = replace(app, components=tuple(replace(c, configuration="secret") for c in app.components))
    await solo.load(replace(app, routes=app.routes[:1], filters=("auth",)))
    refused = await ask(solo, get("/hello"))
    let_in = await ask(solo, get("/hello", "Authorization: Bearer secret"))

    assert refused.startswith(b"HTTP/1.1 401 ")
    assert let_in.endswith(b"hello from c-echo")


async def test_filters_and_workers_are_not_mixed_up(solo):
    """A route to a filter, and a worker among the filters: refused as by a deployment."""
    app = app_of(echo=guest("c-echo"), marks=MARKS)
    with pytest.raises(UsageError, match="cannot serve /marks"):
        await solo.load(app)
    with pytest.raises(UsageError, match="'echo' is no filter"):
        await solo.load(replace(app, routes=app.routes[:1], filters=("echo",)))
