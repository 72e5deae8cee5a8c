"""The parts of the report around its charts and tables: verdict, key figures, warnings, and how the run was made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from edgesim.results.report.figures import count, ms, percent, rate, seconds, size
from edgesim.results.report.markup import Html, tag

if TYPE_CHECKING:
    from collections.abc import Iterable

_SIGNS: Final = {"passed": "✓", "failed": "✕", "inconclusive": "?", "interrupted": "■"}
_MEANINGS: Final = {
    "passed": "every threshold holds",
    "failed": "a threshold was missed",
    "inconclusive": "the run itself was not valid, so it proves nothing",
    "interrupted": "the run was stopped before its end",
}
Json = dict[str, Any]


def header(document: Json) -> Iterable[Html | None]:
    """The verdict, and what was run."""
    scenario, run = document["scenario"], document.get("run") or {}
    conclusion = document["conclusion"]
    simulated = run.get("world") == "simulated"
    facts = [
        "simulated" if simulated else "live",
        run.get("started_at") or None,
        f"{scenario['duration_s']:g} s planned, {document['elapsed_s']:.1f} s run",
        f"seed {scenario['seed']}",
        f"edgesim {document['edgesim']}",
    ]
    yield tag(
        "div",
        tag("p", "edgesim run report", class_="brand"),
        tag("h1", scenario["name"]),
        tag("p", scenario["description"], class_="about") if scenario.get("description") else None,
        tag("p", *(tag("span", fact) for fact in facts if fact), class_="facts"),
    )
    yield tag(
        "div",
        tag("strong", tag("i", _SIGNS.get(conclusion, "?"), aria_hidden="true"), conclusion),
        tag("small", _MEANINGS.get(conclusion, "")),
        class_=f"verdict {conclusion if conclusion in _SIGNS else 'inconclusive'}",
        id="verdict",
    )


def tiles(document: Json) -> Iterable[Html]:
    """The figures that people look for first."""
    totals, generator = document["totals"], document["generator"]
    response = totals["response"]
    cold = sum(number for name, number in document["starts"].items() if name.startswith(("absent", "disk")))
    yield _tile("Requests", count(totals["requests"]), f"{rate(totals.get('rate_per_s'))} recorded")
    yield _tile("p50", ms(response["p50_s"]), f"network {ms(totals['network']['p50_s'])}")
    yield _tile("p99", ms(response["p99_s"]), f"p95 {ms(response['p95_s'])}")
    yield _tile(
        "Failed", percent(totals["error_rate"]), f"{count(totals['failed'])} requests", bad=totals["failed"] > 0
    )
    yield _tile("Cold starts", count(cold), f"{percent(cold / (sum(document['starts'].values()) or 1))} of answers")
    if (document.get("run") or {}).get("world") == "simulated":
        return
    dropped = generator["dropped"]
    yield _tile("Generator lag p99", ms(generator["lag"]["p99_s"]), f"{count(dropped)} dropped", bad=dropped > 0)


def _tile(name: str, value: str, more: str, *, bad: bool = False) -> Html:
    number, _, unit = value.partition(" ")
    shown = tag("b", number, tag("small", f" {unit}") if unit else None)
    return tag("div", tag("span", name), shown, tag("em", more), class_="tile bad" if bad else "tile")


def alerts(document: Json) -> Iterable[Html]:
    """What makes the run worth less than it looks."""
    texts = [f"Ended early: {document['aborted']} was missed"] if document.get("aborted") else []
    texts += [f"Timeline: {failure}" for failure in document.get("timeline_failures") or ()]
    texts += [f"{name} was still down at the end" for name in document.get("left_down") or ()]
    texts += [f"pop {name} was still drained at the end" for name in document.get("left_drained") or ()]
    texts += [f"Not checked, since it was simulated: {what}" for what in document.get("unchecked") or ()]
    if texts:
        yield tag("section", *(tag("p", text) for text in texts), class_="alerts", role="alert")


def thresholds_note(document: Json) -> str:
    """How many hold."""
    verdicts = document["thresholds"]
    return f"{sum(bool(v['ok']) for v in verdicts)} of {len(verdicts)} hold" if verdicts else ""


def circumstances(document: Json) -> Iterable[Html]:
    """Everything that one needs to repeat the run."""
    run, scenario, generator = document.get("run") or {}, document["scenario"], document["generator"]
    rows: list[tuple[str, str]] = [
        ("Scenario", f"{scenario['name']}, {scenario['arrivals']} arrivals, seed {scenario['seed']}"),
        ("Target", str(scenario.get("target") or "")),
        ("World", str(run.get("world") or "live")),
        ("Begun", str(run.get("started_at") or "")),
        ("Time scale", f"{run['time_scale']:g}" if run.get("time_scale") is not None else ""),
        ("Recorded", seconds(document["recorded_s"])),
        ("Answers", ", ".join(f"{status}: {count(n)}" for status, n in document["statuses"].items())),
        ("Bodies", size(document["body_bytes"])),
        ("Starts", ", ".join(f"{name}: {count(n)}" for name, n in document["starts"].items())),
        ("Not ok", ", ".join(f"{k}: {count(n)}" for k, n in document["totals"]["outcomes"].items() if k != "ok")),
    ]
    edge = document.get("edge") or {}
    if edge.get("count"):
        rows.append(
            ("Edge itself", f"p50 {ms(edge['p50_s'])}, p99 {ms(edge['p99_s'])} of a request, beside the network")
        )
    if run.get("world") != "simulated":
        lag, connect = generator["lag"], generator["connect"]
        rows.append(
            ("Generator", f"lag p50 {ms(lag['p50_s'])}, p99 {ms(lag['p99_s'])}; {count(generator['retried'])} retried")
        )
        rows.append(
            ("Connections", f"{count(connect['count'])} opened, p50 {ms(connect['p50_s'])}, p99 {ms(connect['p99_s'])}")
        )
    versions = {"edgesim": document["edgesim"], **(run.get("versions") or {})}
    rows.append(("Versions", ", ".join(f"{name} {version}" for name, version in versions.items())))
    rows += [(f"Profile: {key}", _text(value)) for key, value in (run.get("profile") or {}).items()]
    pairs = [part for name, value in rows if value for part in (tag("dt", name), tag("dd", value))]
    yield tag("dl", *pairs, class_="facts-list")
    if run.get("command"):
        yield tag("pre", tag("code", str(run["command"])), class_="command", aria_label="Command")


def _text(value: Any) -> str:
    """A value of the profile on one line."""
    if isinstance(value, dict):
        return ", ".join(f"{key} {_text(part)}" for key, part in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_text, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)


def footer(document: Json, licenses: Iterable[tuple[str, str]]) -> Iterable[Html]:
    """Who made this, and whose work is in it."""
    yield tag(
        "p",
        f"Written by edgesim {document['edgesim']} from {document.get('schema', 'a run summary')}. Fetches nothing.",
    )
    parts = [part for name, text in licenses for part in (tag("h3", name), tag("pre", text.strip()))]
    yield tag("details", tag("summary", "Charts by uPlot; coastline from Natural Earth through world-atlas"), *parts)
