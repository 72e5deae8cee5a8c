"""Whole simulations: deploys, kills and restarts at given times, and nothing but a function of the seed."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from edgesim.model.events import PopReported, RequestRouted, RequestServed
from edgesim.model.geo import LatLon
from edgesim.model.ids import PopId
from edgesim.model.topology import NetworkSpec, OriginSpec, PolicySpec, RoutingSpec, Topology
from edgesim.model.worker import Reuse
from edgesim.sim.leaves import Costs
from edgesim.sim.run import Simulation
from tests.support.request_path import APP, BERLIN, FRA, GRU, LHR, Legs, Nearest, release, spec

TOPOLOGY = Topology(
    name="t",
    pops=tuple(spec(p, memory_bytes=1 << 30, slots=8, queue=64) for p in (FRA, LHR, GRU)),
    regions={},
    origins={"demo": OriginSpec(name="demo", kind="builtin", at=LatLon(0.0, 0.0))},
    network=NetworkSpec(),
    routing=RoutingSpec(),
)


def simulate(seed=1, faults=lambda sim: None, rate=50, until_s=20.0):
    """Requests from Berlin at an even rate from 2 s to 18 s; the events, with their times."""
    events = []
    sim = Simulation(
        TOPOLOGY, network=Legs(0.0078125), policy=Nearest(), costs=Costs(), seed=seed,
        on_event=lambda e: events.append((sim.kernel.now_s, e)),
    )  # fmt: skip
    sim.deploy(0.5, release())
    faults(sim)
    sim.arrive((2.0 + n / rate, APP, "/w", BERLIN) for n in range(16 * rate))
    sim.run(until_s)
    return events


def routed(events):
    """PoPs that answered, with the number of requests."""
    return Counter(e.pop for _, e in events if isinstance(e, RequestRouted))


def test_a_quiet_day():
    """Everything is served by the nearest PoP, warm since the deploy."""
    events = simulate()

    assert routed(events) == {FRA: 800}
    assert {e.outcome for _, e in events if isinstance(e, RequestServed)} == {"ok"}
    assert {e.start for _, e in events if isinstance(e, RequestServed)} == {"fresh"}
    assert [e.state for _, e in events if isinstance(e, PopReported)].count("ready") == 3


def test_a_pop_dies_and_comes_back():
    """Its neighbour takes over; after the restart it has its state again, and its requests."""

    def faults(sim):
        sim.kill(5.0, FRA)
        sim.restart(10.0, FRA)
        sim.restart(10.5, FRA)  # one that lives is left alone

    events = simulate(faults=faults)
    by_second = Counter((int(t), e.pop) for t, e in events if isinstance(e, RequestRouted))
    failed = [e for _, e in events if isinstance(e, RequestRouted) if e.outcome != "ok"]

    assert failed == []
    assert by_second[4, FRA] == by_second[7, LHR] == by_second[12, FRA] == 50
    assert PopId("") not in routed(events)


def test_a_run_is_a_function_of_its_seed():
    """To the bit, and another seed is another run."""
    first, again, other = simulate(seed=3), simulate(seed=3), simulate(seed=4)

    assert first == again
    assert first != other


def compared(reuse=None, **pop):
    """Mean time at the PoP and starts of one minute of traffic in bursts, instances taking 16 ms and runs 4 ms."""
    served = []
    topology = replace(TOPOLOGY, pops=tuple(replace(each, **pop) for each in TOPOLOGY.pops))
    sim = Simulation(
        topology, network=Legs(0.0078125), policy=Nearest(), costs=Costs(instantiate_s=0.016), seed=4,
        on_event=lambda e: served.append(e) if isinstance(e, RequestServed) else None,
    )  # fmt: skip
    component = replace(release().components[0], reuse=reuse or Reuse())
    sim.deploy(0.5, release(components=(component,)))
    sim.arrive((2.0 + 5.0 * (n // 100) + (n % 100) / 100, APP, "/w", BERLIN) for n in range(1200))
    sim.run(70.0)

    assert {e.outcome for e in served} == {"ok"}
    return sum(e.duration_s for e in served) / len(served), Counter(e.start for e in served)


def test_policies_can_be_compared():
    """Reuse and instances that stand ready save the instantiation, scale-to-zero pays with starts from disk."""
    fresh_s, fresh = compared()
    reused_s, reused = compared(Reuse(max_instance_reuse_count=(1000, 1000), idle_instance_timeout_s=(1.0, 1.0)))
    ready_s, ready = compared(scaling=PolicySpec(policy="keep-warm", params=(("count", 4),)))
    zero_s, zero = compared(scaling=PolicySpec(policy="scale-to-zero", params=(("after_s", 2.0),)))

    assert fresh == ready == {"fresh": 1200}
    assert reused["reused"] > 1100
    assert zero["disk"] >= 11  # each burst but the first, which finds what the deploy has loaded
    assert abs(fresh_s - 0.020) < 0.001
    assert abs(reused_s - 0.004) < 0.001
    assert 0.004 < ready_s < 0.012  # one is made at a time, which 100 requests/s outrun
    assert zero_s > fresh_s
