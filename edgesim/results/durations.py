"""A histogram of durations that is fine enough to compare runs: buckets at most 1/32 (3.1 %) wide, in whole microseconds.

The layout is HdrHistogram's (https://hdrhistogram.github.io/HdrHistogram/): exact below 64 µs, then 32 linear buckets per
power of two. `edgesim/observe/histogram.py` is the coarse one that processes export to Prometheus; this one is sparse,
stays inside a run's results, and merges exactly. Minimum and maximum are known to the bucket only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

SUB_BITS: Final = 5
US_MAX: Final = 1 << 37
"""Longer durations (38 hours) count as this."""
_EXACT: Final = 2 << SUB_BITS


def whole_us(seconds: float) -> int:
    """Whole microseconds from 0 to `US_MAX`."""
    us = int(seconds * 1e6 + 0.5)
    if 0 <= us <= US_MAX:
        return us
    return US_MAX if us > 0 else 0


def bucket_of(us: int) -> int:
    """Index of the bucket that whole microseconds, from 0 to `US_MAX`, belong to."""
    if us < _EXACT:
        return us
    shift = us.bit_length() - SUB_BITS - 1
    return (shift << SUB_BITS) + (us >> shift)


class Durations:
    """Counts per bucket and the exact sum of the recorded microseconds.

    Whoever has a duration in whole microseconds, with its bucket, for several of these may add it to `sum_us` and `counts`.
    """

    __slots__ = ("counts", "sum_us")

    def __init__(self) -> None:
        self.counts: dict[int, int] = {}
        self.sum_us = 0

    @property
    def count(self) -> int:
        """How many were recorded."""
        return sum(self.counts.values())

    def record(self, seconds: float) -> None:
        """Add one duration. Negative ones count as 0."""
        us = whole_us(seconds)
        self.sum_us += us
        index, counts = us if us < _EXACT else bucket_of(us), self.counts
        counts[index] = counts.get(index, 0) + 1

    def merge(self, other: Durations) -> None:
        """Add everything that `other` has counted."""
        for index, count in other.counts.items():
            self.counts[index] = self.counts.get(index, 0) + count
        self.sum_us += other.sum_us

    @property
    def sum_s(self) -> float:
        """Their sum in seconds."""
        return self.sum_us / 1e6

    @property
    def mean_s(self) -> float | None:
        """Their mean in seconds, None when nothing was recorded."""
        return self.sum_us / 1e6 / self.count if self.counts else None

    def buckets(self) -> Iterator[tuple[float, float, int]]:
        """(lower edge, upper edge, count) of each bucket that holds something, ascending, in seconds."""
        for index in sorted(self.counts):
            low_us, width_us = _bounds_us(index)
            yield low_us / 1e6, (low_us + width_us) / 1e6, self.counts[index]

    def quantile(self, q: float) -> float | None:
        """The `q`-quantile in seconds, linear within its bucket; None when nothing was recorded."""
        assert 0.0 <= q <= 1.0
        rank, seen = q * self.count, 0
        for low_s, high_s, count in self.buckets():
            if seen + count >= rank:
                return low_s + (high_s - low_s) * max(0.0, rank - seen) / count
            seen += count
        return None

    def to_json(self) -> dict[str, Any]:
        """As JSON-able values."""
        return {"sum_us": self.sum_us, "counts": {str(index): self.counts[index] for index in sorted(self.counts)}}

    @classmethod
    def from_json(cls, state: Mapping[str, Any]) -> Durations:
        """What `to_json` wrote.

        Raises:
            ValueError: a bucket or a count is not one that `to_json` writes.
        """
        self = cls()
        self.sum_us = int(state["sum_us"])
        for key, count in state["counts"].items():
            index = int(key)
            if index < 0 or _bounds_us(index)[0] > US_MAX or count < 0:
                raise ValueError(f"not a bucket of durations: {key!r}: {count!r}")
            self.counts[index] = int(count)
        return self


def _bounds_us(index: int) -> tuple[int, int]:
    """Lower edge and width of a bucket in µs."""
    if index < _EXACT:
        return index, 1
    shift = (index >> SUB_BITS) - 1
    return ((index & ((1 << SUB_BITS) - 1)) + (1 << SUB_BITS)) << shift, 1 << shift
