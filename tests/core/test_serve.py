"""The path of a request at its PoP: every outcome, cold starts, memory, and nothing held afterwards."""

from __future__ import annotations

from contextlib import suppress

import pytest

from edgesim.core.pop import Pop, Stage
from edgesim.core.request import Response, Timings
from edgesim.core.rollout import _retire
from edgesim.core.serve import serve_at_pop
from edgesim.core.waiter import Waiter
from edgesim.errors import (
    DeadlineExceededError,
    EdgesimError,
    GuestMemoryError,
    GuestTrapError,
    OriginError,
    OriginTimeoutError,
    OverloadedError,
    PopUnreachableError,
    RequestError,
    StartError,
)
from edgesim.live.world import LiveWorld
from edgesim.model.events import ColdStarted, RequestServed
from edgesim.model.ids import AppName, Digest
from edgesim.model.worker import Component, Route
from edgesim.sim.kernel import Cancelled
from tests.support.request_path import (
    FRA,
    CountedBody,
    Guests,
    Origin,
    read_all,
    release,
    request,
    run,
    serve,
    sim_world,
    spawn,
    spec,
)  # fmt: skip


class Bench:
    """One PoP whose guests take a second."""

    def __init__(self, seconds: float = 1.0, **changes) -> None:
        self.pop = Pop(spec(**changes))
        serve(self.pop)
        self.guests = Guests(self.answer)
        self.w = sim_world([self.pop], self.guests)
        self.seconds = seconds
        self.error: Exception | None = None

    async def answer(self, pop, worker, request):
        """After `seconds`."""
        await self.w.sleep(self.seconds)
        if self.error is not None:
            raise self.error
        return Response(200, "ok", timings=Timings(instantiate_s=0.25, execute_s=self.seconds))

    def at(self, time_s, **changes):
        """A request at a time."""
        return spawn(self.w, serve_at_pop(self.w, self.pop, request(now_s=time_s, **changes)), time_s)

    def run(self):
        """Everything that is due; then nothing may be held."""
        self.w.kernel.run()
        workers = [w for s in self.pop.apps.values() for w in s.workers.values()]

        assert (self.pop.pool.busy, self.pop.pool.queued) == (0, 0)
        assert [w.users for w in workers] == [0] * len(workers)

    def served(self):
        """The events of requests."""
        return [e for e in self.w.events if isinstance(e, RequestServed)]


def test_first_request_pays_for_the_start():
    """The trigger is told by phase, the waiter by the time it waited, the third is fresh."""
    bench = Bench()

    async def load(pop, worker):
        await bench.w.sleep(0.5)
        worker.loaded_bytes = 100
        return (("compile", 0.375), ("load", 0.125))

    bench.w.load_worker = load
    first, second, third = bench.at(0.0), bench.at(0.25), bench.at(2.0)
    bench.run()
    colds = [e for e in bench.w.events if isinstance(e, ColdStarted)]

    assert [(o.result.start, o.result.role, o.at_s) for o in (first, second, third)] == [
        ("absent", "trigger", 1.5),
        ("disk", "waiter", 1.5),  # the bundle was there when it came
        ("fresh", "", 3.0),
    ]
    assert [(c.role, c.total_s) for c in colds] == [("trigger", 1.5), ("waiter", 1.25)]
    assert colds[0].phases == (
        ("fetch", 0.0),
        ("compile", 0.375),
        ("load", 0.125),
        ("instantiate", 0.25),
        ("first_call", 1.0),
    )
    assert colds[1].phases == (("shared", 0.25), ("instantiate", 0.25), ("first_call", 1.0))
    assert (bench.pop.memory_bytes, bench.pop.disk) == (100, {release().components[0].digest})


def test_queue_full_and_queue_timeout():
    """Two slots, two places in the queue, half a second of patience."""
    bench = Bench()
    outcomes = [bench.at(0.0) for _ in range(5)]
    bench.run()

    assert [o.result.outcome for o in outcomes] == ["ok", "ok", "queue_timeout", "queue_timeout", "queue_full"]
    assert [o.at_s for o in outcomes] == [1.0, 1.0, 0.5, 0.5, 0.0]
    assert [o.result.status for o in outcomes] == [200, 200, 503, 503, 503]
    assert [e.queue_s for e in bench.served() if e.outcome == "queue_timeout"] == [0.5, 0.5]


def test_the_queue_is_served_in_order():
    """Who came first runs first, and says how long it has waited."""
    bench = Bench(slots=1, queue=3, queue_timeout_s=8.0)
    outcomes = [bench.at(t) for t in (0.0, 0.25, 0.5)]
    bench.run()

    assert [o.at_s for o in outcomes] == [1.0, 2.0, 3.0]
    assert [o.result.timings.queue_s for o in outcomes] == [0.0, 0.75, 1.5]


def test_a_deadline_in_the_queue_is_a_deadline():
    """Whichever comes first names the outcome."""
    bench = Bench(slots=1)
    bench.at(0.0)
    late = bench.at(0.0, deadline_s=0.25)
    bench.run()

    assert (late.result.outcome, late.result.status, late.at_s) == ("deadline", 504, 0.25)


def test_a_deadline_during_a_start_leaves_the_start_alone():
    """The request gives up; the start goes on, and the next request finds its work done."""
    bench = Bench()

    async def load(pop, worker):
        await bench.w.sleep(2.0)
        return (("load", 2.0),)

    bench.w.load_worker = load
    late, other = bench.at(0.0, deadline_s=0.5), bench.at(1.0)
    bench.run()

    assert (late.result.outcome, late.at_s) == ("deadline", 0.5)
    assert (other.result.outcome, other.result.role, other.at_s) == ("ok", "waiter", 3.0)


@pytest.mark.parametrize(
    ("error", "outcome", "status"),
    [
        (GuestTrapError("x"), "guest_error", 502),
        (GuestMemoryError("x"), "guest_error", 502),
        (DeadlineExceededError("x"), "deadline", 504),
        (OriginError("x"), "origin_error", 502),
        (OriginTimeoutError("x"), "origin_error", 504),
        (OverloadedError("x"), "queue_full", 503),
        (RequestError("x"), "bad_request", 400),
        (EdgesimError("x"), "guest_error", 500),
    ],
)
def test_foreseen_errors_are_answers(error, outcome, status):
    """Each has its outcome, status, error token, and what happened for people; the event says the same."""
    bench = Bench()
    bench.error = error
    response = bench.at(0.0)
    bench.run()
    response = response.result

    assert (response.outcome, response.status, response.pop) == (outcome, status, FRA)
    assert (response.error, response.detail) == (error.proxy_error, f"{error.code}: x")
    assert [(e.outcome, e.status) for e in bench.served()] == [(outcome, status)]
    # No version has answered, but metrics have to tell a canary's errors from others.
    assert (response.version, [e.version for e in bench.served()]) == (0, [1])


def test_no_app_and_no_route():
    """An app that is not deployed is 404; a path without a route is the origin's."""
    bench = Bench()
    missing = run(bench.w, serve_at_pop(bench.w, bench.pop, request(app=AppName("other"))))
    origin = run(bench.w, serve_at_pop(bench.w, bench.pop, request("/elsewhere?w=/w")))

    assert (missing.status, missing.outcome, missing.error) == (404, "no_app", "destination_not_found")
    assert (origin.body, origin.version, origin.start, origin.pop) == (b"origin\n", 1, "", FRA)
    assert bench.guests.seen == []
    assert [e.version for e in bench.served()] == [0, 1]


def test_a_start_that_fails_is_tried_again_by_the_next():
    """All who wait get the reason; the next request starts anew."""
    bench = Bench()
    bench.guests.answer = bench.answer

    async def fetch(pop, worker):
        await bench.w.sleep(1.0)
        if bench.w.now() < 2.0:
            raise StartError("no source has it")
        return "fetch"

    bench.w.fetch_bundle = fetch
    first, second, third = bench.at(0.0), bench.at(0.5), bench.at(1.5)
    bench.run()

    assert [o.result.outcome for o in (first, second, third)] == ["start_failed", "start_failed", "ok"]
    assert [o.at_s for o in (first, second, third)] == [1.0, 1.0, 3.5]
    assert third.result.role == "trigger"


def test_a_client_that_goes_gives_everything_back():
    """While it waits for a slot, for a start, and while the guest runs."""
    bench = Bench(slots=1)

    async def load(pop, worker):
        await bench.w.sleep(0.5)
        return (("load", 0.5),)

    bench.w.load_worker = load
    starting, queued, running = bench.at(0.0), bench.at(0.125), bench.at(2.0)
    for at_s, outcome in ((0.25, queued), (0.375, starting), (2.25, running)):
        bench.w.kernel.at(at_s, lambda outcome=outcome: bench.w.kernel.interrupt(outcome.flow, Cancelled()))
    bench.run()

    assert [type(o.error) for o in (starting, queued, running)] == [Cancelled] * 3
    assert [(e.outcome, e.status) for e in bench.served()] == [("client_gone", 499)] * 3


def test_a_killed_pop_says_nothing():
    """Requests break with PopUnreachableError, nobody counts them there, also when it is restarted at once."""
    bench = Bench()
    outcome = spawn(bench.w, bench.w.forward(FRA, request()))

    def kill():
        bench.w.kill(FRA)
        bench.pop.restart()

    bench.w.kernel.at(0.5, kill)
    bench.run()

    assert isinstance(outcome.error, PopUnreachableError)
    assert bench.served() == []
    assert bench.guests.unloads == 1
    assert bench.pop.memory_bytes == 0


def test_a_start_of_an_earlier_life_changes_nothing():
    """Loaded after the kill: unloaded again, and the new life's accounts stay at zero."""
    bench = Bench()

    async def load(pop, worker):
        await bench.w.sleep(1.0)
        worker.loaded_bytes = 100
        return (("load", 1.0),)

    bench.w.load_worker = load
    spawn(bench.w, bench.w.forward(FRA, request()))

    def kill():
        bench.w.kill(FRA)
        bench.pop.restart()

    bench.w.kernel.at(0.5, kill)
    bench.run()

    assert (bench.guests.unloads, bench.pop.memory_bytes, bench.pop.loaded()) == (1, 0, [])


def test_a_streaming_guest_keeps_its_slot():
    """The answer is on its way, but the slot is free only when the guest has ended."""
    bench = Bench(slots=1, queue=0)
    ended = Waiter()

    async def answer(pop, worker, request):
        return Response(200, "ok", ended=ended)

    bench.guests.answer = answer
    run(bench.w, serve_at_pop(bench.w, bench.pop, request()))
    refused = run(bench.w, serve_at_pop(bench.w, bench.pop, request()))
    ended.resolve(None)
    bench.run()

    assert refused.outcome == "queue_full"


# -- memory -----------------------------------------------------------------------------------------------------------


def many(count, sizes):
    """A PoP with `count` workers at /0, /1, …, and their sizes in memory."""
    components = tuple(
        Component(id=f"c{n}", digest=Digest(f"{n:064x}"), size_bytes=1, abi="wagi") for n in range(count)
    )
    routes = tuple(Route(pattern=f"/{n}", component=f"c{n}") for n in range(count))
    bench = Bench(seconds=0.25)
    bench.pop.apps.clear()
    serve(bench.pop, release(components=components, routes=routes))

    async def load(pop, worker):
        worker.loaded_bytes = sizes[int(worker.component.id[1:])]
        return ()

    bench.w.load_worker = load
    return bench


def loaded(bench):
    """Ids of the loaded workers."""
    return sorted(w.component.id for w in bench.pop.loaded())


def test_the_least_recently_used_are_unloaded():
    """Budget 1000: the third of 400 pushes out the one that was used longest ago; its next start is from disk."""
    bench = many(3, [400, 400, 400])
    for at_s, target in ((0.0, "/0"), (1.0, "/1"), (2.0, "/0"), (3.0, "/2")):
        bench.at(at_s, target=target)
    bench.run()

    assert loaded(bench) == ["c0", "c2"]
    assert bench.pop.memory_bytes == 800
    again = bench.at(4.0, target="/1")
    bench.run()
    assert (again.result.start, again.result.role) == ("disk", "trigger")


def test_a_worker_in_use_is_not_unloaded():
    """Only idle ones make room; when that is not enough, the newcomer fails and says what it needs."""
    bench = many(3, [600, 300, 600])
    bench.seconds = 4.0
    bench.at(0.0, target="/0")
    other = bench.at(1.0, target="/2")
    bench.run()

    assert other.result.outcome == "start_failed"
    assert "c2 needs 600 bytes of memory; fra1 has 400 of 1000 left" in other.result.detail
    assert loaded(bench) == ["c0"]


def test_a_worker_that_never_fits_costs_its_neighbours_nothing():
    """Larger than the whole budget: it fails, and the others stay in memory however often it is asked for."""
    bench = many(3, [400, 400, 1001])
    for at_s, target in ((0.0, "/0"), (1.0, "/1"), (2.0, "/2"), (3.0, "/2")):
        bench.at(at_s, target=target)
    bench.run()

    assert [e.outcome for e in bench.served()] == ["ok", "ok", "start_failed", "start_failed"]
    assert loaded(bench) == ["c0", "c1"]
    assert bench.guests.unloads == 2  # what was loaded of the newcomer, each time


def test_a_replaced_worker_goes_with_its_last_user():
    """Requests of the old release end on it; then its memory is free."""
    bench = Bench()
    bench.at(0.0)
    old = bench.pop.apps["hello"]

    def replace():
        del bench.pop.apps["hello"]
        _retire(bench.w, bench.pop, old)

    bench.w.kernel.at(0.5, replace)
    bench.w.kernel.at(0.75, lambda: bench.w.events.append(bench.pop.memory_bytes))
    bench.run()

    assert 100 in bench.w.events
    assert (bench.pop.memory_bytes, bench.pop.retired, bench.guests.unloads) == (0, [], 1)
    assert next(iter(old.workers.values())).stage is Stage.DISK


async def test_an_answer_that_breaks_off_is_not_ok():
    """What a PoP counts of a streamed answer is told when its body has ended, and not at all after a kill."""
    for error, killed, outcomes in (
        (GuestTrapError("x"), False, ["guest_error"]),
        (None, False, ["ok"]),
        (None, True, []),
    ):
        events = []
        world, pop = LiveWorld(events.append), Pop(spec())
        serve(pop)

        async def answer(*_args, error=error):
            return Response(200, "ok", body=CountedBody(1, error=error))

        world.equip(guests=Guests(answer), origins=Origin())
        response = await serve_at_pop(world, pop, request(now_s=world.now()))
        before = [e for e in events if isinstance(e, RequestServed)]
        if killed:
            pop.kill()
        with suppress(GuestTrapError):
            await read_all(response.body)
        response.body.close()
        await world.close()

        assert before == []
        assert [e.outcome for e in events if isinstance(e, RequestServed)] == outcomes
