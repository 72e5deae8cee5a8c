"""Writes `dashboards/edgesim.json`, the Grafana dashboard, from the metric catalogue.

Run `python dashboards/generate.py` after a change and commit the result; a test compares the two. It needs the development
dependency grafana-foundation-sdk, which is why the JSON is committed: users import it as it is.
"""  # noqa: INP001 - a script beside the data that it writes

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from grafana_foundation_sdk.builders import common, prometheus, table, timeseries
from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models.common import LegendDisplayMode, LegendPlacement, SortOrder, TooltipDisplayMode
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from edgesim.observe import catalog
from edgesim.observe.summary import NOT_ERRORS

if TYPE_CHECKING:
    from edgesim.observe.catalog import Metric

TARGET = Path(__file__).with_name("edgesim.json")
SOURCE = model.DataSourceRef(type_val="prometheus", uid="${datasource}")
POP = '{pop=~"$pop"}'
SINCE_START = (
    " Cold starts are too rare for a rate: this counts all since the processes started, as `edgesim pops list` does."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One panel: a query for each legend, all with the same unit."""

    title: str
    description: str
    unit: str
    """Grafana's unit id: `s`, `reqps`, `short`, `bytes`, `percentunit`."""
    queries: tuple[tuple[str, str], ...]
    """Legend and PromQL."""
    kind: Literal["timeseries", "table"] = "timeseries"
    width: int = 12


def rate(metric: Metric, by: str, where: str = POP) -> str:
    """A counter's increase per second, by labels."""
    return f"sum by ({by}) (rate({metric.name}{where}[$__rate_interval]))"


def quantile(q: float, metric: Metric, by: str, where: str = POP) -> str:
    """A histogram's quantile over the rate interval, by labels."""
    le = f"le, {by}" if by else "le"
    return f"histogram_quantile({q}, sum by ({le}) (rate({metric.name}_bucket{where}[$__rate_interval])))"


def quantile_since_start(q: float, metric: Metric, by: str) -> str:
    """A histogram's quantile since the processes started, by labels."""
    return f"histogram_quantile({q}, sum by (le, {by}) ({metric.name}_bucket{POP}))"


FAILED_SHARE = (
    f"(sum (rate({catalog.FRONT_DOOR_REQUESTS.name}"
    f'{{outcome!~"{"|".join(sorted(NOT_ERRORS))}"}}[$__rate_interval])) or vector(0))'
    f" / sum (rate({catalog.FRONT_DOOR_REQUESTS.name}[$__rate_interval]))"
)

ROWS: tuple[tuple[str, tuple[Panel, ...]], ...] = (
    (
        "Requests",
        (
            Panel(
                title="Requests by outcome",
                description="Requests that PoPs have dealt with. Anything but ok is an error of worker, origin or edge.",
                unit="reqps",
                queries=(("{{outcome}}", rate(catalog.REQUESTS, "outcome")),),
            ),
            Panel(
                title="Requests by PoP",
                description="Where requests are served.",
                unit="reqps",
                queries=(("{{pop}}", rate(catalog.REQUESTS, "pop")),),
            ),
            Panel(
                title="p99 by PoP",
                description="99th percentile of the measured time at the PoP, from arrival there to its answer.",
                unit="s",
                queries=(("{{pop}}", quantile(0.99, catalog.REQUEST_DURATION, "pop")),),
            ),
            Panel(
                title="p50 by PoP",
                description="Median of the measured time at the PoP, from arrival there to its answer.",
                unit="s",
                queries=(("{{pop}}", quantile(0.5, catalog.REQUEST_DURATION, "pop")),),
            ),
            Panel(
                title="p99 by part",
                description="Where requests spend their time: network (modelled), queue, start, execute, origin.",
                unit="s",
                queries=(("{{part}}", quantile(0.99, catalog.REQUEST_PART, "part")),),
            ),
            Panel(
                title="Requests by start",
                description="How the worker was started: absent and disk are cold starts, none means that no guest ran.",
                unit="reqps",
                queries=(("{{start}}", rate(catalog.REQUESTS, "start")),),
            ),
        ),
    ),
    (
        "Cold starts",
        (
            Panel(
                title="Cold starts by PoP and role",
                description="Cold starts per second: of the requests that caused one, of those that waited, and of deploys.",
                unit="cps",
                queries=(("{{pop}} {{role}}", rate(catalog.COLD_STARTS, "pop, role")),),
            ),
            Panel(
                title="Cold-start p99 by PoP and role",
                description="99th percentile of whole cold starts." + SINCE_START,
                unit="s",
                queries=(("{{pop}} {{role}}", quantile_since_start(0.99, catalog.COLD_START, "pop, role")),),
            ),
            Panel(
                title="Cold-start p99 by phase and role",
                description="99th percentile of each phase over the chosen PoPs." + SINCE_START,
                unit="s",
                queries=(("{{phase}} {{role}}", quantile_since_start(0.99, catalog.COLD_START_PHASE, "phase, role")),),
            ),
            Panel(
                title="Cold-start p99 by phase and role, each PoP",
                description="99th percentile of each phase on each PoP." + SINCE_START,
                unit="s",
                queries=(
                    ("{{pop}} {{phase}} {{role}}", quantile_since_start(0.99, catalog.COLD_START_PHASE, "pop, phase, role")),
                ),
                kind="table",
            ),
        ),
    ),
    (
        "Pools",
        (
            Panel(
                title="Busy instances by PoP",
                description="Guests that run, as of the last beat.",
                unit="short",
                queries=(("{{pop}}", f"sum by (pop) ({catalog.INSTANCES_BUSY.name}{POP})"),),
                width=8,
            ),
            Panel(
                title="Pool use by PoP",
                description="Busy instances as a share of the PoP's slots.",
                unit="percentunit",
                queries=(
                    (
                        "{{pop}}",
                        f"sum by (pop) ({catalog.INSTANCES_BUSY.name}{POP}) / sum by (pop) ({catalog.POOL_SLOTS.name}{POP})",
                    ),
                ),
                width=8,
            ),
            Panel(
                title="Queue depth by PoP",
                description="Requests that wait for a slot, as of the last beat.",
                unit="short",
                queries=(("{{pop}}", f"sum by (pop) ({catalog.QUEUE_DEPTH.name}{POP})"),),
                width=8,
            ),
            Panel(
                title="Loaded modules by PoP",
                description="Memory that the PoP's budget counts for loaded modules.",
                unit="bytes",
                queries=(("{{pop}}", f"sum by (pop) ({catalog.LOADED_BYTES.name}{POP})"),),
            ),
            Panel(
                title="PoPs that are up",
                description="1 while the PoP was alive and ready in its host's last beat.",
                unit="bool_on_off",
                queries=(("{{pop}}", f"max by (pop) ({catalog.POP_UP.name}{POP})"),),
            ),
        ),
    ),
    (
        "Front door",
        (
            Panel(
                title="Share of failed requests",
                description="Requests at the front door that ended with an error of worker, origin or edge, as a share of all.",
                unit="percentunit",
                queries=(("failed", FAILED_SHARE),),
                width=8,
            ),
            Panel(
                title="Routing decisions",
                description="first: the best-ranked PoP answered; skipped: better ones were out; failover: one failed meanwhile.",
                unit="reqps",
                queries=(("{{reason}}", rate(catalog.ROUTED_REQUESTS, "reason")),),
                width=8,
            ),
            Panel(
                title="Failovers by failing PoP",
                description="Attempts that failed at a PoP before the first byte of an answer.",
                unit="reqps",
                queries=(("{{from_pop}}", rate(catalog.FAILOVERS, "from_pop", '{from_pop=~"$pop"}')),),
                width=8,
            ),
            Panel(
                title="p99 at the front door by answering PoP",
                description="99th percentile of the measured time at the front door, with the network time that was waited for.",
                unit="s",
                queries=(("{{pop}}", quantile(0.99, catalog.FRONT_DOOR_DURATION, "pop")),),
            ),
            Panel(
                title="Modelled network time",
                description="Network time between clients and PoPs by the model, unscaled.",
                unit="s",
                queries=(
                    ("p50", quantile(0.5, catalog.FRONT_DOOR_NETWORK, "", "")),
                    ("p99", quantile(0.99, catalog.FRONT_DOOR_NETWORK, "", "")),
                ),
            ),
        ),
    ),
    (
        "Rollout and processes",
        (
            Panel(
                title="Rollout progress",
                description="PoPs by the version of an app that they serve, and by the state of their latest desired document.",
                unit="short",
                queries=(("{{app}}@{{version}} {{state}}", f"sum by (app, version, state) ({catalog.ROLLOUT_POPS.name})"),),
            ),
            Panel(
                title="Event loop lag p99",
                description="How late each process's event loop woke from its timer.",
                unit="s",
                queries=(("{{instance}}", quantile(0.99, catalog.LOOP_LAG, "instance", "")),),
            ),
        ),
    ),
)  # fmt: skip


def panel(spec: Panel, number: int) -> timeseries.Panel | table.Panel:
    """The SDK's builder for a panel."""
    made: Any = table.Panel() if spec.kind == "table" else timeseries.Panel()
    made = made.id(number).title(spec.title).description(spec.description).unit(spec.unit).min(0).datasource(SOURCE)
    made = made.height(8).span(spec.width)
    for ref, (legend, expr) in zip("ABCDEFGH", spec.queries, strict=False):
        query = prometheus.Dataquery().expr(expr).legend_format(legend).ref_id(ref).datasource(SOURCE)
        if spec.kind == "table":
            query = query.instant().format(PromQueryFormat.TABLE)
        made = made.with_target(query)
    if spec.kind == "table":
        hide_time = model.DataTransformerConfig(id_val="organize", options={"excludeByName": {"Time": True}})
        return made.with_transformation(hide_time)
    legend = (
        common.VizLegendOptions()
        .show_legend(True)
        .display_mode(LegendDisplayMode.LIST)
        .placement(LegendPlacement.BOTTOM)
    )
    return made.legend(legend).tooltip(
        common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI).sort(SortOrder.DESCENDING)
    )


def dashboard() -> str:
    """The dashboard as JSON text."""
    pops = (
        build.QueryVariable("pop").label("PoP").datasource(SOURCE).query(f"label_values({catalog.POP_UP.name}, pop)")
        .refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED).sort(model.VariableSort.ALPHABETICAL_ASC)
        .multi(True).include_all(True).all_value(".*")
        .current(model.VariableOption(text=["All"], value=["$__all"], selected=True))
    )  # fmt: skip
    board = (
        build.Dashboard("edgesim").uid("edgesim").description("An edge CDN on one machine: requests, cold starts, PoPs.")
        .tags(["edgesim"]).refresh("5s").time("now-15m", "now").timezone("browser")
        .with_variable(build.DatasourceVariable("datasource").type("prometheus").label("Data source"))
        .with_variable(pops)
    )  # fmt: skip
    number = 0
    for title, panels in ROWS:
        number += 1
        board = board.with_row(build.Row(title).id(number))
        for spec in panels:
            number += 1
            board = board.with_panel(panel(spec, number))
    made = json.loads(JSONEncoder().encode(board.build()))
    for variable in made["templating"]["list"]:
        # The SDK writes these for every kind of variable, but Grafana's schema has them for intervals only.
        for key in ("auto", "auto_count", "auto_min"):
            variable.pop(key, None)
    return json.dumps(made, sort_keys=True, indent=2) + "\n"


if __name__ == "__main__":
    TARGET.write_text(dashboard(), encoding="utf-8")
