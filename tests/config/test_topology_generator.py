"""Generated worlds: valid files, the same for the same arguments, near to people, honest about what is made up."""

from __future__ import annotations

import pytest

from edgesim.config.catalogue import load_metros, load_sites, nearest_site
from edgesim.config.topology import MAX_POPS, parse_topology
from edgesim.config.topology_generator import GENERATED_BY, generate_world, to_yaml
from edgesim.config.yaml_source import load_yaml
from edgesim.errors import UsageError
from edgesim.model.geo import distance_km


def loaded(world):
    """The world after a round trip through its file."""
    return parse_topology(load_yaml(to_yaml(world)))


@pytest.mark.parametrize("count", [1, 20, 300])
def test_worlds_are_valid_topologies(count):
    """The file is one that `edgesim up` takes, with every PoP in one region, at the catalogue's places."""
    topology = loaded(generate_world(count))

    assert len(topology.pops) == count
    assert sum(len(pops) for pops in topology.regions.values()) == count
    assert all(pop.at == load_sites()[pop.id[:3]].at for pop in topology.pops)
    assert topology.origins["demo"].at in {pop.at for pop in topology.pops}


def test_worlds_are_well_spread():
    """Twenty PoPs reach most regions, 100 reach all, and more PoPs are nearer to people."""
    small, middle, large = (generate_world(count) for count in (20, 100, 300))

    assert len({pop.region for pop in small.pops}) >= 7
    assert len({pop.region for pop in middle.pops}) == 9
    assert small.mean_km > 2 * middle.mean_km > 4 * large.mean_km
    assert large.p95_km < 150


def test_greedy_choice_is_better_than_any_single_swap_of_the_first():
    """The first PoP is the one that alone is best: no other site has a lower cost by demand and root of distance."""
    (first,) = generate_world(1, ["weur"]).pops
    metros = [m for m in load_metros() if nearest_site(m.at).region == "weur"]
    sites = [s for s in load_sites().values() if s.region == "weur"]

    def cost(at):
        return sum(m.weight * distance_km(m.at, at) ** 0.5 for m in metros) + 0.05 * sum(
            distance_km(s.at, at) ** 0.5 for s in sites
        )

    assert first.id[:3] == min(sites, key=lambda s: cost(s.at)).iata


def test_smaller_worlds_begin_larger_ones():
    """The order of choice does not depend on how many are wanted."""
    small = [pop.id for pop in generate_world(20).pops]

    assert [pop.id for pop in generate_world(60).pops][:20] == small


def test_seed():
    """The same seed makes the same file to the byte; another one makes another world."""
    assert to_yaml(generate_world(40, seed=7)) == to_yaml(generate_world(40, seed=7))
    assert {p.id for p in generate_world(40, seed=7).pops} != {p.id for p in generate_world(40).pops}
    assert "--seed 7" in to_yaml(generate_world(40, seed=7)).splitlines()[0]


def test_regions():
    """Only sites of the regions that were named, and a file that says so."""
    world = generate_world(12, ["oc", "afr"])

    assert {pop.region for pop in world.pops} == {"oc", "afr"}
    assert f"{GENERATED_BY} --pops 12 --region oc --region afr" in to_yaml(world)
    assert loaded(world).name == "oc-afr-12"


def test_beyond_the_catalogue():
    """What no site is there for is made up around metros, in proportion to demand, and marked as such everywhere."""
    world = generate_world(60, ["oc"])
    topology = loaded(world)
    sites = sum(site.region == "oc" for site in load_sites().values())
    made_up = [pop for pop in topology.pops if pop.id.startswith("x")]

    assert len(made_up) == world.generated == 60 - sites
    assert all(pop.city.startswith("near ") for pop in made_up)
    assert f"# {world.generated} more are made up around metros" in to_yaml(world)
    assert {pop.region for pop in made_up} == {"oc"}
    near = {pop.city.removeprefix("near ") for pop in made_up}
    assert {"Sydney", "Melbourne"} <= near
    by_city = {m.city: m for m in load_metros() if nearest_site(m.at).region == "oc"}
    assert all(distance_km(pop.at, by_city[pop.city.removeprefix("near ")].at) < 80 for pop in made_up)


def test_largest_world():
    """4,200 PoPs: unique ids and places, each at most 80 km from its metro or at a site; the file loads."""
    topology = loaded(generate_world(MAX_POPS))

    assert len({pop.id for pop in topology.pops}) == MAX_POPS
    assert len({pop.at for pop in topology.pops}) == MAX_POPS
    metros = {(f"near {m.city}", m.country): m.at for m in load_metros()}
    for pop in topology.pops:
        at = metros.get((pop.city, pop.country)) or load_sites()[pop.id[:3]].at
        assert distance_km(pop.at, at) < 80


def test_one_region_alone_can_be_as_large():
    """Ids suffice when all PoPs stand around the few metros of one region."""
    topology = loaded(generate_world(MAX_POPS, ["me"]))

    assert len(topology.pops) == MAX_POPS


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        ((0,), "1 to 4200 PoPs, not 0", ""),
        ((4201,), "1 to 4200 PoPs, not 4201", ""),
        ((5, ["weu"]), "no region 'weu'", "did you mean 'weur'?"),
        ((5, ["zz"]), "no region 'zz'", "enam"),
    ],
)
def test_what_cannot_be(arguments, message, hint):
    """Numbers out of range and unknown regions are told, with what there is."""
    with pytest.raises(UsageError, match=message) as error:
        generate_world(*arguments)

    assert hint in error.value.help
