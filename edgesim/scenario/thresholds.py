"""Thresholds: `http.response_time.p99{population=eu} < 400ms` as a value, and its verdict.

Where the measured figures come from is not known here: `judge` is handed a function that looks them up.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

Kind = Literal["requirement", "validity"]
"""A missed requirement fails the run; a missed validity check says that its figures are not to be trusted."""
Unit = Literal["s", "share", "per_s", "count"]

_DURATIONS: Final = {
    "http.response_time": "s",
    "http.network_time": "s",
    "http.connect_time": "s",
    "generator.lag": "s",
    "edge.cold_start": "s",
}
_QUANTILES: Final = {"p50": 0.5, "p75": 0.75, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p999": 0.999}
METRICS: Final[dict[str, Unit]] = {
    **{f"{name}.{q}": "s" for name in _DURATIONS for q in (*_QUANTILES, "mean")},
    "http.error_rate": "share",
    "http.errors.count": "count",
    "http.requests.rate": "per_s",
    "http.requests.count": "count",
    "generator.dropped.count": "count",
    "edge.cold_starts.count": "count",
}
"""Every metric that a threshold may name, with its unit."""
TAGS: Final = ("phase", "population", "request", "pop", "region", "role")
ROLES: Final = ("trigger", "waiter")
_WHOLE: Final = ("generator.", "http.connect_time.")
"""Metrics of the whole run."""

_GRAMMAR = re.compile(
    r"\s*(?P<metric>[a-z_]+(?:\.[a-z0-9_]+)+)\s*(?:\{(?P<tags>[^{}]*)\})?\s*(?P<op><=|>=|==|<|>)\s*"
    r"(?P<value>[0-9]{1,12}(?:\.[0-9]{1,9})?)\s*(?P<unit>us|ms|s|%|rps)?\s*"
)
_UNITS: Final[dict[str, dict[Unit, float]]] = {
    "": {"count": 1.0, "share": 1.0, "per_s": 1.0},
    "us": {"s": 1e6},
    "ms": {"s": 1e3},
    "s": {"s": 1.0},
    "%": {"share": 100.0},
    "rps": {"per_s": 1.0},
}
"""Unit as written, the units of metrics it fits, and how many of it make one."""
_EXAMPLE = "write for example `http.response_time.p99 < 400ms` or `http.error_rate{phase=steady} < 1%`"
_KNOWN = f"known: {', '.join(sorted(_DURATIONS))} with .{', .'.join(_QUANTILES)} or .mean; " + ", ".join(
    sorted(name for name, unit in METRICS.items() if unit != "s")
)
DEFAULT_VALIDITY: Final = "generator.lag.p99 < 10ms"
"""Added to scenarios that have no validity check of their own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Threshold:
    """One condition on a metric."""

    text: str
    """As written."""
    metric: str
    """`http.response_time`, `generator.lag`, …: the name without its last part."""
    aggregate: str
    """`p99`, `mean`, `rate`, `count`, or the whole last part: `error_rate`."""
    tags: tuple[tuple[str, str], ...]
    op: Literal["<", "<=", ">", ">=", "=="]
    value: float
    """In the metric's base unit: seconds, a share, per second, or a count."""
    unit: Unit
    kind: Kind = "requirement"
    abort: bool = False
    """Whether a miss ends the run at once."""
    after_s: float = 0.0
    """How long to wait before a miss ends the run, from the start of the first phase."""

    @property
    def name(self) -> str:
        """The metric's full name."""
        return f"{self.metric}.{self.aggregate}"

    @property
    def quantile(self) -> float | None:
        """The quantile that the aggregate names, or None."""
        return _QUANTILES.get(self.aggregate)

    def holds(self, measured: float) -> bool:
        """Whether a measured value meets the condition."""
        match self.op:
            case "<":
                return measured < self.value
            case "<=":
                return measured <= self.value
            case ">":
                return measured > self.value
            case ">=":
                return measured >= self.value
            case "==":
                return measured == self.value


def parse(text: str, kind: Kind = "requirement") -> Threshold:
    """The threshold that `text` says.

    Raises:
        ValueError: it does not parse, or names an unknown metric, tag or unit; the message ends with `; ` and a hint.
    """
    match = _GRAMMAR.fullmatch(text)
    if match is None:
        raise ValueError(f"'{text[:80]}' is not a threshold; {_EXAMPLE}")
    name = match["metric"]
    unit = METRICS.get(name)
    if unit is None:
        raise ValueError(f"there is no metric '{name}'; {_KNOWN}")
    factor = _UNITS[match["unit"] or ""].get(unit)
    if factor is None:
        wanted = {"s": "ms, s or us", "share": "% or no unit", "per_s": "rps or no unit", "count": "no unit"}[unit]
        raise ValueError(f"'{match['value']}{match['unit'] or ''}' has the wrong unit for {name}; use {wanted}")
    metric, _, aggregate = name.rpartition(".")
    op = match["op"]
    assert op in {"<", "<=", ">", ">=", "=="}
    return Threshold(
        text=" ".join(text.split()),
        metric=metric,
        aggregate=aggregate,
        tags=_tags(match["tags"], name),
        op=op,  # type: ignore[arg-type] # the grammar has no other
        value=float(match["value"]) / factor,
        unit=unit,
        kind=kind,
    )


def _tags(text: str | None, name: str) -> tuple[tuple[str, str], ...]:
    """The tags between the braces, checked by name; whether their values exist is the loader's business."""
    out: dict[str, str] = {}
    for part in (text or "").split(","):
        if not part.strip():
            continue
        key, equals, value = part.partition("=")
        key, value = key.strip(), value.strip().strip("\"'")
        if not equals or not value:
            raise ValueError(f"'{part.strip()}' is not a tag; write {{population=eu}}")
        if key not in TAGS:
            raise ValueError(f"there is no tag '{key}'; known: {', '.join(TAGS)}")
        if key in out:
            raise ValueError(f"the tag '{key}' is given twice; remove one")
        out[key] = value
    _check_tags(out, name)
    return tuple(sorted(out.items()))


def _check_tags(out: dict[str, str], name: str) -> None:
    """Raise ValueError when the metric has no such tags, or they exclude each other."""
    if out and name.startswith(_WHOLE):
        raise ValueError(f"{name} has no tags; it is about the whole run")
    if set(out) - {"role"} if name.startswith("edge.") else "role" in out:
        raise ValueError("the tag 'role' is of edge.cold_start and edge.cold_starts, which have no other; remove it")
    if out.get("role", ROLES[0]) not in ROLES:
        raise ValueError(f"there is no role '{out['role']}'; known: {', '.join(ROLES)}")
    for alone in ("pop", "region"):
        if alone in out and len(out) > 1:
            raise ValueError(f"the tag '{alone}' cannot be combined with others; use two thresholds")


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What became of a threshold."""

    threshold: Threshold
    measured: float | None
    """In the metric's base unit; None when nothing was measured."""

    @property
    def ok(self) -> bool:
        """Whether the condition holds. A figure that is missing never meets it."""
        return self.measured is not None and self.threshold.holds(self.measured)


def judge(thresholds: Iterable[Threshold], measure: Callable[[Threshold], float | None]) -> tuple[Verdict, ...]:
    """The verdict on each threshold. `measure` gives the figure a threshold is about, or None."""
    return tuple(Verdict(threshold=t, measured=measure(t)) for t in thresholds)


Conclusion = Literal["passed", "failed", "inconclusive", "interrupted"]
"""What a run says: `inconclusive` when it is not valid, since then it proves nothing, whatever its requirements say."""
