"""The summary document and the exit code."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from edgesim.model.geo import LatLon
from edgesim.results.answered import Answered, Attribution
from edgesim.results.collect import Results
from edgesim.results.facts import PopPlace, RunFacts
from edgesim.results.summary import left_down, left_drained, summarise
from edgesim.scenario.arrivals import Arrival
from edgesim.scenario.spec import TimelineEntry
from edgesim.scenario.steps import drain, undrain
from edgesim.scenario.timeline import Mark
from tests.live.load.scenarios import BASE

EDGES = ((0, "begin"), (0, "end"), (1, "begin"), (1, "end"))


def results(
    *, failed: int = 0, lag_s: float = 0.0, marks: int = 4, error: str = "", interrupted: bool = False
) -> Results:
    """Ten requests, so many of them failed; so many marks of kill and restart, the last one with an error."""
    out = Results(BASE)
    out.elapsed_s, out.interrupted = 1.0, interrupted
    for n in range(10):
        outcome = "broken" if n < failed else "ok"
        about = Attribution("nrt1", "fresh", "", 0.05)
        out.add(Arrival(n, n / 10, 0, 0, 0, 0), Answered(outcome, 0.1, about, status=200, lag_s=lag_s))
    out.marks = [Mark(entry=e, edge=edge, at_s=0.25 * (n + 1)) for n, (e, edge) in enumerate(EDGES[:marks])]
    if error:
        last = out.marks.pop()
        out.marks.append(Mark(entry=last.entry, edge=last.edge, at_s=last.at_s, error=error))
    return out


@pytest.mark.parametrize(
    ("found", "conclusion", "code"),
    [
        (results(), "passed", 0),
        (results(failed=1), "failed", 99),
        (results(lag_s=2.0), "inconclusive", 98),
        (results(failed=1, lag_s=2.0), "inconclusive", 98),
        (results(marks=3), "inconclusive", 98),
        (results(error="E0103: no"), "inconclusive", 98),
        (results(failed=1, interrupted=True, marks=1), "interrupted", 130),
    ],
)
def test_conclusions(found: Results, conclusion: str, code: int) -> None:
    """A run that is not valid, or whose kill did not happen, proves nothing."""
    document = summarise(found)

    assert (document["conclusion"], document["exit_code"]) == (conclusion, code)


def test_what_the_timeline_did_not_do_is_told_apart() -> None:
    """An entry that never began, one that did not end, one that failed: each in its own words."""
    begun = summarise(results(marks=1))["timeline_failures"]

    assert [text.rpartition(": ")[2] for text in begun] == ["did not end", "was not begun"]
    assert summarise(results(error="E0103: no"))["timeline_failures"][0].endswith(": E0103: no")


def test_a_run_that_was_ended_still_tells_what_went_wrong_before() -> None:
    """A kill that failed makes the run inconclusive, whether or not a threshold ended it afterwards."""
    found = results(failed=1, error="E0103: no")
    found.aborted = "http.error_rate < 10%"

    document = summarise(found)

    assert (document["conclusion"], len(document["timeline_failures"])) == ("inconclusive", 1)


def test_the_document_is_json_and_complete() -> None:
    """Every table has its rows; the incident of the kill has its windows."""
    document = json.loads(json.dumps(summarise(results(failed=1))))

    assert document["totals"]["requests"] == 10
    assert document["totals"]["outcomes"] == {"broken": 1, "ok": 9}
    assert document["totals"]["rate_per_s"] == 10.0
    assert [row["name"] for row in document["phases"]] == ["only"]
    assert [row["name"] for row in document["populations"]] == ["asia", "europe"]
    assert [row["pop"] for row in document["pops"]] == ["nrt1"]
    assert document["cells"][0]["phase"] == "only"
    (incident,) = document["incidents"]
    assert incident["label"] == "kill pop gru1"
    before = incident["windows"]["before"]
    assert (before["requests"], before["failed"]) == (10, 1)
    assert before["origins"] == [{"population": "asia", "metro": "Tokyo", "pops": {"nrt1": 10}, "failed": 1}]
    assert {v["check"]: v["ok"] for v in document["thresholds"]} == {
        "http.error_rate < 1%": False,
        "generator.lag.p99 < 1s": True,
    }


@pytest.mark.parametrize(("marks", "error", "down"), [(4, "", []), (1, "", ["pop gru1"]), (4, "no", ["pop gru1"])])
def test_what_is_left_down_is_said(marks: int, error: str, down: list[str]) -> None:
    """A kill without a restart, or with one that failed."""
    assert left_down(results(marks=marks, error=error)) == down


def test_the_document_says_how_the_run_went_over_time_and_where() -> None:
    """Columns of equal length, the circumstances, the places of PoPs and clients."""
    place = PopPlace(pop="nrt1", city="Tokyo", country="JP", region="apac", at=LatLon(35.7, 139.7))
    facts = RunFacts(world="simulated", command="edgesim sim run x", versions={"python": "3"}, pops=(place,))

    document = json.loads(json.dumps(summarise(results(failed=1), facts)))

    series = document["series"]
    assert (series["at_s"], series["arrivals"], series["failed"], series["starts"]) == ([0], [10], [1], {"fresh": [10]})
    assert document["run"]["world"] == "simulated"
    assert document["pops"][0]["region"] == "apac"
    assert document["places"]["pops"][0]["lat"] == 35.7
    assert {m["metro"] for m in document["places"]["metros"]} == {"Tokyo", "Paris"}
    assert document["served"] == [
        {"population": "asia", "metro": "Tokyo", "pop": "nrt1", "requests": 10, "failed": 1},
    ]
    assert sum(count for *_, count in document["totals"]["distribution"]) == document["totals"]["response"]["count"]


@pytest.mark.parametrize(("marks", "left"), [(0, []), (2, ["gru1"]), (4, [])])
def test_what_is_left_drained_is_said(marks: int, left: list[str]) -> None:
    """A drain without an undrain."""
    steps = (drain.Step(pop="gru1"), undrain.Step(pop="gru1"))
    timeline = tuple(TimelineEntry(at_s=n / 4, step=step, label=f"{n}") for n, step in enumerate(steps))
    found = Results(replace(BASE, timeline=timeline))
    found.marks = [Mark(entry=e, edge=edge, at_s=0.25 * (n + 1)) for n, (e, edge) in enumerate(EDGES[:marks])]

    assert left_drained(found) == left
    assert summarise(found)["left_drained"] == left
    assert [i["label"] for i in summarise(found)["incidents"]] == ["0"] * bool(marks)
