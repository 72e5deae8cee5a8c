"""The committed dashboards as tests see them: their panels, and their queries with the variables filled in."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from edgesim.config.resources import resource_path

VARIABLES = ("region", "pop", "app", "version", "scenario")
"""What the reader of a dashboard chooses."""


def expand(expr: str, *, rate_interval: str = "4s", chosen: str = ".*") -> str:
    """A dashboard's query with Grafana's variables filled in: everything is chosen."""
    for name in VARIABLES:
        expr = expr.replace(f"${name}", chosen)
    return expr.replace("$__rate_interval", rate_interval)


def dashboards() -> dict[str, dict[str, Any]]:
    """The committed dashboards by file name."""
    files = sorted(resource_path("dashboards").glob("edgesim-*.json"))
    return {file.name: json.loads(file.read_text()) for file in files}


def panels(dashboard: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The panels that show something: rows are left out, panels inside them are not."""
    found = []
    for panel in dashboard["panels"]:
        found += [panel] if panel["type"] != "row" else panel.get("panels") or []
    return found


def metric_names(expr: str) -> set[str]:
    """Names of edgesim's samples in a query."""
    return set(re.findall(r"\bedgesim_[a-z_]+", expr))
