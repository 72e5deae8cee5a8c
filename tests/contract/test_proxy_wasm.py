"""What a Proxy-Wasm filter may rely on, and what the edge may: life cycle, phases, limits, and isolation."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from edgesim.errors import (
    BundleError,
    GuestCpuError,
    GuestMemoryError,
    GuestOutputError,
    GuestTrapError,
    GuestWallError,
    RequestError,
)
from edgesim.model.http import BytesBody
from edgesim.wasm import guest_store
from edgesim.wasm.proxy.bodies import FilteredBody
from edgesim.wasm.runtime import Runtime
from tests.support.filters import GENEROUS, Network, filter_request, plugin_of, read_all, sample, wat

SDK_GUEST = Path(__file__).parents[1] / "guests/filter-as/guest.wasm"
PASS = '(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (i32.const 0))'
SPIN = '(func (export "{name}") (param {params}) {result} (loop $l (br $l)) (unreachable))'


class Chunks:
    """A body of several chunks."""

    def __init__(self, *chunks):
        self.left = list(chunks)
        self.closed = False

    async def next(self):
        """The next chunk."""
        return self.left.pop(0) if self.left else None

    def trailers(self):
        """None."""
        return ()

    def close(self):
        """Remember it."""
        self.closed = True


@pytest.fixture
async def runtime(tmp_path_factory):
    """A runtime that must leave nothing behind."""
    runtime = Runtime(tmp_path_factory.getbasetemp() / "artifacts")
    yield runtime
    await runtime.close()

    assert not guest_store.LIVE


@pytest.fixture
def plugin(runtime, tmp_path):
    """Make a plugin of a filter's bytes, or of the body of a WAT module."""

    def make(data, *imports, **settings):
        return plugin_of(runtime, tmp_path, wat(data, *imports) if isinstance(data, str) else data, **settings)

    return make


# -- samples and a real SDK ---------------------------------------------------------------------------------------------


async def test_the_auth_sample(plugin):
    """401 and no way on without the token; with it the request goes on without the field."""
    async with plugin(sample("auth"), configuration=b"secret") as auth:
        refused, let_in = (
            auth.open(filter_request()),
            auth.open(filter_request(headers=(("authorization", "Bearer secret"), ("accept", "*/*")))),
        )
        answer = await refused.on_request()
        passed = await let_in.on_request()
        refused.close()
        let_in.close()

    assert (answer.status, answer.headers) == (401, (("www-authenticate", "Bearer"),))
    assert passed is None
    assert let_in.request.headers == (("host", "hello.localhost"), ("accept", "*/*"))


async def test_a_filter_that_refuses_its_configuration_does_not_start(plugin):
    """Found out when the PoP loads it, with what it has logged."""
    with pytest.raises(GuestOutputError, match=r"filter guest: it refused its configuration.*must be the token"):
        async with plugin(sample("auth")):
            pass


async def test_the_headers_sample(plugin):
    """Request and response fields, from properties of the PoP."""
    async with plugin(sample("headers"), name="marks", identity=((b"pop", b"fra1"),)) as headers:
        run = headers.open(filter_request())
        assert await run.on_request() is None
        status, fields, body = await run.on_response(200, (("server", "x"), ("content-length", "2")), b"ok")
        run.close()

    assert ("x-edge-filter-pop", "fra1") in run.request.headers
    assert (status, fields, body) == (200, (("x-filtered-by", "marks"), ("content-length", "2")), b"ok")


async def test_an_unmodified_sdk_guest(plugin):
    """G-Core's AssemblyScript SDK: configuration, properties, fields, body, local response, shared data, metric, log."""
    async with plugin(SDK_GUEST.read_bytes(), configuration=b"blue", identity=((b"pop", b"fra1"),)) as guest:
        denied = guest.open(filter_request("/deny"))
        answer = await denied.on_request()
        counts = []
        for _ in range(3):
            run = guest.open(filter_request("/count"))
            assert await run.on_request() is None
            counts.append(dict(run.request.headers)["x-count"])
            status, fields, body = await run.on_response(200, (("content-length", "5"),), b"hello")
            log = run._vm.log.text
            run.close()
        denied.close()

    assert (answer.status, answer.headers, answer.body) == (403, (("x-why", "denied"),), b"no entry\n")
    assert counts == ["1", "2", "3"]
    assert dict(run.request.headers)["x-configuration"] == "blue"
    assert dict(run.request.headers)["x-pop"] == "fra1"
    assert (status, fields, body) == (200, (("x-sdk", "assemblyscript"),), b"HELLO")
    assert "path /count" in log
    assert [(m.name, m.value) for m in guest.state.metrics()] == [("requests_counted", 3)]


@pytest.mark.parametrize(("upstream", "checked"), [("good.test", "fine"), ("forbidden.test", "failed")])
async def test_an_sdk_guest_waits_for_its_http_call(plugin, upstream, checked):
    """The stream is paused until the response is there, or the refusal."""
    network = Network({"good.test": (200, (("x", "y"),), b"fine")})
    async with plugin(SDK_GUEST.read_bytes(), outbound=network) as guest:
        run = guest.open(filter_request(f"/call/{upstream}"))
        assert await run.on_request() is None
        run.close()
    sent = network.seen[0]

    assert dict(run.request.headers)["x-checked"] == checked
    assert (sent.method, sent.scheme, sent.authority, sent.target) == ("GET", "http", upstream, "/check")


# -- phases -------------------------------------------------------------------------------------------------------------


async def test_the_order_of_callbacks(plugin):
    """Plugin first, then the stream, in the order of the specification."""
    names = [
        ("_initialize", "", ""), ("main", "i32 i32", "i32"), ("proxy_on_context_create", "i32 i32", ""),
        ("proxy_on_vm_start", "i32 i32", "i32"), ("proxy_on_configure", "i32 i32", "i32"),
        ("proxy_on_request_headers", "i32 i32 i32", "i32"), ("proxy_on_request_body", "i32 i32 i32", "i32"),
        ("proxy_on_response_headers", "i32 i32 i32", "i32"), ("proxy_on_response_body", "i32 i32 i32", "i32"),
        ("proxy_on_done", "i32", "i32"), ("proxy_on_log", "i32", ""), ("proxy_on_delete", "i32", ""),
    ]  # fmt: skip
    body = "".join(
        f'(data (i32.const {64 * n}) "{name}")'
        f'(func (export "{name}") {f"(param {params})" if params else ""} {f"(result {result})" if result else ""}'
        f" (drop (call $proxy_log (i32.const 2) (i32.const {64 * n}) (i32.const {len(name)})))"
        + (
            f" (i32.const {int(name in ('proxy_on_vm_start', 'proxy_on_configure', 'proxy_on_done'))})"
            if result
            else ""
        )
        + ")"
        for n, (name, params, result) in enumerate(names)
    )
    async with plugin(body, "proxy_log") as guest:
        run = guest.open(filter_request(body=b"up"))
        await run.on_request()
        await run.on_response(200, (), b"down")
        vm = run._vm
        run.close()
        log = vm.log
    order = [line.removeprefix("[info] ") for line in log.text.splitlines()]
    expected = [name for name, _, _ in names]
    expected.insert(5, "proxy_on_context_create")

    assert order[: len(expected) - 3] == expected[:-3]


async def test_a_request_body_is_passed_when_the_filter_has_seen_all_of_it(plugin):
    """Chunks accumulate while it pauses; what it leaves in the buffer goes on, with its length."""
    body = """
    (data (i32.const 0) "!")
    (func (export "proxy_on_request_body") (param i32 i32 i32) (result i32)
      (if (i32.eqz (local.get 2)) (then (return (i32.const 1))))
      (drop (call $proxy_set_buffer_bytes (i32.const 0) (i32.const -1) (i32.const 0) (i32.const 0) (i32.const 1)))
      (i32.const 0))
    """
    source = Chunks(b"one ", b"two ", b"three")
    async with plugin(body, "proxy_set_buffer_bytes") as guest:
        run = guest.open(filter_request(method="POST", headers=(("content-length", "13"),), body=source))
        assert await run.on_request() is None
        got = await read_all(run.request.body)
        run.close()

    assert got == b"one two three!"
    assert dict(run.request.headers)["content-length"] == "14"
    assert source.closed


async def test_a_filter_without_body_callbacks_leaves_bodies_alone(plugin):
    """The same objects go on: nothing is read, nothing is copied."""
    source, answer = Chunks(b"a"), Chunks(b"b")
    async with plugin(PASS) as guest:
        run = guest.open(filter_request(body=source))
        await run.on_request()
        _, _, body = await run.on_response(200, (), answer)
        run.close()

    assert run.request.body is source
    assert body is answer


async def test_a_response_body_streams_through_the_filter(plugin):
    """Chunk by chunk: what is passed when, and the end; the length is not claimed any more."""
    body = """
    (data (i32.const 0) ".")
    (func (export "proxy_on_response_body") (param i32 i32 i32) (result i32)
      (drop (call $proxy_set_buffer_bytes (i32.const 1) (i32.const -1) (i32.const 0) (i32.const 0) (i32.const 1)))
      (i32.const 0))
    """
    async with plugin(body, "proxy_set_buffer_bytes") as guest:
        run = guest.open(filter_request())
        await run.on_request()
        _, fields, stream = await run.on_response(200, (("content-length", "2"), ("x", "y")), Chunks(b"a", b"b"))
        chunks = [await stream.next() for _ in range(4)]

    assert isinstance(stream, FilteredBody)
    assert fields == (("x", "y"),)
    assert chunks == [b"a.", b"b.", b".", None]


async def test_a_response_can_be_answered_anew(plugin):
    """From its headers: what the worker has sent is closed and forgotten."""
    body = """
    (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32)
      (drop (call $proxy_send_local_response (i32.const 503) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
        (i32.const 0) (i32.const 0) (i32.const -1)))
      (i32.const 1))
    """
    source = Chunks(b"secret")
    async with plugin(body, "proxy_send_local_response") as guest:
        run = guest.open(filter_request())
        await run.on_request()
        answer = await run.on_response(200, (("x", "y"),), source)
        run.close()

    assert answer == (503, (), b"")
    assert source.closed


async def test_the_head_can_be_rewritten(plugin):
    """Method, path and authority are pseudo-fields; an impossible one ends the request."""
    body = """
    (data (i32.const 0) ":path") (data (i32.const 16) "/new?x=1") (data (i32.const 32) ":authority") (data (i32.const 48) "b.test")
    (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
      (drop (call $proxy_replace_header_map_value (i32.const 0) (i32.const 0) (i32.const 5) (i32.const 16) (i32.const {size})))
      (drop (call $proxy_replace_header_map_value (i32.const 0) (i32.const 32) (i32.const 10) (i32.const 48) (i32.const 6)))
      (i32.const 0))
    """
    async with plugin(body.replace("{size}", "8"), "proxy_replace_header_map_value") as guest:
        run = guest.open(filter_request("/old"))
        await run.on_request()
        run.close()
    async with plugin(body.replace("{size}", "0"), "proxy_replace_header_map_value") as guest:
        bad = guest.open(filter_request("/old"))
        with pytest.raises(GuestOutputError, match="without a usable :method, :path"):
            await bad.on_request()
        bad.close()

    assert (run.request.target, run.request.authority) == ("/new?x=1", "b.test")
    assert run.request.headers == (("host", "b.test"),)


async def test_a_stream_that_nothing_resumes_ends_at_once(plugin):
    """Instead of hanging until its deadline."""
    pause = PASS.replace("(i32.const 0)", "(i32.const 1)")
    async with plugin(pause) as guest:
        run = guest.open(filter_request())
        with pytest.raises(GuestOutputError, match="paused the request and waits for nothing"):
            await run.on_request()
        run.close()


async def test_a_filter_can_close_the_stream(plugin):
    """A reset is an answer of the edge's own."""
    body = """(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
      (drop (call $proxy_close_stream (i32.const 0))) (i32.const 1))"""
    async with plugin(body, "proxy_close_stream") as guest:
        run = guest.open(filter_request())
        with pytest.raises(GuestOutputError, match="closed the stream"):
            await run.on_request()
        run.close()


async def test_an_older_abi(plugin):
    """0.1.0: two parameters where 0.2 has three."""
    data = wat('(func (export "proxy_on_request_headers") (param i32 i32) (result i32) (i32.const 0))')
    data = data.replace(b"proxy_abi_version_0_2_1", b"proxy_abi_version_0_1_0")
    async with plugin(data) as guest:
        run = guest.open(filter_request())
        assert await run.on_request() is None
        run.close()


# -- timers, queues, calls of the plugin's own VM -----------------------------------------------------------------------


async def until(check):
    """Let the loop turn until `check()` holds. The outer limit is the test's own patience."""
    async with asyncio.timeout(20):
        while not check():
            await asyncio.get_running_loop().run_in_executor(None, lambda: None)


async def test_ticks(plugin):
    """The plugin's own VM is called again and again, and sees what requests have shared."""
    body = """
    (data (i32.const 0) "ticks")
    (func (export "proxy_on_configure") (param i32 i32) (result i32)
      (drop (call $proxy_set_tick_period_milliseconds (i32.const 10)))
      (drop (call $proxy_define_metric (i32.const 0) (i32.const 0) (i32.const 5) (i32.const 16)))
      (i32.const 1))
    (func (export "proxy_on_tick") (param i32)
      (drop (call $proxy_increment_metric (i32.load (i32.const 16)) (i64.const 1))))
    """
    async with plugin(
        body, "proxy_set_tick_period_milliseconds", "proxy_define_metric", "proxy_increment_metric"
    ) as guest:
        await until(lambda: guest.state.metrics()[0].value >= 3)

        assert guest._task is not None
        guest.close()
        await asyncio.gather(guest._task, return_exceptions=True)


async def test_a_tick_that_traps_stops_the_timer_only(plugin, caplog):
    """Requests go on; the log says what has stopped."""
    body = (
        """
    (func (export "proxy_on_configure") (param i32 i32) (result i32)
      (drop (call $proxy_set_tick_period_milliseconds (i32.const 10))) (i32.const 1))
    (func (export "proxy_on_tick") (param i32) (unreachable))
    """
        + PASS
    )
    async with plugin(body, "proxy_set_tick_period_milliseconds") as guest:
        await guest._task
        run = guest.open(filter_request())
        assert await run.on_request() is None
        run.close()

    assert "its timer and queues have stopped" in caplog.text
    assert "filter guest trapped" in caplog.text


async def test_queues_wake_the_plugin(plugin):
    """What a request enqueues, the plugin's own VM dequeues."""
    body = """
    (data (i32.const 0) "jobs")
    (func (export "proxy_on_configure") (param i32 i32) (result i32)
      (drop (call $proxy_register_shared_queue (i32.const 0) (i32.const 4) (i32.const 16))) (i32.const 1))
    (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
      (drop (call $proxy_enqueue_shared_queue (i32.load (i32.const 16)) (i32.const 0) (i32.const 4))) (i32.const 0))
    (func (export "proxy_on_queue_ready") (param i32 i32)
      (drop (call $proxy_dequeue_shared_queue (local.get 1) (i32.const 24) (i32.const 28)))
      (drop (call $proxy_set_shared_data (i32.load (i32.const 24)) (i32.load (i32.const 28)) (i32.const 0) (i32.const 0)
        (i32.const 0))))
    """
    async with plugin(
        body, "proxy_register_shared_queue", "proxy_enqueue_shared_queue", "proxy_dequeue_shared_queue",
        "proxy_set_shared_data",
    ) as guest:  # fmt: skip
        run = guest.open(filter_request())
        await run.on_request()
        run.close()
        await until(lambda: guest.state.get_data(b"jobs") is not None)
        guest.close()
        await asyncio.gather(guest._task, return_exceptions=True)


# -- limits and isolation -----------------------------------------------------------------------------------------------


async def test_every_request_has_its_own_memory(plugin):
    """A global that one request has changed is fresh for the next."""
    body = """
    (global $seen (mut i32) (i32.const 0))
    (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
      (if (global.get $seen) (then unreachable)) (global.set $seen (i32.const 1)) (i32.const 0))
    """
    async with plugin(body) as guest:
        for _ in range(3):
            run = guest.open(filter_request())
            assert await run.on_request() is None
            run.close()


@pytest.mark.parametrize(
    ("name", "params", "result"),
    [("proxy_on_request_headers", "i32 i32 i32", "(result i32)"), ("proxy_on_context_create", "i32 i32", "")],
)
async def test_a_filter_that_spins(plugin, name, params, result):
    """Ended at its CPU limit, named, on the pool: the loop goes on meanwhile."""
    limits = replace(GENEROUS, cpu_ms=20, startup_ms=20)
    body = SPIN.format(name=name, params=params, result=result)
    async with plugin(body, limits=limits, start=False) as guest:
        run = guest.open(filter_request())
        with pytest.raises(GuestCpuError, match="filter guest: it used more than its limit of 20 ms"):
            await run.on_request()
        run.close()


async def test_a_filter_that_spins_in_its_start_function(plugin):
    """Its store is freed, although there was never an instance."""
    body = "(func $s (loop $l (br $l))) (start $s)"
    async with plugin(body, limits=replace(GENEROUS, startup_ms=20), start=False) as guest:
        run = guest.open(filter_request())
        with pytest.raises(GuestCpuError, match="filter guest"):
            await run.on_request()
        run.close()


async def test_a_filter_that_spins_at_its_end_harms_nobody(plugin):
    """The response is out; the VM is freed when its time is over."""
    body = PASS + SPIN.format(name="proxy_on_log", params="i32", result="")
    async with plugin(body, limits=replace(GENEROUS, cpu_ms=20)) as guest:
        run = guest.open(filter_request())
        assert await run.on_request() is None
        run.close()
        await until(lambda: not guest_store.LIVE)


@pytest.mark.parametrize(
    ("code", "error", "match"),
    [
        ("(unreachable)", GuestTrapError, "filter guest trapped: .*unreachable"),
        ("(i32.load (i32.const -1))", GuestTrapError, "filter guest trapped: out of bounds"),
        ("(call $deep) (i32.const 0)", GuestTrapError, "call stack exhausted"),
    ],
)
async def test_traps(plugin, code, error, match):
    """The error names the filter."""
    body = f"""(func $deep (call $deep) (call $deep))
    (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) {code})"""
    async with plugin(body) as guest:
        run = guest.open(filter_request())
        with pytest.raises(error, match=match):
            await run.on_request()
        run.close()


async def test_a_filter_that_needs_too_much_memory(plugin, tmp_path, runtime):
    """Refused at its start, in the words of its limit."""
    data = wat("", memory='(memory (export "memory") 40)')
    async with plugin(data, limits=replace(GENEROUS, memory_bytes=1 << 20), start=False) as guest:
        run = guest.open(filter_request())
        with pytest.raises(GuestMemoryError, match="filter guest"):
            await run.on_request()
        run.close()


async def test_bodies_are_bounded(plugin):
    """What the client sends too much is its own mistake; what a filter makes too large is the filter's."""
    body = """
    (func (export "proxy_on_request_body") (param i32 i32 i32) (result i32)
      (drop (call $proxy_set_buffer_bytes (i32.const 0) (i32.const -1) (i32.const 0) (i32.const 0) (i32.const 65536)))
      (i32.const 0))
    """
    limits = replace(GENEROUS, body_bytes=1000)
    async with plugin(body, "proxy_set_buffer_bytes", limits=limits) as guest:
        large, grown = guest.open(filter_request(body=b"x" * 1001)), guest.open(filter_request(body=b"x"))
        with pytest.raises(RequestError, match="larger than 1000 bytes"):
            await large.on_request()
        with pytest.raises(GuestOutputError, match="made a body larger than 1000 bytes"):
            await grown.on_request()
        large.close()
        grown.close()


async def test_a_call_that_is_never_answered(plugin):
    """Ends at the filter's wall-clock limit, and the call is broken off."""
    network = Network({"slow.test": (200, (), b"")}, gate=asyncio.Event())
    async with plugin(SDK_GUEST.read_bytes(), outbound=network, limits=replace(GENEROUS, wall_s=0.05)) as guest:
        run = guest.open(filter_request("/call/slow.test"))
        with pytest.raises(GuestWallError, match="filter guest was still waiting"):
            await run.on_request()
        run.close()


async def test_a_client_that_goes_away(plugin):
    """A cancelled request leaves no VM behind, also in the middle of a spin."""
    body = SPIN.format(name="proxy_on_request_headers", params="i32 i32 i32", result="(result i32)")
    async with plugin(body, start=False) as guest:
        run = guest.open(filter_request())
        task = asyncio.create_task(run.on_request())
        await until(lambda: run._vm is not None and run._vm.began_s)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        run.close()

        assert not guest_store.LIVE


async def test_a_body_that_was_read_is_there_again(plugin):
    """For a request that goes on without a filter that has failed."""
    body = '(func (export "proxy_on_request_body") (param i32 i32 i32) (result i32) (unreachable))'
    async with plugin(body, fail_open=True) as guest:
        run = guest.open(filter_request(body=Chunks(b"a", b"b", b"c")))
        with pytest.raises(GuestTrapError):
            await run.on_request()
        run.close()

        assert await read_all(run.unread_body()) == b"abc"


# -- what is refused when it is deployed --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (lambda: wat("", memory="(memory 1)"), "does not export its memory"),
        (lambda: wat("", raw='(import "env" "proxy_magic" (func))'), "env.proxy_magic"),
        (lambda: wat("", raw='(import "env" "proxy_log" (func (param i32)))'), "env.proxy_log"),
        (lambda: wat("", raw='(import "wasi_snapshot_preview1" "fd_write" (func))'), "fd_write"),
        (lambda: wat('(func (export "proxy_on_tick") (param f64))'), "proxy_on_tick does not have the type"),
        (
            lambda: wat('(func (export "proxy_on_request_headers") (param i32 i32 i32))'),
            "proxy_on_request_headers does",
        ),
    ],
)
async def test_filters_that_cannot_be_served(runtime, tmp_path, data, match):
    """Named, when they are inspected."""
    path = tmp_path / "bad.wasm"
    path.write_bytes(data())
    with pytest.raises(BundleError, match=match):
        await runtime.inspect(path)


# -- trailers -----------------------------------------------------------------------------------------------------------

TRAILERS = """
  (data (i32.const 16) "x-seen1")
  (func $see (param $map i32) (param $count i32) (result i32)
    (i32.store8 (i32.const 22) (i32.add (local.get $count) (i32.const 48)))
    (drop (call $proxy_add_header_map_value (local.get $map) (i32.const 16) (i32.const 6) (i32.const 22) (i32.const 1)))
    (i32.const 0))
  (func (export "proxy_on_request_trailers") (param i32 i32) (result i32) (call $see (i32.const 1) (local.get 1)))
  (func (export "proxy_on_response_trailers") (param i32 i32) (result i32) (call $see (i32.const 3) (local.get 1)))
  (func (export "proxy_on_response_body") (param i32 i32 i32) (result i32) (local.get 2))
"""


async def test_trailers_pass_a_filter_after_the_body(plugin):
    """Both ways: it sees how many there are, adds one, and its body callback is not told of an end (it would pause there)."""
    trailers = (("x-sum", "9"), ("x-more", "1"))
    async with plugin(TRAILERS, "proxy_add_header_map_value") as watcher:
        run = watcher.open(filter_request(method="POST", body=BytesBody(b"abc", trailers)))
        assert await run.on_request() is None
        _, fields, body = await run.on_response(200, (("content-length", "3"),), BytesBody(b"abc", trailers[:1]))
        content = await read_all(body)
        run.close()

    assert await read_all(run.request.body) == b"abc"
    assert run.request.body.trailers() == (*trailers, ("x-seen", "2"))
    assert (fields, content) == ((), b"abc")
    assert body.trailers() == (("x-sum", "9"), ("x-seen", "1"))
