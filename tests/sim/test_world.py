"""The simulated world: time, kills, beats, and the modelled leaves."""

from __future__ import annotations

import pytest

from edgesim.core.beat import health
from edgesim.core.health import HealthTable
from edgesim.core.pop import Pop
from edgesim.core.waiter import TIMED_OUT, Waiter
from edgesim.errors import DeadlineExceededError, GuestTrapError, OriginError, PopUnreachableError
from edgesim.model.ids import HostId
from edgesim.model.stream import Stream
from edgesim.model.topology import HealthSpec
from edgesim.sim.kernel import Kernel
from edgesim.sim.leaves import Costs, past_deadline
from edgesim.sim.world import SimWorld
from tests.support.request_path import APP, FRA, LHR, request, run, serve, spawn, spec


def world(**costs):
    """Two PoPs in one process, with an app, and what is modelled of its costs."""
    pops = {s.id: Pop(s) for s in (spec(FRA, memory_bytes=1 << 30), spec(LHR, memory_bytes=1 << 30))}
    for pop in pops.values():
        serve(pop)
    events = []
    w = SimWorld(
        Kernel(), pops=pops, host_of=dict.fromkeys(pops, HostId("host1")), health=HealthTable(pops, HealthSpec()),
        costs=Costs(**costs), on_event=events.append,
    )  # fmt: skip
    w.events = events
    return w


def test_no_time_no_suspension():
    """Sleeping for nothing and waiting past the deadline do not let others run."""
    w, log = world(), []

    async def first():
        await w.sleep(0.0)
        await w.sleep(-1.0)
        log.append(await w.wait(Waiter(), 0.0))
        done = Waiter()
        done.resolve("v")
        log.append(await w.wait(done, -1.0))

    async def second():
        log.append("second")

    w.spawn(first(), "first")
    w.spawn(second(), "second")
    w.kernel.run()

    assert log == [TIMED_OUT, "v", "second"]


def test_cold_start_costs_are_shared_in_a_process():
    """The first PoP fetches and loads; the second one shares what the process has."""
    w = world(fetch_s=0.5, load_s=0.25, execute_s=0.0, instantiate_s=0.0)
    first = run(w, w.forward(FRA, request(stream=Stream(1))))
    second = run(w, w.forward(LHR, request(stream=Stream(1), now_s=w.now())))

    assert (first.start, first.timings.start_s) == ("absent", 0.75)
    assert (second.start, second.timings.start_s) == ("absent", 0.0)


def test_a_kill_breaks_what_is_under_way():
    """The request in flight sees it at once, the next is refused; the other PoP goes on."""
    w = world(execute_s=5.0)
    broken = spawn(w, w.forward(FRA, request(deadline_s=100.0)))
    other = spawn(w, w.forward(LHR, request(deadline_s=100.0)))
    w.kernel.at(0.03125, lambda: (w.kill(FRA), w.kill(FRA)))
    refused = spawn(w, w.forward(FRA, request()), 0.5)
    w.kernel.run()

    assert isinstance(broken.error, PopUnreachableError)
    assert isinstance(refused.error, PopUnreachableError)
    assert (broken.at_s, refused.at_s) == (0.03125, 0.5)
    assert other.result.outcome == "ok"


def test_beats_reach_the_front_door_after_the_bus():
    """Health is known a message's delay later."""
    w = world(bus_s=0.25)
    w.publish(health(HostId("host1"), "b", list(w.pops.values())))
    w.kernel.run(0.125)
    before = w._health.state(FRA, 0.125)
    w.kernel.run()

    assert (before, w._health.state(FRA, 0.25)) == ("starting", "starting")  # they have no document yet
    assert w._health._entries[FRA].beat_s == 0.25


def test_past_deadline():
    """A run that would take too long is cut at the deadline; one whose deadline has passed, at once."""
    w = world()
    late = spawn(w, past_deadline(w, 1.0))
    past = spawn(w, past_deadline(w, -1.0))
    w.kernel.run()

    assert (type(late.error), late.at_s) == (DeadlineExceededError, 1.0)
    assert (type(past.error), past.at_s) == (DeadlineExceededError, 0.0)


def test_modelled_failures():
    """A share of the guests traps, and of the origin's answers breaks."""
    w = world(failing_share=1.0)
    worker = w.pops[FRA].apps[APP].worker("/w")

    assert run(w, w.forward(FRA, request())).outcome == "guest_error"
    assert run(w, w.forward(FRA, request("/other", now_s=w.now()))).outcome == "origin_error"
    with pytest.raises(GuestTrapError):
        run(w, w.run_worker(w.pops[FRA], worker, request(now_s=w.now()), None))
    with pytest.raises(OriginError):
        run(w, w.fetch_origin(w.pops[FRA], request(now_s=w.now())))


def test_drawn_times_have_their_mean():
    """Exponential around the mean, on the quantum where there is one."""
    costs, stream = Costs(), Stream(3)
    draws = [costs.draw(0.25, stream) for _ in range(20_000)]
    ticks = [Costs(quantum_s=0.125).draw(0.25, stream) for _ in range(100)]

    assert abs(sum(draws) / 20_000 - 0.25) < 5 * 0.25 / 20_000**0.5
    assert all(tick % 0.125 == 0.0 for tick in ticks)
