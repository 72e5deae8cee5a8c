"""Results: selecting by tag, figures for thresholds, JSON and back."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from edgesim.results.answered import Answered, Attribution
from edgesim.results.collect import Results
from edgesim.scenario.arrivals import Arrival
from edgesim.scenario.spec import Load, Phase, Scenario
from edgesim.scenario.thresholds import parse
from edgesim.scenario.timeline import Mark
from tests.live.load.scenarios import BASE

WARM = Phase(name="warm", duration_s=2.0, rate_from=1.0, rate_to=1.0, record=False)
STEADY = Phase(name="steady", duration_s=4.0, rate_from=1.0, rate_to=1.0)


def scenario() -> Scenario:
    """A warm-up that does not count, and a phase that does; populations asia and europe."""
    return replace(BASE, load=Load(phases=(WARM, STEADY)))


def results() -> Results:
    """One request in the warm-up, three in the steady phase, one of which failed."""
    out = Results(scenario())
    out.elapsed_s = 6.0
    for number, (phase, population, outcome, response_s, pop) in enumerate(
        [
            (0, 0, "ok", 9.0, "nrt1"),
            (1, 0, "ok", 0.1, "nrt1"),
            (1, 0, "broken", 0.1, ""),
            (1, 1, "ok", 1.0, "fra1"),
        ]
    ):
        out.add(
            Arrival(number, 2.0 * phase, phase, population, 0, 0),
            Answered(
                outcome,
                response_s,
                Attribution(pop, "fresh" if pop else "", "", 0.05 if pop else None),
                status=200 if outcome == "ok" else 0,
                body_bytes=10,
                lag_s=0.001,
                connect_s=0.25,
            ),
        )
    out.marks.append(Mark(entry=0, edge="begin", at_s=1.0))
    out.dropped[1] = 2
    return out


@pytest.mark.parametrize(
    ("check", "measured"),
    [
        ("http.requests.count > 0", 3),
        ("http.requests.count{phase=warm} > 0", 1),
        ("http.requests.count{population=asia} > 0", 2),
        ("http.requests.count{population=asia,phase=steady,request=home} > 0", 2),
        ("http.requests.rate > 0", 0.75),
        ("http.requests.rate{phase=warm} > 0", 0.5),
        ("http.errors.count < 1", 1),
        ("http.error_rate < 1%", 1 / 3),
        ("http.error_rate{population=europe} < 1%", 0.0),
        ("http.error_rate{pop=fra1} < 1%", 0.0),
        ("http.error_rate{pop=gru1} < 1%", None),
        ("http.response_time.mean < 1s", 0.55),
        ("http.response_time.p50{pop=gru1} < 1s", None),
        ("http.network_time.mean < 1s", 0.05),
        ("http.connect_time.mean < 1s", 0.25),
        ("generator.lag.mean < 1s", 0.001),
        ("generator.dropped.count < 1", 2),
    ],
)
def test_figures(check: str, measured: float | None) -> None:
    """Warm-ups count only when they are asked for; a PoP that was never seen has no figures."""
    assert results().measure(parse(check)) == (None if measured is None else pytest.approx(measured))


def test_quantiles_come_from_the_histogram() -> None:
    """The p99 of 0.1 s and 1 s lies in the bucket of 1 s."""
    p99 = results().measure(parse("http.response_time.p99 < 1s"))

    assert p99 is not None
    assert 0.98 < p99 <= 1.02


def test_json_and_back() -> None:
    """What a generator's process writes is read without loss."""
    before = results()

    after = Results.from_json(scenario(), json.loads(json.dumps(before.to_json())))

    assert after.to_json() == before.to_json()
    assert after.served == before.served
    assert after.marks == before.marks


def test_names_of_pops_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that invents PoPs cannot make the table grow without end."""
    monkeypatch.setattr("edgesim.results.collect.POPS_MAX", 2)
    out = Results(scenario())
    for name in ("a", "b", "c", "d"):
        out.add(Arrival(0, 0.0, 1, 0, 0, 0), Answered("ok", 0.1, Attribution(name, "", "", None), status=200))

    assert {name: cell.requests for name, cell in out.pops.items()} == {"a": 1, "b": 1, "(other)": 2}


def test_a_run_that_was_stopped_has_a_shorter_time() -> None:
    """Rates are over the time that has really passed."""
    out = results()
    out.elapsed_s = 3.0

    assert out.recorded_s() == 1.0


def test_regions_are_sums_of_pops() -> None:
    """A region's figures are those of its PoPs, once somebody says which they are."""
    out = results()
    out.regions = {"nrt1": "apac", "fra1": "weur"}

    assert out.select([("region", "apac")]).requests == 1
    assert out.select([("region", "weur")]).response.mean_s == pytest.approx(1.0)
    assert out.select([("region", "sam")]).requests == 0


def test_parts_of_a_run_add_up() -> None:
    """Two generators' results merged are those of one that saw everything."""
    whole, twice = results(), results()
    twice.merge(results())

    assert twice.select().requests == 2 * whole.select().requests
    assert twice.pops["nrt1"].response.count == 2
    assert twice.lag.count == 2 * whole.lag.count
    assert twice.dropped.total() == 4
    assert twice.series.columns()["arrivals"] == [2 * n for n in whole.series.columns()["arrivals"]]
    assert twice.elapsed_s == whole.elapsed_s


@pytest.mark.parametrize(
    ("check", "measured"),
    [
        ("edge.cold_starts.count > 0", 3),
        ("edge.cold_starts.count{role=waiter} > 0", 2),
        ("edge.cold_start.mean{role=trigger} < 1s", 0.5),
        ("edge.cold_start.mean < 1s", 0.25),
    ],
)
def test_cold_starts_can_be_required(check: str, measured: float) -> None:
    """Of all roles or of one; their time is that until the worker was loaded."""
    out = Results(scenario())
    for role, start_s in (("trigger", 0.5), ("waiter", 0.125), ("waiter", 0.125)):
        about = Attribution("nrt1", "absent", role, None, (("start", start_s), ("load", start_s / 2)))
        out.add(Arrival(0, 0.0, 1, 0, 0, 0), Answered("ok", 0.1, about, status=200))

    assert out.measure(parse(check)) == pytest.approx(measured)
