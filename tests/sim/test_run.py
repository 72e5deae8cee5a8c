"""Whole simulations: deploys, kills and restarts at given times, and nothing but a function of the seed."""

from __future__ import annotations

from collections import Counter

from edgesim.model.events import PopReported, RequestRouted, RequestServed
from edgesim.model.geo import LatLon
from edgesim.model.ids import PopId
from edgesim.model.topology import NetworkSpec, OriginSpec, RoutingSpec, Topology
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
