"""What a scrape of 330 PoPs does to the event loop that serves requests, and what recording a request costs.

The yardstick is prometheus_client on the same data in the same run. The client that scrapes runs in a process of its own.
A round's stall is the longest time between two turns of a task that never waits; of several rounds the median counts, since
single ones also show when the machine gave the core to somebody else.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from random import Random
from statistics import median
from time import perf_counter
from typing import Any

from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

from edgesim.live.metrics import RecorderCollector, metrics_handler, stats_handler
from edgesim.model.events import ColdStarted, RequestRouted, RequestServed
from edgesim.observe.exposition import render
from edgesim.observe.histogram import EDGES_S
from edgesim.observe.recorder import Recorder

POPS = 330
ROUNDS = 7
EVENTS = 100_000
CLIENT = """
import http.client, sys
connection = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]), timeout=60)
connection.request("GET", sys.argv[2])
print(len(connection.getresponse().read()))
"""


def served(pop: str, rng: Random) -> RequestServed:
    return RequestServed(
        pop=pop, app="hello", version=1, outcome="ok", start="fresh", role="", status=200, network_s=rng.uniform(0.01, 0.2),
        queue_s=0.0, start_s=0.0, execute_s=rng.uniform(0.0002, 0.002), origin_s=0.0, duration_s=rng.uniform(0.0004, 0.003),
    )  # fmt: skip


def filled() -> Recorder:
    """A front door and 330 PoPs in one process, each PoP with traffic and with cold starts in every role."""
    rng = Random(1)
    recorder = Recorder(process="all", version="0")
    for number in range(POPS):
        pop = f"pop{number}"
        recorder.add_pop(pop, slots=8)
        recorder.add_routes([pop])
        for _ in range(20):
            recorder.handle(served(pop, rng))
            recorder.handle(
                RequestRouted(
                    pop=pop, app="hello", outcome="ok", status=200, reason="first", failed=(), network_s=0.03,
                    duration_s=rng.uniform(0.02, 0.3), metro=1,
                )
            )  # fmt: skip
        for role in ("trigger", "waiter"):
            phases = tuple(
                (name, rng.uniform(0.001, 0.1)) for name in ("fetch", "compile", "instantiate", "first_call")
            )
            recorder.handle(
                ColdStarted(
                    pop=pop, app="hello", version=1, start="absent", role=role, cause="request", phases=phases, total_s=0.2
                )
            )  # fmt: skip
    return recorder


async def stall_s(port: int, path: str) -> float:
    """The longest time that the loop did not run another task while one client fetched `path`."""
    worst = 0.0
    fetching = True

    async def turn() -> None:
        nonlocal worst
        last = perf_counter()
        while fetching:
            await asyncio.sleep(0)
            now = perf_counter()
            worst = max(worst, now - last)
            last = now

    client = await asyncio.create_subprocess_exec(
        sys.executable, "-c", CLIENT, str(port), path, stdout=asyncio.subprocess.PIPE
    )  # fmt: skip
    # Started after the child, so that forking this process is not counted.
    watcher = asyncio.create_task(turn())
    output, _ = await client.communicate()
    fetching = False
    await watcher
    if int(output or 0) < 10_000:
        raise RuntimeError(f"{path} answered {output!r}")
    return worst


async def stalls(recorder: Recorder) -> tuple[float, float]:
    """Median stall of `/metrics` and of `/-/stats`, in seconds."""
    app = web.Application()
    app.router.add_get("/metrics", metrics_handler(recorder))
    app.router.add_get("/-/stats", stats_handler(recorder))
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port = runner.addresses[0][1]
    try:
        await stall_s(port, "/metrics")
        metrics = [await stall_s(port, "/metrics") for _ in range(ROUNDS)]
        stats = [await stall_s(port, "/-/stats") for _ in range(ROUNDS)]
    finally:
        await runner.cleanup()
    return median(metrics), median(stats)


def rendering_s(recorder: Recorder) -> tuple[float, float]:
    """How long we, and prometheus_client, render the same data. It does so in one piece, so this is also its stall."""
    registry = CollectorRegistry()
    registry.register(RecorderCollector(recorder))

    def median_of_three(render: Callable[[], object]) -> float:
        times = []
        for _ in range(3):
            began = perf_counter()
            render()
            times.append(perf_counter() - began)
        return median(times)

    return median_of_three(lambda: render(recorder.store)), median_of_three(lambda: generate_latest(registry))


def recording_us() -> tuple[float, float]:
    """Cost of one served request in µs: the recorder, and prometheus_client with bound children of the same metrics."""
    rng = Random(2)
    events = [served("pop1", rng) for _ in range(1000)]
    recorder = Recorder(process="all", version="0")
    registry = CollectorRegistry()
    requests = Counter("requests", "r", ["pop", "app", "outcome", "start"], registry=registry)
    durations = [
        Histogram(name, "h", ["pop"], buckets=EDGES_S, registry=registry).labels("pop1")
        for name in ("duration", "network", "queue", "execute")
    ]
    counter = requests.labels("pop1", "hello", "ok", "fresh")
    duration, network, queue, execute = durations

    def by_client(event: RequestServed) -> None:
        counter.inc()
        duration.observe(event.duration_s)
        network.observe(event.network_s)
        queue.observe(event.queue_s)
        execute.observe(event.execute_s)

    def cost_us(handle: Any) -> float:
        best = float("inf")
        for _ in range(5):
            began = perf_counter()
            for _ in range(EVENTS // len(events) // 5):
                for event in events:
                    handle(event)
            best = min(best, (perf_counter() - began) / (EVENTS // 5) * 1e6)
        return best

    return cost_us(recorder.handle), cost_us(by_client)


def run() -> list[dict[str, Any]]:
    """Measure, and return one entry per figure."""
    recorder = filled()
    metrics_s, stats_s = asyncio.run(stalls(recorder))
    ours_s, client_s = rendering_s(recorder)
    record_us, client_us = recording_us()
    yardstick = "prometheus_client.generate_latest"
    return [
        entry("scrape-stall", metrics_s * 1e3, "ms", yardstick, client_s * 1e3, "< 10 ms", ok=metrics_s < 0.010),
        entry(
            "scrape-render", ours_s * 1e3, "ms", yardstick, client_s * 1e3, "ratio <= 0.1", ok=ours_s <= 0.1 * client_s
        ),
        entry("scrape-stats-stall", stats_s * 1e3, "ms", yardstick, client_s * 1e3, "< 10 ms", ok=stats_s < 0.010),
        entry(
            "scrape-record-request",
            record_us,
            "µs",
            "prometheus_client, bound",
            client_us,
            "< 2 µs",
            ok=record_us < 2.0,
        ),
    ]


def entry(name: str, value: float, unit: str, against: str, reference: float, goal: str, *, ok: bool) -> dict[str, Any]:
    return {
        "id": name,
        "value": round(value, 3),
        "unit": unit,
        "yardstick": f"{against}: {reference:.3f} {unit}",
        "ratio": round(value / reference, 4),
        "goal": goal,
        "ok": ok,
        "command": f"make bench ID={name}",
    }


if __name__ == "__main__":
    print(json.dumps(run(), indent=2, ensure_ascii=False))
