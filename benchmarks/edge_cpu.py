"""CPU per request of the running edge against a bare aiohttp reverse proxy with an aiohttp hello behind it.

The edge is `edgesim up --time-scale 0` with everything on: control plane, MQTT broker and bus, health beats, metrics, all
20 PoPs, a fresh Wasm instance per request of the smallest component. Its CPU time is that of all its processes, the broker
too; the yardstick's that of proxy and hello. Load comes from a process of its own, which does not count. Rounds of both
alternate, since the same code costs up to half as much again when the machine is busy; the ratio is that of the cheapest
rounds, and that of the medians is beside it.
"""

from __future__ import annotations

import json
import tempfile
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from wasmtime import wat2wasm

from benchmarks._procs import child, cpu_s, edge, tree
from edgesim.config.resources import resource_path

if TYPE_CHECKING:
    from collections.abc import Callable

GOAL = 1.6
ROUNDS = 40
REQUESTS = 500
CONNECTIONS = 16
WARM_UP = 600
HOST = "hello.localhost"


def run() -> list[dict[str, Any]]:
    """Measure one process and three, and the sample worker, each beside the yardstick."""
    hello = resource_path("workers/hello/hello.wasm")
    with tempfile.TemporaryDirectory() as folder:
        smallest = Path(folder) / "smallest.wasm"
        smallest.write_bytes(wat2wasm(Path(__file__).with_name("smallest.wat").read_text()))
        return [
            measure("edge-cpu", smallest, "1", GOAL),
            measure("edge-cpu-split", smallest, "3", None),
            measure("edge-cpu-hello", hello, "1", None),
        ]


def measure(name: str, worker: Path, processes: str, goal: float | None) -> dict[str, Any]:
    """One entry: µs of CPU per request, and the ratio to the yardstick's."""
    with ExitStack() as stack:
        hello = stack.enter_context(child("benchmarks._aiohttp_yardstick", "hello"))
        proxy = stack.enter_context(child("benchmarks._aiohttp_yardstick", "proxy", hello.said))
        load = stack.enter_context(child("benchmarks._load"))
        ours = stack.enter_context(edge("--time-scale", "0", "--processes", processes))
        ours.wait_ready()
        ours.deploy("hello", worker)
        pids = tree(ours.process.pid)
        shapes = {
            "edge": lambda n: cost_us(load, ours.port, n, pids),
            "aiohttp": lambda n: cost_us(load, int(proxy.said), n, [proxy.pid, hello.pid]),
        }
        costs = alternate(shapes)
    best = {shape: min(rounds) for shape, rounds in costs.items()}
    middle = {shape: median(rounds) for shape, rounds in costs.items()}
    ratio = best["edge"] / best["aiohttp"]
    return {
        "id": name,
        "value": round(best["edge"], 1),
        "unit": "µs CPU per request",
        "yardstick": f"aiohttp proxy and hello: {best['aiohttp']:.1f} µs",
        "ratio": round(ratio, 2),
        "goal": None if goal is None else f"ratio <= {goal}",
        "ok": None if goal is None else ratio <= goal,
        "command": f"make bench ID={name}",
        "median": round(middle["edge"], 1),
        "median_ratio": round(middle["edge"] / middle["aiohttp"], 2),
        **({"reason": "reported without a goal"} if goal is None else {}),
    }


def alternate(shapes: dict[str, Callable[[int], float]]) -> dict[str, list[float]]:
    """Rounds of each shape in turn, after a warm-up."""
    for shape in shapes.values():
        shape(WARM_UP)
    costs: dict[str, list[float]] = {name: [] for name in shapes}
    for number in range(ROUNDS):
        for name in sorted(shapes, reverse=bool(number % 2)):
            costs[name].append(shapes[name](REQUESTS))
    return costs


def cost_us(load: Any, port: int, requests: int, pids: list[int], fields: str = "") -> float:
    """CPU µs per request of the processes over one round of load; `fields` are header lines to send besides."""
    order = {"port": port, "host": HOST, "connections": CONNECTIONS, "requests": requests, "fields": fields}
    began_s = cpu_s(*pids)
    answer = load.ask(order)
    used_s = cpu_s(*pids) - began_s
    if answer["ok"] != requests:
        raise RuntimeError(f"{requests - answer['ok']} of {requests} requests to port {port} failed")
    return used_s / requests * 1e6


if __name__ == "__main__":
    print(json.dumps(run(), indent=2, ensure_ascii=False))
