"""The result of a run as one JSON document, `edgesim.run-summary.v1`, and what its exit code is; the same in both worlds.

All times are seconds. What the fields mean is in docs/scenarios.md and docs/reference/run-summary.v1.schema.json; a field
may be added within a version, never changed. Whatever order values have here does not depend on when they were measured.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from edgesim import __version__
from edgesim.results.answered import COLD_PHASES, ROLES
from edgesim.results.facts import RunFacts
from edgesim.scenario.steps import Power, Steer
from edgesim.scenario.thresholds import judge
from edgesim.scenario.timeline import incidents

if TYPE_CHECKING:
    from edgesim.results.collect import Cell, Results
    from edgesim.results.durations import Durations
    from edgesim.results.facts import PopPlace
    from edgesim.scenario.spec import Population, Scenario
    from edgesim.scenario.thresholds import Conclusion, Verdict
    from edgesim.scenario.timeline import Incident

SCHEMA: Final = "run-summary.v1"
EXIT_CODES: Final[dict[Conclusion, int]] = {"passed": 0, "inconclusive": 98, "failed": 99, "interrupted": 130}
_UNKNOWN: Final = RunFacts()
_QUANTILES: Final = {"p50_s": 0.5, "p90_s": 0.9, "p95_s": 0.95, "p99_s": 0.99}


def summarise(results: Results, facts: RunFacts = _UNKNOWN) -> dict[str, Any]:
    """The document, without its `schema` key."""
    scenario = results.scenario
    results.regions = {place.pop: place.region for place in facts.pops} or results.regions
    verdicts = judge(scenario.thresholds, results.measure)
    failures = timeline_failures(results)
    conclusion = conclude(verdicts, failures, interrupted=results.interrupted)
    lasted_s = results.recorded_s()
    totals = results.select()
    return {
        "edgesim": __version__,
        "conclusion": conclusion,
        "exit_code": EXIT_CODES[conclusion],
        "scenario": _scenario(scenario),
        "run": _facts(facts),
        "aborted": results.aborted,
        "unchecked": list(scenario.unchecked()) if facts.world == "simulated" else [],
        "elapsed_s": results.elapsed_s,
        "recorded_s": lasted_s,
        "totals": {**_cell(totals), "rate_per_s": totals.requests / lasted_s if lasted_s else None},
        **_tables(results),
        "pops": [
            {"pop": name, "region": results.regions.get(name, ""), **_cell(cell)}
            for name, cell in sorted(results.pops.items())
        ],
        "series": results.series.columns(),
        "starts": dict(sorted(results.starts.items())),
        "cold_starts": [
            {"role": role, "phase": phase, **_quantiles(results.cold[role, phase])}
            for role in ROLES
            for phase in COLD_PHASES
            if (role, phase) in results.cold
        ],
        "statuses": {str(status): count for status, count in sorted(results.statuses.items())},
        "body_bytes": results.body_bytes,
        "edge": _quantiles(results.edge),
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
        "left_down": left_down(results),
        "left_drained": left_drained(results),
        "incidents": [_incident(i) for i in incidents(scenario.timeline, results.marks, results.served.items())],
        "places": {"pops": [_place(place) for place in facts.pops], "metros": _metros(scenario.populations)},
        "served": _served(results),
    }


def conclude(verdicts: tuple[Verdict, ...], failures: list[str], *, interrupted: bool) -> Conclusion:
    """The run's verdict. A run that is not valid proves nothing, whatever its requirements say."""
    if interrupted:
        return "interrupted"
    missed = {v.threshold.kind for v in verdicts if not v.ok}
    if "validity" in missed or failures:
        return "inconclusive"
    return "failed" if missed else "passed"


def timeline_failures(results: Results) -> list[str]:
    """What the timeline was to do and did not: a run without its kill says nothing about kills.

    Of a run that a threshold ended, only what went wrong until then: there was no time for the rest.
    """
    out = []
    for index, entry in enumerate(results.scenario.timeline):
        marks = [m for m in results.marks if m.entry == index]
        end = next((m for m in marks if m.edge == "end"), None)
        if end is not None and end.error:
            out.append(f"{entry.label}: {end.error}")
        elif end is None and not results.aborted:
            out.append(f"{entry.label}: {'did not end' if marks else 'was not begun'}")
    return out


def left_down(results: Results) -> list[str]:
    """PoPs and hosts that were killed and are not back: `pop gru1`, `host host2`."""
    down: dict[str, None] = {}
    for mark in results.marks:
        action = results.scenario.timeline[mark.entry].step.action()
        if isinstance(action, Power):
            name = f"{action.kind} {action.id}"
            if action.verb == "kill" and mark.edge == "begin":
                down[name] = None
            elif action.verb == "restart" and mark.edge == "end" and not mark.error:
                down.pop(name, None)
    return list(down)


def left_drained(results: Results) -> list[str]:
    """Ids of PoPs that were drained and are not back in service."""
    drained: dict[str, None] = {}
    for mark in results.marks:
        action = results.scenario.timeline[mark.entry].step.action()
        if isinstance(action, Steer) and mark.edge == "end" and not mark.error:
            if action.verb == "drain":
                drained[action.pop] = None
            else:
                drained.pop(action.pop, None)
    return list(drained)


def _scenario(scenario: Scenario) -> dict[str, Any]:
    load = scenario.load
    return {
        "name": scenario.name,
        "description": scenario.description,
        "target": scenario.target.app or scenario.target.url,
        "seed": load.seed,
        "arrivals": load.arrivals,
        "duration_s": load.duration_s,
    }


def _facts(facts: RunFacts) -> dict[str, Any]:
    return {
        "world": facts.world,
        "command": facts.command,
        "started_at": facts.started_at,
        "time_scale": facts.time_scale,
        "versions": dict(sorted(facts.versions.items())),
        "profile": None if facts.profile is None else dict(facts.profile),
    }


def _tables(results: Results) -> dict[str, Any]:
    """Phases, populations, requests, and all of them crossed."""
    scenario = results.scenario
    load = scenario.load
    return {
        "phases": [
            {
                "name": p.name,
                "recorded": p.record,
                "begin_s": begin_s,
                "duration_s": p.duration_s,
                **_cell(results.select([("phase", p.name)])),
            }
            for begin_s, p in zip(load.starts_s(), load.phases, strict=True)
        ],
        "populations": [
            {"name": p.name, **_cell(results.select([("population", p.name)]))} for p in scenario.populations
        ],
        "requests": [{"name": r.name, **_cell(results.select([("request", r.name)]))} for r in scenario.requests],
        "cells": [
            {
                "phase": load.phases[key.phase].name,
                "population": scenario.populations[key.population].name,
                "request": scenario.requests[key.request].name,
                **_cell(cell),
            }
            for key, cell in sorted(results.cells.items())
        ],
    }


def _place(place: PopPlace) -> dict[str, Any]:
    return {
        "pop": place.pop,
        "city": place.city,
        "country": place.country,
        "region": place.region,
        "lat": place.at.lat,
        "lon": place.at.lon,
    }


def _metros(populations: tuple[Population, ...]) -> list[dict[str, Any]]:
    """Where clients are, each metro once, by its id in the catalogue."""
    metros = {c.metro.id: c.metro for p in populations for c in p.clients}
    return [
        {"metro": m.city, "country": m.country, "lat": m.at.lat, "lon": m.at.lon, "weight": m.weight}
        for _, m in sorted(metros.items())
    ]


def _served(results: Results) -> list[dict[str, Any]]:
    """Requests by where they came from and who answered, all phases."""
    found: dict[tuple[str, str, str], list[int]] = {}
    for key, count in results.served.items():
        row = found.setdefault((key.population, key.metro, key.pop), [0, 0])
        row[0] += count
        row[1] += count if key.failed else 0
    return [
        {"population": population, "metro": metro, "pop": pop, "requests": requests, "failed": failed}
        for (population, metro, pop), (requests, failed) in sorted(found.items())
    ]


def _cell(cell: Cell) -> dict[str, Any]:
    return {
        "requests": cell.requests,
        "failed": cell.failed,
        "error_rate": cell.error_rate,
        "outcomes": dict(sorted(cell.outcomes.items())),
        "response": _quantiles(cell.response),
        "network": _quantiles(cell.network),
        "distribution": [[low_s, high_s, count] for low_s, high_s, count in cell.response.buckets()],
    }


def _quantiles(durations: Durations) -> dict[str, Any]:
    return {
        "count": durations.count,
        "mean_s": durations.mean_s,
        **{name: durations.quantile(q) for name, q in _QUANTILES.items()},
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
