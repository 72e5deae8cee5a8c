"""A log-linear histogram of durations, in whole microseconds: the one latency type of edgesim.

Edges are 2^k and 1.5·2^k µs, from 1 µs to 33.6 s, upper edges inclusive as in Prometheus, so that what is summarised here
and what Prometheus computes from the exported buckets are the same thing. From 2 µs on, a bucket is at most half as wide as its lower edge. Everything inside
is an integer: merging is exact and does not depend on the order. It does not keep single values, minimum or maximum.
"""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

TOP_POWER: Final = 25
"""The last finite edge is 2^25 µs, 33.6 s: beyond each deadline that a request can have by default."""


def _edges_us() -> tuple[int, ...]:
    edges = [1, 2]
    for power in range(1, TOP_POWER):
        edges += [3 << (power - 1), 2 << power]
    return tuple(edges)


EDGES_US: Final = _edges_us()
"""Upper edges in µs: 1, 2, 3, 4, 6, 8, 12, … 2^25."""
EDGES_S: Final = tuple(edge / 1e6 for edge in EDGES_US)
OVERFLOW: Final = len(EDGES_US)
"""Index of the bucket above the last finite edge (`+Inf`)."""


def bucket_of(seconds: float) -> int:
    """Index of the bucket that `seconds` belongs to; negative durations count as 0, long ones as `OVERFLOW`."""
    us = int(seconds * 1e6 + 0.5)
    if us <= 2:
        return 1 if us == 2 else 0
    # 2^(n-1) < us <= 2^n: two buckets per power, told apart by the second highest bit of us - 1.
    below = us - 1
    n = below.bit_length()
    return (n << 1) + (below >> (n - 2)) - 4 if n <= TOP_POWER else OVERFLOW


class Histogram:
    """Counts per bucket and the exact sum of the recorded microseconds."""

    __slots__ = ("counts", "sum_us")

    def __init__(self) -> None:
        self.counts = [0] * (OVERFLOW + 1)
        self.sum_us = 0

    def record(self, seconds: float) -> None:
        """Add one duration in seconds. Negative ones are counted as 0."""
        # `bucket_of`, written out: this runs several times per request, and a call costs as much as the arithmetic.
        us = int(seconds * 1e6 + 0.5)
        if us > 2:
            self.sum_us += us
            below = us - 1
            n = below.bit_length()
            self.counts[(n << 1) + (below >> (n - 2)) - 4 if n <= TOP_POWER else OVERFLOW] += 1
        elif us > 0:
            self.sum_us += us
            self.counts[us - 1] += 1
        else:
            self.counts[0] += 1

    def merge(self, other: Histogram) -> None:
        """Add everything that `other` has counted."""
        self.counts = [a + b for a, b in zip(self.counts, other.counts, strict=True)]
        self.sum_us += other.sum_us

    @property
    def count(self) -> int:
        """How many durations were recorded."""
        return sum(self.counts)

    @property
    def sum_s(self) -> float:
        """Their sum in seconds."""
        return self.sum_us / 1e6

    def cumulative(self) -> list[int]:
        """Durations at or below each edge, the last one all of them: the values of Prometheus' `le` buckets."""
        return list(accumulate(self.counts))

    def quantile(self, q: float) -> float | None:
        """The `q`-quantile in seconds, None when nothing was recorded.

        The rule is that of Prometheus' `histogram_quantile`: linear within the bucket that holds rank `q * count`, from 0
        in the first, and the last finite edge for what lies above it.
        """
        assert 0.0 <= q <= 1.0
        total = self.count
        if not total:
            return None
        rank = q * total
        seen = 0
        for index, count in enumerate(self.counts):
            if count and seen + count >= rank:
                if index == OVERFLOW:
                    break
                low = EDGES_S[index - 1] if index else 0.0
                return low + (EDGES_S[index] - low) * max(0.0, rank - seen) / count
            seen += count
        return EDGES_S[-1]

    def to_json(self) -> dict[str, Any]:
        """The histogram as JSON-able values; only buckets that hold something are written."""
        return {"sum_us": self.sum_us, "counts": {str(i): n for i, n in enumerate(self.counts) if n}}

    @classmethod
    def from_json(cls, state: Mapping[str, Any]) -> Histogram:
        """The histogram that `to_json` wrote.

        Raises:
            ValueError: a bucket or a count is not one that `to_json` writes.
        """
        self = cls()
        self.sum_us = int(state["sum_us"])
        for key, count in state["counts"].items():
            index = int(key)
            if not 0 <= index <= OVERFLOW or count < 0:
                raise ValueError(f"not a histogram bucket: {key!r}: {count!r}")
            self.counts[index] = int(count)
        return self
