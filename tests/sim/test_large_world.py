"""The largest world: 4,200 PoPs, most of them made up, simulated from the file that `topology generate` writes."""

from __future__ import annotations

from collections import Counter

from edgesim.config.catalogue import load_metros, network_model
from edgesim.config.topology import MAX_POPS, parse_topology
from edgesim.config.topology_generator import generate_world, to_yaml
from edgesim.config.yaml_source import load_yaml
from edgesim.model.events import PopReported, RequestRouted, RequestServed
from edgesim.model.geo import Place, distance_km
from edgesim.policies.routing.proximity import Policy
from edgesim.sim.leaves import Costs
from edgesim.sim.run import Simulation
from tests.support.request_path import APP, release


def test_every_metro_is_served_nearby():
    """A deploy reaches all PoPs, and a request from each of the 100 largest metros is served within 80 km."""
    topology = parse_topology(load_yaml(to_yaml(generate_world(MAX_POPS))))
    events = []
    sim = Simulation(
        topology, network=network_model(topology), policy=Policy(), costs=Costs(), seed=1, on_event=events.append
    )
    metros = sorted(load_metros(), key=lambda metro: -metro.weight)[:100]
    places = [Place(address=f"240.0.{m.id % 256}.1", at=m.at, metro=m.id, access="cable") for m in metros]
    sim.deploy(0.5, release())
    sim.arrive((5.0 + n / 100, APP, "/w", place) for n, place in enumerate(places))
    sim.run(8.0)

    home = {metro.id: metro.at for metro in metros}
    at = {pop.id: pop.at for pop in topology.pops}
    routed = [e for e in events if isinstance(e, RequestRouted)]
    assert Counter(e.state for e in events if isinstance(e, PopReported))["ready"] == MAX_POPS
    assert {e.outcome for e in events if isinstance(e, RequestServed)} == {"ok"}
    assert len(routed) == 100
    assert all(distance_km(at[e.pop], home[e.metro]) < 80 for e in routed)
