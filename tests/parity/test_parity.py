"""The live world on virtual time and the kernel do the same, to the bit: the bet that everything else rests on."""

from __future__ import annotations

import pytest

from edgesim.model.worker import Reuse
from edgesim.policies.eviction import density, lfu
from edgesim.policies.scaling import keep_warm, scale_to_zero
from tests.parity.harness import Script, differences, run_live, run_sim

LOADS = {"light": 150.0, "busy": 500.0, "overload": 1500.0}  # requests/s; 8 PoPs of 3 slots serve about 800
QUANTA = {"continuous": 0.0, "10ms": 0.010, "1/128s": 1 / 128}


@pytest.mark.parametrize("cancels", [False, True], ids=["stay", "disconnect"])
@pytest.mark.parametrize("quantum", QUANTA)
@pytest.mark.parametrize("load", LOADS)
@pytest.mark.parametrize("seed", [1, 2])
def test_worlds_are_equal(seed, load, quantum, cancels):
    """Every request's outcome, PoP, start, role, version, tries, network time and duration are equal to the bit."""
    script = Script(seed=seed, requests=1200, rate=LOADS[load], quantum_s=QUANTA[quantum], cancels=cancels)
    sim, sim_leaks = run_sim(script)
    live, live_leaks = run_live(script)

    assert differences(sim, live) == []
    never_began = sum(gone_s == at_s for _, at_s, gone_s, *_ in script.arrivals())
    assert len(sim.rows) == script.requests - never_began
    assert sim.events == live.events
    assert sim_leaks == live_leaks == ([], [], [], 0, 0)


POOLS = {
    "one after the other": {"reuse": Reuse(max_instance_reuse_count=(5, 5))},
    "two at once": {"reuse": Reuse(max_instance_reuse_count=(4, 4), max_instance_concurrent_reuse_count=(2, 2))},
    "ranges": {
        "reuse": Reuse(
            max_instance_reuse_count=(1, 5),
            max_instance_concurrent_reuse_count=(1, 3),
            idle_instance_timeout_s=(0.0, 0.25),
        )
    },
    "short idle time": {"reuse": Reuse(max_instance_reuse_count=(3, 3), idle_instance_timeout_s=(0.01, 0.01))},
    "keep-warm": {"scaling": keep_warm.Policy(count=2)},
    "keep-warm, reused": {
        "scaling": keep_warm.Policy(count=1),
        "reuse": Reuse(max_instance_reuse_count=(2, 3), idle_instance_timeout_s=(0.05, 0.2)),
    },
    "scale-to-zero": {"scaling": scale_to_zero.Policy(after_s=0.05)},
    "scale-to-zero, reused": {
        "scaling": scale_to_zero.Policy(after_s=0.2),
        "reuse": Reuse(max_instance_reuse_count=(9, 9), idle_instance_timeout_s=(0.5, 0.5)),
    },
    "memory": {
        "instance_bytes": 1 << 19,
        "memory_bytes": 5 << 19,
        "eviction": lfu.Policy(),
        "reuse": Reuse(max_instance_reuse_count=(4, 4)),
    },
    "memory, keep-warm": {
        "instance_bytes": 1 << 19,
        "memory_bytes": 7 << 19,
        "eviction": density.Policy(),
        "scaling": keep_warm.Policy(count=3),
        "reuse": Reuse(max_instance_reuse_count=(1, 4), max_instance_concurrent_reuse_count=(2, 2)),
    },
}


@pytest.mark.parametrize("quantum", ["continuous", "10ms"])
@pytest.mark.parametrize("load", ["light", "busy"])
@pytest.mark.parametrize("pool", POOLS)
def test_worlds_are_equal_whatever_the_pool_keeps(pool, load, quantum):
    """With instances that serve again, expire, stand ready or are evicted, also what a beat says of the pool is equal."""
    script = Script(
        seed=3, requests=1200, rate=LOADS[load], quantum_s=QUANTA[quantum], cancels=load == "busy", **POOLS[pool]
    )
    sim, sim_leaks = run_sim(script)
    live, live_leaks = run_live(script)

    assert differences(sim, live) == []
    assert sim.events == live.events
    assert sim.beats_seen == live.beats_seen
    assert sim_leaks == live_leaks == ([], [], [], 0, 0)


def test_the_pools_reach_every_kind_of_start_and_eviction():
    """The comparison means something only if instances are reused, expire and are evicted in it, and modules too."""
    found, starts, ready = set(), {}, {}
    for name, pool in POOLS.items():
        run, _ = run_sim(Script(seed=3, requests=1200, rate=500.0, **pool))
        found |= {(key[2], key[3]) for key in run.events if key[2] in ("instance", "module")}
        starts[name] = {row[3] for row in run.rows.values() if row[0] == "ok"}
        ready[name] = sum(count for key, count in run.events.items() if key[0] == "instantiated" and key[2] == 0.0)

    assert found == {("instance", "idle"), ("instance", "memory"), ("module", "idle"), ("module", "memory")}
    assert all(("reused" in starts[name]) == ("reuse" in pool) for name, pool in POOLS.items())
    assert ready["keep-warm"] > 200


def test_the_script_reaches_every_outcome():
    """The comparison means something only if failover, queues, deadlines, kills and cold starts all occur in it."""
    outcomes, starts, roles, tries = set(), set(), set(), set()
    for load in LOADS.values():
        run, _ = run_sim(Script(seed=1, requests=1200, rate=load, cancels=load == 500.0))
        for row in run.rows.values():
            outcomes.add(row[0])
            tries.add(row[-2])
            if row[0] != "gone":
                starts.add(row[3])
                roles.add(row[4])

    assert outcomes >= {"ok", "queue_full", "queue_timeout", "deadline", "guest_error", "origin_error", "gone"}
    assert {"", "absent", "disk", "fresh"} <= starts
    assert {"trigger", "waiter"} <= roles
    assert {1, 2} <= tries


def test_a_run_is_a_function_of_its_seed():
    """Two runs with one seed are equal, and another seed gives another run."""
    first, again, other = (run_sim(Script(seed=s, requests=400, rate=500.0))[0] for s in (7, 7, 8))

    assert first.rows == again.rows
    assert first.rows != other.rows


@pytest.mark.parametrize("cancels", [False, True], ids=["stay", "disconnect"])
@pytest.mark.parametrize("quantum", QUANTA)
def test_worlds_are_equal_behind_filters(quantum, cancels):
    """Filters take their time, trap, and are started and evicted like workers, in both worlds alike."""
    script = Script(
        seed=5, requests=800, rate=400.0, quantum_s=QUANTA[quantum], cancels=cancels, filters=2, memory_bytes=4 << 20
    )
    sim, sim_leaks = run_sim(script)
    live, live_leaks = run_live(script)

    assert differences(sim, live) == []
    assert sim.events == live.events
    assert sim_leaks == live_leaks == ([], [], [], 0, 0)
    assert {row[0] for row in sim.rows.values()} >= {"ok", "guest_error"}
