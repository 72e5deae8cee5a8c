"""A scenario as values: who sends which requests to what, how fast, and what happens to the edge meanwhile.

Loading one from YAML is `edgesim/config/scenario.py`; when each request is sent is `arrivals.py`. Durations are seconds,
rates requests per second, weights relative shares within their list.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from edgesim.model.geo import Metro
    from edgesim.model.http import Headers
    from edgesim.scenario.steps import Step
    from edgesim.scenario.thresholds import Threshold

ArrivalKind = Literal["poisson", "constant"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What the requests are sent to. Exactly one of `app` and `url` is set."""

    app: str = ""
    """Name of a deployed app: requests go to the front door of the edge that runs, for `<app>.localhost`."""
    url: str = ""
    """`http://address:port`, an address of this machine."""
    host: str = ""
    """The `Host` field; empty takes the app's, or the URL's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """A stretch of time in which the rate is constant or changes linearly."""

    name: str
    duration_s: float
    rate_from: float
    rate_to: float
    record: bool = True
    """Whether its requests count in the totals and thresholds; a warm-up does not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """The open-loop load: arrivals do not wait for answers."""

    phases: tuple[Phase, ...]
    arrivals: ArrivalKind = "poisson"
    seed: int = 1
    max_in_flight: int = 2000
    """Requests without an answer at the same time; what arrives beyond is dropped and counted."""

    @property
    def duration_s(self) -> float:
        """Length of all phases."""
        return sum(phase.duration_s for phase in self.phases)

    def starts_s(self) -> tuple[float, ...]:
        """When each phase begins, from the start of the run."""
        out, at_s = [], 0.0
        for phase in self.phases:
            out.append(at_s)
            at_s += phase.duration_s
        return tuple(out)


@dataclass(frozen=True, slots=True, kw_only=True)
class Clients:
    """The clients of one metro that are connected in one way."""

    metro: Metro
    access: str
    """Access class: `cable`, `lte`, …"""
    weight: float
    """Share of the population's arrivals: the metro's weight in the catalogue times the share of the access class."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Population:
    """A group of clients."""

    name: str
    weight: float
    clients: tuple[Clients, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """When an answer counts as a success."""

    statuses: frozenset[int] = frozenset()
    """Accepted statuses; empty accepts 200 to 399."""
    headers: tuple[tuple[str, str | None], ...] = ()
    """Field names in lowercase that must be there, with the exact value or None for any."""

    def violation(self, status: int, headers: Headers) -> str:
        """What about an answer was not expected: `status`, `header` or nothing."""
        accepted = status in self.statuses if self.statuses else 200 <= status < 400
        if not accepted:
            return "status"
        for name, wanted in self.headers:
            values = [value for key, value in headers if key == name]
            if not values or (wanted is not None and wanted not in values):
                return "header"
        return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestSpec:
    """One kind of request of the mix."""

    name: str
    weight: float
    method: Literal["GET", "POST", "PUT", "DELETE"]
    target: str
    """Path and query."""
    headers: Headers = ()
    body: bytes = b""
    expect: Expectation = field(default_factory=Expectation)


@dataclass(frozen=True, slots=True, kw_only=True)
class TimelineEntry:
    """Something that is done to the edge during the run."""

    at_s: float
    """From the start of the first phase."""
    step: Step
    label: str
    """How it is called in reports: `kill pop gru1`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A whole load test."""

    name: str
    description: str = ""
    target: Target
    load: Load
    populations: tuple[Population, ...]
    requests: tuple[RequestSpec, ...]
    timeline: tuple[TimelineEntry, ...] = ()
    """In order of time."""
    thresholds: tuple[Threshold, ...] = ()
