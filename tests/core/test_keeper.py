"""Instances that serve again: counts, idle times, keep-warm, scale-to-zero, and what ends an instance."""

from __future__ import annotations

import pytest

from edgesim.core.desired import DesiredDocument
from edgesim.core.memory import unload
from edgesim.core.pop import Pop, Stage
from edgesim.core.request import Response
from edgesim.core.rollout import _retire, apply_desired
from edgesim.core.serve import serve_at_pop
from edgesim.core.waiter import Waiter
from edgesim.errors import DeadlineExceededError, GuestTrapError, RequestError
from edgesim.model.events import Evicted
from edgesim.model.ids import Digest
from edgesim.model.worker import Component, Reuse, Route
from edgesim.policies.scaling import keep_warm, scale_to_zero
from edgesim.sim.kernel import Cancelled
from tests.support.request_path import FRA, LHR, Guests, release, request, serve, sim_world, spawn, spec


def reusing(uses=(9, 9), active=(1, 1), idle_s=(1.0, 1.0), version=1):
    """A release whose instances live that long."""
    component = Component(
        id="hello-w", digest=Digest(f"{version:064x}"), size_bytes=9, abi="wasi-http",
        reuse=Reuse(
            max_instance_reuse_count=uses, max_instance_concurrent_reuse_count=active, idle_instance_timeout_s=idle_s
        ),
    )  # fmt: skip
    return release(version, components=(component,), routes=(Route(pattern="/w", component="hello-w"),))


class Bench:
    """One PoP whose guests take a quarter of a second, or as long as `seconds` says."""

    def __init__(self, it=None, *, seconds=0.25, instance_bytes=0, scaling=None, **changes):
        self.pop = Pop(spec(**{"memory_bytes": 10_000, **changes}), scaling=scaling)
        self.it = it or reusing()
        serve(self.pop, self.it)
        self.guests = Guests(self.answer)
        self.guests.instance_bytes = instance_bytes
        self.w = sim_world([self.pop], self.guests)
        self.seconds = seconds
        self.errors: list[Exception] = []
        """Raised by the next runs, in order."""

    async def answer(self, pop, worker, request):
        """After `seconds`."""
        error = self.errors.pop(0) if self.errors else None
        await self.w.sleep(self.seconds)
        if error is not None:
            raise error
        return Response(200, "ok")

    @property
    def worker(self):
        """The one that serves now."""
        return next(iter(self.pop.apps["hello"].workers.values()))

    def at(self, time_s, **changes):
        """A request at a time."""
        return spawn(self.w, serve_at_pop(self.w, self.pop, request(now_s=time_s, **changes)), time_s)

    def run(self, until_s=float("inf")):
        """Everything that is due; then nothing may be held, and the accounts are what there is."""
        self.w.kernel.run(until_s)
        if until_s == float("inf"):
            assert (self.pop.pool.busy, self.pop.pool.queued) == (0, 0)
            idle = [i for worker in self.pop.loaded() for i in worker.instances.idle]
            modules = sum(worker.loaded_bytes for worker in self.pop.loaded())
            assert self.pop.memory_bytes == modules + sum(i.charged for i in idle)
            assert self.pop.warm == len(idle)
            assert len(self.guests.made) - len(self.guests.dropped) == len(idle)
            assert not any(worker.instances.shared for worker in self.pop.loaded())

    def starts(self, *times):
        """How the requests at these times are started; everything runs to its end."""
        outcomes = [self.at(t) for t in times]
        self.run()
        return [o.result.start for o in outcomes]

    def evicted(self):
        """(what, why) of every eviction."""
        return [(e.what, e.why) for e in self.w.events if isinstance(e, Evicted)]


# -- one after the other ------------------------------------------------------------------------------------------------


def test_a_fresh_instance_for_each_request_by_default():
    """The world is not even asked to keep one."""
    bench = Bench(release())

    assert bench.starts(0.0, 1.0, 2.0) == ["absent", "fresh", "fresh"]
    assert (bench.guests.made, bench.worker.watched, bench.evicted()) == ([], False, [])


def test_an_instance_serves_its_number_of_requests():
    """Three each: the fourth finds a new one. The last request of an instance ends it at once."""
    bench = Bench(reusing((3, 3)))

    assert bench.starts(0, 0.5, 1, 1.5, 2, 2.5, 3) == [
        "absent",
        "reused",
        "reused",
        "fresh",
        "reused",
        "reused",
        "fresh",
    ]
    assert [i.uses for i in bench.guests.made] == [3, 3, 1]
    assert bench.evicted() == [("instance", "idle")]  # the third was still good


@pytest.mark.parametrize(("after_s", "start"), [(0.875, "reused"), (1.0, "fresh"), (1.125, "fresh")])
def test_an_idle_instance_is_there_until_its_timeout(after_s, start):
    """Counted from the end of its last request; at that very moment it is gone."""
    bench = Bench()
    first, second = bench.at(0.0), bench.at(0.25 + after_s)
    bench.run()

    assert (first.result.start, second.result.start) == ("absent", start)
    assert bench.evicted() == [("instance", "idle")] * len(bench.guests.made)


def test_a_timeout_frees_its_memory_at_its_time():
    """By a flow of its own, which ends when nothing is left to do."""
    bench = Bench(instance_bytes=300)
    bench.at(0.0)
    seen = []
    for at_s in (0.125, 1.125, 1.375):
        bench.w.kernel.at(at_s, lambda: seen.append((bench.pop.memory_bytes, bench.worker.standing)))
    bench.run()

    assert seen == [(400, Stage.LOADED), (400, Stage.WARM), (100, Stage.LOADED)]
    assert bench.worker.tender is None


def test_the_last_used_is_taken_first():
    """So that a pool that is larger than its load shrinks."""
    bench = Bench()
    for at_s in (0.0, 0.125):
        bench.at(at_s)
    for at_s in (0.5, 1.0, 1.5, 2.0):
        bench.at(at_s)
    bench.run()

    assert [i.uses for i in bench.guests.made] == [1, 5]


def test_an_instance_that_grew_is_counted_as_it_is():
    """The world says what it takes after each run; what no longer fits goes."""
    bench = Bench(instance_bytes=100, memory_bytes=1000)

    async def answer(pop, worker, request):
        bench.guests.made[-1].bytes = 950 if request.id == "large" else 500
        return Response(200, "ok")

    bench.guests.answer = answer
    bench.at(0.0)
    bench.w.kernel.at(0.5, lambda: bench.w.events.append(bench.pop.memory_bytes))
    bench.at(0.75, id="large")
    bench.w.kernel.at(0.875, lambda: bench.w.events.append(bench.pop.memory_bytes))
    bench.run()

    assert [e for e in bench.w.events if isinstance(e, int)] == [600, 100]
    assert bench.evicted() == [("instance", "memory")]


# -- together -------------------------------------------------------------------------------------------------------------


def test_two_at_once_share_an_instance():
    """One slot each all the same; a third needs an instance of its own."""
    bench = Bench(reusing((9, 9), (2, 2)), slots=3)
    outcomes = [bench.at(t) for t in (0.0, 0.5, 0.5625, 0.625)]
    bench.run(0.6875)

    assert (len(bench.guests.made), bench.pop.pool.busy) == (2, 3)
    bench.run()
    assert [o.result.start for o in outcomes] == ["absent", "reused", "reused", "fresh"]
    assert [i.uses for i in bench.guests.made] == [3, 1]


def test_an_instance_is_not_joined_before_it_is_made():
    """While the first request instantiates it, nobody can be in it."""
    bench = Bench(reusing((9, 9), (4, 4)), slots=4)

    async def run_worker(pop, worker, request, instance):
        await bench.w.sleep(0.125)
        if instance.handle is None:
            await bench.guests.make_instance(pop, worker, instance)
        return await bench.answer(pop, worker, request)

    bench.w.run_worker = run_worker
    outcomes = [bench.at(t) for t in (0.0, 0.0625, 0.25)]
    bench.run()

    assert len(bench.guests.made) == 2
    assert outcomes[2].result.start == "reused"


def test_counts_hold_together():
    """At most two at once, and three in all."""
    bench = Bench(reusing((3, 3), (2, 2)), slots=8, queue=0)
    for at_s in (0.0, 0.0625, 0.125, 0.1875, 0.25, 0.3125, 0.375):
        bench.at(at_s)
    bench.run()

    assert sum(i.uses for i in bench.guests.made) == 7
    assert max(i.uses for i in bench.guests.made) == 3


# -- what ends an instance ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [GuestTrapError("x"), DeadlineExceededError("x"), RequestError("x")])
def test_a_run_that_failed_ends_its_instance(error):
    """Never reused after a trap, nor after anything else that stopped the guest half-way."""
    bench = Bench()
    bench.errors = [error]

    assert bench.starts(0.0, 0.5, 0.875) == ["", "fresh", "reused"]
    assert [i.broken for i in bench.guests.made] == [True, False]


def test_a_trap_beside_others_lets_them_end():
    """They share the instance; nobody joins it any more, and it goes with the last of them."""
    bench = Bench(reusing((9, 9), (2, 2)), slots=4)
    bench.at(0.0)
    bench.errors = [None, GuestTrapError("x")]
    bench.run(0.375)
    trapped, other, later = bench.at(0.5), bench.at(0.625), bench.at(0.8125)
    bench.run()

    assert (trapped.result.outcome, other.result.outcome) == ("guest_error", "ok")
    assert later.result.start == "fresh"
    assert len(bench.guests.made) == 2


def test_a_client_that_goes_ends_its_instance():
    """The guest was stopped in the middle."""
    bench = Bench()
    bench.at(0.0)
    gone = bench.at(0.5)
    bench.w.kernel.at(0.625, lambda: bench.w.kernel.interrupt(gone.flow, Cancelled()))
    later = bench.at(0.75)
    bench.run()

    assert isinstance(gone.error, Cancelled)
    assert later.result.start == "fresh"
    assert bench.guests.made[0].broken


@pytest.mark.parametrize("ends_well", [True, False])
def test_a_streaming_guest_keeps_its_instance(ends_well):
    """It is free when the guest has ended, and broken if the world says that it ended badly."""
    bench = Bench(slots=4)
    ended = Waiter()

    async def answer(pop, worker, request):
        return Response(200, "ok", ended=ended if len(bench.guests.seen) == 1 else None)

    bench.guests.answer = answer
    bench.at(0.0)
    meanwhile = bench.at(0.5)

    def end():
        bench.guests.made[0].broken = not ends_well
        ended.resolve(None)

    bench.w.kernel.at(0.75, end)
    bench.run(0.875)

    assert meanwhile.result.start == "fresh"
    assert len(bench.worker.instances.idle) == (2 if ends_well else 1)
    bench.run()


def test_a_kill_takes_every_instance():
    """Idle ones at once, running ones when their guests have stopped; the next life begins with none."""
    bench = Bench(slots=4, instance_bytes=200)
    for at_s in (0.0, 0.125):
        bench.at(at_s)
    running = spawn(bench.w, bench.w.forward(FRA, request(now_s=0.5)), 0.5)

    def kill():
        bench.w.kill(FRA)
        bench.pop.restart()
        serve(bench.pop, bench.it)

    bench.w.kernel.at(0.5625, kill)
    after = bench.at(0.625)
    bench.run()

    assert running.error is not None
    assert after.result.start == "disk"
    assert bench.evicted() == [("instance", "idle")]  # of the new life


def test_a_replaced_release_gives_its_instances_back_at_once():
    """Nobody will ask for them; the one that still runs goes with its request."""
    bench = Bench(slots=4)
    old = bench.pop.apps["hello"]
    for at_s in (0.0, 0.125, 0.5):
        bench.at(at_s)

    def replace():
        serve(bench.pop, reusing(version=2))
        _retire(bench.w, bench.pop, old)

    bench.w.kernel.at(0.625, replace)
    bench.run(0.6875)

    assert (len(bench.guests.made), len(bench.guests.dropped)) == (2, 1)
    bench.run()
    assert (bench.guests.unloads, bench.pop.memory_bytes, bench.evicted()) == (1, 0, [])


# -- keep-warm ------------------------------------------------------------------------------------------------------------


def test_instances_stand_ready_and_are_replaced():
    """A request that finds one is fresh all the same: it has not served before."""
    bench = Bench(release(), scaling=keep_warm.Policy(count=2))
    outcomes = [bench.at(t) for t in (0.0, 1.0, 2.0)]
    bench.run(0.5)

    assert (bench.worker.standing, bench.pop.warm) == (Stage.WARM, 2)
    bench.run()
    assert [o.result.start for o in outcomes] == ["absent", "fresh", "fresh"]
    # The first request and the flow that prepares run at the same instant; either may have made the first.
    assert [i.uses for i in bench.guests.made].count(1) in (2, 3)
    assert bench.pop.warm == 2


def test_idle_times_spare_what_stands_ready():
    """Only what is beyond the policy's number times out."""
    bench = Bench(reusing(), scaling=keep_warm.Policy(count=1), slots=4)
    for at_s in (0.0, 0.125, 0.1875):
        bench.at(at_s)
    bench.run()

    assert (bench.pop.warm, bench.worker.tender) == (1, None)
    assert bench.evicted() == [("instance", "idle")] * (len(bench.guests.made) - 1)


def test_a_guest_that_cannot_be_made_ahead_is_tried_with_the_next_request():
    """Without a loop in between."""
    bench = Bench(release(), scaling=keep_warm.Policy(count=1))
    tried = []

    async def make_instance(pop, worker, instance):
        tried.append(bench.w.now())
        raise GuestTrapError("its start function traps")

    bench.w.make_instance = make_instance
    bench.at(0.0)
    bench.at(1.0)
    bench.run()

    assert 2 <= len(tried) <= 6
    assert set(tried) <= {0.0, 0.25, 1.0, 1.25}
    assert bench.pop.memory_bytes == 100


def test_a_world_that_keeps_nothing_is_asked_once():
    """It made one and could not keep it: asking again would double the cost of each request."""
    bench = Bench(release(), scaling=keep_warm.Policy(count=3))
    asked = []

    async def make_instance(pop, worker, instance):
        asked.append(bench.w.now())

    bench.w.make_instance = make_instance

    assert bench.starts(0.0, 1.0, 2.0) == ["absent", "fresh", "fresh"]
    assert asked == [0.0]


def test_standing_ready_evicts_nobody():
    """Only free memory is used: 1000 for a module of 100 and instances of 300."""
    bench = Bench(release(), scaling=keep_warm.Policy(count=9), instance_bytes=300, memory_bytes=1000)
    bench.at(0.0)
    bench.run()

    assert (bench.pop.warm, bench.pop.memory_bytes, bench.evicted()) == (3, 1000, [])


def test_an_instance_that_is_made_for_a_pop_that_dies():
    """It is freed in the world, and the new life's accounts do not know it."""
    bench = Bench(release(), scaling=keep_warm.Policy(count=1), instance_bytes=300)

    async def make_instance(pop, worker, instance):
        await bench.w.sleep(0.5)
        await bench.guests.make_instance(pop, worker, instance)

    bench.w.make_instance = make_instance
    bench.at(0.0)

    def kill():
        bench.w.kill(FRA)
        bench.pop.restart()

    bench.w.kernel.at(0.375, kill)
    bench.run()

    assert (bench.pop.memory_bytes, bench.pop.warm) == (0, 0)


def test_every_pop_has_its_own():
    """Two PoPs of one process, one release: what stands ready at one does not serve at the other."""
    bench = Bench(reusing(), scaling=None)
    other = Pop(spec(LHR, memory_bytes=10_000))
    serve(other, bench.it)
    bench.at(0.0)
    there = spawn(bench.w, serve_at_pop(bench.w, other, request(now_s=0.5)), 0.5)
    again = bench.at(0.75)
    bench.w.kernel.run(1.125)
    stages = [next(iter(p.apps["hello"].workers.values())).standing for p in (bench.pop, other)]

    assert (there.result.start, again.result.start) == ("absent", "reused")
    assert stages == [Stage.WARM, Stage.WARM]
    unload(bench.w, other, next(iter(other.apps["hello"].workers.values())))
    assert (other.warm, bench.pop.warm, other.memory_bytes) == (0, 1, 0)


# -- scale-to-zero --------------------------------------------------------------------------------------------------------


def test_a_worker_without_requests_goes_back_to_disk():
    """Two seconds after its last request ended, with its idle instance; the next request pays a start from disk."""
    bench = Bench(reusing(idle_s=(60.0, 60.0)), scaling=scale_to_zero.Policy(after_s=2.0))
    first, second, third = bench.at(0.0), bench.at(1.0), bench.at(4.0)
    seen = []
    for at_s in (3.1875, 3.3125):
        bench.w.kernel.at(at_s, lambda: seen.append(bench.worker.standing))
    bench.run()

    assert [o.result.start for o in (first, second, third)] == ["absent", "reused", "disk"]
    assert seen == [Stage.WARM, Stage.DISK]
    assert bench.evicted() == [("module", "idle")] * 2
    assert bench.pop.memory_bytes == 0


def test_a_worker_in_use_stays():
    """However long its request takes; the time begins when it has ended."""
    bench = Bench(release(), seconds=5.0, scaling=scale_to_zero.Policy(after_s=2.0))
    bench.at(0.0)
    seen = []
    for at_s in (4.875, 6.875, 7.125):
        bench.w.kernel.at(at_s, lambda: seen.append(bench.worker.stage))
    bench.run()

    assert seen == [Stage.LOADED, Stage.LOADED, Stage.DISK]


def test_a_release_in_preparation_when_its_pop_dies():
    """One of its workers is loaded and waits for the other: its flow must not touch the accounts of the next life."""
    bench = Bench(scaling=scale_to_zero.Policy(after_s=1.0))
    components = tuple(
        Component(id=f"c{n}", digest=Digest(f"{n + 9:064x}"), size_bytes=9, abi="wagi") for n in range(2)
    )
    routes = tuple(Route(pattern=f"/{n}", component=f"c{n}") for n in range(2))

    async def load(pop, worker):
        await bench.w.sleep(0.125 if worker.component.id == "c0" else 4.0)
        worker.loaded_bytes = 100
        bench.guests.loads += 1
        return (("load", 0.0),)

    bench.w.load_worker = load
    document = DesiredDocument(
        pop=FRA, epoch=1, gen=2, issued_s=0.0, apps=(release(2, components=components, routes=routes),)
    )
    spawn(bench.w, apply_desired(bench.w, bench.pop, document, 0.0), 0.0)

    def kill():
        bench.w.kill(FRA)
        bench.pop.restart()

    bench.w.kernel.at(0.5, kill)
    bench.run()

    assert bench.pop.memory_bytes == 0
    assert bench.guests.loads == bench.guests.unloads == 2
