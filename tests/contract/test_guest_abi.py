"""One contract for every guest ABI: what a worker may rely on, and what the edge may."""

import asyncio
from dataclasses import replace

import pytest

from edgesim.errors import (
    GuestCpuError,
    GuestError,
    GuestMemoryError,
    GuestOutputError,
    GuestTrapError,
    GuestWallError,
    RequestError,
)
from edgesim.model.http import BytesBody, header
from edgesim.model.worker import MIB, Limits
from edgesim.wasm import guest_store
from edgesim.wasm.abi import abis
from edgesim.wasm.guest import WINDOW_BYTES, Grants
from edgesim.wasm.runtime import Runtime
from tests.support.wasm import GENEROUS, Slow, ended, hello, hostile, load, read_all, request

GRANTS = Grants(environment=(("EDGESIM_POP", "fra1"), ("EDGESIM_VERSION", "7"), ("COLOUR", "green")))


@pytest.fixture(params=sorted(set(abis()) - {"proxy-wasm", "wasi-http-p3"}))
def abi(request: pytest.FixtureRequest) -> str:
    """The ABIs that small guests in WAT speak. Filters have test_proxy_wasm.py, WASI 0.3 has test_guests.py and tests/wasm/flat."""
    return request.param


@pytest.fixture
async def runtime(tmp_path_factory: pytest.TempPathFactory):
    """A runtime that must leave nothing behind."""
    runtime = Runtime(tmp_path_factory.getbasetemp() / "artifacts")
    yield runtime
    await runtime.close()

    assert not guest_store.LIVE
    assert not guest_store._SUSPENDED


@pytest.fixture
async def worker(runtime: Runtime, abi: str, tmp_path):
    """The sample worker of the ABI, loaded."""
    worker = await load(runtime, tmp_path, hello(abi))
    yield worker
    runtime.release(worker)


@pytest.fixture
def bad(runtime: Runtime, abi: str, tmp_path):
    """Load a hostile guest of the ABI by name."""
    return lambda name: load(runtime, tmp_path, hostile(abi, name))


async def test_a_worker_answers_with_status_fields_and_body(worker, abi):
    """The smallest request, and what is reported about it."""
    response = await worker.run(request(), GENEROUS, GRANTS)

    assert worker.abi == abi
    assert response.status == 200
    assert header(response.headers, "content-type") == "text/plain"
    assert response.body == b"hello from fra1 v7\n"
    assert response.ended is None
    assert response.instantiate_s > 0
    assert response.execute_s > 0
    assert 0 < response.cpu_s < 20


async def test_another_status(worker):
    """A worker chooses its status."""
    response = await worker.run(request("/teapot"), GENEROUS, GRANTS)

    assert response.status == 418
    assert response.body == b"short and stout\n"


async def test_the_query_arrives_as_sent(worker):
    """Nothing is decoded on the way."""
    response = await worker.run(request("/query?a=1&b=%20x"), GENEROUS)

    assert await read_all(response) == b"a=1&b=%20x"


async def test_request_fields_arrive(worker, abi):
    """Fields reach the guest in the ABI's form."""
    response = await worker.run(request("/headers", headers=(("x-test", "a: b"),)), GENEROUS)
    line = b"HTTP_X_TEST=a: b" if abi == "wagi" else b"x-test: a: b"

    assert line in (await read_all(response)).splitlines()


@pytest.mark.parametrize(
    ("value", "expected"), [("\u00fcber", "\u00fcber".encode()), ("a\udcffb", b"a\xffb"), ("a\ud800b", b"a?b")]
)
async def test_field_values_that_are_not_ascii_pass_through(worker, value, expected):
    """UTF-8 as it is, other bytes as PEP 383 surrogates; what is neither is replaced and harms nobody."""
    response = await worker.run(request("/headers", headers=(("x-test", value),)), GENEROUS)

    assert expected in await read_all(response)


async def test_a_target_that_is_not_utf_8_harms_nobody(worker):
    """Components take UTF-8 strings only."""
    response = await worker.run(request("/query?\udcff"), GENEROUS)

    assert response.status == 200


async def test_the_environment_arrives(worker):
    """Variables of the manifest and of the edge."""
    response = await worker.run(request("/env"), GENEROUS, GRANTS)

    assert {b"COLOUR=green", b"EDGESIM_POP=fra1"} <= set((await read_all(response)).splitlines())


async def test_globals_do_not_survive_a_request(worker):
    """Every request gets a fresh instance."""
    bodies = [await read_all(await worker.run(request("/count"), GENEROUS)) for _ in range(3)]

    assert bodies == [b"1", b"1", b"1"]


async def test_requests_do_not_mix(worker):
    """Many guests at once, each with its own environment and body."""

    async def one(i: int) -> bytes:
        body = BytesBody(b"%d" % i * 1000)
        return await read_all(await worker.run(request("/echo", method="POST", body=body), GENEROUS))

    bodies = await asyncio.gather(*(one(i) for i in range(30)))

    assert bodies == [b"%d" % i * 1000 for i in range(30)]


async def test_a_megabyte_streams_through_a_bounded_window(worker):
    """Body in and out: nobody holds more than the window, and the reader sets the pace."""

    class Source:
        """1 MB in pieces."""

        left = 16
        closed = False

        async def next(self):
            if not self.left:
                return None
            self.left -= 1
            return bytes([self.left]) * 65536

        def trailers(self):
            """None."""
            return ()

        def close(self):
            self.closed = True

    source = Source()
    response = await worker.run(request("/echo", method="POST", body=source), GENEROUS)
    await asyncio.sleep(0)
    first = response.body if isinstance(response.body, bytes) else await response.body.next()
    waiting = source.left

    assert waiting >= 16 - WINDOW_BYTES // 65536 - 3, "the guest ran ahead of its reader"
    rest = b"" if isinstance(response.body, bytes) else await read_all(response)

    assert first + rest == b"".join(bytes([i]) * 65536 for i in reversed(range(16)))
    await ended(response)

    assert source.closed


async def test_a_megabyte_needs_no_more_than_the_default_limits(worker):
    """What the component C API takes for carrying bytes is not counted against the worker."""
    body = bytes(range(256)) * 4096
    response = await worker.run(request("/echo", method="POST", body=BytesBody(body)), Limits())

    assert await read_all(response) == body


async def test_a_response_can_be_read_while_the_request_is_being_sent(worker):
    """The head and the first bytes come before the request has ended."""
    source = Slow([b"one", b"two"])
    response = await worker.run(request("/echo", method="POST", body=source), GENEROUS)
    first = await response.body.next()

    assert response.ended is not None
    assert b"onetwo".startswith(first)
    response.body.close()
    await ended(response)

    assert source.closed


async def test_closing_the_body_stops_the_guest(worker):
    """A client that goes away takes its guest with it."""
    response = await worker.run(request("/echo", method="POST", body=Slow([b"x"])), GENEROUS)
    response.body.close()
    response.body.close()
    await ended(response)

    assert not guest_store.LIVE


async def test_cancelling_returns_after_the_guest_has_stopped(bad):
    """A slot may be given away when the cancelled task has ended, not before: also for a guest that spins."""
    worker = await bad("spin")
    task = asyncio.create_task(worker.run(request(), GENEROUS))
    await asyncio.sleep(0)  # the first slice runs here
    task.cancel()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert not guest_store.LIVE


async def test_the_wall_clock_limit_ends_a_guest_that_waits(worker):
    """A guest that waits for a request body that never comes."""
    source = Slow([])
    limits = replace(GENEROUS, wall_s=0.05)
    response = await worker.run(request("/echo", method="POST", body=source), limits)
    with pytest.raises(GuestWallError, match=r"0\.05 s wall-clock"):
        await read_all(response)
    await ended(response)

    assert source.closed


async def test_the_deadline_of_the_request_ends_a_guest(bad):
    """The request's deadline holds where it is nearer than the limit."""
    worker = await bad("spin")
    with pytest.raises(GuestWallError, match="the request's deadline"):
        await worker.run(request(deadline_s=0.03), GENEROUS)


async def test_the_cpu_limit_ends_a_guest_that_spins(bad):
    """CPU time is bounded, and the loop goes on meanwhile."""
    worker = await bad("spin")
    with pytest.raises(GuestCpuError, match="30 ms CPU time"):
        await worker.run(request(), Limits(cpu_ms=30))


async def test_the_loop_stays_responsive_while_guests_spin(bad):
    """Guests that need CPU go on on threads: a timer of the loop still rings in time."""
    worker = await bad("spin")
    loop = asyncio.get_running_loop()
    tasks = [asyncio.create_task(worker.run(request(), Limits(cpu_ms=150))) for _ in range(3)]
    worst = 0.0
    while not all(task.done() for task in tasks):
        begin = loop.time()
        await asyncio.sleep(0.001)
        worst = max(worst, loop.time() - begin)
    results = await asyncio.gather(*tasks, return_exceptions=True)

    assert all(isinstance(result, GuestCpuError) for result in results)
    assert worst < 0.5


async def test_the_memory_limit_ends_a_guest_that_eats(bad, abi):
    """Growth beyond the limit fails inside the guest; components do not show how much they had."""
    worker = await bad("grow")
    with pytest.raises(GuestMemoryError if abi == "wagi" else GuestTrapError) as caught:
        await worker.run(request(), replace(GENEROUS, memory_bytes=8 * MIB))

    assert "8 MiB" in caught.value.message + caught.value.help


async def test_memory_that_is_too_large_at_start_is_said(worker):
    """The instance does not even begin."""
    with pytest.raises(GuestMemoryError, match="at start"):
        await worker.run(request(), replace(GENEROUS, memory_bytes=65536))


async def test_a_trap_is_that_requests_error_alone(bad, worker):
    """Others go on."""
    trapping = await bad("trap")
    with pytest.raises(GuestTrapError, match="unreachable"):
        await trapping.run(request(), GENEROUS)
    response = await worker.run(request(), GENEROUS, GRANTS)

    assert response.status == 200


async def test_a_guest_without_a_response_is_an_error(bad):
    """Ending well is not enough."""
    worker = await bad("silent")
    with pytest.raises(GuestOutputError, match="ended without a response"):
        await worker.run(request(), GENEROUS)


async def test_a_malformed_head_is_an_error(bad):
    """What is no HTTP field never reaches a client."""
    worker = await bad("malformed")
    with pytest.raises(GuestOutputError):
        await worker.run(request(), GENEROUS)


async def test_endless_header_fields_are_an_error(bad):
    """The head has a limit."""
    worker = await bad("headers")
    with pytest.raises(GuestOutputError, match=r"header fields|response head"):
        await worker.run(request(), GENEROUS)


async def test_a_flood_waits_for_its_reader_and_ends_at_the_limit(bad):
    """The window bounds what is buffered, the body limit what is sent."""
    worker = await bad("flood")
    response = await worker.run(request(), replace(GENEROUS, response_bytes=MIB))

    assert response.ended is not None
    with pytest.raises(GuestOutputError, match="larger than 1048576 bytes"):
        await read_all(response)
    await ended(response)


async def test_an_error_after_the_head_comes_out_of_the_body(bad):
    """The head cannot be taken back: the reader learns it."""
    worker = await bad("late")
    response = await worker.run(request(body=BytesBody(b"x")), GENEROUS)
    with pytest.raises(GuestTrapError):
        await read_all(response)


async def test_pointers_outside_the_memory_do_no_harm(bad, abi):
    """WAGI gets an error number, a component a trap."""
    worker = await bad("pointers")
    if abi == "wagi":
        assert await read_all(await worker.run(request(), GENEROUS)) == b"unharmed"
    else:
        with pytest.raises(GuestTrapError, match="out of bounds"):
            await worker.run(request(), GENEROUS)


async def test_a_request_body_beyond_the_limit_is_the_clients_error(worker):
    """Not the worker's."""
    body = BytesBody(b"x" * 2000)
    response = await worker.run(request("/echo", method="POST", body=body), replace(GENEROUS, body_bytes=1000))
    with pytest.raises(RequestError, match="larger than 1000 bytes"):
        await read_all(response)


async def test_a_failing_sender_ends_the_guest_with_its_error(worker):
    """What the request's body raises is what the reader gets."""

    class Broken:
        async def next(self):
            raise RequestError("the client sent half a chunk")

        def trailers(self):
            """None."""
            return ()

        def close(self):
            pass

    response = await worker.run(request("/echo", method="POST", body=Broken()), GENEROUS)
    with pytest.raises(RequestError, match="half a chunk"):
        await read_all(response)


async def test_errors_say_what_to_do(bad):
    """Every error of a guest has a text and a help."""
    for name in ("trap", "silent", "spin"):
        worker = await bad(name)
        with pytest.raises(GuestError) as caught:
            await worker.run(request(), Limits(cpu_ms=20))

        assert caught.value.help
        assert caught.value.status in (502, 504)
