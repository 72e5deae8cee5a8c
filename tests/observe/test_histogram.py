"""The log-linear histogram against sorted lists and Prometheus' rules."""

from __future__ import annotations

import json
from bisect import bisect_left
from itertools import pairwise
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgesim.observe.histogram import EDGES_S, EDGES_US, OVERFLOW, Histogram, bucket_of

durations = st.floats(min_value=0.0, max_value=100.0)
samples = st.lists(durations, min_size=1, max_size=200)


def filled(values: list[float]) -> Histogram:
    """A histogram of `values`."""
    histogram = Histogram()
    for value in values:
        histogram.record(value)
    return histogram


def test_edges_are_powers_of_two_and_their_halves_from_one_microsecond() -> None:
    """The edges are 2^k and 1.5·2^k µs, each one an integer."""
    assert EDGES_US[:10] == (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)
    assert EDGES_US[-1] == 1 << 25
    assert list(EDGES_US) == sorted(set(EDGES_US))
    assert all(high / low <= 2 for low, high in pairwise(EDGES_US))


@given(st.integers(min_value=0, max_value=1 << 27))
def test_bucket_is_the_first_edge_that_is_not_smaller(us: int) -> None:
    """The arithmetic of `bucket_of` and of `record` is a search in the edges."""
    expected = bisect_left(EDGES_US, us)
    histogram = filled([us / 1e6])

    assert bucket_of(us / 1e6) == expected
    assert histogram.counts[expected] == 1
    assert histogram.sum_us == us


@pytest.mark.parametrize("edge", EDGES_US)
def test_edges_belong_to_their_own_bucket(edge: int) -> None:
    """Upper edges are inclusive, as `le` says."""
    index = EDGES_US.index(edge)

    assert bucket_of(edge / 1e6) == index
    assert bucket_of((edge + 1) / 1e6) == index + 1


def test_out_of_range_durations_are_clamped() -> None:
    """A negative duration counts as 0, a very long one above the last edge."""
    histogram = filled([-1.0, 1e9])

    assert histogram.counts[0] == 1
    assert histogram.counts[OVERFLOW] == 1
    assert histogram.quantile(1.0) == EDGES_S[-1]


@given(samples, st.floats(min_value=0.0, max_value=1.0))
def test_quantile_lies_in_the_bucket_of_the_sorted_lists_quantile(values: list[float], q: float) -> None:
    """The quantile is in the bucket that holds the value of rank `ceil(q * n)`."""
    value = sorted(values)[max(0, ceil(q * len(values)) - 1)]
    index = min(bucket_of(value), OVERFLOW - 1)
    low = EDGES_S[index - 1] if index else 0.0
    if bucket_of(value) == OVERFLOW:
        low = EDGES_S[-1]

    result = filled(values).quantile(q)

    assert result is not None
    assert low <= result <= EDGES_S[index]


def test_quantile_interpolates_as_prometheus_does() -> None:
    """Four values in (512 µs, 768 µs]: rank 0.5 * 4 lies in the middle of the bucket."""
    histogram = filled([0.0006] * 4)

    assert histogram.quantile(0.5) == pytest.approx(0.000640)
    assert histogram.quantile(1.0) == pytest.approx(0.000768)


def test_an_empty_histogram_has_no_quantile() -> None:
    """Nothing recorded is not zero seconds."""
    assert Histogram().quantile(0.99) is None


@given(samples, samples)
def test_merging_is_recording_both(one: list[float], two: list[float]) -> None:
    """A merged histogram is the histogram of both lists, in either order."""
    left, right = filled(one), filled(two)
    left.merge(filled(two))
    right.merge(filled(one))

    both = filled(one + two)

    assert (left.counts, left.sum_us) == (both.counts, both.sum_us) == (right.counts, right.sum_us)
    assert left.count == len(one) + len(two)
    assert left.sum_s == both.sum_us / 1e6
    assert left.cumulative()[-1] == left.count


@given(samples)
def test_json_keeps_everything(values: list[float]) -> None:
    """What another process reads is what this one wrote."""
    histogram = filled(values)

    copy = Histogram.from_json(json.loads(json.dumps(histogram.to_json())))

    assert (copy.counts, copy.sum_us) == (histogram.counts, histogram.sum_us)


@pytest.mark.parametrize("counts", [{"51": 1}, {"-1": 1}, {"x": 1}, {"3": -1}])
def test_json_from_elsewhere_is_refused(counts: dict[str, int]) -> None:
    """Buckets that do not exist and negative counts are errors."""
    with pytest.raises(ValueError):
        Histogram.from_json({"sum_us": 1, "counts": counts})
