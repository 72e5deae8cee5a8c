"""What a run measures: counts and durations by phase, population, request, PoP and time. No I/O, no clock.

Rules: `response` counts from the intended send time, and holds complete answers and timeouts; a connection that is
refused at once is an error, but must not improve a percentile. Everything can be merged and written as JSON, so that
several generators can report one result. Both worlds call `Results.add` once per request that has ended, and
`Results.drop` for an arrival that was not sent.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from edgesim.results.durations import Durations, bucket_of, whole_us
from edgesim.results.series import Series
from edgesim.scenario.timeline import Mark, ServedKey

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from edgesim.results.answered import Answered, Attribution
    from edgesim.scenario.arrivals import Arrival
    from edgesim.scenario.spec import Scenario
    from edgesim.scenario.thresholds import Threshold

POPS_MAX: Final = 10_000
"""Names of PoPs that are told apart; answers of further ones count as `(other)`."""
TIMED: Final = frozenset({"ok", "status", "header", "body", "timeout"})
"""Outcomes whose response time counts."""


@dataclass(slots=True)
class Cell:
    """One line of a table of results."""

    response: Durations = field(default_factory=Durations)
    """From the intended send time to the complete answer, or to the timeout."""
    network: Durations = field(default_factory=Durations)
    """Modelled network time of the answers, as they report it, unscaled."""
    outcomes: Counter[str] = field(default_factory=Counter)
    """Requests by what became of them: `ok`, or why not."""

    def add(self, outcome: str, response: tuple[int, int] | None, network: tuple[int, int] | None) -> None:
        """Count one request; durations in whole µs, each with its bucket, or None. Written out, since each request pays for it."""
        outcomes = self.outcomes
        outcomes[outcome] = outcomes.get(outcome, 0) + 1
        for durations, duration in ((self.response, response), (self.network, network)):
            if duration is not None:
                us, index = duration
                durations.sum_us += us
                counts = durations.counts
                counts[index] = counts.get(index, 0) + 1

    @property
    def requests(self) -> int:
        """All requests."""
        return self.outcomes.total()

    @property
    def failed(self) -> int:
        """Requests that were not `ok`."""
        return self.outcomes.total() - self.outcomes["ok"]

    @property
    def error_rate(self) -> float | None:
        """Share of failed requests; None without requests."""
        return self.failed / self.requests if self.requests else None

    def merge(self, other: Cell) -> None:
        """Add what another cell has counted."""
        self.response.merge(other.response)
        self.network.merge(other.network)
        self.outcomes.update(other.outcomes)

    def to_json(self) -> dict[str, Any]:
        """As JSON-able values."""
        return {
            "response": self.response.to_json(),
            "network": self.network.to_json(),
            "outcomes": dict(self.outcomes),
        }

    @classmethod
    def from_json(cls, state: dict[str, Any]) -> Cell:
        """What `to_json` wrote."""
        return cls(
            response=Durations.from_json(state["response"]),
            network=Durations.from_json(state["network"]),
            outcomes=Counter(state["outcomes"]),
        )


class CellKey(NamedTuple):
    """A line of the full table; indices into the scenario's lists."""

    phase: int
    population: int
    request: int


class Results:
    """All that one run of a scenario has measured so far."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.cells: dict[CellKey, Cell] = {}
        self.pops: dict[str, Cell] = {}
        """By PoP, recorded phases only; the empty name stands for answers without a PoP and for no answer."""
        self.regions: Mapping[str, str] = {}
        """The region of each PoP, for thresholds with the tag `region`; whoever knows the topology sets it."""
        self.series = Series(scenario.load.duration_s)
        self.starts: Counter[str] = Counter()
        """Answers by how the worker was started: `fresh`, `absent trigger`, `disk waiter`, …"""
        self.cold: dict[tuple[str, str], Durations] = {}
        """Time of cold starts by role and phase, as their answers report it."""
        self.statuses: Counter[int] = Counter()
        self.served: Counter[ServedKey] = Counter()
        self.marks: list[Mark] = []
        self.edge = Durations()
        """What the edge itself took of the answered requests."""
        self.connect = Durations()
        """Time to open connections."""
        self.dropped: Counter[int] = Counter()
        """Arrivals that were not sent since too many were in flight, by phase."""
        self.retried = 0
        """Requests that found their kept-alive connection closed and used another."""
        self.body_bytes = 0
        self.elapsed_s = 0.0
        """From the start to the last answer; the world sets it."""
        self.interrupted = False
        self.aborted = ""
        """The threshold that ended the run early, as written."""
        self._recorded = [phase.record for phase in scenario.load.phases]
        self._places = [[(p.name, c.metro.city) for c in p.clients] for p in scenario.populations]

    def add(self, arrival: Arrival, answered: Answered) -> None:
        """Count one request that has ended."""
        outcome, response_s, about, status, body_bytes, _, connect_s, retried, segment = answered
        phase, population = arrival.phase, arrival.population
        key = (phase, population, arrival.request)
        cell = self.cells.get(key)  # type: ignore[call-overload] # equal to its CellKey, which costs more to make
        if cell is None:
            cell = self.cells[CellKey(*key)] = Cell()
        pop = about.pop
        of_pop = self.pops.get(pop)
        if of_pop is None and len(self.pops) >= POPS_MAX:
            pop = "(other)"
        # The same two durations go into several histograms: their buckets are looked up once.
        us, network_us = whole_us(response_s), -1
        index = bucket_of(us)
        response = (us, index) if outcome in TIMED else None
        if about.network_s is not None:
            network_us = whole_us(about.network_s)
        network = (network_us, bucket_of(network_us)) if network_us >= 0 else None
        cell.add(outcome, response, network)
        if self._recorded[phase]:
            (of_pop or self._pop(pop)).add(outcome, response, network)
        where = (segment, len(self.marks), *self._places[population][arrival.clients], pop, outcome != "ok")
        served = self.served
        count = served.get(where)  # type: ignore[call-overload] # equal to its ServedKey, as above
        if count is None:
            served[ServedKey(*where)] = 1
        else:
            served[where] = count + 1  # type: ignore[index]
        self.series.add(arrival.at_s, answered, response)
        if status:
            self.statuses[status] += 1
            self.body_bytes += body_bytes
        if about.edge_s is not None:
            self.edge.record(about.edge_s)
        if about.start:
            self._started(about)
        if connect_s is not None:
            self.connect.record(connect_s)
        self.retried += retried

    @property
    def lag(self) -> Durations:
        """How late requests were sent: the generator's own fault."""
        return self.series.lag()

    def _started(self, about: Attribution) -> None:
        """Count how the answer's worker was started."""
        start = f"{about.start} {about.role}" if about.role else about.start
        self.starts[start] = self.starts.get(start, 0) + 1
        for phase, seconds in about.phases:
            self.cold.setdefault((about.role, phase), Durations()).record(seconds)

    def drop(self, arrival: Arrival) -> None:
        """Count an arrival that was not sent, since too many requests were in flight."""
        self.dropped[arrival.phase] += 1
        interval = self.series.at(arrival.at_s)
        interval.arrivals += 1
        interval.dropped += 1

    def merge(self, other: Results) -> None:
        """Add another generator's part of the same run. Marks are not merged: whoever carries the timeline out has them."""
        for key, cell in other.cells.items():
            self.cells.setdefault(key, Cell()).merge(cell)
        for name, cell in other.pops.items():
            self._pop(name).merge(cell)
        for kind, durations in other.cold.items():
            self.cold.setdefault(kind, Durations()).merge(durations)
        self.series.merge(other.series)
        self.starts.update(other.starts)
        self.statuses.update(other.statuses)
        self.served.update(other.served)
        self.connect.merge(other.connect)
        self.edge.merge(other.edge)
        self.dropped.update(other.dropped)
        self.retried += other.retried
        self.body_bytes += other.body_bytes
        self.elapsed_s = max(self.elapsed_s, other.elapsed_s)
        self.interrupted = self.interrupted or other.interrupted
        self.aborted = self.aborted or other.aborted

    def _pop(self, name: str) -> Cell:
        cell = self.pops.get(name)
        if cell is None:
            cell = self.pops[name] = Cell()
        return cell

    # -- looking figures up

    def select(self, tags: Iterable[tuple[str, str]] = ()) -> Cell:
        """All recorded requests that match the tags, as one cell."""
        wanted = dict(tags)
        if "pop" in wanted:
            return self.pops.get(wanted["pop"], Cell())
        out = Cell()
        if "region" in wanted:
            for pop, cell in self.pops.items():
                if self.regions.get(pop) == wanted["region"]:
                    out.merge(cell)
            return out
        scenario = self.scenario
        for key, cell in self.cells.items():
            phase = scenario.load.phases[key.phase]
            names = {
                "phase": phase.name,
                "population": scenario.populations[key.population].name,
                "request": scenario.requests[key.request].name,
            }
            # A phase that is asked for by name counts even when it is a warm-up.
            if (phase.record or "phase" in wanted) and all(names[tag] == value for tag, value in wanted.items()):
                out.merge(cell)
        return out

    def recorded_s(self, tags: Iterable[tuple[str, str]] = ()) -> float:
        """How long the matching phases have really lasted so far; a run may have been stopped."""
        load, wanted = self.scenario.load, dict(tags).get("phase")
        total = 0.0
        for begin_s, phase in zip(load.starts_s(), load.phases, strict=True):
            if phase.name == wanted or (wanted is None and phase.record):
                total += max(0.0, min(self.elapsed_s - begin_s, phase.duration_s))
        return total

    def cold_starts(self, role: str = "") -> Durations:
        """Time until the worker was loaded, of all cold starts or of those in one role."""
        out = Durations()
        for (found, phase), durations in self.cold.items():
            if phase == "start" and role in {"", found}:
                out.merge(durations)
        return out

    def measure(self, threshold: Threshold) -> float | None:
        """The figure that a threshold is about, in its base unit; None when there is none."""
        if threshold.metric.startswith("edge."):
            cold = self.cold_starts(dict(threshold.tags).get("role", ""))
            return float(cold.count) if threshold.unit == "count" else _figure(cold, threshold)
        cell = self.select(threshold.tags)
        durations = {
            "generator.lag": self.lag,
            "http.connect_time": self.connect,
            "http.network_time": cell.network,
            "http.response_time": cell.response,
        }.get(threshold.metric)
        if durations is not None:
            return _figure(durations, threshold)
        lasted_s = self.recorded_s(threshold.tags)
        return {
            "generator.dropped.count": float(self.dropped.total()),
            "http.error_rate": cell.error_rate,
            "http.errors.count": float(cell.failed),
            "http.requests.count": float(cell.requests),
            "http.requests.rate": cell.requests / lasted_s if lasted_s else None,
        }[threshold.name]

    # -- JSON

    def to_json(self) -> dict[str, Any]:
        """As JSON-able values; the scenario is not among them."""
        return {
            "cells": [[*key, cell.to_json()] for key, cell in self.cells.items()],
            "pops": {name: cell.to_json() for name, cell in self.pops.items()},
            "series": self.series.to_json(),
            "starts": dict(self.starts),
            "cold": [[*key, durations.to_json()] for key, durations in self.cold.items()],
            "statuses": [[status, count] for status, count in self.statuses.items()],
            "served": [[*key, count] for key, count in self.served.items()],
            "marks": [[m.entry, m.edge, m.at_s, m.error] for m in self.marks],
            "lag": self.lag.to_json(),
            "connect": self.connect.to_json(),
            "edge": self.edge.to_json(),
            "dropped": [[phase, count] for phase, count in self.dropped.items()],
            "retried": self.retried,
            "body_bytes": self.body_bytes,
            "elapsed_s": self.elapsed_s,
            "interrupted": self.interrupted,
            "aborted": self.aborted,
        }

    @classmethod
    def from_json(cls, scenario: Scenario, state: dict[str, Any]) -> Results:
        """What `to_json` wrote, about the same scenario."""
        self = cls(scenario)
        self.cells = {CellKey(*key): Cell.from_json(cell) for *key, cell in state["cells"]}
        self.pops = {name: Cell.from_json(cell) for name, cell in state["pops"].items()}
        self.series.load(state["series"])
        self.starts = Counter(state["starts"])
        self.cold = {(role, phase): Durations.from_json(times) for role, phase, times in state["cold"]}
        self.statuses = Counter(dict(state["statuses"]))
        self.served = Counter({ServedKey(*key): count for *key, count in state["served"]})
        self.marks = [Mark(entry=e, edge=edge, at_s=at_s, error=error) for e, edge, at_s, error in state["marks"]]
        self.connect = Durations.from_json(state["connect"])
        self.edge = Durations.from_json(state["edge"])
        self.dropped = Counter(dict(state["dropped"]))
        self.retried = int(state["retried"])
        self.body_bytes = int(state["body_bytes"])
        self.elapsed_s = float(state["elapsed_s"])
        self.interrupted = bool(state["interrupted"])
        self.aborted = str(state["aborted"])
        return self


def _figure(durations: Durations, threshold: Threshold) -> float | None:
    """The mean or the quantile that a threshold names."""
    return durations.mean_s if threshold.quantile is None else durations.quantile(threshold.quantile)
