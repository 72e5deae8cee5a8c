"""What the generator measures: counts and histograms by phase, population, request and PoP. No I/O.

Rules: `response` counts from the intended send time, and holds complete answers and timeouts; a connection that is
refused at once is an error, but must not improve a percentile. Everything can be merged and written as JSON, so that
several generators can report one result.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from edgesim.observe.histogram import Histogram
from edgesim.scenario.timeline import Mark, ServedKey

if TYPE_CHECKING:
    from collections.abc import Iterable

    from edgesim.live.load.answers import Attribution
    from edgesim.live.load.client import Answer
    from edgesim.scenario.arrivals import Arrival
    from edgesim.scenario.spec import Scenario
    from edgesim.scenario.thresholds import Threshold

POPS_MAX: Final = 10_000
"""Names of PoPs that are told apart; answers of further ones count as `(other)`."""


@dataclass(slots=True)
class Cell:
    """One line of a table of results."""

    response: Histogram = field(default_factory=Histogram)
    """From the intended send time to the complete answer, or to the timeout."""
    network: Histogram = field(default_factory=Histogram)
    """Modelled network time of the answers, as they report it, unscaled."""
    outcomes: Counter[str] = field(default_factory=Counter)
    """Requests by what became of them: `ok`, or why not."""

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

    def add(self, outcome: str, response_s: float, network_s: float | None) -> None:
        """Count one request."""
        self.outcomes[outcome] += 1
        if outcome in _TIMED:
            self.response.record(response_s)
        if network_s is not None:
            self.network.record(network_s)

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
            response=Histogram.from_json(state["response"]),
            network=Histogram.from_json(state["network"]),
            outcomes=Counter(state["outcomes"]),
        )


_TIMED: Final = frozenset({"ok", "status", "header", "timeout"})


class CellKey(NamedTuple):
    """A line of the full table; indices into the scenario's lists."""

    phase: int
    population: int
    request: int


@dataclass(slots=True)
class Results:
    """All that one run has measured."""

    cells: dict[CellKey, Cell] = field(default_factory=dict)
    pops: dict[str, Cell] = field(default_factory=dict)
    """By PoP, recorded phases only; the empty name stands for answers without a PoP and for no answer."""
    starts: Counter[str] = field(default_factory=Counter)
    """Answers by how the worker was started: `fresh`, `absent trigger`, `disk waiter`, …"""
    cold: dict[tuple[str, str], Histogram] = field(default_factory=dict)
    """Time of cold starts by role and phase, as their answers report it."""
    statuses: Counter[int] = field(default_factory=Counter)
    served: Counter[ServedKey] = field(default_factory=Counter)
    marks: list[Mark] = field(default_factory=list)
    lag: Histogram = field(default_factory=Histogram)
    """How late requests were sent: the generator's own fault."""
    connect: Histogram = field(default_factory=Histogram)
    """Time to open connections."""
    dropped: Counter[int] = field(default_factory=Counter)
    """Arrivals that were not sent since too many were in flight, by phase."""
    retried: int = 0
    """Requests that found their kept-alive connection closed and used another."""
    body_bytes: int = 0
    elapsed_s: float = 0.0
    """From the start to the last answer."""
    interrupted: bool = False

    def add(
        self,
        scenario: Scenario,
        arrival: Arrival,
        answer: Answer,
        *,
        outcome: str,
        about: Attribution,
        response_s: float,
        sent_segment: int,
    ) -> None:
        """Count one request that has ended."""
        population = scenario.populations[arrival.population]
        key = CellKey(arrival.phase, arrival.population, arrival.request)
        cell = self.cells.get(key)
        if cell is None:
            cell = self.cells[key] = Cell()
        cell.add(outcome, response_s, about.network_s)
        pop = about.pop if about.pop in self.pops or len(self.pops) < POPS_MAX else "(other)"
        if scenario.load.phases[arrival.phase].record:
            pop_cell = self.pops.get(pop)
            if pop_cell is None:
                pop_cell = self.pops[pop] = Cell()
            pop_cell.add(outcome, response_s, about.network_s)
        city = population.clients[arrival.clients].metro.city
        self.served[ServedKey(sent_segment, len(self.marks), population.name, city, pop, outcome != "ok")] += 1
        if answer.status:
            self.statuses[answer.status] += 1
            self.body_bytes += answer.body_bytes
        if about.start:
            self.starts[f"{about.start} {about.role}".rstrip()] += 1
        for phase, seconds in about.phases:
            self.cold.setdefault((about.role, phase), Histogram()).record(seconds)
        if answer.connect_s is not None:
            self.connect.record(answer.connect_s)
        self.retried += answer.retried

    def select(self, scenario: Scenario, tags: Iterable[tuple[str, str]] = ()) -> Cell:
        """All recorded requests that match the tags, as one cell."""
        wanted = dict(tags)
        if "pop" in wanted:
            return self.pops.get(wanted["pop"], Cell())
        out = Cell()
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

    def recorded_s(self, scenario: Scenario, tags: Iterable[tuple[str, str]] = ()) -> float:
        """How long the matching phases have really lasted so far; a run may have been stopped."""
        wanted = dict(tags).get("phase")
        total = 0.0
        for begin_s, phase in zip(scenario.load.starts_s(), scenario.load.phases, strict=True):
            if phase.name == wanted or (wanted is None and phase.record):
                total += max(0.0, min(self.elapsed_s - begin_s, phase.duration_s))
        return total

    def measure(self, scenario: Scenario, threshold: Threshold) -> float | None:
        """The figure that a threshold is about, in its base unit; None when there is none."""
        if threshold.name == "generator.dropped.count":
            return float(self.dropped.total())
        cell = self.select(scenario, threshold.tags)
        histogram = {
            "generator.lag": self.lag,
            "http.connect_time": self.connect,
            "http.network_time": cell.network,
            "http.response_time": cell.response,
        }.get(threshold.metric)
        if histogram is not None:
            return _aggregate(histogram, threshold)
        match threshold.name:
            case "http.error_rate":
                return cell.error_rate
            case "http.errors.count":
                return float(cell.failed)
            case "http.requests.count":
                return float(cell.requests)
        assert threshold.name == "http.requests.rate", threshold.name
        lasted_s = self.recorded_s(scenario, threshold.tags)
        return cell.requests / lasted_s if lasted_s else None

    def to_json(self) -> dict[str, Any]:
        """As JSON-able values."""
        return {
            "cells": [[*key, cell.to_json()] for key, cell in self.cells.items()],
            "pops": {name: cell.to_json() for name, cell in self.pops.items()},
            "starts": dict(self.starts),
            "cold": [[*key, histogram.to_json()] for key, histogram in self.cold.items()],
            "statuses": [[status, count] for status, count in self.statuses.items()],
            "served": [[*key, count] for key, count in self.served.items()],
            "marks": [[m.entry, m.edge, m.at_s, m.error] for m in self.marks],
            "lag": self.lag.to_json(),
            "connect": self.connect.to_json(),
            "dropped": [[phase, count] for phase, count in self.dropped.items()],
            "retried": self.retried,
            "body_bytes": self.body_bytes,
            "elapsed_s": self.elapsed_s,
            "interrupted": self.interrupted,
        }

    @classmethod
    def from_json(cls, state: dict[str, Any]) -> Results:
        """What `to_json` wrote."""
        return cls(
            cells={CellKey(*key): Cell.from_json(cell) for *key, cell in state["cells"]},
            pops={name: Cell.from_json(cell) for name, cell in state["pops"].items()},
            starts=Counter(state["starts"]),
            cold={(role, phase): Histogram.from_json(times) for role, phase, times in state["cold"]},
            statuses=Counter(dict(state["statuses"])),
            served=Counter({ServedKey(*key): count for *key, count in state["served"]}),
            marks=[Mark(entry=e, edge=edge, at_s=at_s, error=error) for e, edge, at_s, error in state["marks"]],
            lag=Histogram.from_json(state["lag"]),
            connect=Histogram.from_json(state["connect"]),
            dropped=Counter(dict(state["dropped"])),
            retried=int(state["retried"]),
            body_bytes=int(state["body_bytes"]),
            elapsed_s=float(state["elapsed_s"]),
            interrupted=bool(state["interrupted"]),
        )


def _aggregate(histogram: Histogram, threshold: Threshold) -> float | None:
    if threshold.quantile is not None:
        return histogram.quantile(threshold.quantile)
    return histogram.sum_s / histogram.count if histogram.count else None
