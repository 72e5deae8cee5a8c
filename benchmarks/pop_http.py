"""CPU per request of a whole PoP over HTTP, fresh Wasm instance each, beside workerd with a new Wasm instance each.

A PoP host is one process with 20 PoPs that takes HTTP requests: admission, pool, instance, metrics, trace; `edgesim up --processes 2`
puts the front door into another. Its CPU time is what is compared. The whole edge in one process (`--processes 1`, with front
door, routing, network model and control plane, and its broker) is beside it. workerd serves the smallest JavaScript worker that
makes a `WebAssembly.Instance`, and does nothing else. Load comes from a process of its own; rounds alternate, and the cheapest
of each counts.
"""

from __future__ import annotations

import json
import tempfile
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from wasmtime import wat2wasm

from benchmarks._procs import child, edge, tree
from benchmarks._workerd import VERSION, MissingWorkerdError, workerd
from benchmarks.edge_cpu import alternate, cost_us

GOAL = 0.8


def run() -> list[dict[str, Any]]:
    """The PoP host and the whole edge, both beside workerd."""
    with ExitStack() as stack:
        hello = stack.enter_context(child("benchmarks._aiohttp_yardstick", "hello"))
        load = stack.enter_context(child("benchmarks._load"))
        shapes = {"aiohttp": partial(_cost, load, int(hello.said), [hello.pid])}
        for name, processes in (("host", "2"), ("edge", "1")):
            ours = stack.enter_context(edge("--time-scale", "0", "--processes", processes))
            ours.wait_ready()
            with tempfile.TemporaryDirectory() as folder:
                smallest = Path(folder) / "smallest.wasm"
                smallest.write_bytes(wat2wasm(Path(__file__).with_name("smallest.wat").read_text()))
                ours.deploy("hello", smallest)
            pids = [pid for pid in tree(ours.process.pid) if name == "edge" or is_pop_host(pid)]
            shapes[name] = partial(_cost, load, ours.port, pids)
        missing = ""
        try:
            pid, port = stack.enter_context(workerd())
            shapes["workerd"] = partial(_cost, load, port, [pid])
        except MissingWorkerdError as error:
            missing = str(error)
        best = {shape: min(rounds) for shape, rounds in alternate(shapes).items()}
    return [_entry("pop-http", best, "host", GOAL, missing), _entry("pop-http.edge", best, "edge", None, missing)]


def _cost(load: Any, port: int, pids: list[int], requests: int) -> float:
    return cost_us(load, port, requests, pids)


def is_pop_host(pid: int) -> bool:
    """Whether a process serves PoPs."""
    return b"\0pop-host\0" in Path(f"/proc/{pid}/cmdline").read_bytes()


def _entry(id_: str, best: dict[str, float], shape: str, goal: float | None, missing: str) -> dict[str, Any]:
    reference = f"bare aiohttp hello {best['aiohttp']:.0f} µs"
    ratio = None if missing else best[shape] / best["workerd"]
    return {
        "id": id_,
        "value": round(best[shape], 1),
        "unit": "µs CPU per request",
        "yardstick": reference if ratio is None else f"workerd {VERSION}: {best['workerd']:.0f} µs; {reference}",
        "ratio": None if ratio is None else round(ratio, 2),
        "goal": None if goal is None else f"ratio <= {goal}",
        "ok": None if goal is None or ratio is None else ratio <= goal,
        "command": "make bench ID=pop-http",
        **({"reason": missing or "reported without a goal"} if goal is None or missing else {}),
    }


if __name__ == "__main__":
    print(json.dumps(run(), indent=2, ensure_ascii=False))
