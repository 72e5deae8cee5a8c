"""The shipped dashboard against a running edge: a real Prometheus finds its processes by itself and answers every panel."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from edgesim.config.resources import resource_path
from edgesim.observe.summary import Summary
from tests.e2e.edge import WORKERS, Edge, running_edge
from tests.support.prometheus import check_dashboard, check_p99, discovery_config, query, running_prometheus, until

pytestmark = pytest.mark.e2e

DASHBOARD = json.loads((resource_path("dashboards") / "edgesim.json").read_text())
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


async def test_every_panel_answers_and_equals_the_api(tmp_path: Path) -> None:
    """Finite values for each query, and p99s within one bucket of `/v1/pops`."""
    with running_edge(tmp_path / "edge") as edge:
        edge.cli("deploy", WORKERS / "hello")
        edge.cli("deploy", WORKERS / "hello", "--app", "lazy", "--no-prefetch")
        config = discovery_config(edge.record.endpoint, interval="500ms")
        async with running_prometheus(config, tmp_path) as url:
            await until(url, f"count(up == 1) == {len(PROCESSES)}")
            sent = await asyncio.to_thread(traffic, edge)
            await until(url, f"sum(edgesim_front_door_requests_total) == {sent}")
            await asyncio.sleep(1.2)  # two more scrapes: the hosts' last figures are in, too
            rows = list((await asyncio.to_thread(edge.pops)).values())
            failures = [*await check_dashboard(url, DASHBOARD), *await check_p99(url, summary_of(rows))]
            up = {series["metric"]["process"] for series in await query(url, "up == 1")}
            requests = await query(url, "sum by (pop) (edgesim_requests_total)")

    assert failures == []
    assert up == PROCESSES
    assert {s["metric"]["pop"]: int(float(s["value"][1])) for s in requests} == {
        row["pop"]: row["requests"] for row in rows if row["requests"]
    }
