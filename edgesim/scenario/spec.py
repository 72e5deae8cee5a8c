"""A scenario as values: who sends which requests to what, how fast, and what happens to the edge meanwhile.

Loading one from YAML is `edgesim/config/scenario.py`; when each request is sent is `arrivals.py`. Durations are seconds,
rates requests per second, weights relative shares within their list.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from json import loads as parse_json
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgesim.model.geo import Metro
    from edgesim.model.http import Headers
    from edgesim.scenario.steps import Step
    from edgesim.scenario.templates import Template
    from edgesim.scenario.thresholds import Threshold

Scalar: TypeAlias = str | float | bool | None
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
class Diurnal:
    """The rate follows the time of day of where clients are (`edgesim/scenario/rates.py` has the curve)."""

    day_s: float = 86_400.0
    """How long a day takes in the run."""
    start_s: float = 0.0
    """Time of day in UTC at which the run begins, in seconds since midnight."""
    peak_s: float = 20 * 3600.0
    """Local time of the most requests, in seconds since midnight."""
    trough: float = 0.3
    """Rate at the quietest time, as a share of that at the peak."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FlashCrowd:
    """Many more requests for a while, on top of a phase's rate."""

    add: float
    """Extra requests per second at the height."""
    at_s: float
    """When it begins, from the start of the phase."""
    rise_s: float
    hold_s: float
    decay_s: float
    population: int = -1
    """Who is in it; -1 for everybody."""
    request: int = -1
    """What it is after; -1 for the usual mix."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """A stretch of time in which the rate is constant or changes linearly."""

    name: str
    duration_s: float
    rate_from: float
    rate_to: float
    record: bool = True
    """Whether its requests count in the totals and thresholds; a warm-up does not."""
    flash: FlashCrowd | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """The open-loop load: arrivals do not wait for answers."""

    phases: tuple[Phase, ...]
    arrivals: ArrivalKind = "poisson"
    seed: int = 1
    max_in_flight: int = 2000
    """Requests without an answer at the same time; what arrives beyond is dropped and counted."""
    diurnal: Diurnal | None = None

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
    utc_offset_s: float = 0.0
    """How far the metro's clocks are ahead of UTC, on the day that scenarios are set in."""


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

    body: tuple[str, ...] = ()
    """Texts that the body must contain."""
    json: tuple[tuple[tuple[str, ...], Scalar], ...] = ()
    """Values that must be in a JSON body, by their path of keys and indices; `exists` for any value."""

    @property
    def looks_at_body(self) -> bool:
        """Whether the body must be kept for this."""
        return bool(self.body or self.json)

    def violation(self, status: int, headers: Headers, body: bytes | None = None) -> str:
        """What about an answer was not expected: `status`, `header`, `body` or nothing. A body of None is not looked at."""
        accepted = status in self.statuses if self.statuses else 200 <= status < 400
        if not accepted:
            return "status"
        for name, wanted in self.headers:
            values = [value for key, value in headers if key == name]
            if not values or (wanted is not None and wanted not in values):
                return "header"
        return "" if body is None or not self.looks_at_body or self._body_fits(body) else "body"

    def _body_fits(self, body: bytes) -> bool:
        if not all(text.encode() in body for text in self.body):
            return False
        if not self.json:
            return True
        try:
            document = parse_json(body)
        except (ValueError, RecursionError):
            return False
        return all(_has(document, path, wanted) for path, wanted in self.json)


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
    templates: tuple[tuple[str, Template], ...] = ()
    """What has expressions: `target`, `body`, and headers by their name in lowercase."""
    is_json: bool = False
    """Whether the body is JSON, so that what feeders put into it is escaped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Feeder:
    """Rows of data for templates."""

    name: str
    order: Literal["sequential", "random", "circular"]
    """`sequential`: each row once, and the load ends with the last; `circular`: again from the first."""
    rows: tuple[Mapping[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Think:
    """Time between an answer and the next request of a session."""

    kind: Literal["constant", "uniform", "exponential"]
    low_s: float
    """The time itself, the shortest, or the mean."""
    high_s: float = 0.0
    """The longest, of `uniform`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionStep:
    """One request of a session."""

    request: int
    """Index into the scenario's requests."""
    think: Think
    """What is waited before it; the first does not wait."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """Requests that one client sends one after the other."""

    name: str
    weight: float
    steps: tuple[SessionStep, ...]


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
    sessions: tuple[Session, ...] = ()
    """With these, an arrival is the beginning of a session."""
    feeders: tuple[Feeder, ...] = ()

    def feeder(self, name: str) -> Feeder:
        """The feeder with this name; the loader has checked that there is one."""
        return next(f for f in self.feeders if f.name == name)

    @property
    def requests_per_arrival(self) -> float:
        """How many requests an arrival means on average: more than one with sessions."""
        total = sum(session.weight for session in self.sessions)
        return sum(s.weight / total * len(s.steps) for s in self.sessions) if self.sessions else 1.0

    def unchecked(self) -> tuple[str, ...]:
        """What a simulated answer cannot be checked for, by request: bodies, and the worker's own header fields."""
        out = []
        for request in self.requests:
            fields = [name for name, wanted in request.expect.headers if not name.startswith("x-edge-")]
            what = ["body"] * request.expect.looks_at_body + fields
            if what:
                out.append(f"{request.name}: {', '.join(what)}")
        return tuple(out)


def _has(value: object, path: tuple[str, ...], wanted: Scalar) -> bool:
    """Whether a JSON value has what is wanted at the end of a path."""
    for part in path:
        if isinstance(value, dict) and part in value:
            value = value[part]
        elif isinstance(value, list) and part.isascii() and part.isdigit() and int(part) < len(value):
            value = value[int(part)]
        else:
            return False
    return wanted == "exists" or (value == wanted and isinstance(value, bool) == isinstance(wanted, bool))
