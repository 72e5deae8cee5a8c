"""The data in pops/: complete, well-formed, and near what others say."""

from __future__ import annotations

import csv
from zoneinfo import ZoneInfo

import pytest

from edgesim.config.catalogue import (
    find_metro,
    load_access,
    load_hub_graph,
    load_metros,
    load_profiles,
    load_sites,
    nearest_site,
)
from edgesim.errors import UsageError
from edgesim.model.geo import LatLon, distance_km
from tests.support.data import data_file


def test_sites():
    """At least 60 sites on every inhabited continent, with well-formed codes."""
    sites = load_sites()

    assert len(sites) >= 60
    assert {s.region for s in sites.values()} == {"enam", "wnam", "sam", "weur", "eeur", "me", "afr", "apac", "oc"}
    assert all(len(s.iata) == 3 and s.iata.isalpha() and s.iata.islower() for s in sites.values())
    assert all(len(s.country) == 2 and s.country.isupper() for s in sites.values())


def test_metros():
    """At least 60 metros with ids of the address plan, real time zones and positive weights; regions all have some."""
    metros = load_metros()

    assert len(metros) >= 60
    assert [m.id for m in metros] == list(range(1, len(metros) + 1))
    assert len({(m.city, m.country) for m in metros}) == len(metros)
    assert all(m.weight > 0 for m in metros)
    assert all(ZoneInfo(m.timezone).key == m.timezone for m in metros)
    assert {nearest_site(m.at).region for m in metros} >= {
        "enam",
        "wnam",
        "sam",
        "weur",
        "eeur",
        "me",
        "afr",
        "apac",
        "oc",
    }


def test_metros_are_append_only():
    """Ids are part of client addresses, so the first ones may never change."""
    metros = {m.id: m.city for m in load_metros()}

    assert [metros[i] for i in (1, 5, 26, 56, 73, 120)] == [
        "Tokyo",
        "Sao Paulo",
        "London",
        "Sydney",
        "Cape Town",
        "Helsinki",
    ]


@pytest.mark.parametrize("name", ["Sao Paulo", "são paulo", "SÃO  PAULO", "Sao Paulo, BR", "5"])
def test_find_metro(name):
    """Case, accents and spaces do not matter; an id and a country work too."""
    assert find_metro(name).id == 5


def test_unknown_metro():
    """A typo gets a suggestion in the spelling of the catalogue."""
    with pytest.raises(UsageError, match="no metro 'Tokio'") as error:
        find_metro("Tokio")

    assert error.value.help == "did you mean 'Tokyo'?"


def test_profiles():
    """The three profiles grow in everything."""
    small, medium, large = (load_profiles()[name] for name in ("small", "medium", "large"))

    assert small.slots < medium.slots < large.slots
    assert small.memory_bytes < medium.memory_bytes < large.memory_bytes
    assert all(p.queue >= p.slots and p.queue_timeout_s > 0 for p in (small, medium, large))


def test_access_plan():
    """The order of the classes is that of the address plan, and the mix depends on the country or on the topology."""
    plan = load_access()

    assert plan.names() == ("fttp", "cable", "dsl", "lte", "5g", "fwa", "leo", "geo")
    assert plan.mix("JP") == plan.mixes["high"]
    assert plan.mix("NO") == plan.mixes["high"]
    assert plan.mix("BR") == plan.mixes["upper-middle"]
    assert plan.mix("IN")["lte"] > plan.mix("US")["lte"]
    assert plan.mix("JP", "low") == plan.mixes["low"]
    assert plan.mix("JP", "leo") == {"leo": 1.0}
    assert {m.country for m in load_metros()} - set(plan.country_mix) <= {"AR", "BR", "CN", "CO", "CR", "DO", "DZ", "EC", "FJ", "GT", "ID", "IQ", "IR", "KZ", "MX", "MY", "PE", "RU", "TH", "TR", "UA", "VE", "ZA"}  # fmt: skip


def test_hub_graph_is_connected():
    """Every place can reach every other; construction itself asserts that all hubs are connected."""
    graph = load_hub_graph()
    ends = [graph.attach(m.at) for m in load_metros()]

    assert all(graph.path_km(a, b) < 30_000 for a in ends for b in ends[:5])


def test_sites_are_where_others_say():
    """Our coordinates of sites are within 50 km of a list of providers' PoPs (airports)."""
    with data_file("pops.csv").open(encoding="utf-8") as file:
        others = {row["iata"].lower(): LatLon(float(row["lat"]), float(row["lon"])) for row in csv.DictReader(file)}
    far = {s.iata: distance_km(s.at, others[s.iata]) for s in load_sites().values() if s.iata in others}

    assert len(far) >= 60
    assert max(far.values()) < 50, max(far, key=lambda iata: far[iata])


def test_metros_are_where_others_say():
    """Our coordinates of metros are within 50 km of the same city in a list of populated places."""
    with data_file("metros.csv").open(encoding="utf-8") as file:
        others = {(r["city"], r["country"]): LatLon(float(r["lat"]), float(r["lon"])) for r in csv.DictReader(file)}
    far = {m.city: distance_km(m.at, others[m.city, m.country]) for m in load_metros() if (m.city, m.country) in others}

    assert len(far) >= 60
    assert max(far.values()) < 50, max(far, key=lambda city: far[city])
