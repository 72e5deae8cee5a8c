"""The live world on virtual time: sleeping, waiting, background flows and their end."""

from __future__ import annotations

import asyncio

import pytest

from edgesim.core.waiter import TIMED_OUT, Waiter
from edgesim.live.world import LiveWorld
from tests.parity.virtual_loop import VirtualLoop


@pytest.fixture
def virtual():
    """Runs `main(world, loop)` on virtual time and closes both."""
    loop = VirtualLoop()

    def run(main):
        async def carry():
            w = LiveWorld(lambda _: None)
            try:
                return await main(w, loop)
            finally:
                await w.close()

        return loop.run_until_complete(carry())

    yield run
    loop.close()


def test_sleeping(virtual):
    """Time passes; no time does not suspend."""

    async def main(w, loop):
        ran = []
        loop.call_soon(ran.append, 1)
        await w.sleep(0.0)
        await w.sleep(-1.0)
        before = list(ran)
        await w.sleep(1.5)
        return before, ran, w.now()

    assert virtual(main) == ([], [1], 1.5)


def test_waiting(virtual):
    """The value when it comes, TIMED_OUT at the deadline, neither suspends when it is there; nobody stays parked."""

    async def main(w, loop):
        waiter, done = Waiter(), Waiter()
        done.resolve("there")
        loop.call_at(2.0, waiter.resolve, "v")
        got = [await w.wait(done, -1.0), await w.wait(waiter, 0.0), await w.wait(waiter, 1.0)]
        parked = list(waiter.parked)
        return got, parked, await w.wait(waiter, 9.0), w.now()

    assert virtual(main) == (["there", TIMED_OUT, TIMED_OUT], [], "v", 2.0)


def test_the_value_of_the_same_instant_wins(virtual):
    """A value that comes in the very instant of the timeout is taken."""

    async def main(w, loop):
        waiter = Waiter()
        loop.call_at(1.0, waiter.resolve, "v")
        return await w.wait(waiter, 1.0), w.now()

    assert virtual(main) == ("v", 1.0)


def test_first_in_first_out(virtual):
    """Who parked first goes on first."""

    async def main(w, loop):
        waiter, order = Waiter(), []

        async def wait(name):
            await w.wait(waiter, 9.0)
            order.append(name)

        for name in "abc":
            w.spawn(wait(name), name)
        await w.sleep(1.0)
        waiter.resolve(None)
        await w.sleep(1.0)
        return order

    assert virtual(main) == ["a", "b", "c"]


def test_a_cancelled_wait_leaves_nothing(virtual):
    """Neither a timer nor a place among the parked."""

    async def main(w, loop):
        waiter = Waiter()
        task = asyncio.create_task(w.wait(waiter, 100.0))
        await w.sleep(1.0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return task.cancelled(), waiter.parked, [t for t in loop._scheduled if not t.cancelled()]

    assert virtual(main) == (True, [], [])


def test_close_ends_background_flows_and_what_they_start(virtual):
    """Every `finally` has run when close returns, also of a flow that was started in one."""
    log = []

    async def main(w, loop):
        async def second():
            try:
                await w.sleep(9.0)
            finally:
                log.append("second")

        async def first():
            try:
                await w.sleep(9.0)
            finally:
                w.spawn(second(), "second")
                log.append("first")

        w.spawn(first(), "first")
        await w.sleep(1.0)
        await w.close()
        return len(w._tasks)

    assert virtual(main) == 0
    assert log == ["first", "second"]


def test_a_background_flow_that_fails_is_reported(virtual):
    """Its error reaches the loop's handler with the flow's name; it is never lost, and the world goes on."""
    reports = []

    async def main(w, loop):
        loop.set_exception_handler(lambda _, context: reports.append((context["message"], type(context["exception"]))))

        async def broken():
            raise ZeroDivisionError

        w.spawn(broken(), "apply:fra1")
        await w.sleep(1.0)

    virtual(main)

    assert reports == [("background flow apply:fra1 failed", ZeroDivisionError)]


def test_another_clock(virtual):
    """Processes give a finer clock on the loop's time base; a deadline that it has passed does not suspend."""

    async def main(_, loop):
        w = LiveWorld(lambda _: None, clock=lambda: 5.0)
        return w.now(), await w.wait(Waiter(), 5.0), loop.time()

    assert virtual(main) == (5.0, TIMED_OUT, 0.0)
