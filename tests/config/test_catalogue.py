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
from edgesim.errors import ConfigError, UsageError
from edgesim.model.geo import LatLon, distance_km
from tests.support.data import data_file


def test_sites():
    """At least 300 sites in every region, with well-formed codes, no place twice."""
    sites = load_sites()

    assert len(sites) >= 300
    assert len({(s.city, s.country) for s in sites.values()}) == len(sites)
    assert len({s.country for s in sites.values()}) >= 130
    assert {s.region for s in sites.values()} == {"enam", "wnam", "sam", "weur", "eeur", "me", "afr", "apac", "oc"}
    assert all(len(s.iata) == 3 and s.iata.isalpha() and s.iata.islower() for s in sites.values())
    assert all(len(s.country) == 2 and s.country.isupper() for s in sites.values())


def test_metros():
    """At least 200 metros with ids of the address plan, real time zones and positive weights; regions all have some."""
    metros = load_metros()

    assert len(metros) >= 200
    assert [m.id for m in metros] == list(range(1, len(metros) + 1))
    assert len({(m.city, m.country) for m in metros}) == len(metros)
    assert all(m.weight > 0 for m in metros)
    assert all(ZoneInfo(m.timezone).key == m.timezone for m in metros)
    assert len({m.country for m in metros}) >= 120
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
    assert plan.mix("ZZ") == plan.mixes[plan.default_mix]


def test_every_country_has_an_access_mix():
    """Countries of sites and metros are in exactly one income group: the default is for addresses from elsewhere."""
    plan = load_access()
    countries = {m.country for m in load_metros()} | {s.country for s in load_sites().values()}

    assert countries - set(plan.country_mix) == set()
    assert set(plan.country_mix.values()) == {"high", "upper-middle", "lower-middle", "low"}


@pytest.mark.parametrize(
    ("load", "file", "row", "message"),
    [
        (load_sites, "pops/sites.csv", "iata,city,country,lat,lon,region\nFRA,Frankfurt,DE,50,8,weur", "'FRA' is no code"),
        (load_sites, "pops/sites.csv", "iata,city,country,lat,lon,region\nfra,Frankfurt,DE,95,8,weur", "between -90 and 90"),
        (load_sites, "pops/sites.csv", "iata,city,country,lat,lon,region\nfra,Frankfurt,DE,50,weur", "too few cells"),
        (load_metros, "pops/metros.csv", "id,city,country,lat,lon,weight,timezone\n2,Tokyo,JP,35,139,33,Asia/Tokyo", "'2' is not 1"),
        (load_metros, "pops/metros.csv", "id,city,country,lat,lon,weight,timezone\n1,Tokyo,JP,35,139,x,Asia/Tokyo", "'x' is no number"),
        (load_metros, "pops/metros.csv", "id,city,country,lat,lon,weight,timezone\n1,Tokyo,JP,35,139,3,Tokyo", "no IANA time zone"),
        (load_metros, "pops/metros.csv", "id,city,country,lat,lon,weight,timezone\n1,Tokyo,Japan,35,139,3,Asia/Tokyo", "no country code"),
    ],
)  # fmt: skip
def test_mistakes_are_told_by_line(load, file, row, message, tmp_path, monkeypatch):
    """A mistake in the catalogue is reported like one in a user's file: where it stands, and what it should be."""
    (tmp_path / "wrong.csv").write_text(row + "\n")
    monkeypatch.setattr("edgesim.config.catalogue.resource_path", lambda _: tmp_path / "wrong.csv")

    with pytest.raises(ConfigError) as error:
        load.__wrapped__()

    (problem,) = error.value.problems
    assert message in problem.message
    assert (problem.file, problem.line) == (file, 2)


def test_hub_graph_is_connected():
    """Every place can reach every other; construction itself asserts that all hubs are connected."""
    graph = load_hub_graph()
    ends = [graph.attach(m.at) for m in load_metros()]

    assert all(graph.path_km(a, b) < 30_000 for a in ends for b in ends[:5])


def test_sites_are_where_others_say():
    """Our coordinates of sites are within 50 km of a list of providers' PoPs (airports).

    Where that list has one wrong (Salvador is 808 km off), the same city in a list of populated places counts.
    """
    with data_file("pops.csv").open(encoding="utf-8") as file:
        others = {row["iata"].lower(): LatLon(float(row["lat"]), float(row["lon"])) for row in csv.DictReader(file)}
    cities = _populated_places()
    far = {
        s.iata: min(distance_km(s.at, at) for at in (others[s.iata], *cities.get((s.city, s.country), ())))
        for s in load_sites().values()
        if s.iata in others
    }

    assert len(far) >= 300
    assert max(far.values()) < 50, max(far, key=lambda iata: far[iata])


def test_metros_are_where_others_say():
    """Our coordinates of metros are within 50 km of the same city in a list of populated places."""
    others = _populated_places()
    far = {
        m.city: min(distance_km(m.at, at) for at in others[m.city, m.country])
        for m in load_metros()
        if (m.city, m.country) in others
    }

    assert len(far) >= 200
    assert max(far.values()) < 50, max(far, key=lambda city: far[city])


def _populated_places():
    """Places of the list by city and country; there are namesakes."""
    places = {}
    with data_file("metros.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            at = LatLon(float(row["lat"]), float(row["lon"]))
            places.setdefault((row["city"], row["country"]), []).append(at)
    return places
