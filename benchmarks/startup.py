"""How long `edgesim up` takes until all 20 PoPs are ready, and what its processes weigh.

From the start of the command, with an empty state directory, until `/v1/pops` says `ready` for every PoP: control plane,
broker, three PoP hosts and the front door as processes of their own. This is wall time, so it depends on what else runs: the
yardstick is as many Python processes as the edge has that only import aiohttp, pydantic and wasmtime, started together in
the same round. The best round counts, the median is beside it. Memory is the proportional set size (shared pages count by
their share), taken with a worker loaded on every PoP and after some requests; the broker counts as a process.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

from benchmarks._procs import child, edge, pss_bytes, tree
from edgesim.config.resources import resource_path

ROUNDS = 4
PROCESSES = 6
READY_GOAL_S = 4.0
PSS_GOAL_MB = 150
REQUESTS = 1_000
IMPORTS = "import aiohttp, pydantic, wasmtime"


def run():
    """Time to ready, PSS of the largest process, PSS in all."""
    ready_s, bare_s, weights = [], [], {}
    for _ in range(ROUNDS):
        bare_s.append(imports_s())
        with edge() as ours:
            ours.wait(lambda ours=ours: all_ready(ours))
            ready_s.append(time.monotonic() - ours.began_s)
            if not weights:
                weights = weigh(ours)
    return [ready(ready_s, bare_s), *memory(weights)]


def all_ready(ours, count=20):
    """Whether the API answers and shows all of `count` PoPs ready."""
    record = ours.record
    if record is None or not record.ready:
        return False
    pops = ours.api("GET", "/v1/pops")["pops"]
    return len(pops) == count and all(pop["state"] == "ready" for pop in pops)


def imports_s():
    """Seconds until as many processes have imported what ours import."""
    began_s = time.monotonic()
    processes = [subprocess.Popen([sys.executable, "-c", IMPORTS]) for _ in range(PROCESSES)]
    for process in processes:
        process.wait()
    return time.monotonic() - began_s


def weigh(ours):
    """PSS in MB by process, at work."""
    ours.deploy("hello", resource_path("workers/hello/hello.wasm"))
    with child("benchmarks._load") as load:
        load.ask({"port": ours.port, "host": "hello.localhost", "connections": 16, "requests": REQUESTS})
        return {name_of(pid): round(pss_bytes(pid) / 1e6, 1) for pid in tree(ours.process.pid)}


def name_of(pid):
    """`supervisor`, `control`, `host1` …, or the program's name."""
    argv = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    if "--config" in argv:
        return Path(argv[argv.index("--config") + 1]).stem
    return "supervisor" if "up" in argv else Path(argv[0]).name


def ready(ready_s, bare_s):
    """The entry of the time."""
    best_s, best_bare_s = min(ready_s), min(bare_s)
    return {
        "id": "startup-ready",
        "value": round(best_s, 2),
        "unit": "s",
        "yardstick": f"{PROCESSES} processes that only import aiohttp, pydantic and wasmtime: {best_bare_s:.2f} s",
        "ratio": round(best_s / best_bare_s, 2),
        "goal": f"< {READY_GOAL_S:g} s",
        "ok": best_s < READY_GOAL_S,
        "command": "make bench ID=startup-ready",
        "median": round(median(ready_s), 2),
        "median_ratio": round(median(ready_s) / median(bare_s), 2),
    }


def memory(weights):
    """The entries of the memory."""
    name, largest = max(weights.items(), key=lambda item: item[1])
    total = sum(weights.values())
    bare = bare_pss_mb()
    common = {
        "unit": "MB PSS",
        "yardstick": f"a process that only imports aiohttp, pydantic and wasmtime: {bare:.1f} MB",
        "command": "make bench ID=startup",
        "processes": weights,
    }
    return [
        {"id": "startup-memory", "value": largest, "ratio": round(largest / bare, 2), "goal": f"<= {PSS_GOAL_MB} MB",
         "ok": largest <= PSS_GOAL_MB, "largest": name} | common,
        {"id": "startup-memory-all", "value": round(total, 1), "ratio": round(total / bare, 2), "goal": None, "ok": None,
         "reason": "reported without a goal"} | common,
    ]  # fmt: skip


def bare_pss_mb():
    """PSS of the yardstick, alone."""
    argv = [sys.executable, "-c", f"{IMPORTS}; import sys; print(1, flush=True); sys.stdin.read()"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        weight = pss_bytes(process.pid) / 1e6
        process.stdin.close()
    return weight


if __name__ == "__main__":
    print(json.dumps(run(), indent=2, ensure_ascii=False))
