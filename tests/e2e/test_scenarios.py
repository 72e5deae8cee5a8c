"""Scenarios that ship, against a real edge: what the simulator promises happens on sockets and processes too."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.edge import WORKERS, Edge, running_edge

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    """The default world in three processes, a fifth of the modelled network time, with the apps of the scenarios."""
    with running_edge(tmp_path_factory.mktemp("scenarios"), topology=None, processes=3, time_scale=0.2) as edge:
        edge.cli("deploy", WORKERS / "hello")
        edge.cli("deploy", WORKERS / "site")
        yield edge


def load(edge: Edge, name: str, folder: Path) -> dict[str, Any]:
    """The summary of a run. How late the generator was is this machine's business, not the scenario's."""
    out = folder / "summary.json"
    edge.cli("load", "run", name, "--out", out, code=None)
    document: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
    assert [v["check"] for v in document["thresholds"] if not v["ok"] and v["kind"] == "requirement"] == []
    assert document["timeline_failures"] == []
    assert document["left_down"] == []
    return document


def pops_in(document: dict[str, Any], label: str, window: str) -> set[str]:
    """Who answered during a window of an incident."""
    (incident,) = (i for i in document["incidents"] if i["label"].startswith(label))
    return {pop for origin in incident["windows"][window]["origins"] for pop in origin["pops"]}


def test_origin_outage(edge: Edge, tmp_path: Path) -> None:
    """Slow, failing, refusing, and back; the worker's page is never touched."""
    document = load(edge, "origin-outage", tmp_path)

    cells = {(c["phase"], c["request"]): c for c in document["cells"]}
    assert cells["failing", "asset"]["error_rate"] > 0.9
    assert cells["gone", "asset"]["error_rate"] > 0.9
    assert cells["recovered", "asset"]["error_rate"] < 0.05
    assert {cells[phase, "page"]["failed"] for phase, request in cells if request == "page"} == {0}
    assert set(document["statuses"]) >= {"200", "502", "503"}


def test_region_loss(edge: Edge, tmp_path: Path) -> None:
    """Clients are served from elsewhere while a region is cut off; a region that is not heard of is routed around."""
    document = load(edge, "region-loss", tmp_path)

    assert {"gru1", "scl1"} & pops_in(document, "partition region sam", "before")
    assert not {"gru1", "scl1"} & pops_in(document, "partition region sam", "during")
    assert {"gru1", "scl1"} & pops_in(document, "partition region apac", "after")


def test_canary_and_rollback(edge: Edge, tmp_path: Path) -> None:
    """Deploy, kill, rollback, restart, drain and undrain in one run; version 1 is in force again at its end."""
    document = load(edge, "canary-rollback", tmp_path)

    assert "lhr1" not in pops_in(document, "kill pop lhr1", "during")
    assert "fra1" in pops_in(document, "drain pop fra1", "after")
    assert edge.converged("hello", 1)
    assert {row["state"] for row in edge.pops().values()} == {"ready"}


def test_sessions(edge: Edge, tmp_path: Path) -> None:
    """Data, templates, times to think, and checks of bodies against real answers."""
    document = load(edge, "sessions", tmp_path)

    assert document["totals"]["failed"] == 0
    assert document["unchecked"] == []
    requests = {row["name"]: row["requests"] for row in document["requests"]}
    assert requests["article"] > requests["home"] > requests["sign in"] > 0
