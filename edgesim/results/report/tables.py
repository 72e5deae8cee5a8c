"""The report's tables. Cells that people sort by carry their value in `data-v`; the script does the sorting."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from edgesim.results.report.figures import DASH, count, in_unit, measured, ms, percent
from edgesim.results.report.markup import Html, tag

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Json = dict[str, Any]
Cell = tuple[str, float | str | None]
"""What is shown, and what it is sorted by."""

POP_COLUMNS: Final = ("PoP", "city", "", "region", "requests", "failed", "p50", "p95", "p99", "network p50")
_POP_NUMBERS: Final = 6
"""How many of the last columns are numbers."""
_ORIGINS_SHOWN: Final = 30
_SERVERS_SHOWN: Final = 12


def thresholds(document: Json) -> Html:
    """Every threshold with what was measured."""
    verdicts = document["thresholds"]
    if not verdicts:
        return tag("p", "The scenario has no thresholds, so nothing could be missed.", class_="empty")
    rows = []
    for verdict in verdicts:
        ok, kind = bool(verdict["ok"]), verdict["kind"]
        found = measured(verdict, "measured")
        rows.append(
            tag(
                "tr",
                tag("td", tag("span", "ok" if ok else "miss", class_="pill ok" if ok else "pill miss")),
                tag("td", tag("code", verdict["check"]), tag("small", " validity") if kind == "validity" else None),
                tag("td", found if found != DASH else "nothing measured", class_="n"),
                tag("td", _used(verdict), class_="bar-cell"),
            )
        )
    head = tag("tr", tag("th", ""), tag("th", "check"), tag("th", "measured", class_="n"), tag("th", "of the limit"))
    return _table(head, rows, class_="thresholds")


def _used(verdict: Json) -> Html | None:
    """How much of the limit was used, as a bar; for thresholds that are upper limits above zero."""
    value, limit = verdict.get("measured"), verdict.get("limit")
    if value is None or not limit or "<" not in verdict["check"].rpartition("}")[2]:
        return None
    share = value / limit
    bar = tag("i", style=f"width:{min(share, 1) * 100:.1f}%", class_="" if verdict["ok"] else "over")
    return tag(
        "span",
        tag("span", bar, class_="bar"),
        tag("small", percent(share) if share < 10 else f"{share:.0f} \N{MULTIPLICATION SIGN}"),
    )


def results(what: str, rows: Sequence[Json]) -> Html:
    """Phases, populations or requests: one line each."""
    body = []
    for row in rows:
        response, network = row["response"], row["network"]
        label = row["name"] + ("" if row.get("recorded", True) else " (not recorded)")
        cells: list[Cell] = [
            (count(row["requests"]), row["requests"]),
            (percent(row["error_rate"]) if row["failed"] else "0", row["error_rate"] or 0),
            *((ms(response[q]), response[q]) for q in ("p50_s", "p95_s", "p99_s")),
            (ms(network["p50_s"]), network["p50_s"]),
        ]
        body.append(_row((label, label), cells, bad=bool(row["failed"])))
    return _table(_head((what,), ("requests", "failed", "p50", "p95", "p99", "network p50")), body, sortable=True)


def cold_starts(document: Json) -> Iterable[Html]:
    """How workers were started, and what cold starts were spent on, by role."""
    rows = document["cold_starts"]
    if not rows:
        yield tag("p", "No request met a cold worker.", class_="empty")
        return
    phases = dict.fromkeys(row["phase"] for row in rows if row["phase"] != "start")
    colors = {phase: f"c{index % 8}" for index, phase in enumerate(phases)}
    for role in dict.fromkeys(row["role"] for row in rows):
        parts = [row for row in rows if row["role"] == role]
        yield _stack(role, parts, colors)
    body = [
        _row(
            (f"{row['role']} · {row['phase']}", None),
            [(count(row["count"]), row["count"]), *((ms(row[k]), row[k]) for k in ("mean_s", "p50_s", "p99_s"))],
        )
        for row in rows
    ]
    yield _table(_head(("role · phase",), ("count", "mean", "p50", "p99")), body, sortable=True)


def _stack(role: str, rows: list[Json], colors: dict[str, str]) -> Html:
    """A bar of the mean cold start of a role, cut into its phases; `start` is the sum of what is inside it.

    A phase has the same colour in every bar.
    """
    whole = next((row for row in rows if row["phase"] == "start"), None)
    number = max(row["count"] for row in rows)
    parts = [(row["phase"], (row["mean_s"] or 0.0) * row["count"] / number) for row in rows if row["phase"] != "start"]
    total = sum(share for _, share in parts) or 1.0
    pieces = [
        tag("i", style=f"flex-grow:{share / total:.4f}", class_=colors[phase], title=f"{phase}: mean {ms(share)}")
        for phase, share in parts
        if share > 0
    ]
    names = [tag("span", tag("i", class_=colors[phase]), f"{phase} {ms(share)}") for phase, share in parts]
    about = f"{count(number)} \N{MULTIPLICATION SIGN} {role}" + (
        f", until loaded p99 {ms(whole['p99_s'])}" if whole else ""
    )
    return tag(
        "figure",
        tag("figcaption", about),
        tag("div", *pieces, class_="stack"),
        tag("div", *names, class_="keys"),
        class_="cold",
    )


def pops_frame() -> Iterable[Html]:
    """The frame of the table of PoPs, which the script fills: thousands of rows are shorter as data."""
    yield tag(
        "div",
        tag(
            "input",
            type="search",
            id="pop-filter",
            placeholder="Filter: id, city, country or region",
            aria_label="Filter PoPs",
        ),
        tag("span", id="pop-count", class_="muted"),
        class_="tools",
    )
    split = len(POP_COLUMNS) - _POP_NUMBERS
    yield _table(_head(POP_COLUMNS[:split], POP_COLUMNS[split:]), (), sortable=True, id_="pops")


def incidents(document: Json) -> Html | None:
    """Who was served from where before, during and after what broke."""
    found = document.get("incidents") or ()
    if not found:
        return None
    return tag(
        "section",
        tag("h2", "Incidents", tag("small", "who served whom meanwhile")),
        *map(_incident, found),
        class_="card",
    )


def _incident(incident: Json) -> Html:
    end = "not ended" if incident["end_s"] is None else f"until {incident['end_s']:.1f} s"
    windows = incident["windows"]
    places: dict[tuple[str, str], dict[str, Json]] = {}
    for name, window in windows.items():
        for origin in window["origins"]:
            places.setdefault((origin["population"], origin["metro"]), {})[name] = origin
    moved = [(place, seen) for place, seen in sorted(places.items()) if _moved(seen)]
    rows = [
        tag(
            "tr",
            tag("td", metro, tag("small", f" {population}")),
            *(tag("td", _served(seen.get(name))) for name in windows),
        )
        for (population, metro), seen in moved[:_ORIGINS_SHOWN]
    ]
    head = tag("tr", tag("th", "clients"), *(tag("th", name.replace("_", " ")) for name in windows))
    sums = ", ".join(
        f"{name.replace('_', ' ')} {count(w['requests'])} requests, {count(w['failed'])} failed"
        for name, w in windows.items()
    )
    left_out = len(moved) - _ORIGINS_SHOWN
    return tag(
        "details",
        tag(
            "summary",
            tag("strong", incident["label"]),
            f" at {incident['begin_s']:.1f} s, {end}",
            tag("small", f" {sums}"),
        ),
        _table(head, rows)
        if rows
        else tag("p", "Nobody was served from elsewhere, and nothing failed.", class_="empty"),
        tag("p", f"and {left_out} more; the summary has all", class_="muted") if left_out > 0 else None,
        open=True,
    )


def _moved(seen: dict[str, Json]) -> bool:
    """Whether a place was served from somewhere else in one of the windows, or had failures."""
    return len({frozenset(origin["pops"]) for origin in seen.values()}) > 1 or any(o["failed"] for o in seen.values())


def _served(origin: Json | None) -> Html:
    if origin is None:
        return Html(DASH)
    named = list(origin["pops"].items())
    pops = ", ".join(f"{pop or '(none)'} {count(n)}" for pop, n in named[:_SERVERS_SHOWN])
    if len(named) > _SERVERS_SHOWN:
        pops += f" and {len(named) - _SERVERS_SHOWN} more PoPs"
    failed = tag("span", f" {count(origin['failed'])} failed", class_="bad") if origin["failed"] else None
    return tag("span", pops, failed)


def replications(document: Json) -> Html | None:
    """What several runs of the same scenario come to; None when there was one."""
    found = document.get("replications")
    if not found:
        return None
    rows = []
    for figure in found["figures"]:
        mean, half = (in_unit(figure[key], figure["unit"], exact=False) for key in ("mean", "half_width"))
        rows.append(
            _row(
                (figure["figure"], None),
                [(mean, figure["mean"]), (f"\N{PLUS-MINUS SIGN} {half}", figure["half_width"])],
            )
        )
    note = f"{count(found['count'])} runs with seeds of their own; charts and tables above are of the first"
    interval = f"{found['confidence'] * 100:g} % confidence"
    table = _table(_head(("figure",), ("mean", interval)), rows)
    return tag("section", tag("h2", "Replications", tag("small", note)), table, class_="card")


def _head(texts: Iterable[str], numbers: Iterable[str]) -> Html:
    return tag("tr", *(tag("th", t) for t in texts), *(tag("th", n, class_="n") for n in numbers))


def _row(label: Cell, cells: Iterable[Cell], *, bad: bool = False) -> Html:
    shown = (tag("td", text, class_="n", data_v="" if value is None else value) for text, value in cells)
    return tag("tr", tag("td", label[0], data_v=label[1]), *shown, class_="has-failures" if bad else None)


def _table(head: Html, rows: Iterable[Html], *, class_: str = "", sortable: bool = False, id_: str = "") -> Html:
    classes = f"{class_} sortable".strip() if sortable else class_
    table = tag("table", tag("thead", head), tag("tbody", *rows), class_=classes or None, id=id_ or None)
    return tag("div", table, class_="scroll")
