"""How long `edgesim up` takes with 300 PoPs until all are ready, and what its processes weigh together.

The world is the one that `edgesim topology generate --pops 300` makes. Time and yardstick as in `startup`: from the start of
the command, with an empty state directory, until `/v1/pops` says `ready` for every PoP. Memory is the proportional set size
(shared pages count by their share) of all processes, the broker among them, with a worker loaded on every PoP and after some
requests.
"""

from __future__ import annotations

import json
import time
from statistics import median

from benchmarks._procs import edge
from benchmarks.startup import PROCESSES, all_ready, imports_s, weigh
from edgesim.config.topology_generator import generate_world, to_yaml

POPS = 300
ROUNDS = 3
READY_GOAL_S = 15.0
PSS_GOAL_MB = 600


def run():
    """Time to ready, PSS in all."""
    world = to_yaml(generate_world(POPS))
    ready_s, bare_s, weights = [], [], {}
    for _ in range(ROUNDS):
        bare_s.append(imports_s())
        with edge(topology=world) as ours:
            ours.wait(lambda ours=ours: all_ready(ours, POPS))
            ready_s.append(time.monotonic() - ours.began_s)
            if not weights:
                weights = weigh(ours)
    total = sum(weights.values())
    return [
        {
            "id": "startup-300-ready",
            "value": round(min(ready_s), 2),
            "unit": "s",
            "yardstick": f"{PROCESSES} processes that only import aiohttp, pydantic and wasmtime: {min(bare_s):.2f} s",
            "ratio": round(min(ready_s) / min(bare_s), 2),
            "goal": f"< {READY_GOAL_S:g} s",
            "ok": min(ready_s) < READY_GOAL_S,
            "command": "make bench ID=startup-300",
            "median": round(median(ready_s), 2),
        },
        {
            "id": "startup-300-memory",
            "value": round(total, 1),
            "unit": "MB PSS",
            "yardstick": f"per PoP: {total / POPS:.2f} MB",
            "ratio": None,
            "goal": f"< {PSS_GOAL_MB} MB",
            "ok": total < PSS_GOAL_MB,
            "command": "make bench ID=startup-300",
            "processes": weights,
        },
    ]


if __name__ == "__main__":
    print(json.dumps(run(), indent=2, ensure_ascii=False))
