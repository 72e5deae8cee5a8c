"""Boards as Grafana's JSON (the classic model, which Grafana 10 to 13 import), through grafana-foundation-sdk."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from grafana_foundation_sdk.builders import common, prometheus, stat, table, timeseries
from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models.common import LegendDisplayMode, LegendPlacement, SortOrder, TooltipDisplayMode
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

if TYPE_CHECKING:
    from boards.model import Board, Panel, Variable

TAG: Final = "edgesim"
_SOURCE: Final = model.DataSourceRef(type_val="prometheus", uid="${datasource}")
_BUILDERS: Final[dict[str, Any]] = {"timeseries": timeseries.Panel, "table": table.Panel, "stat": stat.Panel}
_HEIGHTS: Final = {"timeseries": 8, "table": 10, "stat": 4}


def dashboard(board: Board) -> str:
    """The board as JSON text."""
    others = (
        build.DashboardLink("edgesim").type(model.DashboardLinkType.DASHBOARDS).tags([TAG]).as_dropdown(True)
        .keep_time(True).include_vars(True).icon("external link").tooltip("The other dashboards of edgesim")
    )  # fmt: skip
    made = (
        build.Dashboard(f"edgesim / {board.title}").uid(f"edgesim-{board.name}").description(board.description)
        .tags([TAG]).refresh("5s").time("now-15m", "now").timezone("browser").link(others)
        .with_variable(build.DatasourceVariable("datasource").type("prometheus").label("Data source"))
    )  # fmt: skip
    for variable in board.variables:
        made = made.with_variable(_variable(variable))
    number = 0
    for title, panels in board.rows:
        number += 1
        made = made.with_row(build.Row(title).id(number))
        for panel in panels:
            number += 1
            made = made.with_panel(_panel(panel, number))
    document = json.loads(JSONEncoder().encode(made.build()))
    for variable in document["templating"]["list"]:
        # The SDK writes these for every kind of variable, but Grafana's schema has them for intervals only.
        for key in ("auto", "auto_count", "auto_min"):
            variable.pop(key, None)
    return json.dumps(document, sort_keys=True, indent=2) + "\n"


def _variable(variable: Variable) -> Any:
    """Several values at a time, or all: without `allValue` Grafana lists those that the query has found."""
    return (
        build.QueryVariable(variable.name).label(variable.label).datasource(_SOURCE).query(variable.query)
        .refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED).sort(model.VariableSort.ALPHABETICAL_ASC)
        .multi(True).include_all(True)
        .current(model.VariableOption(text=["All"], value=["$__all"], selected=True))
    )  # fmt: skip


def _panel(panel: Panel, number: int) -> Any:
    made = _BUILDERS[panel.kind]().id(number).title(panel.title).description(panel.description).unit(panel.unit).min(0)
    made = made.datasource(_SOURCE).height(_HEIGHTS[panel.kind]).span(panel.width)
    for ref, (legend, expr) in zip("ABCDEFGH", panel.queries, strict=False):
        query = prometheus.Dataquery().expr(expr).legend_format(legend).ref_id(ref).datasource(_SOURCE)
        if panel.kind != "timeseries":
            query = query.instant()
        made = made.with_target(query.format(PromQueryFormat.TABLE) if panel.kind == "table" else query)
    if panel.kind == "table":
        hide_time = model.DataTransformerConfig(id_val="organize", options={"excludeByName": {"Time": True}})
        return made.with_transformation(hide_time)
    if panel.kind == "stat":
        return made
    legend = (
        common.VizLegendOptions()
        .show_legend(True)
        .display_mode(LegendDisplayMode.LIST)
        .placement(LegendPlacement.BOTTOM)
    )
    return made.legend(legend).tooltip(
        common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI).sort(SortOrder.DESCENDING)
    )
