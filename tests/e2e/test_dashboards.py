"""The dashboards' queries against a real Prometheus that scrapes real handlers.

The recorders are filled with generated events here; the same checks run against a whole edge in the end-to-end tests.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from edgesim.config.resources import resource_path
from edgesim.config.scenario import load_scenario
from edgesim.live.load.metrics import RunMetrics, serving
from edgesim.live.load.run import Progress
from edgesim.live.metrics import collect_stats, metrics_handler, stats_handler, watch_loop_lag
from edgesim.model.events import ColdStarted, RequestRouted
from edgesim.model.ids import PopId
from edgesim.observe.recorder import Recorder
from tests.e2e.prometheus import (
    check_dashboard,
    check_p99,
    check_rules,
    discovery_config,
    query,
    running_prometheus,
    scrape_config,
    until,
)
from tests.support.boards import dashboards
from tests.support.events import APP, traffic

pytestmark = pytest.mark.e2e
POPS = ("fra1", "gru1", "nrt1", "jnb1")
REGIONS = {"fra1": "europe", "gru1": "americas", "nrt1": "asia", "jnb1": "africa"}
DASHBOARDS = dashboards()
JOIN = "on (pop) group_left (region) max by (pop, region) (edgesim_pop_info)"


@asynccontextmanager
async def process(recorder: Recorder) -> AsyncIterator[TestServer]:
    """A server with the endpoints that each process of the edge has, and its loop watched."""
    app = web.Application()
    app.router.add_get("/metrics", metrics_handler(recorder))
    app.router.add_get("/-/stats", stats_handler(recorder))
    watch = asyncio.create_task(watch_loop_lag(recorder))
    try:
        async with TestServer(app) as server:
            yield server
    finally:
        watch.cancel()
        await asyncio.gather(watch, return_exceptions=True)


async def check_dashboards(url: str) -> list[str]:
    """The failures of all dashboards."""
    return [f"{name}: {failure}" for name, board in DASHBOARDS.items() for failure in await check_dashboard(url, board)]


def deployed(pop: str) -> ColdStarted:
    """A worker that a deploy has started."""
    return ColdStarted(
        pop=PopId(pop), app=APP, version=1, start="absent", role="trigger", cause="deploy",
        phases=(("distribute", 0.004), ("fetch", 0.01), ("load", 0.02)), total_s=0.034,
    )  # fmt: skip


def progress(sent: int) -> Progress:
    """A load run that has sent so much."""
    return Progress(
        t_s=sent / 100, phase=0, sent=sent, done=50, failed=sent // 50, dropped=sent // 100, in_flight=7,
        p50_s=0.02, p99_s=0.08, lag_p99_s=0.002,
    )  # fmt: skip


async def test_every_panel_has_finite_values_that_equal_the_summary(tmp_path: Path) -> None:
    """Two processes are scraped while traffic goes on; then Prometheus and `/-/stats` say the same."""
    host = Recorder(process="host1", version="0.1.0")
    door = Recorder(process="front-door", version="0.1.0")
    for pop in POPS:
        host.add_pop(pop, slots=8, region=REGIONS[pop])
    door.add_routes(POPS)
    load = RunMetrics(load_scenario(resource_path("scenarios/smoke.yaml")))
    async with (
        process(host) as one,
        process(door) as two,
        serving(load, 0) as run,
        aiohttp.ClientSession() as session,
    ):
        processes = {"host1": f"127.0.0.1:{one.port}", "front-door": f"127.0.0.1:{two.port}"}
        addresses = {**processes, "load": urlsplit(run).netloc}
        async with running_prometheus(scrape_config(addresses, interval="250ms"), tmp_path) as url:
            await until(url, "count(edgesim_pop_up) and on () sum(up) == 3")
            for pop in POPS:
                host.handle(deployed(pop))
            for number, event in enumerate(traffic(POPS, requests=400)):
                (door if isinstance(event, RequestRouted) else host).handle(event)
                if number % 50 == 0:
                    load.progress(progress(number))
                    await asyncio.sleep(0.05)
            await until(url, f"sum(edgesim_front_door_requests_total) == {400 * len(POPS)}")
            await until(url, f"sum(edgesim_requests_total) == {400 * len(POPS)}")
            await asyncio.sleep(0.6)

            targets = {name: f"http://{address}" for name, address in processes.items()}
            summary = await collect_stats(targets, session)
            failures = [*await check_dashboards(url), *await check_p99(url, summary)]
            up = await query(url, "scrape_duration_seconds")
            by_region = await query(url, f"sum by (region) (edgesim_requests_total * {JOIN})")

            assert failures == []
            assert summary.missing == {}
            assert {series["metric"]["process"] for series in up} == set(addresses)

            assert {s["metric"]["region"]: s["value"][1] for s in by_region} == dict.fromkeys(REGIONS.values(), "400")

            await _checks_can_fail(url)


async def test_the_shipped_configuration_finds_processes_by_discovery(tmp_path: Path) -> None:
    """Prometheus asks the control plane's list with the token, scrapes what stands in it, and evaluates the rules."""
    recorder = Recorder(process="host1", version="0.1.0")
    recorder.add_pop("fra1", slots=8)

    async with process(recorder) as server:

        async def discovery(request: web.Request) -> web.Response:
            if request.headers.get("Authorization") != "Bearer t":
                raise web.HTTPUnauthorized
            return web.json_response([{"targets": [f"127.0.0.1:{server.port}"], "labels": {"process": "host1"}}])

        app = web.Application()
        app.router.add_get("/v1/sd/prometheus", discovery)
        async with TestServer(app) as api:
            config = discovery_config(f"http://127.0.0.1:{api.port}", token="t")
            async with running_prometheus(config, tmp_path) as url:
                (slots,) = await until(url, "edgesim_pool_slots")
                (alert,) = await until(url, 'ALERTS{alertname="EdgesimPopDown"}')
                wrong = await check_rules(url)

    assert slots["metric"]["process"] == "host1"
    assert slots["value"][1] == "8"
    assert (alert["metric"]["pop"], alert["metric"]["alertstate"]) == ("fra1", "pending")
    assert wrong == []


async def _checks_can_fail(url: str) -> None:
    """A renamed metric, a query with an error, a forgotten variable and an empty dashboard are all found."""
    for wrong in ("edgesim_no_such_total", "sum by (", "rate(edgesim_requests_total[$__interval])"):
        broken = copy.deepcopy(DASHBOARDS["edgesim-pop.json"])
        broken["panels"][1]["targets"][0]["expr"] = wrong
        failures = await check_dashboard(url, broken)

        assert len(failures) == 1, failures
        assert "Requests by PoP A" in failures[0]

    assert await check_dashboard(url, {"panels": []}) == ["the dashboard has no queries"]
