"""A real Prometheus, and the checks that dashboards are made of.

`running_prometheus` starts one on loopback; `check_dashboard` sends it each query of a dashboard; `check_p99` compares its
answers with edgesim's own summary. All checks return a list of failures, empty when everything is right.
"""

from __future__ import annotations

import asyncio
import json
import math
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import yaml

from edgesim.config.resources import resource_path
from edgesim.observe import catalog
from edgesim.observe.histogram import EDGES_S
from edgesim.observe.summary import DEPLOY_ROLE, Summary
from tests.support.boards import expand, panels
from tests.support.tools import require_tool


@asynccontextmanager
async def running_prometheus(config: str, folder: Path, *, start_timeout_s: float = 30.0) -> AsyncIterator[str]:
    """The URL of a Prometheus that runs with `config` (YAML) and keeps its data in `folder`, until the block ends."""
    program = require_tool("prometheus")
    file = folder / "prometheus.yml"
    file.write_text(config)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = folder / "prometheus.log"
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            program, f"--config.file={file}", f"--web.listen-address=127.0.0.1:{port}",
            f"--storage.tsdb.path={folder / 'tsdb'}", stdout=output, stderr=output,
        )  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    try:
        async with asyncio.timeout(start_timeout_s), aiohttp.ClientSession() as session:
            while not await _is_ready(session, url):
                assert process.returncode is None, f"Prometheus ended: {log.read_text()[-2000:]}"
                await asyncio.sleep(0.1)
        yield url
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


def scrape_config(targets: Mapping[str, str], *, interval: str = "1s") -> str:
    """A configuration that scrapes `targets` (`127.0.0.1:40001` by process name)."""
    static = [{"targets": [address], "labels": {"process": name}} for name, address in targets.items()]
    # JSON is YAML.
    return json.dumps(
        {
            "global": {"scrape_interval": interval, "scrape_timeout": interval},
            "scrape_configs": [{"job_name": "edgesim", "static_configs": static}],
        }
    )


def discovery_config(api: str, *, token: str = "", interval: str = "1s", load: str = "") -> str:
    """The shipped configuration, for the control plane at `api`, with its token if the list of processes needs one.

    Args:
        api: its URL.
        token: empty when none is needed.
        interval: of scrapes and rules.
        load: address of a load run's metrics, instead of the usual one.
    """
    folder = resource_path("dashboards")
    config = yaml.safe_load((folder / "prometheus.yml").read_text())
    config["global"] = {"scrape_interval": interval, "scrape_timeout": interval, "evaluation_interval": interval}
    config["rule_files"] = [str(folder / name) for name in config["rule_files"]]
    edge, run = config["scrape_configs"]
    if load:
        run["static_configs"][0]["targets"] = [load]
    (discovery,) = edge["http_sd_configs"]
    discovery |= {"url": f"{api}/v1/sd/prometheus", "refresh_interval": interval}
    if token:
        # Prometheus 2.42 sends no type at all for service discovery unless it is written here.
        discovery["authorization"] = {"type": "Bearer", "credentials": token}
    return json.dumps(config)


async def query(url: str, expr: str) -> list[dict[str, Any]]:
    """The series of an instant query. Fails on a query that Prometheus refuses."""
    return await _ask(url, "query", {"query": expr})


async def query_range(url: str, expr: str, *, seconds: float, step_s: float = 1.0) -> list[dict[str, Any]]:
    """The series of a range query over the last `seconds`. Fails on a query that Prometheus refuses."""
    now = float((await _ask(url, "query", {"query": "time()"}))[1])
    times = {"start": f"{now - seconds:.3f}", "end": f"{now:.3f}", "step": f"{step_s}"}
    return await _ask(url, "query_range", {"query": expr, **times})


async def until(url: str, expr: str, *, timeout_s: float = 30.0) -> list[dict[str, Any]]:
    """Repeat an instant query until it has an answer."""
    async with asyncio.timeout(timeout_s):
        while not (found := await query(url, expr)):
            await asyncio.sleep(0.2)
    return found


async def check_dashboard(url: str, dashboard: Mapping[str, Any], *, seconds: float = 60.0) -> list[str]:
    """Send each query of `dashboard` to the Prometheus at `url`.

    Returns:
        A line for each query that fails, or has no finite value in the last `seconds`; and one when there are no queries.
    """
    failures = []
    queries = 0
    for panel in panels(dashboard):
        for target in panel["targets"]:
            queries += 1
            where = f"{panel['title']} {target['refId']}"
            expr = expand(target["expr"])
            if "$" in expr:
                failures.append(f"{where}: a variable is left in {expr}")
                continue
            try:
                if target.get("instant"):
                    values = [series["value"][1] for series in await query(url, expr)]
                else:
                    found = await query_range(url, expr, seconds=seconds)
                    values = [value for series in found for _, value in series["values"]]
            except PrometheusError as exc:
                failures.append(f"{where}: {exc}")
                continue
            if not any(math.isfinite(float(value)) for value in values):
                failures.append(f"{where}: no finite value among {len(values)}: {expr}")
    if not queries:
        failures.append("the dashboard has no queries")
    return failures


async def check_rules(url: str) -> list[str]:
    """What is wrong with the rules that the Prometheus at `url` evaluates; empty when each has been evaluated well."""
    async with aiohttp.ClientSession() as session, session.get(f"{url}/api/v1/rules") as response:
        groups = (await response.json())["data"]["groups"]
    found = [rule for group in groups for rule in group["rules"]]
    return [f"{r['name']}: {r['health']} {r.get('lastError', '')}" for r in found if r["health"] != "ok"] or (
        [] if found else ["there are no rules"]
    )


async def check_p99(url: str, summary: Summary) -> list[str]:
    """Compare p99 per PoP, and cold-start p99 per PoP, phase and role, with Prometheus, both since the start.

    Nothing may happen between the last scrape and the summary.

    Returns:
        A line for each value that is missing at Prometheus or more than one bucket away.
    """
    failures = []
    expected: dict[tuple[str, ...], float | None] = {}
    for pop, values in summary.pops.items():
        if values.duration.count:
            expected["duration", pop] = values.duration.p99_s
        for starts in values.cold_starts:
            for phase, latency in starts.phases.items():
                expected["phase", pop, phase, starts.role] = latency.p99_s
    answers = {("duration", *labels): value for labels, value in (await _p99(url, catalog.REQUEST_DURATION)).items()}
    answers |= {("phase", *labels): value for labels, value in (await _p99(url, catalog.COLD_START_PHASE)).items()}
    for key, p99_s in expected.items():
        found = answers.get(key)
        if found is None or p99_s is None or not math.isfinite(found):
            failures.append(f"{key}: {p99_s} here, {found} at Prometheus")
        elif abs(_bucket(found) - _bucket(p99_s)) > 1:
            failures.append(f"{key}: {p99_s:g} s here, {found:g} s at Prometheus: more than one bucket apart")
    if not any(key[0] == "duration" for key in expected):
        failures.append("the summary has no PoP with requests")
    if not any(key[0] == "phase" and key[-1] != DEPLOY_ROLE for key in expected):
        failures.append("the summary has no cold start of a request")
    return failures


class PrometheusError(AssertionError):
    """Prometheus refused a query."""


async def _ask(url: str, endpoint: str, params: Mapping[str, str]) -> Any:
    async with aiohttp.ClientSession() as session, session.post(f"{url}/api/v1/{endpoint}", data=params) as response:
        answer = await response.json()
    if answer.get("status") != "success":
        raise PrometheusError(f"{answer.get('error', answer)} in {params['query']}")
    return answer["data"]["result"]


async def _is_ready(session: aiohttp.ClientSession, url: str) -> bool:
    try:
        async with session.get(f"{url}/-/ready") as response:
            return response.status == 200
    except aiohttp.ClientError:
        return False


async def _p99(url: str, metric: catalog.Metric) -> dict[tuple[str, ...], float]:
    by = ", ".join(metric.labels)
    found = await query(url, f"histogram_quantile(0.99, sum by (le, {by}) ({metric.name}_bucket))")
    return {tuple(series["metric"][label] for label in metric.labels): float(series["value"][1]) for series in found}


def _bucket(seconds: float) -> int:
    """Index of the bucket of a value that may be an edge, give or take a rounding error of its text."""
    return next((i for i, edge in enumerate(EDGES_S) if seconds <= edge * (1 + 1e-9)), len(EDGES_S))
