"""The committed dashboard: up to date, tidy, and about metrics that exist."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from edgesim.config.resources import resource_path
from edgesim.observe.catalog import CATALOG, sample_names
from tests.support.prometheus import expand, metric_names, panels

FOLDER = resource_path("dashboards")
DASHBOARD = json.loads((FOLDER / "edgesim.json").read_text())
PANELS = panels(DASHBOARD)
EACH = pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])


def generator() -> ModuleType:
    """The module `dashboards/generate.py`, which is a script and in no package."""
    spec = importlib.util.spec_from_file_location("dashboards_generate", Path(FOLDER) / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Slotted dataclasses look their module up while they are made.
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


# The classic model is what Grafana 10 to 13 import; the SDK recommends the one that only Grafana 13 knows.
@pytest.mark.filterwarnings("ignore:Prefer using dashboardv2:DeprecationWarning")
def test_the_committed_dashboard_is_what_the_generator_writes() -> None:
    """After a change of the catalogue or the generator, `python dashboards/generate.py` has to be run."""
    assert generator().dashboard() == (FOLDER / "edgesim.json").read_text()


@EACH
def test_panels_are_complete(panel: dict[str, Any]) -> None:
    """Each panel says what it shows, in which unit, and asks the chosen data source."""
    assert panel["title"]
    assert panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert panel["targets"]
    assert [target["refId"] for target in panel["targets"]] == list("ABCDEFGH")[: len(panel["targets"])]
    for owner in (panel, *panel["targets"]):
        assert owner["datasource"] == {"type": "prometheus", "uid": "${datasource}"}


@EACH
def test_queries_use_metrics_of_the_catalogue(panel: dict[str, Any]) -> None:
    """Each name in a query is a sample that some process exports."""
    known = {name for metric in CATALOG.values() for name in sample_names(metric)}

    for target in panel["targets"]:
        assert metric_names(target["expr"])
        assert metric_names(target["expr"]) <= known


@EACH
def test_queries_follow_the_rules_of_promql(panel: dict[str, Any]) -> None:
    """Counters only as rates over $__rate_interval, buckets summed by le, every legend label kept by the sum.

    Cold starts are the exception: their p99 is that of all since the start, and the description says so.
    """
    for target in panel["targets"]:
        expr = target["expr"]
        since_start = "since the processes started" in panel["description"]
        assert "$" not in expand(expr)
        assert set(re.findall(r"\[([^]]*)\]", expr)) <= {"$__rate_interval"}
        for name in re.findall(r"\bedgesim_[a-z_]+(?:_total|_bucket)\b", expr):
            assert since_start or f"rate({name}" in expr
        assert not since_start or "edgesim_cold_start" in expr
        if "_bucket" in expr:
            assert re.search(r"histogram_quantile\(0\.\d+, sum by \(le\b", expr)
        assert "topk" not in expr
        legend = set(re.findall(r"{{(\w+)}}", target["legendFormat"]))
        kept = {label.strip() for labels in re.findall(r"by \(([^)]*)\)", expr) for label in labels.split(",")}
        assert legend <= kept


def test_panels_have_unique_ids_and_do_not_overlap() -> None:
    """Ids are unique, and no two panels share a cell of Grafana's grid."""
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    cells = [
        (x, y)
        for panel in DASHBOARD["panels"]
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]

    assert len(ids) == len(set(ids))
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24


def test_variables_are_the_data_source_and_the_pops() -> None:
    """Both can be chosen; PoPs several at a time, or all."""
    source, pop = DASHBOARD["templating"]["list"]

    assert (source["name"], source["type"], source["query"]) == ("datasource", "datasource", "prometheus")
    assert (pop["name"], pop["multi"], pop["includeAll"], pop["allValue"]) == ("pop", True, True, ".*")
    assert pop["datasource"]["uid"] == "${datasource}"


def test_the_configuration_files_name_the_same_interval_and_ports() -> None:
    """Prometheus scrapes what the control plane lists, and Grafana knows how often."""
    prometheus = yaml.safe_load((FOLDER / "prometheus.yml").read_text())
    (source,) = yaml.safe_load((FOLDER / "grafana/provisioning/datasources/edgesim.yaml").read_text())["datasources"]
    (provider,) = yaml.safe_load((FOLDER / "grafana/provisioning/dashboards/edgesim.yaml").read_text())["providers"]
    (job,) = prometheus["scrape_configs"]

    assert job["http_sd_configs"][0]["url"] == "http://127.0.0.1:8081/v1/sd/prometheus"
    assert source["jsonData"]["timeInterval"] == prometheus["global"]["scrape_interval"] == "1s"
    assert provider["type"] == "file"
