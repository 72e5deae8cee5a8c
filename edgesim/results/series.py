"""A run over time: intervals of equal length, each with its requests, latencies, lag and cold starts.

A request belongs to the interval of its intended send time, so that a stall shows where it began. The number of intervals
is bounded: a run longer than `INTERVALS_MAX` seconds has longer intervals.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from edgesim.results.answered import COLD_PHASES, COLD_STARTS, ROLES
from edgesim.results.durations import Durations

if TYPE_CHECKING:
    from edgesim.results.answered import Answered

INTERVALS_MAX: Final = 600
_LENGTHS_S: Final = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600)


@dataclass(slots=True)
class Interval:
    """What was measured in one interval."""

    response: Durations = field(default_factory=Durations)
    lag: Durations = field(default_factory=Durations)
    failed: int = 0
    dropped: int = 0
    arrivals: int = 0
    """Requests that were due, dropped ones included."""
    starts: Counter[str] = field(default_factory=Counter)
    """Answers by how the worker was started: `fresh`, `absent trigger`, …"""
    cold: dict[tuple[str, str], list[int]] = field(default_factory=dict)
    """Cold starts by role and phase: how many, and their sum in µs."""

    def merge(self, other: Interval) -> None:
        """Add what another interval has counted."""
        self.response.merge(other.response)
        self.lag.merge(other.lag)
        self.failed += other.failed
        self.dropped += other.dropped
        self.arrivals += other.arrivals
        self.starts.update(other.starts)
        for key, (count, sum_us) in other.cold.items():
            mine = self.cold.setdefault(key, [0, 0])
            mine[0] += count
            mine[1] += sum_us

    def to_json(self) -> dict[str, Any]:
        """As JSON-able values."""
        return {
            "response": self.response.to_json(),
            "lag": self.lag.to_json(),
            "failed": self.failed,
            "dropped": self.dropped,
            "arrivals": self.arrivals,
            "starts": dict(self.starts),
            "cold": [[*key, *value] for key, value in self.cold.items()],
        }

    @classmethod
    def from_json(cls, state: dict[str, Any]) -> Interval:
        """What `to_json` wrote."""
        return cls(
            response=Durations.from_json(state["response"]),
            lag=Durations.from_json(state["lag"]),
            failed=int(state["failed"]),
            dropped=int(state["dropped"]),
            arrivals=int(state["arrivals"]),
            starts=Counter(state["starts"]),
            cold={(role, phase): [count, sum_us] for role, phase, count, sum_us in state["cold"]},
        )


class Series:
    """The intervals of one run."""

    __slots__ = ("interval_s", "intervals")

    def __init__(self, duration_s: float) -> None:
        self.interval_s = interval_s(duration_s)
        self.intervals: dict[int, Interval] = {}

    def at(self, at_s: float) -> Interval:
        """The interval of an intended send time."""
        index = int(at_s / self.interval_s)
        found = self.intervals.get(index)
        if found is None:
            found = self.intervals[index] = Interval()
        return found

    def add(self, at_s: float, answered: Answered, response: tuple[int, int] | None) -> None:
        """Count one request; `response` is its response time in µs and that one's bucket, None when it does not count."""
        interval = self.intervals.get(int(at_s / self.interval_s)) or self.at(at_s)
        interval.arrivals += 1
        if answered.lag_s:
            interval.lag.record(answered.lag_s)
        else:
            counts = interval.lag.counts
            counts[0] = counts.get(0, 0) + 1
        if response is not None:
            us, index = response
            interval.response.sum_us += us
            counts = interval.response.counts
            counts[index] = counts.get(index, 0) + 1
        if answered.outcome != "ok":
            interval.failed += 1
        about = answered.about
        start = about.start
        if start in COLD_STARTS:
            interval.starts[f"{start} {about.role}".rstrip()] += 1
            for phase, seconds in about.phases:
                cell = interval.cold.setdefault((about.role, phase), [0, 0])
                cell[0] += 1
                cell[1] += int(seconds * 1e6 + 0.5)
        elif start:
            interval.starts[start] = interval.starts.get(start, 0) + 1

    def lag(self) -> Durations:
        """How late all requests were sent."""
        out = Durations()
        for interval in self.intervals.values():
            out.merge(interval.lag)
        return out

    def merge(self, other: Series) -> None:
        """Add another generator's part of the same run."""
        for index, interval in other.intervals.items():
            self.at((index + 0.5) * self.interval_s).merge(interval)

    def columns(self) -> dict[str, Any]:
        """One list per figure, all of the same length, as charts want them. None where nothing was measured."""
        last = max(self.intervals, default=-1)
        rows = [self.intervals.get(index) or Interval() for index in range(last + 1)]
        starts = sorted({name for row in rows for name in row.starts})
        cold = {key for row in rows for key in row.cold}
        return {
            "interval_s": self.interval_s,
            "at_s": [index * self.interval_s for index in range(last + 1)],
            "arrivals": [row.arrivals for row in rows],
            "failed": [row.failed for row in rows],
            "dropped": [row.dropped for row in rows],
            "p50_s": [row.response.quantile(0.5) for row in rows],
            "p99_s": [row.response.quantile(0.99) for row in rows],
            "lag_p99_s": [row.lag.quantile(0.99) for row in rows],
            "starts": {name: [row.starts[name] for row in rows] for name in starts},
            "cold_starts": [
                {
                    "role": role,
                    "phase": phase,
                    "count": [row.cold.get((role, phase), (0, 0))[0] for row in rows],
                    "sum_s": [row.cold.get((role, phase), (0, 0))[1] / 1e6 for row in rows],
                }
                for role in ROLES
                for phase in COLD_PHASES
                if (role, phase) in cold
            ],
        }

    def to_json(self) -> list[Any]:
        """As JSON-able values."""
        return [[index, interval.to_json()] for index, interval in self.intervals.items()]

    def load(self, state: list[Any]) -> None:
        """Take in what `to_json` wrote."""
        self.intervals = {index: Interval.from_json(interval) for index, interval in state}


def interval_s(duration_s: float) -> int:
    """Length of the intervals of a run: the shortest round one that is not too many."""
    return next((n for n in _LENGTHS_S if duration_s <= n * INTERVALS_MAX), _LENGTHS_S[-1])
