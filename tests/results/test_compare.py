"""Two summaries side by side: differences, tolerances and notes, by hand."""

from __future__ import annotations

import copy

import pytest

from edgesim.results.compare import Tolerances, compare


def summary(*, p50_s=0.02, p99_s=0.1, errors=0.0, cold=20, world="live", lag=100):
    """The part of a summary that is looked at."""
    response = {"p50_s": p50_s, "p90_s": 0.05, "p95_s": 0.07, "p99_s": p99_s, "mean_s": 0.03}
    cell = {"requests": 1000, "error_rate": errors, "response": response}
    return {
        "scenario": {"name": "s", "target": "hello", "duration_s": 10.0, "seed": 1}, "conclusion": "passed",
        "run": {"world": world, "time_scale": 1.0, "profile": None}, "edge": {"p50_s": 0.001, "p99_s": 0.004},
        "totals": {**cell, "network": response, "rate_per_s": 100.0},
        "starts": {"fresh": 980, "absent trigger": cold}, "cold_starts": [],
        "generator": {"lag": {"count": lag, "p50_s": 0.001, "p99_s": 0.002}},
        "phases": [{"name": "p", **cell}], "pops": [{"pop": "fra1", **cell}],
    }  # fmt: skip


def verdicts(first, second, **tolerances):
    """Figure to verdict, of those that have one."""
    rows = compare(first, second, Tolerances(**tolerances)).rows
    return {row.figure: row.ok for row in rows if row.tolerance is not None}


def test_within():
    """Just inside of every tolerance."""
    found = compare(summary(), summary(p50_s=0.0209, p99_s=0.114, errors=0.004, cold=21, world="simulated"))

    assert found.ok
    assert {row.figure: round(row.difference, 4) for row in found.rows if row.tolerance is not None} == {
        "response p50": 0.045, "response p99": 0.14, "error rate": 0.004, "cold starts": 0.05,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "figure"),
    [
        ({"p50_s": 0.0211}, "response p50"),
        ({"p50_s": 0.0189}, "response p50"),
        ({"p99_s": 0.116}, "response p99"),
        ({"cold": 22}, "cold starts"),
        ({"errors": 0.006}, "error rate"),
    ],
)
def test_beyond(changes, figure):
    """Just outside of one, either way."""
    found = verdicts(summary(), summary(**changes))

    assert {name for name, ok in found.items() if not ok} == {figure}


def test_what_one_run_alone_has_is_beyond():
    """No median, and cold starts where there were none."""
    assert verdicts(summary(), summary(p50_s=None))["response p50"] is False
    assert verdicts(summary(cold=0), summary(cold=1))["cold starts"] is False
    assert verdicts(summary(cold=0), summary(cold=0))["cold starts"] is True


def test_tolerances_can_be_changed():
    """To nothing at all."""
    assert verdicts(summary(), summary(p50_s=0.0201), p50=0.0)["response p50"] is False
    assert verdicts(summary(), summary(p50_s=0.03), p50=0.5)["response p50"] is True


def test_means_of_replications_are_compared():
    """Not the first run's figures."""
    second = summary(p50_s=9.0)
    second["replications"] = {"figures": [{"figure": "response p50", "unit": "s", "mean": 0.02}]}

    assert verdicts(summary(), second)["response p50"] is True


def test_different_scenarios():
    """The message says what differs."""
    other = copy.deepcopy(summary())
    other["scenario"]["duration_s"] = 12.0

    with pytest.raises(ValueError, match=r"duration_s is 10\.0 in the first and 12\.0"):
        compare(summary(), other)


def test_notes():
    """What makes runs differ by themselves is said: seeds, time scale, the generator's lag, the profile."""
    other = summary(world="simulated")
    other["scenario"]["seed"] = 2
    other["run"] |= {"time_scale": 0.5, "profile": {"name": "n", "measured_at": "2026-11-22"}}
    notes = compare(summary(), other).notes
    unknown = summary(lag=0)
    unknown["run"]["time_scale"] = None

    assert len(notes) == 4
    assert "late by 1.00 ms (p50) and 2.0 ms (p99)" in notes[2]
    assert compare(summary(lag=0), unknown).notes == ()  # a run that does not know its scale
