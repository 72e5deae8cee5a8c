"""Three scenarios live and simulated, at half of the machine's capacity and time scale 1, and what their summaries differ by.

The profile is taken just before, on the same machine, by `edgesim profile`; nothing is fitted to the live runs. `edge` is the
measured loop error: what the edge itself took of a request, live and as the simulator modelled it. On a machine that is busy with
other things the live runs' is larger, and the response times differ by it.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from edgesim.cli._documents import read_profile
from edgesim.config.resources import resource_path
from edgesim.live.private_edge import private_edge
from edgesim.results.compare import Tolerances, compare

GENERATOR_CPU_S = 0.0003
"""Of the load generator, per request."""
RATE_MAX = 250.0
PLACES = "[London, Paris, Frankfurt, New York, Chicago, Los Angeles, Sao Paulo, Tokyo, Singapore, Mumbai, Johannesburg, Sydney]"
HEAD = "version: 1\nname: {name}\ntarget: {{app: {app}}}\npopulations: [{{name: all, weight: 1, metros: {places}}}]\n"
LOAD = "load: {{seed: 11, maxInFlight: 1000, phases: [{{name: p, duration: {seconds}s, arrivalRate: {rate:.0f}}}]}}\n"
SCENARIOS = {
    "first-visitors": ("lazy", 12, ""),
    "steady": ("hello", 30, ""),
    "faults": (
        "hello", 30,
        "timeline:\n  - {at: 5s, kill: {pop: gru1}}\n  - {at: 15s, restart: {pop: gru1}}\n  - {at: 20s, drain: {pop: lhr1}}\n",
    ),
}  # fmt: skip
"""App, seconds, timeline."""


def edgesim(*arguments, state=None):
    """One command. Load runs may end with 98 or 99: their verdict is not what is looked at."""
    environment = dict(os.environ) | ({"EDGESIM_STATE": str(state)} if state else {})
    done = subprocess.run(
        [sys.executable, "-m", "edgesim", *map(str, arguments)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in {0, 98, 99}, done.stderr[-2000:]


def half_load(profile):
    """Requests per second that keep the busiest part of this machine half busy."""
    edge = profile.edge
    cores = os.cpu_count() or 1
    capacity = min(1 / edge.door_cpu_s, cores / (edge.door_cpu_s + edge.host_cpu_s + GENERATOR_CPU_S))
    return min(RATE_MAX, capacity / 2)


async def live(folder, rate):
    """Every scenario on one edge, whose PoPs have not seen the worker before."""
    hello = resource_path("workers/hello")
    async with private_edge() as edge:
        flags = ("--endpoint", edge.endpoint, "--token", edge.token)
        for name, (app, seconds, timeline) in SCENARIOS.items():
            file = folder / f"{name}.yaml"
            head = HEAD.format(name=name, app=app, places=PLACES)
            file.write_text(head + LOAD.format(seconds=seconds, rate=rate) + timeline)
            prefetch = "--no-prefetch" if app == "lazy" else "--prefetch"
            await asyncio.to_thread(edgesim, "deploy", hello, "--app", app, prefetch, *flags)
            out = folder / f"{name}-live.json"
            front_door = f"http://127.0.0.1:{edge.ports.front_door}"
            await asyncio.to_thread(edgesim, "load", "run", file, "--out", out, "--front-door", front_door, *flags)


def entry(folder, name, rate):
    """One scenario simulated and compared."""
    app = SCENARIOS[name][0]
    prefetch = "--no-prefetch" if app == "lazy" else "--prefetch"
    simulated = folder / f"{name}-sim.json"
    edgesim(
        "sim", "run", folder / f"{name}.yaml", "--app", resource_path("workers/hello"), prefetch,
        "--profile", folder / "profile.json", "--out", simulated,
    )  # fmt: skip
    documents = [json.loads(file.read_text()) for file in (folder / f"{name}-live.json", simulated)]
    comparison = compare(*documents, Tolerances())
    rows = {row.figure: row for row in comparison.rows}
    p50, p99, cold, edge = (rows[f] for f in ("response p50", "response p99", "cold starts", "edge p50"))
    lag = documents[0]["generator"]["lag"]
    return {
        "id": f"live-vs-sim-{name}",
        "value": round(p50.difference * 100, 1),
        "unit": "% off in p50",
        "yardstick": (
            f"live p50 {p50.first * 1e3:.1f} ms (simulated {p50.second * 1e3:.1f}), p99 {p99.first * 1e3:.0f} ms ({p99.difference:+.1%}), "
            f"{cold.first:.0f} cold starts (simulated {cold.second:.0f}), {rate:.0f} requests/s; loop error p50 {edge.first * 1e3:.1f} ms "
            f"(simulated {edge.second * 1e3:.1f}), lag p50 {lag['p50_s'] * 1e3:.1f} ms; load average {os.getloadavg()[0]:.1f}"
        ),
        "ratio": round(1 + p50.difference, 3),
        "goal": "p50 5 %, p99 15 %, cold 5 %",
        "ok": comparison.ok,
        "command": "make bench ID=live-vs-sim",
        "differences": {row.figure: row.difference for row in comparison.rows},
        "reason": "beyond: " + ", ".join(row.figure for row in comparison.rows if row.ok is False),
    }


def run():
    """An entry for each scenario."""
    with tempfile.TemporaryDirectory(prefix="edgesim-bench-") as name:
        folder = Path(name)
        edgesim("profile", resource_path("workers/hello"), "-o", folder / "profile.json", "--seconds", "6")
        rate = half_load(read_profile(folder / "profile.json"))
        asyncio.run(live(folder, rate))
        return [entry(folder, each, rate) for each in SCENARIOS]
