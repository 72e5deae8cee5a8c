"""Who is in a population, and what time it is there."""

from __future__ import annotations

import pytest

from edgesim.config.catalogue import load_metros
from edgesim.config.scenario_clients import population, utc_offset_s
from edgesim.config.scenario_load import PopulationFile
from edgesim.errors import UsageError


def clients(**description: object) -> dict[str, float]:
    """Weight by city of a population."""
    file = PopulationFile.model_validate({"name": "p", **description})
    out: dict[str, float] = {}
    for each in population(file).clients:
        out[each.metro.city] = out.get(each.metro.city, 0.0) + each.weight
    return out


def test_cities_and_countries_add_up() -> None:
    """Without either, everybody."""
    assert set(clients(metros=["Tokyo"], country=["CL"])) >= {"Tokyo", "Santiago"}
    assert len(clients()) == len(load_metros())


def test_networks_choose_metros_and_access_classes() -> None:
    """A metro is a /18, an access class of it a /21, and half a class counts half; IPv4, loopback and IPv6 alike."""
    tokyo = clients(metros=["Tokyo"])["Tokyo"]
    first = {c.access for c in population(PopulationFile(name="p", cidr=["240.0.64.0/21"])).clients}

    assert clients(cidr=["240.0.64.0/18"]) == pytest.approx({"Tokyo": tokyo})
    assert clients(cidr=["127.0.64.0/18"]) == pytest.approx({"Tokyo": tokyo})
    assert clients(cidr=["2001:db8:1::/48"]) == pytest.approx({"Tokyo": tokyo})
    assert len(first) == 1
    whole, half = (clients(cidr=[network])["Tokyo"] for network in ("240.0.64.0/21", "240.0.64.0/22"))
    assert half == pytest.approx(whole / 2)


def test_clocks_are_asked_only_when_they_matter() -> None:
    """In January, so that a run in summer says the same; not at all without a time of day."""
    file = PopulationFile(name="p", metros=["London", "New York", "Mumbai"])

    assert {c.utc_offset_s for c in population(file).clients} == {0.0}
    found = {c.metro.city: c.utc_offset_s / 3600 for c in population(file, clocks=True).clients}
    assert found == {"London": 0.0, "New York": -5.0, "Mumbai": 5.5}


def test_a_system_without_time_zones_is_told_what_to_install() -> None:
    """Some containers have none."""
    with pytest.raises(UsageError, match="does not know the time zone Nowhere/Atlantis") as caught:
        utc_offset_s("Nowhere/Atlantis")

    assert "tzdata" in caught.value.help


def test_every_metro_has_a_clock() -> None:
    """The catalogue's zones are known here."""
    assert all(-12 * 3600 <= utc_offset_s(metro.timezone) <= 14 * 3600 for metro in load_metros())
