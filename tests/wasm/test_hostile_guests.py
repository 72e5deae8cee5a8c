"""Guests that misuse one ABI in its own way. What both ABIs share is tests/contract/test_guest_abi.py."""

import asyncio
import time
from dataclasses import replace

import pytest

from edgesim.errors import (
    GuestMemoryError,
    GuestOutputError,
    GuestTrapError,
    GuestWallError,
    OverloadedError,
)
from edgesim.model.worker import MIB
from edgesim.wasm import guest_store
from edgesim.wasm.engine import MAX_GUESTS
from edgesim.wasm.runtime import Runtime
from tests.support.wasm import GENEROUS, Slow, ended, hello, hostile, load, read_all, request


@pytest.fixture
async def runtime(tmp_path_factory):
    """A runtime that must leave nothing behind."""
    runtime = Runtime(tmp_path_factory.getbasetemp() / "artifacts")
    yield runtime
    await runtime.close()

    assert not guest_store.LIVE


@pytest.fixture
def bad(runtime, tmp_path):
    """Load a hostile guest by ABI and name."""
    return lambda abi, name: load(runtime, tmp_path, hostile(abi, name))


async def test_a_sleep_in_poll_oneoff_ends_at_the_limit(bad):
    """The engine's own preview 1 slept 4 s past a 50 ms deadline."""
    worker = await bad("wagi", "sleep")
    begin = time.monotonic()
    with pytest.raises(GuestWallError):
        await worker.run(request(), replace(GENEROUS, wall_s=0.05))

    assert time.monotonic() - begin < 2


async def test_sleeping_guests_hold_no_thread(bad):
    """A hundred at once on a pool of two threads, all ended by their deadline together."""
    worker = await bad("wagi", "sleep")
    begin = time.monotonic()
    runs = [worker.run(request(deadline_s=0.2), GENEROUS) for _ in range(100)]
    results = await asyncio.gather(*runs, return_exceptions=True)

    assert all(isinstance(result, GuestWallError) for result in results)
    assert time.monotonic() - begin < 3


async def test_memory_wanted_at_start(bad):
    """256 MiB against a limit of 128 MiB."""
    worker = await bad("wagi", "huge")
    with pytest.raises(GuestMemoryError, match="128 MiB at start"):
        await worker.run(request(), GENEROUS)


async def test_an_exit_code_before_the_answer_is_an_error(bad):
    """The code is named."""
    worker = await bad("wagi", "exit")
    with pytest.raises(GuestTrapError, match="exited with code 3 before it answered"):
        await worker.run(request(), GENEROUS)


async def test_the_log_explains_a_trap(bad):
    """The last line of stderr is part of the error."""
    worker = await bad("wagi", "trap")
    with pytest.raises(GuestTrapError, match="its log ends with: about to die"):
        await worker.run(request(), GENEROUS)


async def test_handles_are_bounded(bad):
    """A component cannot fill the host with resources."""
    worker = await bad("wasi-http", "handles")
    with pytest.raises(GuestMemoryError, match="more than 8192"):
        await worker.run(request(), GENEROUS)


async def test_a_body_without_its_end_is_an_error(bad):
    """outgoing-body.finish is what says that a body is whole."""
    worker = await bad("wasi-http", "half")
    with pytest.raises(GuestOutputError, match="middle of its response body"):
        await worker.run(request(), GENEROUS)


async def test_a_forged_handle_traps(bad):
    """Handles are the engine's to give."""
    worker = await bad("wasi-http", "forged")
    with pytest.raises(GuestTrapError, match="handle"):
        await worker.run(request(), GENEROUS)


async def test_a_giant_list_costs_the_host_nothing(bad):
    """100 MiB of list<u8> would be 3 GiB of C values."""
    worker = await bad("wasi-http", "giant")
    with pytest.raises(GuestTrapError, match="too much data"):
        await worker.run(request(), GENEROUS)


async def test_more_guests_than_the_pool_are_refused(runtime, tmp_path):
    """The limit of the process is an error of the overloaded edge, and passes.

    The kernel's limit on memory mappings may come before the pool's: this process has the pools of other tests too.
    """
    worker = await load(runtime, tmp_path, hello("wagi"))
    await runtime.improved(worker.digest)  # each compiler's code has a pool of its own
    limits = replace(GENEROUS, memory_bytes=MIB)
    waiting = []

    async def fill() -> None:
        while len(waiting) <= MAX_GUESTS:
            waiting.append(await worker.run(request("/echo", body=Slow([b"x"])), limits))

    with pytest.raises(OverloadedError, match=rf"runs {MAX_GUESTS} guests already|no memory for another guest"):
        await fill()
    for response in waiting:
        response.body.close()
    for response in waiting:
        await ended(response)

    assert len(waiting) >= 1000
    assert (await worker.run(request(), limits)).status == 200


async def test_random_cancellation_leaves_nothing(runtime, tmp_path):
    """Many guests of both ABIs, each cancelled somewhere else in its life."""
    workers = [await load(runtime, tmp_path, hello(abi)) for abi in ("wagi", "wasi-http")]

    async def one(i: int) -> None:
        response = await workers[i % 2].run(request("/echo", body=Slow([b"x" * 50_000] * (i % 7))), GENEROUS)
        await read_all(response)

    tasks = [asyncio.create_task(one(i)) for i in range(60)]
    for i, task in enumerate(tasks):
        for _ in range(i % 5):
            await asyncio.sleep(0)
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for other in asyncio.all_tasks() - {asyncio.current_task()}:
        other.cancel()
        await asyncio.gather(other, return_exceptions=True)
    await asyncio.sleep(0)

    assert not guest_store.LIVE
