"""One suite for every routing policy, and `proximity` against distances computed without it."""

from __future__ import annotations

import random
from dataclasses import replace
from math import acos, cos, degrees, radians, sin

import pytest

from edgesim.config import registry
from edgesim.config.catalogue import load_metros
from edgesim.config.resources import resource_path
from edgesim.config.topology import ROUTING_POLICIES, parse_topology
from edgesim.config.yaml_source import load_yaml
from edgesim.model.geo import LatLon, Place
from edgesim.policies.routing.proximity import Policy as Proximity

TEXT = resource_path("topology.yaml").read_text(encoding="utf-8")
TOPOLOGY = parse_topology(load_yaml(TEXT, "topology.yaml"))
CLIENTS = [Place(address="240.0.72.5", at=metro.at, metro=metro.id) for metro in load_metros()]


def angle(a: LatLon, b: LatLon) -> float:
    """Degrees between two places, by the spherical law of cosines: a formula that the product does not use."""
    p, q = radians(a.lat), radians(b.lat)
    return degrees(acos(max(-1.0, min(1.0, sin(p) * sin(q) + cos(p) * cos(q) * cos(radians(a.lon - b.lon))))))


@pytest.mark.parametrize("name", registry.names(ROUTING_POLICIES))
def test_contract(name):
    """Every policy ranks each PoP once, whatever the order they come in, and is called as its file."""
    policy = registry.load(ROUTING_POLICIES)[name]()
    shuffled = list(TOPOLOGY.pops)
    random.Random(1).shuffle(shuffled)

    assert policy.name == name
    for client in CLIENTS[:20]:
        ranked = policy.rank(client, TOPOLOGY.pops)
        assert sorted(ranked) == sorted(pop.id for pop in TOPOLOGY.pops)
        assert policy.rank(client, shuffled) == ranked
    assert policy.rank(CLIENTS[0], []) == ()


def test_proximity_is_the_order_of_distances():
    """For every metro, ranks recomputed from the coordinates alone are the policy's."""
    for client in CLIENTS:
        expected = sorted((angle(client.at, pop.at), pop.id) for pop in TOPOLOGY.pops)

        assert [pop for _, pop in expected] == list(Proximity().rank(client, TOPOLOGY.pops))


def test_some_that_everybody_knows():
    """Nearest PoPs that need no computation."""
    nearest = {m.city: Proximity().rank(c, TOPOLOGY.pops)[0] for m, c in zip(load_metros(), CLIENTS, strict=True)}

    assert nearest["Tokyo"] == "nrt1"
    assert nearest["London"] == "lhr1"
    assert nearest["Cape Town"] == "jnb1"
    assert nearest["Auckland"] == "akl1"
    assert nearest["Rio de Janeiro"] == "gru1"
    assert nearest["Accra"] == "los1"


def test_ties_go_by_id():
    """PoPs at the same place are ranked by id."""
    pop = TOPOLOGY.pops[0]
    twins = [replace(pop, id=name) for name in ("iad3", "iad1", "iad2")]

    assert Proximity().rank(CLIENTS[0], twins) == ("iad1", "iad2", "iad3")


def test_moving_a_pop_in_the_file_changes_the_answer():
    """The client in Frankfurt goes elsewhere when fra1 moves to the Pacific, and Honolulu gets it."""
    moved = TEXT.replace("{id: fra1, profile: medium}", "{id: fra1, profile: medium, lat: 21.3, lon: -157.8}")
    assert moved != TEXT
    topology = parse_topology(load_yaml(moved, "topology.yaml"))
    by_city = {m.city: c for m, c in zip(load_metros(), CLIENTS, strict=True)}

    assert Proximity().rank(by_city["Frankfurt"], TOPOLOGY.pops)[0] == "fra1"
    assert Proximity().rank(by_city["Honolulu"], TOPOLOGY.pops)[0] != "fra1"
    assert Proximity().rank(by_city["Frankfurt"], topology.pops)[0] != "fra1"
    assert Proximity().rank(by_city["Honolulu"], topology.pops)[0] == "fra1"
