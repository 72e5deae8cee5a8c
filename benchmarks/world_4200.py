"""How long a world of 4,200 PoPs takes from its file until it can be simulated, in a process of its own.

The file is the one that `edgesim topology generate --pops 4200` makes. Loading is all that comes before the first request:
reading and checking the file, the network model, front door and PoPs of a simulation. Every metro is then asked for its
ranking and its delay to the nearest PoP, which runs do on the way; that is the second figure. CPU time, without imports.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

POPS = 4200
ROUNDS = 3
GOAL_S = 5.0


def run():
    """Seconds to load, to load with all rankings, and to generate."""
    from edgesim.config.topology_generator import generate_world, to_yaml

    began_s = time.process_time()
    text = to_yaml(generate_world(POPS))
    generate_s = time.process_time() - began_s
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "world.yaml"
        file.write_text(text, encoding="utf-8")
        argv = [sys.executable, "-m", "benchmarks.world_4200", str(file)]
        rounds = [json.loads(subprocess.run(argv, check=True, capture_output=True).stdout) for _ in range(ROUNDS)]
    best = {name: min(one[name] for one in rounds) for name in rounds[0]}
    return [
        entry("load", best["load_s"], f"reading and checking the file alone: {best['read_s']:.2f} s", best["read_s"]),
        entry("rankings", best["all_s"], f"without the rankings: {best['load_s']:.2f} s", best["load_s"]),
        entry("generate", generate_s, f"loading it: {best['load_s']:.2f} s", best["load_s"]),
    ]


def entry(name, value_s, yardstick, compared_s):
    """One figure; all have the goal of the load."""
    return {
        "id": f"world-4200-{name}",
        "value": round(value_s, 2),
        "unit": "s CPU",
        "yardstick": yardstick,
        "ratio": round(value_s / compared_s, 2),
        "goal": f"< {GOAL_S:g} s",
        "ok": value_s < GOAL_S,
        "command": "make bench ID=world-4200",
    }


def measure(file):
    """Load the world, in a process that has not loaded anything yet."""
    from edgesim.config.catalogue import load_metros, network_model
    from edgesim.config.topology import load_topology
    from edgesim.model.geo import Place
    from edgesim.policies.routing.proximity import Policy
    from edgesim.sim.leaves import Costs
    from edgesim.sim.run import Simulation

    began_s = time.process_time()
    topology = load_topology(Path(file))
    read_s = time.process_time() - began_s
    simulation = Simulation(
        topology, network=network_model(topology), policy=Policy(), costs=Costs(), seed=1, on_event=lambda _: None
    )
    load_s = time.process_time() - began_s
    door = simulation.door
    for metro in load_metros():
        place = Place(address="240.0.0.1", at=metro.at, metro=metro.id)
        door.network.client_rtt_s(place, door.router.ranking(place)[0])
    all_s = time.process_time() - began_s
    simulation.run(0.0)
    return {"read_s": read_s, "load_s": load_s, "all_s": all_s}


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1]) if len(sys.argv) > 1 else run(), indent=2, ensure_ascii=False))
