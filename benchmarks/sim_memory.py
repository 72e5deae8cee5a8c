"""A million requests over 300 PoPs in the simulator: the peak of the process's memory, the imports and the catalogue included.

A process of its own runs the whole of `edgesim sim run`, results too, so that nothing of the benchmark is counted.
"""

from __future__ import annotations

import json
import subprocess
import sys

REQUESTS = 1_000_000
RATE = 3000.0
GOAL_MIB = 400


def measure():
    """In the process that is measured: one run, and its figures as JSON on stdout."""
    import resource
    import time

    from benchmarks._sim_world import network_model, scenario, simulate, world

    topology = world()
    network = network_model(topology)
    began = time.process_time()
    results = simulate(topology, network, scenario(REQUESTS, RATE), edge=False)
    cpu_s = time.process_time() - began
    answered = sum(cell.requests for cell in results.cells.values())
    failed = sum(cell.failed for cell in results.cells.values())
    peak_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(
        json.dumps(
            {"answered": answered, "failed": failed, "pops": len(results.pops), "cpu_s": cpu_s, "mib": peak_kib / 1024}
        )
    )


def run():
    """One entry: the peak in MiB."""
    code = "from benchmarks.sim_memory import measure; measure()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=600)
    found = json.loads(done.stdout)
    assert abs(found["answered"] / REQUESTS - 1) < 0.01, found
    assert found["failed"] == 0, found
    return [
        {
            "id": "sim-memory",
            "value": round(found["mib"]),
            "unit": "MiB at most",
            "yardstick": f"{found['answered']:,} requests over {found['pops']} of 300 PoPs, {found['cpu_s']:.0f} s of CPU",
            "ratio": None,
            "goal": f"< {GOAL_MIB}",
            "ok": found["mib"] < GOAL_MIB,
            "command": "make bench ID=sim-memory",
        }
    ]
