"""Two summaries of one scenario side by side: live and simulated, or two of a kind. Pure; reading files is the CLI's.

What is judged is the whole run: p50, p99, error rate, and how many cold starts there were. The tables by phase and PoP show
where a difference comes from, without a verdict: single PoPs have too few requests for one. Where a summary holds several
replications, their means are compared.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from edgesim.results.replications import figures

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

SCHEMA: Final = "comparison.v1"
_MUST_AGREE: Final = {
    "name": "they are of different scenarios",
    "target": "they are about different apps",
    "duration_s": "one of them has been cut, or the scenario was changed in between",
}

_ROUNDING: Final = 1e-9
"""21 is 5 % more than 20, whatever a quotient of floats says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerances:
    """How far the second run may be from the first, as shares of the first."""

    p50: float = 0.05
    p99: float = 0.15
    cold_starts: float = 0.05
    error_rate: float = 0.005
    """Absolute: a share of the requests."""

    def of(self, figure: str) -> tuple[float, Literal["relative", "absolute"]] | None:
        """The tolerance of a figure, and what it is a share of; None for figures without a verdict."""
        match figure:
            case "response p50":
                return self.p50, "relative"
            case "response p99":
                return self.p99, "relative"
            case "cold starts":
                return self.cold_starts, "relative"
            case "error rate":
                return self.error_rate, "absolute"
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One figure of both runs."""

    figure: str
    unit: str
    """`s`, `share`, `per_s` or `count`."""
    first: float | None
    second: float | None
    tolerance: float | None = None
    kind: Literal["relative", "absolute"] = "relative"

    @property
    def difference(self) -> float | None:
        """Second less first, as a share of the first (or absolute, for shares); None where that says nothing."""
        if self.first is None or self.second is None:
            return None
        if self.kind == "absolute":
            return self.second - self.first
        if not self.first:
            return 0.0 if not self.second else None
        return self.second / self.first - 1.0

    @property
    def ok(self) -> bool | None:
        """Whether the difference is within the tolerance; None without one. What one run alone has is beyond any."""
        if self.tolerance is None:
            return None
        if self.first is None and self.second is None:
            return True
        return self.difference is not None and abs(self.difference) <= self.tolerance + _ROUNDING

    def to_json(self) -> dict[str, Any]:
        """As JSON-able values."""
        return {
            "figure": self.figure,
            "unit": self.unit,
            "first": self.first,
            "second": self.second,
            "difference": self.difference,
            "kind": self.kind,
            "tolerance": self.tolerance,
            "ok": self.ok,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Everything that was compared."""

    rows: tuple[Row, ...]
    parts: tuple[tuple[str, str, tuple[Row, ...]], ...]
    """Phases and PoPs: what, its name, and its figures; the first one counts requests."""
    notes: tuple[str, ...]
    """What makes the runs differ by themselves."""

    @property
    def ok(self) -> bool:
        """Whether every figure with a tolerance is within it."""
        return all(row.ok is not False for row in self.rows)

    def to_json(self) -> dict[str, Any]:
        """As JSON-able values."""
        return {
            "ok": self.ok,
            "figures": [row.to_json() for row in self.rows],
            "parts": [{"what": w, "name": n, "figures": [row.to_json() for row in rows]} for w, n, rows in self.parts],
            "notes": list(self.notes),
        }


def compare(first: Mapping[str, Any], second: Mapping[str, Any], tolerances: Tolerances | None = None) -> Comparison:
    """Compare two summaries.

    Raises:
        ValueError: they are not of one scenario; the message says what differs.
    """
    for key, why in _MUST_AGREE.items():
        ours, theirs = first["scenario"][key], second["scenario"][key]
        if ours != theirs:
            raise ValueError(f"{why}: {key} is {ours!r} in the first and {theirs!r} in the second")
    allowed = tolerances or Tolerances()
    ours, theirs = _means(first), _means(second)
    rows = []
    for name in dict.fromkeys((*ours, *theirs)):
        unit = (ours.get(name) or theirs[name])[0]
        values = [found[name][1] if name in found else None for found in (ours, theirs)]
        tolerance, kind = allowed.of(name) or (None, "absolute" if unit == "share" else "relative")
        rows.append(Row(figure=name, unit=unit, first=values[0], second=values[1], tolerance=tolerance, kind=kind))
    parts = (*_parts("phase", "phases", "name", first, second), *_parts("PoP", "pops", "pop", first, second))
    return Comparison(rows=tuple(rows), parts=parts, notes=tuple(_notes(first, second)))


def _means(document: Mapping[str, Any]) -> dict[str, tuple[str, float | None]]:
    """The figures of a summary: of its replications their means."""
    replications = document.get("replications")
    if not replications:
        return figures(document)
    return {row["figure"]: (row["unit"], row["mean"]) for row in replications["figures"]}


def _parts(
    what: str, table: str, key: str, first: Mapping[str, Any], second: Mapping[str, Any]
) -> Iterator[tuple[str, str, tuple[Row, ...]]]:
    """The lines of a table that either summary has."""
    ours, theirs = ({str(row[key]): row for row in document[table]} for document in (first, second))
    for name in dict.fromkeys((*ours, *theirs)):
        pair = (ours.get(name), theirs.get(name))
        yield what, name or "(none)", tuple(_part_rows(pair))


def _part_rows(pair: Sequence[Mapping[str, Any] | None]) -> Iterator[Row]:
    counts = [None if row is None else float(row["requests"]) for row in pair]
    yield Row(figure="requests", unit="count", first=counts[0], second=counts[1])
    for quantile in ("p50", "p99"):
        values = [None if row is None else row["response"][f"{quantile}_s"] for row in pair]
        yield Row(figure=quantile, unit="s", first=values[0], second=values[1])
    rates = [None if row is None else row["error_rate"] for row in pair]
    yield Row(figure="error rate", unit="share", first=rates[0], second=rates[1], kind="absolute")


def _notes(first: Mapping[str, Any], second: Mapping[str, Any]) -> Iterator[str]:
    seeds = [document["scenario"]["seed"] for document in (first, second)]
    if seeds[0] != seeds[1]:
        yield f"the seeds differ ({seeds[0]} and {seeds[1]}), so the requests do too"
    scales = [document["run"]["time_scale"] for document in (first, second)]
    if None not in scales and scales[0] != scales[1]:  # a live run that has seen only a URL does not know it
        yield f"network time was scaled differently ({scales[0]:g} and {scales[1]:g}), so response times cannot agree"
    for place, document in (("first", first), ("second", second)):
        run = document["run"]
        lag = document["generator"]["lag"]
        if run["world"] == "live" and lag["count"]:
            p50, p99 = lag["p50_s"] * 1e3, lag["p99_s"] * 1e3
            yield f"the {place} run's generator was late by {p50:.2f} ms (p50) and {p99:.1f} ms (p99), which counts as response"
        profile = run.get("profile")
        if profile:
            yield f"the {place} run's costs: {profile['name']}, measured {profile['measured_at']}"
