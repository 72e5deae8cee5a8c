"""What people look at, on a real edge: the report of a real run, `top` and `status --watch` on the real API."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from edgesim.cli._top_app import TopApp
from edgesim.cli._top_data import Top
from edgesim.live.api_client import ApiClient
from tests.e2e.edge import Edge, running_edge, until

pytestmark = pytest.mark.e2e

SCENARIO = """\
version: 1
name: seen
target: {app: hello}
load:
  phases:
    - {name: steady, duration: 2s, arrivalRate: 30}
populations:
  - {name: all, weight: 1, metros: [Tokyo, Paris]}
timeline:
  - {at: 500ms, kill: {pop: jnb1}}
  - {at: 1s, restart: {pop: jnb1}}
"""


async def test_a_run_is_seen_afterwards_and_meanwhile(shared_edge: Edge, tmp_path: Path) -> None:
    """The report has the PoPs that answered, the command and the edge's time scale; `top` has counted the same requests."""
    file, out, html = tmp_path / "seen.yaml", tmp_path / "summary.json", tmp_path / "report.html"
    file.write_text(SCENARIO)
    top = Top()
    record = shared_edge.record
    async with ApiClient(record.endpoint, record.token) as api:
        top.update(await api.pops(), 1_000.0)
        before = {pop: row["requests"] for pop in ("nrt1", "cdg1", "lhr1") if (row := top.row(pop))}
        shared_edge.cli("load", "run", file, "--out", out, "--html", html)
        app = TopApp(api.pops, top, interval_s=3600)
        async with app.run_test(size=(150, 30)):
            rows = {pop.pop: pop for pop in app.listed()}
            after = {pop: row["requests"] for pop in before if (row := top.row(pop))}
    summary, page = json.loads(out.read_text()), html.read_text(encoding="utf-8")
    data = json.loads(re.findall(r'<script type="application/json" id="data">(.*?)</script>', page)[0])
    served = {row[0]: row[6] for row in data["pops"] if row[6]}

    assert served == {row["pop"]: row["requests"] for row in summary["pops"]}
    assert sum(served.values()) == summary["totals"]["requests"] > 30
    assert len(data["pops"]) == len(summary["places"]["pops"]) == 20
    assert summary["run"]["time_scale"] == 0
    assert summary["run"]["command"].startswith("edgesim load run ")
    assert "kill pop jnb1" in page
    assert sum(after.values()) - sum(before.values()) >= sum(served.get(pop, 0) for pop in before)
    assert rows["nrt1"].p99_s is not None


def test_a_watch_goes_on_while_the_control_plane_is_restarted(tmp_path: Path) -> None:
    """It says that the control plane is away and why, then that all is well again; Ctrl-C ends it with exit code 0."""
    with running_edge(tmp_path) as edge:
        command = [
            sys.executable,
            "-m",
            "edgesim",
            "status",
            "--watch",
            "--interval",
            "0.2",
            "--state",
            str(edge.state),
        ]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as watch:
            assert watch.stdout is not None
            first = watch.stdout.readline()
            edge.kill_9("control")
            away = until(lambda: line if "control plane away" in (line := watch.stdout.readline()) else "", what="away")
            back = until(lambda: line if "6: 6 ready" in (line := watch.stdout.readline()) else "", what="back")
            watch.send_signal(signal.SIGINT)
            watch.communicate(timeout=20)

    assert "PoPs 6: 6 ready" in first
    assert "control plane cannot be reached" in away
    assert "away" not in back
    assert watch.returncode == 0
