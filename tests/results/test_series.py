"""A run over time: which interval, how many, which columns."""

from __future__ import annotations

import json

import pytest

from edgesim.results.answered import Answered, Attribution
from edgesim.results.durations import bucket_of
from edgesim.results.series import INTERVALS_MAX, Series, interval_s


@pytest.mark.parametrize(("duration_s", "length_s"), [(1, 1), (600, 1), (601, 2), (86_400, 300), (1e9, 3600)])
def test_long_runs_have_longer_intervals(duration_s: float, length_s: int) -> None:
    """At most so many intervals up to a day and far beyond."""
    assert interval_s(duration_s) == length_s
    if duration_s <= 86_400:
        assert duration_s / length_s <= INTERVALS_MAX


def test_columns_have_a_row_for_each_interval() -> None:
    """Also for those without requests; cold starts by role and phase."""
    series = Series(10.0)
    cold = Attribution("nrt1", "absent", "trigger", None, (("load", 0.25),))
    series.add(0.5, Answered("ok", 0.1, cold, lag_s=0.001), (100_000, bucket_of(100_000)))
    series.add(2.9, Answered("connect", 0.1), None)
    series.at(2.0).dropped += 1

    columns = series.columns()

    assert columns["at_s"] == [0, 1, 2]
    assert (columns["arrivals"], columns["failed"], columns["dropped"]) == ([1, 0, 1], [0, 0, 1], [0, 0, 1])
    assert columns["p50_s"][0] == pytest.approx(0.1, rel=0.035)
    assert columns["p99_s"][1:] == [None, None]
    assert columns["starts"] == {"absent trigger": [1, 0, 0]}
    assert columns["cold_starts"] == [
        {"role": "trigger", "phase": "load", "count": [1, 0, 0], "sum_s": [0.25, 0.0, 0.0]}
    ]


def test_json_and_back() -> None:
    """What one process measured is read by another."""
    series, again = Series(10.0), Series(10.0)
    series.add(
        0.5,
        Answered("ok", 0.1, Attribution("a", "disk", "waiter", None, (("load", 0.5),))),
        (100_000, bucket_of(100_000)),
    )

    again.load(json.loads(json.dumps(series.to_json())))

    assert again.columns() == series.columns()
