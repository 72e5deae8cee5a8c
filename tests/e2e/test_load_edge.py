"""`edgesim load run` and `validate` as commands: against a running edge, and with files that are wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.e2e.edge import ROOT, Edge

pytestmark = pytest.mark.e2e

SCENARIO = """\
version: 1
name: tiny
target: {app: hello}
load:
  seed: 3
  phases:
    - {name: steady, duration: 2s, arrivalRate: 30}
populations:
  - {name: all, weight: 1, metros: [Tokyo, Paris, New York]}
requests:
  - {name: home, get: /, expect: {status: 200, header: {x-edge-pop: exists}}}
timeline:
  - {at: 500ms, kill: {pop: jnb1}}
  - {at: 1s, restart: {pop: jnb1}}
thresholds:
  - http.error_rate < 1%
"""


def test_a_run_with_events(shared_edge: Edge, tmp_path: Path) -> None:
    """Exit code 0; who answered whom, the events, and the summary as a file."""
    file, out = tmp_path / "tiny.yaml", tmp_path / "summary.json"
    file.write_text(SCENARIO)
    done = shared_edge.cli("load", "run", file, "--out", out)
    summary = json.loads(out.read_text())

    assert summary["conclusion"] == "passed"
    assert summary["totals"]["failed"] == 0
    assert 30 < summary["totals"]["requests"] < 100
    assert {p["pop"] for p in summary["pops"]} <= {"nrt1", "lhr1", "fra1", "iad1"}
    assert "passed" in done.out
    assert "jnb1" in done.err


def test_a_missed_threshold(shared_edge: Edge, tmp_path: Path) -> None:
    """Exit code 99, and which one it was; an app that is not deployed is found out before, with exit code 2."""
    file = tmp_path / "s.yaml"
    file.write_text(SCENARIO.replace("2s", "1500ms") + "  - http.requests.rate > 5000rps\n")
    done = shared_edge.cli("load", "run", file, "--out", tmp_path / "summary.json", code=99)
    file.write_text(SCENARIO.replace("app: hello", "app: nobody"))
    refused = shared_edge.cli("load", "run", file, code=2)

    assert "http.requests.rate" in done.out
    assert json.loads((tmp_path / "summary.json").read_text())["conclusion"] == "failed"
    assert "the app 'nobody' is not deployed" in refused.err


def test_scenarios_that_are_wrong(shared_edge: Edge, tmp_path: Path) -> None:
    """Exit code 2, every problem at once, each with file:line:col, a caret and what was meant; nothing is sent."""
    file = tmp_path / "bad.yaml"
    file.write_text(SCENARIO.replace("arrivalRate", "arivalRate").replace("Tokyo", "Tokio").replace("2s", "2 parsecs"))
    before = {pop: row["requests"] for pop, row in shared_edge.pops().items()}
    done = shared_edge.cli("load", "run", file, code=2)
    checked = shared_edge.cli("load", "validate", file, code=2)

    for said in (done.err, checked.err):
        assert "bad.yaml:7:43" in said, said
        assert "did you mean arrivalRate" in said.replace("'", "")
        assert "Tokyo" in said
        assert "2 parsecs" in said
        assert said.count("^") >= 3
    assert {pop: row["requests"] for pop, row in shared_edge.pops().items()} == before


def test_the_scenarios_that_ship_are_right(shared_edge: Edge) -> None:
    """`load validate` of each; a file that is not there is exit code 2."""
    for file in (ROOT / "scenarios").glob("*.yaml"):
        shared_edge.cli("load", "validate", file)
    done = shared_edge.cli("load", "run", "nowhere.yaml", code=2)

    assert "nowhere.yaml" in done.err


def test_without_an_edge(shared_edge: Edge, tmp_path: Path) -> None:
    """Exit code 3, and how to start one."""
    file = tmp_path / "tiny.yaml"
    file.write_text(SCENARIO)
    done = shared_edge.cli("load", "run", file, "--state", tmp_path / "none", code=3)

    assert "edgesim up" in done.err
