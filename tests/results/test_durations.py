"""The fine histogram: width of its buckets, quantiles, merging, JSON."""

from __future__ import annotations

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgesim.results.durations import US_MAX, Durations


@given(st.integers(min_value=0, max_value=US_MAX - 1))
def test_every_duration_falls_into_a_narrow_bucket_that_holds_it(us: int) -> None:
    """At most 1/32 of its lower edge wide, and never wider than 1 µs below 64 µs."""
    durations = Durations()
    durations.record(us / 1e6)

    ((low_s, high_s, count),) = durations.buckets()
    low_us, high_us = round(low_s * 1e6), round(high_s * 1e6)
    assert count == 1
    assert low_us <= us < high_us
    assert high_us - low_us <= max(1, low_us / 32)


def test_quantiles_are_within_a_bucket_of_the_truth() -> None:
    """Against sorted samples of three distributions."""
    rng = random.Random(4)
    for draw in (lambda: rng.expovariate(20), lambda: rng.uniform(0, 0.5), lambda: rng.lognormvariate(-5, 1.5)):
        values = sorted(draw() for _ in range(5000))
        durations = Durations()
        for value in values:
            durations.record(value)
        for q in (0.1, 0.5, 0.9, 0.99):
            assert durations.quantile(q) == pytest.approx(values[int(q * 5000)], rel=0.035)


def test_extremes() -> None:
    """Nothing recorded has no quantile; negative counts as zero; too long counts as the longest."""
    durations = Durations()
    assert (durations.quantile(0.5), durations.mean_s, durations.count) == (None, None, 0)

    durations.record(-1.0)
    durations.record(1e9)

    assert durations.quantile(0.25) < 1e-6
    assert durations.quantile(1.0) >= US_MAX / 1e6


def test_merge_and_json() -> None:
    """Merging is exact; JSON gives back the same."""
    a, b = Durations(), Durations()
    for n in range(100):
        (a if n % 2 else b).record(n / 100)
    a.merge(b)

    again = Durations.from_json(json.loads(json.dumps(a.to_json())))

    assert (again.count, again.sum_us) == (100, 49_500_000)
    assert list(again.buckets()) == list(a.buckets())


@pytest.mark.parametrize("counts", [{"-1": 1}, {"5": -1}, {"9999": 1}])
def test_foreign_buckets_are_refused(counts: dict[str, int]) -> None:
    """Only what `to_json` writes."""
    with pytest.raises(ValueError, match="not a bucket"):
        Durations.from_json({"sum_us": 0, "counts": counts})
