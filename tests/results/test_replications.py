"""Means and confidence intervals of several runs."""

from __future__ import annotations

import pytest

from edgesim.model.stream import Stream, key
from edgesim.results.replications import replicated, seeds, t_975


def document(seed, p50_s, cold=0):
    """The part of a summary that is looked at."""
    quantiles = dict.fromkeys(("p50_s", "p90_s", "p95_s", "p99_s", "mean_s"), p50_s)
    return {
        "scenario": {"seed": seed}, "conclusion": "passed", "edge": {"p50_s": None, "p99_s": None},
        "totals": {"response": quantiles, "network": quantiles, "error_rate": 0.0, "requests": 10, "rate_per_s": 1.0},
        "starts": {"fresh": 10, "absent trigger": cold}, "cold_starts": [],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("freedom", "expected"),
    [(1, 12.706), (4, 2.776), (10, 2.228), (11, 2.201), (19, 2.093), (30, 2.042), (100, 1.984), (1000, 1.962)],
)
def test_students_t(freedom, expected):
    """As in the tables of the NIST handbook."""
    assert t_975(freedom) == pytest.approx(expected, abs=6e-4)


def test_seeds_are_disjoint():
    """The scenario's own comes first; they fit into a scenario's file."""
    found = seeds(42, 100)

    assert found[0] == 42
    assert len(set(found)) == 100
    assert all(0 <= seed < 2**63 for seed in found)


def test_figures_have_means_and_intervals():
    """By hand: 1, 2 and 3 s have the mean 2 and the half width 4.303 · 1 / √3."""
    found = replicated([document(n, float(n), cold=n) for n in (1, 2, 3)])
    by_name = {figure["figure"]: figure for figure in found["figures"]}

    assert by_name["response p50"]["mean"] == 2.0
    assert by_name["response p50"]["half_width"] == pytest.approx(2.4841, abs=1e-3)
    assert by_name["cold starts"]["values"] == [1.0, 2.0, 3.0]
    assert by_name["edge p50"]["mean"] is None
    assert found["seeds"] == [1, 2, 3]


def test_the_interval_holds_its_confidence():
    """The mean of uniform numbers is in 92 to 98 of 100 intervals: of 400 that is three standard deviations of the binomial."""
    inside = 0
    for trial in range(400):
        draw = Stream(key(7, trial)).uniform
        documents = [document(n, sum(draw() for _ in range(4)) / 4) for n in range(8)]
        figure = replicated(documents)["figures"][0]
        inside += abs(figure["mean"] - 0.5) <= figure["half_width"]

    assert 0.92 <= inside / 400 <= 0.98
