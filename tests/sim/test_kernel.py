"""The kernel: order of ties, externals, waits, interrupts, and how it ends."""

from __future__ import annotations

import gc
import warnings

import pytest

from edgesim.core.waiter import TIMED_OUT, Waiter
from edgesim.sim.kernel import Cancelled, Kernel, sleep, wait


@pytest.fixture
def kernel():
    """A new kernel."""
    return Kernel()


def logger(kernel):
    """A log and a flow that sleeps and writes its name."""
    log = []

    async def flow(name, *seconds):
        for s in seconds:
            await sleep(s)
        log.append((kernel.now_s, name))

    return log, flow


def test_ties_are_first_in_first_out(kernel):
    """Flows that are due at one instant run in the order in which they began to wait."""
    log, flow = logger(kernel)
    for name, seconds in (("a", (0.5, 0.5)), ("b", (1.0,)), ("c", (0.25, 0.75))):
        kernel.spawn(flow(name, *seconds), name)
    kernel.run()

    assert log == [(1.0, "b"), (1.0, "c"), (1.0, "a")]


def test_external_events_come_first(kernel):
    """In the order of their calls, before whatever else is due; what they set going runs next."""
    log, flow = logger(kernel)
    kernel.spawn(flow("sleeper", 1.0), "sleeper")

    def arrive(name):
        log.append((kernel.now_s, name))
        kernel.spawn(flow(f"flow of {name}"), name)

    kernel.at(1.0, lambda: arrive("x"))
    kernel.at(1.0, lambda: arrive("y"))
    kernel.run()

    assert [name for _, name in log] == ["x", "y", "flow of x", "flow of y", "sleeper"]


def test_fed_arrivals_are_external_and_lazy(kernel):
    """An endless iterator is pulled one ahead."""
    log, flow = logger(kernel)
    pulled = []

    def arrivals():
        n = 0
        while True:
            pulled.append(n)
            yield float(n), lambda n=n: log.append((kernel.now_s, n))
            n += 1

    kernel.spawn(flow("sleeper", 1.0), "sleeper")
    kernel.feed(arrivals())
    kernel.run(2.0)

    assert log == [(0.0, 0), (1.0, 1), (1.0, "sleeper"), (2.0, 2)]
    assert len(pulled) == 4


def test_a_past_event_is_due_now(kernel):
    """Time never goes back."""
    times = []
    kernel.at(1.0, lambda: kernel.at(0.5, lambda: times.append(kernel.now_s)))
    kernel.run()

    assert times == [1.0]


def waiting(kernel, waiter, deadline_s):
    """A flow that waits, and what it got."""
    got = []

    async def flow():
        got.append((await wait(waiter, deadline_s), kernel.now_s))

    return got, kernel.spawn(flow(), "waiting")


def test_values_and_timeouts(kernel):
    """The value when it comes, TIMED_OUT when the deadline does; a late value wakes nobody."""
    waiter = Waiter()
    early, _ = waiting(kernel, waiter, 0.5)
    late, _ = waiting(kernel, waiter, 2.0)
    for_ever, _ = waiting(kernel, waiter, float("inf"))
    kernel.at(1.0, lambda: waiter.resolve("v"))
    kernel.run()

    assert (early, late, for_ever) == ([(TIMED_OUT, 0.5)], [("v", 1.0)], [("v", 1.0)])


@pytest.mark.parametrize("external", [True, False])
@pytest.mark.parametrize("resolver_first", [True, False])
def test_a_value_in_the_instant_of_its_timeout(kernel, external, resolver_first):
    """An external event's value is there before the timeout; a flow's wins if it was set before the timeout ran."""
    waiter = Waiter()

    async def resolve():
        await sleep(1.0)
        waiter.resolve("v")

    def begin():
        if external:
            kernel.at(1.0, lambda: waiter.resolve("v"))
        else:
            kernel.spawn(resolve(), "resolver")

    if resolver_first:
        begin()
    got, _ = waiting(kernel, waiter, 1.0)
    if not resolver_first:
        begin()
    kernel.run()

    assert got == [("v" if external or resolver_first else TIMED_OUT, 1.0)]


def test_an_interrupt_is_thrown_where_the_flow_is(kernel):
    """The flow sees the error at its await, its timer is dead, and it may go on."""
    seen = []

    async def flow():
        try:
            await sleep(5.0)
        except KeyError:
            seen.append(kernel.now_s)
        await sleep(1.0)
        seen.append(kernel.now_s)

    it = kernel.spawn(flow(), "flow")
    kernel.at(1.0, lambda: kernel.interrupt(it, KeyError()))
    kernel.run()

    assert seen == [1.0, 2.0]


def test_cancelled_flows_end_quietly_and_once(kernel):
    """`finally` runs, and a second interrupt is ignored."""
    seen = []

    async def flow():
        try:
            await sleep(5.0)
        finally:
            seen.append(kernel.now_s)

    it = kernel.spawn(flow(), "flow")

    def cancel():
        kernel.interrupt(it, Cancelled())
        kernel.interrupt(it, KeyError())

    kernel.at(1.0, cancel)
    kernel.at(2.0, lambda: kernel.interrupt(it, KeyError()))
    kernel.run()

    assert seen == [1.0]
    assert kernel.waiting() == []


def test_a_flow_that_is_cancelled_before_it_began(kernel):
    """It never runs, as an asyncio task."""
    log, flow = logger(kernel)
    kernel.at(0.0, lambda: kernel.interrupt(kernel.spawn(flow("a"), "a"), Cancelled()))
    kernel.run()

    assert log == []


def test_errors_reach_the_caller_with_the_flows_frames(kernel):
    """A bug in a flow ends the run, and the traceback names the place."""

    async def broken():
        await sleep(1.0)
        raise ZeroDivisionError

    kernel.spawn(broken(), "broken")
    with pytest.raises(ZeroDivisionError) as caught:
        kernel.run()

    assert "broken" in [entry.name for entry in caught.traceback]


class _Foreign:
    def __await__(self):
        yield "a future of somebody else"


def test_unknown_effects_name_the_flow(kernel):
    """Awaiting something that is not the world's is a bug, and the message says whose and where."""

    async def outer():
        await inner()

    async def inner():
        await _Foreign()

    kernel.spawn(outer(), "request 7")
    with pytest.raises(TypeError, match=r"flow request 7 awaited 'a future.*outer:\d+ > .*inner:\d+"):
        kernel.run()
    kernel.close()


def test_who_waits_where(kernel):
    """The report of a stuck simulation: each flow with its chain of awaits."""

    async def outer():
        await inner()

    async def inner():
        await wait(Waiter(), float("inf"))

    kernel.spawn(outer(), "stuck")
    kernel.run()
    (line,) = kernel.waiting()

    assert line.startswith("stuck: ")
    assert [part.split(".")[-1].split(":")[0] for part in line[7:].split(" > ")] == ["outer", "inner", "wait"]
    kernel.close()
    assert kernel.waiting() == []


def test_close_runs_every_finally_without_warnings(kernel):
    """Begun or not, waiting or asleep: nothing is left to the garbage collector."""
    ended = []

    async def flow(name, effect):
        try:
            await effect()
        finally:
            ended.append(name)

    kernel.spawn(flow("sleeps", lambda: sleep(9.0)), "sleeps")
    kernel.spawn(flow("waits", lambda: wait(Waiter(), 9.0)), "waits")
    kernel.run(1.0)
    kernel.spawn(flow("never began", lambda: sleep(1.0)), "never began")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        kernel.close()
        del kernel
        gc.collect()

    assert ended == ["sleeps", "waits"]
