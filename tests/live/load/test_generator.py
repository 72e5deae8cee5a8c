"""The open loop: honest times, lag, drops, stop. The clock is moved by hand; nothing sleeps."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from edgesim.live.load.client import Answer
from edgesim.live.load.generator import Generator
from edgesim.scenario.arrivals import Arrival
from edgesim.scenario.spec import Expectation, Phase, RequestSpec, Session, SessionStep, Think
from edgesim.scenario.thresholds import parse
from edgesim.scenario.timeline import Mark, ServedKey
from tests.live.load.scenarios import BASE, burst

OK = Answer(200, (("x-edge-pop", "nrt1"), ("server-timing", "net;dur=250"), ("x-edge-start", "absent; role=trigger")))


class Clock:
    """Time that moves only when told."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        """Seconds."""
        return self.now_s


class Server:
    """A sender whose answers wait until they are released, and which can be awaited until enough has arrived."""

    def __init__(self, expected: int, answer: Answer = OK) -> None:
        self.arrived: list[Arrival] = []
        self.all_here = asyncio.Event()
        self.release = asyncio.Event()
        self.closed = False
        self._expected = expected
        self._answer = answer

    async def send(self, arrival: Arrival) -> Answer:
        """Take a request; answer when released."""
        self.arrived.append(arrival)
        if len(self.arrived) >= self._expected:
            self.all_here.set()
        await self.release.wait()
        return self._answer

    def close(self) -> None:
        """Note that the run is over."""
        self.closed = True


async def test_a_frozen_server_cannot_hide() -> None:
    """A server that freezes for half a second: the p99 of the requests sent meanwhile says so.

    A client that waits for answers would have sent one request and measured one slow answer.
    """
    clock, server = Clock(), Server(100)
    generator = Generator(burst(100), server, clock=clock, lead_s=0.0)
    clock.now_s += 0.001

    run = asyncio.create_task(generator.run())
    await server.all_here.wait()
    clock.now_s += 0.5
    server.release.set()
    results = await run

    cell = results.select()
    p50, p99 = cell.response.quantile(0.5), cell.response.quantile(0.99)
    assert p50 is not None
    assert p99 is not None
    assert 0.49 <= p50 <= p99 <= 0.51  # the bucket of 0.5 s spans 0.492 to 0.508
    assert cell.requests == 100
    assert server.closed


async def test_lateness_is_ours_and_counts_in_both_figures() -> None:
    """Requests that are sent 2 s late have 2 s of lag, and at least 2 s of response time."""
    clock, server = Clock(), Server(10)
    server.release.set()
    generator = Generator(burst(10), server, clock=clock, lead_s=0.0)
    clock.now_s += 2.0

    results = await generator.run()

    assert results.lag.count == 10
    assert results.lag.sum_s == pytest.approx(20.0, abs=0.02)
    assert results.select().response.sum_s == pytest.approx(20.0, abs=0.02)


async def test_beyond_max_in_flight_arrivals_are_dropped_and_counted() -> None:
    """Four may be open: of ten at once, six are not sent."""
    scenario = burst(10, max_in_flight=4)
    clock, server = Clock(), Server(4)
    generator = Generator(scenario, server, clock=clock, lead_s=0.0)
    clock.now_s += 1.0

    run = asyncio.create_task(generator.run())
    await server.all_here.wait()
    in_flight = generator.in_flight
    server.release.set()
    results = await run

    assert in_flight == 4
    assert (results.select().requests, results.dropped.total()) == (4, 6)


async def test_stop_ends_at_once_and_keeps_what_there_is() -> None:
    """Open requests are dropped without being counted as failed."""
    scenario = burst(3)
    clock, server = Clock(), Server(3)
    generator = Generator(scenario, server, clock=clock, lead_s=0.0)
    clock.now_s += 1.0

    run = asyncio.create_task(generator.run())
    await server.all_here.wait()
    generator.stop()
    results = await run

    assert results.interrupted
    assert results.select().requests == 0
    assert generator.in_flight == 0
    assert server.closed


async def test_requests_remember_the_segments_they_were_sent_and_answered_in() -> None:
    """A mark between sending and answering is what makes a request in flight."""
    clock, server = Clock(), Server(1)
    generator = Generator(burst(1), server, clock=clock, lead_s=0.0)
    clock.now_s += 1.0

    run = asyncio.create_task(generator.run())
    await server.all_here.wait()
    generator.mark(Mark(entry=0, edge="begin", at_s=0.1))
    server.release.set()
    results = await run

    (key,) = results.served
    assert (key.sent, key.done, key.pop, key.failed) == (0, 1, "nrt1", False)
    assert isinstance(key, ServedKey)


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (OK, "ok"),
        (Answer(503, (("x-edge-pop", "nrt1"),)), "status"),
        (Answer(0, error="broken"), "broken"),
        (Answer(0, error="timeout"), "timeout"),
        (Answer(0, error="connect"), "connect"),
    ],
)
async def test_outcomes(answer: Answer, outcome: str) -> None:
    """What became of a request; a refused connection does not count among the response times."""
    clock, server = Clock(), Server(1, answer)
    server.release.set()
    generator = Generator(burst(1), server, clock=clock, lead_s=0.0)
    clock.now_s += 1.0

    results = await generator.run()

    cell = results.select()
    assert dict(cell.outcomes) == {outcome: 1}
    assert cell.failed == (outcome != "ok")
    assert cell.response.count == (outcome in {"ok", "status", "timeout"})


async def test_what_answers_say_is_counted() -> None:
    """PoP, modelled network time, start and role."""
    clock, server = Clock(), Server(2)
    server.release.set()
    generator = Generator(burst(2), server, clock=clock, lead_s=0.0)
    clock.now_s += 1.0

    results = await generator.run()

    assert {name: cell.requests for name, cell in results.pops.items()} == {"nrt1": 2}
    assert results.pops["nrt1"].network.sum_s == pytest.approx(0.5)
    assert dict(results.starts) == {"absent trigger": 2}
    assert dict(results.statuses) == {200: 2}


async def test_a_fault_of_ours_ends_the_run() -> None:
    """An exception in the generator itself is not counted as a failed request."""

    class Faulty(Server):
        async def send(self, arrival: Arrival) -> Answer:
            raise ZeroDivisionError

    clock = Clock()
    generator = Generator(burst(1), Faulty(1), clock=clock, lead_s=0.0)
    clock.now_s += 1.0

    with pytest.raises(ZeroDivisionError):
        await generator.run()


async def test_a_run_lasts_as_long_as_its_phases() -> None:
    """Also when nothing is to be sent: the last phase is waited for."""
    clock, server = Clock(), Server(0)
    server.release.set()
    silent = replace(BASE.load.phases[0], rate_from=0.0, rate_to=0.0)
    generator = Generator(replace(BASE, load=replace(BASE.load, phases=(silent,))), server, clock=clock, lead_s=0.0)
    clock.now_s += silent.duration_s

    results = await generator.run()

    assert results.elapsed_s == silent.duration_s
    assert not server.arrived


SESSION = replace(
    burst(2),
    load=replace(
        burst(2).load, phases=(*burst(2).load.phases, Phase(name="rest", duration_s=10.0, rate_from=0.0, rate_to=0.0))
    ),
    requests=(
        RequestSpec(name="home", weight=1.0, method="GET", target="/"),
        RequestSpec(name="next", weight=1.0, method="GET", target="/next"),
    ),
    sessions=(
        Session(
            name="s",
            weight=1.0,
            steps=(
                SessionStep(request=0, think=Think(kind="constant", low_s=0.0)),
                SessionStep(request=1, think=Think(kind="constant", low_s=0.0)),
            ),
        ),
    ),
)


async def test_sessions_go_on_after_their_answers() -> None:
    """Two sessions of two requests; the second request belongs to the phase that it is sent in."""
    clock, server = Clock(), Server(4)
    server.release.set()
    generator = Generator(SESSION, server, clock=clock, lead_s=0.0)
    clock.now_s += 1.0

    run = asyncio.create_task(generator.run())
    await server.all_here.wait()
    clock.now_s += 20.0
    generator._over.set()
    results = await run

    assert [(a.number, a.step, a.request) for a in server.arrived] == [(0, 0, 0), (1, 0, 0), (0, 1, 1), (1, 1, 1)]
    assert results.select([("request", "next"), ("phase", "rest")]).requests == 2
    assert generator.in_flight == 0


async def test_a_session_without_an_answer_ends() -> None:
    """Nobody clicks on a page that did not come."""
    clock, server = Clock(), Server(2, Answer(0, error="timeout"))
    server.release.set()
    generator = Generator(SESSION, server, clock=clock, lead_s=0.0)
    clock.now_s += 1.0

    run = asyncio.create_task(generator.run())
    await server.all_here.wait()
    clock.now_s += 20.0
    generator._over.set()
    results = await run

    assert len(server.arrived) == 2
    assert results.select().outcomes == {"timeout": 2}


async def test_bodies_are_looked_at_when_they_are_there() -> None:
    """A check of the body fails on another body, and on one that was too long to keep."""
    expect = Expectation(body=("hello",), json=((("a", "1"), "exists"),))
    scenario = replace(burst(1), requests=(replace(burst(1).requests[0], expect=expect),))
    outcomes = []
    for body in (b'{"x": "hello", "a": [0, 0]}', b'{"x": "hello", "a": [0]}', b"hello", b"", None):
        clock, server = Clock(), Server(1, Answer(200, body=body))
        server.release.set()
        generator = Generator(scenario, server, clock=clock, lead_s=0.0)
        clock.now_s += 1.0
        (outcome,) = (await generator.run()).select().outcomes
        outcomes.append(outcome)

    assert outcomes == ["ok", "body", "body", "body", "body"]


async def test_a_missed_threshold_ends_the_run() -> None:
    """When it asks for that: open requests are dropped, and the results say why."""
    clock, server = Clock(), Server(2, Answer(500))
    threshold = replace(parse("http.error_rate < 10%"), abort=True)
    scenario = replace(burst(2), thresholds=(threshold,))
    scenario = replace(scenario, load=replace(scenario.load, phases=(*scenario.load.phases, *SESSION.load.phases[1:])))
    server.release.set()
    generator = Generator(scenario, server, clock=clock, lead_s=0.0)
    clock.now_s += 1.0

    run = asyncio.create_task(generator.run())
    await server.all_here.wait()
    while not generator.results.cells:
        await asyncio.sleep(0)
    generator.check()
    results = await run

    assert results.aborted == "http.error_rate < 10%"
    assert not results.interrupted


async def test_generators_share_the_arrivals_and_the_limit() -> None:
    """Of three, each sends every third arrival, and may have a third of the requests open."""
    scenario = burst(10, max_in_flight=6)
    sent, dropped = [], 0
    for which in range(3):
        clock, server = Clock(), Server(2)
        generator = Generator(scenario, server, clock=clock, began_s=99.0, share=(which, 3))
        run = asyncio.create_task(generator.run())
        await server.all_here.wait()
        server.release.set()
        results = await run
        sent += [a.number for a in server.arrived]
        dropped += results.dropped.total()
        assert all(a.number % 3 == which for a in server.arrived)

    assert (len(sent), dropped) == (6, 4)
