"""Ending a run early: only for thresholds that ask for it, only when their time has come."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from edgesim.results.abort import failed_early
from edgesim.results.answered import Answered
from edgesim.results.collect import Results
from edgesim.results.summary import summarise
from edgesim.scenario.arrivals import Arrival
from edgesim.scenario.thresholds import Threshold, parse
from tests.live.load.scenarios import BASE


def results(*thresholds: Threshold, failed: bool = True) -> Results:
    """One request that failed, or not."""
    out = Results(replace(BASE, thresholds=thresholds))
    out.add(Arrival(0, 0.0, 0, 0, 0, 0), Answered("status" if failed else "ok", 0.1, status=500))
    return out


def check(text: str, after_s: float = 0.0, kind: str = "requirement") -> Threshold:
    """A threshold that ends the run."""
    return replace(parse(text, kind), abort=True, after_s=after_s)


@pytest.mark.parametrize(
    ("threshold", "at_s", "ends"),
    [
        (check("http.error_rate < 10%"), 1.0, True),
        (check("http.error_rate < 10%", after_s=2.0), 1.0, False),
        (check("http.error_rate < 10%", after_s=2.0), 2.0, True),
        (parse("http.error_rate < 10%"), 1.0, False),
        (check("http.error_rate{population=europe} < 10%"), 1.0, False),
        (check("http.requests.rate < 0.5rps"), 1.0, True),
    ],
)
def test_when_a_run_ends(threshold: Threshold, at_s: float, ends: bool) -> None:
    """Missed, asked for, and in time; a figure that is missing ends nothing."""
    assert (failed_early(results(threshold), at_s) is threshold) == ends
    assert failed_early(results(check("http.error_rate < 10%"), failed=False), at_s) is None


@pytest.mark.parametrize(("kind", "conclusion"), [("requirement", "failed"), ("validity", "inconclusive")])
def test_a_run_that_was_ended_is_judged_by_what_ended_it(kind: str, conclusion: str) -> None:
    """What the timeline had no time for does not make it inconclusive."""
    found = results(check("http.error_rate < 10%", kind=kind))
    found.aborted = found.scenario.thresholds[0].text
    found = Results.from_json(found.scenario, json.loads(json.dumps(found.to_json())))

    document = summarise(found)

    assert (document["conclusion"], document["aborted"]) == (conclusion, "http.error_rate < 10%")
    assert document["timeline_failures"] == []
