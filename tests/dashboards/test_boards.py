"""The committed dashboards: up to date, tidy, and about metrics that exist."""

from __future__ import annotations

import copy
import importlib.util
import json
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from jsonschema import Draft7Validator

from edgesim.config.resources import resource_path
from edgesim.observe import catalog
from edgesim.observe.catalog import CATALOG, sample_names
from tests.support.boards import VARIABLES, dashboards, expand, metric_names, panels

FOLDER = resource_path("dashboards")
DASHBOARDS = dashboards()
PANELS = {f"{name}: {panel['title']}": panel for name, board in DASHBOARDS.items() for panel in panels(board)}
EACH = pytest.mark.parametrize("panel", PANELS.values(), ids=PANELS)
EACH_BOARD = pytest.mark.parametrize("board", DASHBOARDS.values(), ids=DASHBOARDS)


def generator(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module `dashboards/generate.py`, which is a script beside its package `boards`."""
    monkeypatch.syspath_prepend(str(FOLDER))
    spec = importlib.util.spec_from_file_location("dashboards_generate", Path(FOLDER) / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# The classic model is what Grafana 10 to 13 import; the SDK recommends the one that only Grafana 13 knows.
@pytest.mark.filterwarnings("ignore:Prefer using dashboardv2:DeprecationWarning")
def test_the_committed_dashboards_are_what_the_generator_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a change of the catalogue or the boards, `python dashboards/generate.py` has to be run."""
    written = generator(monkeypatch).documents()

    assert written == {name: (FOLDER / name).read_text() for name in DASHBOARDS}


def test_the_dashboards_that_there_are() -> None:
    """Each has an identity of its own, and leads to the others."""
    assert {board["title"] for board in DASHBOARDS.values()} == {
        f"edgesim / {name}"
        for name in ("Overview", "PoP", "Front door", "Workers and cold starts", "Rollouts", "Load run")
    }
    assert len({board["uid"] for board in DASHBOARDS.values()}) == len(DASHBOARDS)
    for board in DASHBOARDS.values():
        (link,) = board["links"]

        assert board["description"].endswith(".")
        assert (link["type"], link["tags"]) == ("dashboards", board["tags"])


def test_every_metric_is_on_a_dashboard_or_in_an_alert() -> None:
    """A metric that nobody looks at is found here, and either shown or listed with its reason."""
    unseen = {
        "edgesim_label_overflows_total",  # has no series until a label is full
        "edgesim_process_start_time_seconds",  # for those who look for restarts
        "edgesim_build_info",  # for those who look for versions
        "edgesim_worker_memory_max_bytes",  # for `edgesim pops describe`, which compares it with published limits
        "edgesim_worker_subrequests_max",
        # What these mean, and in which unit, only the author of the filter knows.
        *(
            m.name
            for m in (catalog.FILTER_COUNTER, catalog.FILTER_GAUGE, catalog.FILTER_RECORDS, catalog.FILTER_RECORDED)
        ),
    }
    shown = {name for panel in PANELS.values() for target in panel["targets"] for name in metric_names(target["expr"])}
    metrics = {metric.name for metric in CATALOG.values() if not shown & set(sample_names(metric))}

    assert metrics == unseen


@EACH_BOARD
def test_dashboards_are_valid_by_grafanas_own_types(board: dict[str, Any]) -> None:
    """Against the types that Grafana 13.2.3 publishes, as JSON Schema; a mistake would be found."""
    validator = Draft7Validator(json.loads(Path(__file__).with_name("grafana-dashboard.schema.json").read_text()))
    wrong = copy.deepcopy(board)
    wrong["panels"][1]["gridPos"]["w"] = "six"

    assert [error.message for error in validator.iter_errors(board)] == []
    assert len(list(validator.iter_errors(wrong))) == 1


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


@EACH_BOARD
def test_panels_have_unique_ids_and_titles_and_do_not_overlap(board: dict[str, Any]) -> None:
    """Ids and titles are unique, and no two panels share a cell of Grafana's grid."""
    ids = [panel["id"] for panel in board["panels"]]
    titles = [panel["title"] for panel in board["panels"]]
    cells = [
        (x, y)
        for panel in board["panels"]
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]

    assert len(ids) == len(set(ids))
    assert len(titles) == len(set(titles))
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24


@EACH_BOARD
def test_variables_can_be_chosen_and_are_used(board: dict[str, Any]) -> None:
    """The data source, and what the queries filter by: several values at a time, or all that there are."""
    source, *chosen = board["templating"]["list"]
    queries = [target["expr"] for panel in panels(board) for target in panel["targets"]]

    assert (source["name"], source["type"], source["query"]) == ("datasource", "datasource", "prometheus")
    for variable in chosen:
        known = {name for metric in CATALOG.values() for name in sample_names(metric)}
        others = [other["query"] for other in chosen if other is not variable]

        assert variable["name"] in VARIABLES
        assert (variable["multi"], variable["includeAll"], variable.get("allValue")) == (True, True, None)
        assert variable["datasource"]["uid"] == "${datasource}"
        assert metric_names(variable["query"]) <= known
        assert any(f'=~"${variable["name"]}"' in text for text in (*queries, *others))
    names = {variable["name"] for variable in chosen}

    assert {name for name in VARIABLES for query in queries if f'"${name}"' in query} <= names


def test_every_choice_is_offered_somewhere() -> None:
    """Region, PoP, app and version; the scenario of a load run."""
    offered = {variable["name"] for board in DASHBOARDS.values() for variable in board["templating"]["list"]}

    assert offered == {"datasource", *VARIABLES}


def test_the_configuration_files_name_the_same_interval_and_ports() -> None:
    """Prometheus scrapes what the control plane lists, and Grafana knows how often."""
    prometheus = yaml.safe_load((FOLDER / "prometheus.yml").read_text())
    (source,) = yaml.safe_load((FOLDER / "grafana/provisioning/datasources/edgesim.yaml").read_text())["datasources"]
    (provider,) = yaml.safe_load((FOLDER / "grafana/provisioning/dashboards/edgesim.yaml").read_text())["providers"]
    edge, run = prometheus["scrape_configs"]

    assert run["static_configs"][0]["targets"] == ["127.0.0.1:9464"]
    assert edge["http_sd_configs"][0]["url"] == "http://127.0.0.1:8081/v1/sd/prometheus"
    assert source["jsonData"]["timeInterval"] == prometheus["global"]["scrape_interval"] == "1s"
    assert provider["type"] == "file"
