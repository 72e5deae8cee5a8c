"""The result of a load run as one JSON document, `edgesim.load-summary.v1`, and what its exit code is.

All times are seconds. What the fields mean is in docs/scenarios.md; a field may be added within a version, never changed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from edgesim import __version__
from edgesim.live.load.answers import COLD_PHASES
from edgesim.scenario.steps import Power
from edgesim.scenario.thresholds import judge
from edgesim.scenario.timeline import incidents

if TYPE_CHECKING:
    from edgesim.live.load.results import Cell, Results
    from edgesim.observe.histogram import Histogram
    from edgesim.scenario.spec import Scenario
    from edgesim.scenario.thresholds import Conclusion, Verdict
    from edgesim.scenario.timeline import Incident

SCHEMA: Final = "load-summary.v1"
EXIT_CODES: Final[dict[Conclusion, int]] = {"passed": 0, "inconclusive": 98, "failed": 99, "interrupted": 130}
_QUANTILES: Final = {"p50_s": 0.5, "p90_s": 0.9, "p95_s": 0.95, "p99_s": 0.99}


def summarise(scenario: Scenario, results: Results) -> dict[str, Any]:
    """The document, without its `schema` key."""
    verdicts = judge(scenario.thresholds, lambda t: results.measure(scenario, t))
    failures = timeline_failures(scenario, results)
    conclusion = conclude(verdicts, failures, interrupted=results.interrupted)
    lasted_s = results.recorded_s(scenario)
    totals = results.select(scenario)
    return {
        "edgesim": __version__,
        "conclusion": conclusion,
        "exit_code": EXIT_CODES[conclusion],
        "scenario": {
            "name": scenario.name,
            "seed": scenario.load.seed,
            "arrivals": scenario.load.arrivals,
            "duration_s": scenario.load.duration_s,
        },
        "elapsed_s": results.elapsed_s,
        "recorded_s": lasted_s,
        "totals": {**_cell(totals), "rate_per_s": totals.requests / lasted_s if lasted_s else None},
        "phases": [
            {"name": p.name, "recorded": p.record, **_cell(results.select(scenario, [("phase", p.name)]))}
            for p in scenario.load.phases
        ],
        "populations": [
            {"name": p.name, **_cell(results.select(scenario, [("population", p.name)]))} for p in scenario.populations
        ],
        "requests": [
            {"name": r.name, **_cell(results.select(scenario, [("request", r.name)]))} for r in scenario.requests
        ],
        "cells": [
            {
                "phase": scenario.load.phases[key.phase].name,
                "population": scenario.populations[key.population].name,
                "request": scenario.requests[key.request].name,
                **_cell(cell),
            }
            for key, cell in sorted(results.cells.items())
        ],
        "pops": [{"pop": name, **_cell(cell)} for name, cell in sorted(results.pops.items())],
        "starts": dict(sorted(results.starts.items())),
        "cold_starts": [
            {"role": role, "phase": phase, **_quantiles(results.cold[role, phase])}
            for role in sorted({role for role, _ in results.cold})
            for phase in COLD_PHASES.values()
            if (role, phase) in results.cold
        ],
        "statuses": {str(status): count for status, count in sorted(results.statuses.items())},
        "body_bytes": results.body_bytes,
        "generator": {
            "lag": _quantiles(results.lag),
            "connect": _quantiles(results.connect),
            "dropped": results.dropped.total(),
            "retried": results.retried,
        },
        "thresholds": [_verdict(v) for v in verdicts],
        "timeline": [
            {
                "label": scenario.timeline[m.entry].label,
                "edge": m.edge,
                "at_s": m.at_s,
                "planned_s": scenario.timeline[m.entry].at_s,
                "error": m.error,
            }
            for m in results.marks
        ],
        "timeline_failures": failures,
        "left_down": left_down(scenario, results),
        "incidents": [_incident(i) for i in incidents(scenario.timeline, results.marks, results.served.items())],
    }


def conclude(verdicts: tuple[Verdict, ...], failures: list[str], *, interrupted: bool) -> Conclusion:
    """The run's verdict. A run that is not valid proves nothing, whatever its requirements say."""
    if interrupted:
        return "interrupted"
    missed = {v.threshold.kind for v in verdicts if not v.ok}
    if "validity" in missed or failures:
        return "inconclusive"
    return "failed" if missed else "passed"


def timeline_failures(scenario: Scenario, results: Results) -> list[str]:
    """What the timeline was to do and did not: a run without its kill says nothing about kills."""
    out = []
    for index, entry in enumerate(scenario.timeline):
        end = next((m for m in results.marks if m.entry == index and m.edge == "end"), None)
        if end is None:
            out.append(f"{entry.label}: did not end")
        elif end.error:
            out.append(f"{entry.label}: {end.error}")
    return out


def left_down(scenario: Scenario, results: Results) -> list[str]:
    """PoPs and hosts that were killed and are not back: `pop gru1`, `host host2`."""
    down: dict[str, None] = {}
    for mark in results.marks:
        action = scenario.timeline[mark.entry].step.action()
        if isinstance(action, Power):
            name = f"{action.kind} {action.id}"
            if action.verb == "kill" and mark.edge == "begin":
                down[name] = None
            elif action.verb == "restart" and mark.edge == "end" and not mark.error:
                down.pop(name, None)
    return list(down)


def _cell(cell: Cell) -> dict[str, Any]:
    return {
        "requests": cell.requests,
        "failed": cell.failed,
        "error_rate": cell.error_rate,
        "outcomes": dict(sorted(cell.outcomes.items())),
        "response": _quantiles(cell.response),
        "network": _quantiles(cell.network),
        "response_histogram": cell.response.to_json(),
    }


def _quantiles(histogram: Histogram) -> dict[str, Any]:
    count = histogram.count
    return {
        "count": count,
        "mean_s": histogram.sum_s / count if count else None,
        **{name: histogram.quantile(q) for name, q in _QUANTILES.items()},
    }


def _verdict(verdict: Verdict) -> dict[str, Any]:
    t = verdict.threshold
    return {
        "check": t.text,
        "kind": t.kind,
        "unit": t.unit,
        "limit": t.value,
        "measured": verdict.measured,
        "ok": verdict.ok,
    }


def _incident(incident: Incident) -> dict[str, Any]:
    return {
        "label": incident.label,
        "begin_s": incident.begin_s,
        "end_s": incident.end_s,
        "windows": {
            window.name: {
                "requests": window.requests,
                "failed": window.failed,
                "origins": [
                    {
                        "population": origin.population,
                        "metro": origin.metro,
                        "pops": dict(origin.pops.most_common()),
                        "failed": origin.failed,
                    }
                    for origin in window.origins
                ],
            }
            for window in incident.windows
        },
    }
