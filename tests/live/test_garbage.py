"""Garbage is collected by the clock and not in the middle of a guest."""

import asyncio
import gc
import weakref

import pytest

from edgesim.live import garbage


class Knot:
    """Refers to itself."""

    def __init__(self):
        self.me = self


@pytest.fixture
def quick(monkeypatch):
    """All intervals in milliseconds."""
    monkeypatch.setattr(garbage, "YOUNG_INTERVAL_S", 0.001)
    monkeypatch.setattr(garbage, "OLD_INTERVAL_S", 0.005)


async def until_gone(reference):
    """Let the loop run until the object is collected. The outer limit is the test's own patience."""
    async with asyncio.timeout(10):
        while reference() is not None:
            await asyncio.sleep(0)


async def test_young_garbage_goes_soon(quick):
    """Also while guests run; and the automatic collector is off meanwhile, on afterwards."""
    task = asyncio.create_task(garbage.collect_garbage(lambda: False))
    await asyncio.sleep(0)
    off = not gc.isenabled()
    await until_gone(weakref.ref(Knot()))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert off
    assert gc.isenabled()
    assert gc.get_freeze_count() == 0


async def test_old_garbage_waits_until_nobody_is_harmed(quick):
    """What has grown old is left alone while guests run."""
    running = True
    task = asyncio.create_task(garbage.collect_garbage(lambda: not running))
    await asyncio.sleep(0)
    knot = Knot()
    gc.collect(1)  # it is old now
    gone = weakref.ref(knot)
    del knot
    await until_gone(weakref.ref(Knot()))
    stayed = gone() is not None
    running = False
    await until_gone(gone)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert stayed
