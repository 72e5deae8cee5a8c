"""Every guest of the pack on a runtime: the right error, nothing left behind, and a neighbour that does not notice."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from edgesim.errors import BundleError, EdgesimError
from edgesim.model.worker import MIB, Limits
from edgesim.wasm import guest_store
from edgesim.wasm.runtime import LoadedWorker, Runtime
from tests.hostile.pack import PACK, REFUSED, Hostile
from tests.support.wasm import GENEROUS, Slow, ended, hello, load, read_all, request

LIMITS = Limits(cpu_ms=50, startup_ms=50, wall_s=20, memory_bytes=32 * MIB, body_bytes=4 * MIB, response_bytes=4 * MIB)
"""The wall-clock limit is one that a busy machine does not reach by itself."""
SHORT_WALL_S = 0.15
MAY_RUN = {name: guest for name, guest in PACK.items() if guest.ends != (REFUSED,)}
MUST_BE_REFUSED = {name: guest for name, guest in PACK.items() if guest.ends == (REFUSED,)}
MAX_GROWTH_BYTES = 32 * MIB


@pytest.fixture
async def runtime(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Runtime]:
    """A runtime that must leave nothing behind."""
    runtime = Runtime(tmp_path_factory.getbasetemp() / "artifacts")
    yield runtime
    await runtime.close()


def rss_bytes() -> int:
    """Resident memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


async def attack(worker: LoadedWorker, guest: Hostile) -> str:
    """One request: the code of its error, or its status."""
    limits = replace(LIMITS, wall_s=SHORT_WALL_S) if guest.waits else LIMITS
    try:
        response = await worker.run(
            request(headers=(("x-test", "1"),), body=Slow([]) if guest.name == "wait" else None), limits
        )
        if guest.unread:
            await ended(response)
        await read_all(response)
    except EdgesimError as error:
        return error.code
    finally:
        await asyncio.sleep(0)
    return str(response.status)


async def keep_asking(worker: LoadedWorker, until: asyncio.Future[object]) -> list[int]:
    """What a neighbour answers meanwhile."""
    statuses = []
    while not until.done() or not statuses:
        response = await worker.run(request(), GENEROUS)
        await read_all(response)
        statuses.append(response.status)
        await asyncio.sleep(0)
    return statuses


@pytest.mark.parametrize("guest", MAY_RUN.values(), ids=MAY_RUN)
async def test_it_harms_nobody_but_itself(runtime: Runtime, tmp_path: Path, guest: Hostile) -> None:
    """Several at once, with a well-behaved worker between them; once more, and memory is no more than before."""
    try:
        worker = await load(runtime, tmp_path, guest.build())
    except EdgesimError as error:
        assert error.code in guest.ends  # noqa: PT017 - one of several permitted ends
        return
    neighbour = await load(runtime, tmp_path, hello(guest.abi))
    for _ in range(2):  # what is set up in the first round is not counted
        before = rss_bytes()
        attacks = asyncio.gather(*(attack(worker, guest) for _ in range(guest.at_once)))
        statuses = await keep_asking(neighbour, attacks)
        ends = await attacks

        assert set(ends) <= set(guest.ends), ends
        assert set(statuses) == {200}
        assert not guest_store.LIVE
        assert not guest_store._SUSPENDED
    if rss_bytes() - before >= MAX_GROWTH_BYTES:
        gc.collect()  # only then: in a large test process it takes half a second

    assert rss_bytes() - before < MAX_GROWTH_BYTES


@pytest.mark.parametrize("guest", MUST_BE_REFUSED.values(), ids=MUST_BE_REFUSED)
async def test_what_can_never_run_is_refused_at_deploy(runtime: Runtime, tmp_path: Path, guest: Hostile) -> None:
    """The file itself asks for more than any instance gets."""
    with pytest.raises(BundleError, match=r"table|memor"):
        await load(runtime, tmp_path, guest.build())


@pytest.mark.parametrize("abi", ["wasi-http", "wagi"])
async def test_the_whole_pack_at_once(runtime: Runtime, tmp_path: Path, abi: str) -> None:
    """Every guest of an ABI in one process at the same time."""
    guests = [guest for guest in MAY_RUN.values() if guest.abi == abi and REFUSED not in guest.ends]
    workers = await asyncio.gather(*(load(runtime, tmp_path, guest.build()) for guest in guests))
    neighbour = await load(runtime, tmp_path, hello(guests[0].abi))
    attacks = asyncio.gather(*(attack(worker, guest) for worker, guest in zip(workers, guests, strict=True)))
    statuses = await keep_asking(neighbour, attacks)
    wrong = {
        guest.id: end for guest, end in zip(guests, await attacks, strict=True) if end not in (*guest.ends, "E0402")
    }

    assert not wrong
    assert set(statuses) == {200}
    assert not guest_store.LIVE
