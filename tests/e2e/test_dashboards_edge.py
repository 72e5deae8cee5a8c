"""The shipped dashboards against a running edge: a real Prometheus finds its processes by itself and answers every panel."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from edgesim.observe.summary import Summary
from tests.e2e.edge import WORKERS, Edge, free_ports, running_edge
from tests.e2e.prometheus import (
    check_dashboard,
    check_p99,
    check_rules,
    discovery_config,
    query,
    running_prometheus,
    until,
)
from tests.support.boards import dashboards

pytestmark = pytest.mark.e2e

DASHBOARDS = dashboards()
REGION_OF = "on (pop) group_left (region) max by (pop, region) (edgesim_pop_info)"
SCENARIO = """
version: 1
name: short
target: {app: hello}
load: {phases: [{name: steady, duration: 5s, arrivalRate: 40}]}
populations: [{name: all, metros: [Frankfurt, New York, Tokyo]}]
requests: [{name: home, get: /}]
"""
METROS = ("Frankfurt", "London", "New York", "Chicago", "Tokyo", "Singapore")
PROCESSES = {"control", "host1", "host2", "front-door"}


def summary_of(rows: Iterable[Mapping[str, Any]]) -> Summary:
    """Rows of `/v1/pops` in the shape that `check_p99` reads."""
    pops = {
        row["pop"]: SimpleNamespace(
            duration=SimpleNamespace(**row["duration"]),
            cold_starts=[
                SimpleNamespace(
                    role=starts["role"],
                    phases={name: SimpleNamespace(**phase) for name, phase in starts["phases"].items()},
                )
                for starts in row["cold_starts"]
            ],
        )
        for row in rows
    }
    return cast("Summary", SimpleNamespace(pops=pops))


def traffic(edge: Edge) -> int:
    """Requests from everywhere to both apps, the first of the lazy one all together; one PoP dies. How many in all."""
    with ThreadPoolExecutor(6) as clients:
        lazy = list(clients.map(lambda metro: edge.http("lazy", metro=metro).status, METROS * 3))
        warm = list(clients.map(lambda metro: edge.http("hello", metro=metro).status, METROS * 15))
        edge.cli("pops", "kill", "fra1")
        failover = list(clients.map(lambda metro: edge.http("hello", metro=metro).status, METROS * 5))
        edge.cli("pops", "restart", "fra1")
    statuses = lazy + warm + failover
    assert set(statuses) == {200}
    return len(statuses)


def load_run(edge: Edge, folder: Path, port: int) -> int:
    """Run a short scenario with its metrics on `port`. How many requests it made, by its summary."""
    scenario, out = folder / "short.yaml", folder / "summary.json"
    scenario.write_text(SCENARIO)
    edge.cli("load", "run", scenario, "--prometheus", str(port), "--out", out, code=None)  # a lag proves nothing here
    return int(json.loads(out.read_text())["totals"]["requests"])


async def test_every_panel_answers_and_equals_the_api(tmp_path: Path) -> None:
    """Finite values for each query, p99s within one bucket of `/v1/pops`, and its requests by PoP, region and version."""
    with running_edge(tmp_path / "edge") as edge:
        edge.cli("deploy", WORKERS / "hello")
        edge.cli("deploy", WORKERS / "hello", "--app", "lazy", "--no-prefetch")
        (port,) = free_ports(1)
        config = discovery_config(edge.record.endpoint, interval="500ms", load=f"127.0.0.1:{port}")
        async with running_prometheus(config, tmp_path) as url:
            await until(url, f"count(up == 1) == {len(PROCESSES)}")
            sent = await asyncio.to_thread(traffic, edge)
            loaded = await asyncio.to_thread(load_run, edge, tmp_path, port)
            sent += loaded
            await until(url, f"sum(edgesim_front_door_requests_total) == {sent}")
            await asyncio.sleep(1.2)  # two more scrapes: the hosts' last figures are in, too
            rows = list((await asyncio.to_thread(edge.pops)).values())
            failures = [*await check_p99(url, summary_of(rows)), *await check_rules(url)]
            for name, board in DASHBOARDS.items():
                failures += [f"{name}: {failure}" for failure in await check_dashboard(url, board)]
            up = {series["metric"]["process"] for series in await query(url, "up == 1")}
            requests = await query(url, "sum by (pop) (edgesim_requests_total)")
            regions = await query(url, f"sum by (region) (sum by (pop) (edgesim_requests_total) * {REGION_OF})")
            versions = await query(url, "sum by (app, version) (edgesim_version_requests_total)")
            (reported,) = await query(url, "max_over_time(edgesim_load_answered_total[2m])")

    assert failures == []
    assert up == PROCESSES
    assert {s["metric"]["pop"]: int(float(s["value"][1])) for s in requests} == {
        row["pop"]: row["requests"] for row in rows if row["requests"]
    }
    by_region = Counter[str]()
    for row in rows:
        by_region[row["region"]] += row["requests"]

    assert {s["metric"]["region"]: int(float(s["value"][1])) for s in regions} == by_region
    assert {(s["metric"]["app"], s["metric"]["version"]) for s in versions} == {("hello", "1"), ("lazy", "1")}
    assert sum(int(float(s["value"][1])) for s in versions) == sum(by_region.values())
    # The run's last half second, and what came after the last scrape, are in its summary only.
    assert 0.6 * loaded <= float(reported["value"][1]) <= loaded
