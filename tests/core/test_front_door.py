"""The path through the front door: choosing, waiting, failing over and what is counted."""

from __future__ import annotations

import pytest

from edgesim.core.front_door import front_door, reason
from edgesim.core.pop import Pop
from edgesim.core.replay import REPLAY_BYTES_MAX
from edgesim.core.request import Response
from edgesim.errors import DeadlineExceededError, GuestTrapError, OriginError, PopUnreachableError, RequestError
from edgesim.sim.kernel import Cancelled
from tests.support.request_path import (
    FRA,
    GRU,
    LHR,
    CountedBody,
    Guests,
    door,
    read_all,
    request,
    run,
    serve,
    sim_world,
    spawn,
    spec,
)

SPECS = [spec(FRA), spec(LHR), spec(GRU)]


class Bench:
    """A door in front of PoPs that answer as `forwards` says: an error for a PoP, or its answer."""

    def __init__(self, leg_s: float = 0.0, **retry) -> None:
        self.w = sim_world([])
        self.door = door(SPECS, leg_s=leg_s, **retry)
        self.asked: list[tuple[str, float]] = []
        self.failing: dict[str, Exception] = {}
        self.bodies: list[bytes] = []
        self.read = True
        self.response_body: object = b"hello\n"
        self.w.forward = self.forward
        self.took_s = 0.0

    async def forward(self, pop, request):
        """Reads the request's body, then fails or answers."""
        self.asked.append((pop, self.w.now()))
        if request.body is not None and self.read:
            self.bodies.append(await read_all(request.body))
        await self.w.sleep(self.took_s)
        if pop in self.failing:
            raise self.failing[pop]
        return Response(200, "ok", pop, body=self.response_body)

    def serve(self, **changes):
        """One request to its end."""
        return run(self.w, front_door(self.w, self.door, request(now_s=self.w.now(), **changes)))

    @property
    def event(self):
        """The last event."""
        return self.w.events[-1]


def broken(*pops):
    """These PoPs refuse."""
    return {pop: PopUnreachableError(f"{pop} refused the connection") for pop in pops}


def test_the_nearest_answers_after_the_network():
    """First request of a connection: two round trips of handshakes and one of its own; the second: one."""
    bench = Bench(leg_s=0.125)
    first = request()
    run(bench.w, front_door(bench.w, bench.door, first))
    ended_s = bench.w.now()
    second = request(connection=first.connection, now_s=ended_s)
    response = run(bench.w, front_door(bench.w, bench.door, second))

    assert (ended_s, bench.w.now() - ended_s) == (0.75, 0.25)
    assert (first.network_s, second.network_s) == (0.75, 0.25)
    assert (response.pop, bench.event.reason, bench.event.metro) == (FRA, "first", 7)


def test_time_scale_scales_what_is_waited_not_what_is_told():
    """At scale 0 nobody waits, and the modelled time is the same."""
    bench = Bench(leg_s=0.125)
    bench.door.time_scale = 0.0
    it = request()
    run(bench.w, front_door(bench.w, bench.door, it))

    assert (bench.w.now(), it.network_s) == (0.0, 0.75)


def test_failover_within_the_request():
    """A PoP that breaks before its first byte is out for others too, and the next one answers."""
    bench = Bench()
    bench.failing = broken(FRA)
    response = bench.serve()

    assert (response.status, response.pop) == (200, LHR)
    assert (bench.event.reason, bench.event.failed) == ("failover", (FRA,))
    assert bench.door.health.state(FRA, 0.0) == "down"
    assert bench.serve().pop == LHR
    assert bench.event.reason == "skipped"
    assert [pop for pop, _ in bench.asked] == [FRA, LHR, LHR]


def test_attempts_are_bounded():
    """Two attempts in all, and the answer says what broke."""
    bench = Bench(attempts=2)
    bench.failing = broken(FRA, LHR)
    response = bench.serve()

    assert (response.status, response.outcome, response.error) == (502, "unreachable", "destination_unavailable")
    assert response.detail == "E0502: lhr1 refused the connection"
    assert (bench.event.reason, bench.event.failed, bench.event.pop) == ("none", (FRA, LHR), "")
    assert (bench.door.budget.active, bench.door.budget.retrying) == (0, 0)


def test_when_all_have_failed_it_says_so():
    """More attempts than PoPs: the last failure is the answer, not that there is nothing to try."""
    bench = Bench(attempts=9)
    bench.failing = broken(FRA, LHR, GRU)
    response = bench.serve()

    assert (response.status, response.outcome) == (502, "unreachable")
    assert len(bench.asked) == 3


def test_draining_pops_are_left_out():
    """No new request to a PoP that drains, and none at all when all do."""
    bench = Bench()
    bench.door.health.beat(FRA, "draining", 0.0)

    assert bench.serve().pop == LHR
    for pop in (LHR, GRU):
        bench.door.health.beat(pop, "draining", 0.0)
    response = bench.serve()
    assert (response.status, response.outcome, bench.event.reason) == (503, "no_pop", "none")


def test_it_fails_open():
    """Nobody has beaten yet: requests are tried all the same."""
    bench = Bench()
    bench.door = door(SPECS, up=False)

    assert bench.serve().pop == FRA


def test_a_pinned_request_has_one_place():
    """It goes there whatever the ranking and health say, and nowhere else when that breaks."""
    bench = Bench()
    bench.door.health.fail(GRU, 0.0)

    assert bench.serve(pinned=GRU).pop == GRU
    assert bench.event.reason == "first"
    bench.failing = broken(GRU)
    response = bench.serve(pinned=GRU)
    assert (response.status, response.outcome) == (502, "unreachable")
    assert [pop for pop, _ in bench.asked] == [GRU, GRU]


@pytest.mark.parametrize(("size", "outcome"), [(REPLAY_BYTES_MAX, "ok"), (REPLAY_BYTES_MAX + 1, "unreachable")])
def test_bodies_are_replayed_up_to_a_limit(size, outcome):
    """64 KiB that were read can be sent again; one byte more cannot."""
    bench = Bench()
    bench.failing = broken(FRA)
    response = bench.serve(body=CountedBody(1, size))

    assert response.outcome == outcome
    assert bench.bodies == [b"x" * size] * (2 if outcome == "ok" else 1)


def test_a_large_body_that_nobody_has_read_can_fail_over():
    """What counts is what was read of it, not how large it is."""
    bench = Bench()
    bench.failing, bench.read = broken(FRA), False

    assert bench.serve(body=CountedBody(100)).outcome == "ok"


def test_the_retry_budget():
    """With as many requests in flight as the budget allows to retry, the next one fails at once."""
    bench = Bench(attempts=2, budget=0.0, min_concurrency=1)
    bench.failing = broken(FRA)
    bench.took_s = 1.0
    outcomes = [spawn(bench.w, front_door(bench.w, bench.door, request())) for _ in range(3)]
    bench.w.kernel.run()

    assert [o.result.outcome for o in outcomes] == ["ok", "unreachable", "unreachable"]
    assert (bench.door.budget.active, bench.door.budget.retrying) == (0, 0)


def test_no_failover_after_an_answer_has_begun():
    """What breaks while the answer is sent is not tried again; it is counted as what it was."""
    for error, outcome in (
        (PopUnreachableError("x"), "unreachable"),
        (OriginError("x"), "origin_error"),
        (GuestTrapError("x"), "guest_error"),
        (ConnectionResetError(), "client_gone"),
    ):
        bench = Bench()
        body = bench.response_body = CountedBody(1)

        async def reply(request, response, error=error):
            raise error

        bench.w.reply = reply
        with pytest.raises(type(error)):
            bench.serve()

        assert (bench.event.outcome, bench.event.status, bench.event.pop) == (outcome, 200, FRA)
        assert len(bench.asked) == 1
        assert body.closed > 0


def test_a_client_that_goes_on_the_way_back_stops_the_guest():
    """The answer is on its way when the client disconnects: its body is closed."""
    bench = Bench(leg_s=0.125)
    body = bench.response_body = CountedBody(1)
    outcome = spawn(bench.w, front_door(bench.w, bench.door, request()))
    bench.w.kernel.at(0.6875, lambda: bench.w.kernel.interrupt(outcome.flow, Cancelled()))
    bench.w.kernel.run()

    assert body.closed > 0
    assert (bench.event.outcome, bench.event.status) == ("client_gone", 499)
    assert bench.door.budget.active == 0


@pytest.mark.parametrize(
    ("error", "outcome", "status"),
    [(DeadlineExceededError("x"), "deadline", 504), (RequestError("x"), "bad_request", 400)],
)
def test_errors_that_another_pop_would_not_mend(error, outcome, status):
    """A PoP that hangs, a client whose body breaks: an answer, no second attempt, and the PoP stays in."""
    bench = Bench()
    bench.failing = {FRA: error}
    response = bench.serve()

    assert (response.outcome, response.status, len(bench.asked)) == (outcome, status, 1)
    assert bench.door.health.is_up(FRA, 0.0)


def test_the_whole_way_to_a_pop():
    """The two flows together: routed, served, counted once each."""
    pop = Pop(spec(FRA))
    serve(pop)
    w = sim_world([pop], Guests())
    it = request()
    the_door = door([pop.spec])
    response = run(w, front_door(w, the_door, it))

    assert (response.body, response.pop, response.start) == (b"hello\n", FRA, "absent")
    assert sorted(type(e).__name__ for e in w.events) == ["ColdStarted", "RequestRouted", "RequestServed"]
    assert reason(it, FRA) == "first"
