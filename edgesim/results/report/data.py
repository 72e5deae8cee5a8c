"""What the report's script draws: series, marks, phases, distribution and PoPs, in milliseconds and short numbers.

Bounded: a report of a world with thousands of PoPs has the `POPS_MAX` busiest of them and says how many it leaves out.
"""

from __future__ import annotations

from math import log2
from typing import Any, Final

from edgesim.results.report.worldmap import project

POPS_MAX: Final = 1_000
_BINS_PER_DOUBLING: Final = 4
_COLD: Final = ("absent", "disk")

Json = dict[str, Any]


def chart_data(document: Json) -> Json:
    """The data of all charts, the map and the table of PoPs."""
    series = document.get("series") or {}
    interval_s = series.get("interval_s") or 1
    shown, hidden = _pops(document)
    return {
        "interval_s": interval_s,
        "t": [_short(at) for at in series.get("at_s") or ()],
        "rate": [_short(n / interval_s) for n in series.get("arrivals") or ()],
        "failed": [_short(n / interval_s) for n in series.get("failed") or ()],
        "dropped": [_short(n / interval_s) for n in series.get("dropped") or ()],
        "p50": _ms_list(series.get("p50_s")),
        "p99": _ms_list(series.get("p99_s")),
        "lag": _ms_list(series.get("lag_p99_s")),
        "cold": {name: counts for name, counts in (series.get("starts") or {}).items() if name.startswith(_COLD)},
        "marks": _marks(document),
        "incidents": [
            {"label": i["label"], "begin": _short(i["begin_s"]), "end": _short(i["end_s"])}
            for i in document.get("incidents") or ()
        ],
        "phases": [
            {"name": p["name"], "begin": _short(p["begin_s"]), "end": _short(p["begin_s"] + p["duration_s"])}
            for p in document.get("phases") or ()
            if "begin_s" in p
        ],
        "distribution": _distribution(document["totals"].get("distribution") or ()),
        "quantiles": {name: _ms(document["totals"]["response"].get(f"{name}_s")) for name in ("p50", "p95", "p99")},
        "pops": shown,
        "pops_hidden": hidden,
    }


def _marks(document: Json) -> list[Json]:
    """What the timeline did: one mark per entry, where it began, with how long it took."""
    marks: list[Json] = []
    open_: dict[str, Json] = {}
    for mark in document.get("timeline") or ():
        if mark["edge"] == "begin":
            open_[mark["label"]] = entry = {"label": mark["label"], "begin": _short(mark["at_s"]), "error": ""}
            marks.append(entry)
        elif mark["label"] in open_:
            entry = open_.pop(mark["label"])
            entry["end"] = _short(mark["at_s"])
            entry["error"] = mark.get("error") or ""
    return marks


def _distribution(buckets: Any) -> list[list[float]]:
    """Response times in bins of equal width on a logarithmic axis: [log2 of the upper edge in ms, requests]."""
    bins: dict[int, int] = {}
    for low_s, high_s, number in buckets:
        middle_ms = max((low_s + high_s) * 500, 1e-3)
        index = int(log2(middle_ms) * _BINS_PER_DOUBLING // 1)
        bins[index] = bins.get(index, 0) + number
    if not bins:
        return []
    return [[(i + 0.5) / _BINS_PER_DOUBLING, bins.get(i, 0)] for i in range(min(bins) - 1, max(bins) + 2)]


def _pops(document: Json) -> tuple[list[list[Any]], int]:
    """Rows of PoPs, the busiest first: id, city, country, region, x, y, requests, failed, p50, p95, p99, network p50."""
    measured = {row["pop"]: row for row in document.get("pops") or ()}
    places = {place["pop"]: place for place in (document.get("places") or {}).get("pops") or ()}
    rows = []
    for name in {**places, **measured}:
        row, place = measured.get(name, {}), places.get(name, {})
        response, network = row.get("response") or {}, row.get("network") or {}
        x, y = project(place["lat"], place["lon"]) if place else (None, None)
        rows.append(
            [
                name or "(none)",
                place.get("city", ""),
                place.get("country", ""),
                place.get("region") or row.get("region", ""),
                None if x is None else round(x),
                None if y is None else round(y),
                row.get("requests", 0),
                row.get("failed", 0),
                *(_ms(response.get(key)) for key in ("p50_s", "p95_s", "p99_s")),
                _ms(network.get("p50_s")),
            ]
        )
    rows.sort(key=lambda row: (-row[6], row[0]))
    return rows[:POPS_MAX], max(0, len(rows) - POPS_MAX)


def _ms_list(values: Any) -> list[float | None]:
    return [_ms(value) for value in values or ()]


def _ms(value: float | None) -> float | None:
    return None if value is None else _short(value * 1e3)


def _short(value: float | None) -> float | None:
    """Four significant digits: what a chart can show, in few bytes."""
    if value is None:
        return None
    rounded = float(f"{value:.4g}")
    return int(rounded) if rounded == int(rounded) else rounded
