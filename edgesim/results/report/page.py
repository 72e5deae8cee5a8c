"""The page around the sections: head, styles, scripts and their policy.

The page fetches nothing: a Content-Security-Policy forbids it, and lets no script run but the two whose hashes it names, so
that even markup that slipped through would stay inert.
"""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from edgesim.results.report import sections, tables
from edgesim.results.report.data import chart_data
from edgesim.results.report.markup import Html, join, script_json, tag
from edgesim.results.report.worldmap import HEIGHT, WIDTH

if TYPE_CHECKING:
    from collections.abc import Mapping


class Assets(NamedTuple):
    """The texts of the files beside this module, in `assets/`."""

    style: str
    script: str
    uplot_style: str
    uplot_script: str
    uplot_license: str
    land: str
    land_license: str


ASSET_NAMES: Final[Mapping[str, str]] = {
    "style": "report.css",
    "script": "report.js",
    "uplot_style": "uplot.min.css",
    "uplot_script": "uplot.min.js",
    "uplot_license": "uplot.LICENSE",
    "land": "land.svgpath",
    "land_license": "land.LICENSE",
}
"""Files of `Assets`."""


def render(document: dict[str, Any], assets: Assets) -> str:
    """A run's summary (`edgesim.run-summary.v1`) as an HTML document."""
    scripts = [Html(assets.uplot_script), Html(assets.script)]
    policy = (
        "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; script-src "
        + " ".join(f"'sha256-{_sha256(script)}'" for script in scripts)
    )
    head = [
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", f"{document['scenario']['name']}: {document['conclusion']} - edgesim"),
        tag("style", Html(assets.uplot_style), Html(assets.style)),
    ]
    data = script_json(chart_data(document))
    body = [
        tag("header", *sections.header(document), class_="top"),
        tag("main", *_main(document, assets)),
        tag(
            "footer",
            *sections.footer(document, [("uPlot", assets.uplot_license), ("world-atlas", assets.land_license)]),
        ),
        tag("div", id="tip", class_="tip", role="status", hidden=True),
        tag("script", data, type="application/json", id="data"),
        *(tag("script", script) for script in scripts),
    ]
    return "<!doctype html>\n" + tag("html", tag("head", *head), tag("body", *body), lang="en") + "\n"


def _main(document: dict[str, Any], assets: Assets) -> list[Html | None]:
    simulated = (document.get("run") or {}).get("world") == "simulated"
    has_series = bool((document.get("series") or {}).get("at_s"))
    cold = bool(document["cold_starts"])
    charts = [
        _card("Response time", _chart("latency"), note="from the intended send time", id_="latency-card", wide=True),
        _card("Arrivals and failures", _chart("rate"), note="per second"),
        None if simulated else _card("Generator lag", _chart("lag"), note="how late requests were sent, p99"),
        _card("Cold starts", _chart("cold"), note="per interval, by what was there and who waited") if cold else None,
        _card("Distribution", _chart("distribution"), note="response times, logarithmic"),
    ]
    return [
        tag("section", *sections.tiles(document), class_="tiles", aria_label="Key figures"),
        *sections.alerts(document),
        _card("Thresholds", tables.thresholds(document), note=sections.thresholds_note(document)),
        tag("div", *charts, class_="grid") if has_series else None,
        _card("World", _world(assets.land), note="dots: PoPs, sized by requests, coloured by p99", id_="world-card"),
        tag(
            "div",
            _card("Cold starts by phase and role", *tables.cold_starts(document)),
            _card("Populations", tables.results("population", document["populations"])),
            _card("Phases", tables.results("phase", document["phases"])),
            _card("Requests", tables.results("request", document["requests"])),
            class_="columns",
        ),
        _card("PoPs", *tables.pops_frame(), id_="pops-card"),
        tables.incidents(document),
        tables.replications(document),
        _card("This run", *sections.circumstances(document)),
    ]


def _card(title: str, *content: str | None, note: str = "", id_: str = "", wide: bool = False) -> Html:
    heading = tag("h2", title, tag("small", note) if note else None)
    return tag("section", heading, *content, class_="card wide" if wide else "card", id=id_ or None)


def _chart(name: str) -> Html:
    return tag("div", class_="chart", id=f"chart-{name}")


def _world(land: str) -> Html:
    """The map; the script adds the PoPs."""
    path = tag("path", d=land.strip(), class_="land")
    drawing = tag(
        "svg", path, tag("g", id="dots"), viewBox=f"0 0 {WIDTH} {HEIGHT}", role="img", aria_label="Map of the PoPs"
    )
    return join([tag("div", drawing, class_="world"), tag("div", id="legend", class_="legend")])


def _sha256(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
