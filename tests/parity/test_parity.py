"""The live world on virtual time and the kernel do the same, to the bit: the bet that everything else rests on."""

from __future__ import annotations

import pytest

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
    assert sim_leaks == live_leaks == ([], [], 0, 0)


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
