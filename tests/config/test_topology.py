"""topology.yaml: the default world, everything that can be wrong with a file, and what a right one becomes."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from edgesim.config.catalogue import load_sites, network_model
from edgesim.config.resources import resource_path
from edgesim.config.topology import MAX_POPS, load_topology, parse_topology
from edgesim.config.yaml_source import load_yaml
from edgesim.errors import ConfigError
from edgesim.model.geo import LatLon
from edgesim.model.topology import Topology

HEAD = "version: 1\nname: test\n"


def world(text: str) -> Topology:
    """The topology in a text without its first two lines."""
    return parse_topology(load_yaml(HEAD + text, "topology.yaml"))


def problems(text: str) -> list[tuple[str, str, str]]:
    """Field, message and help of every problem of a text without its first two lines."""
    with pytest.raises(ConfigError) as error:
        world(text)
    return [(p.field, p.message, p.help) for p in error.value.problems]


def test_the_default_world():
    """It has 20 PoPs, on every inhabited continent, each in one region, with an origin and its delays."""
    topology = load_topology(resource_path("topology.yaml"))

    assert len(topology.pops) == 20
    assert sorted(p.id for p in topology.pops) == sorted(pop for pops in topology.regions.values() for pop in pops)
    assert {"enam", "sam", "weur", "afr", "apac", "oc"} <= set(topology.regions)
    assert all(p.region in topology.regions and p.id in topology.regions[p.region] for p in topology.pops)
    assert all(p.origin in topology.origins for p in topology.pops)
    assert topology.network.time_scale == 1.0
    network = network_model(topology)
    assert all(0 < network.pop_origin_rtt_s(p.id, p.origin) < 0.5 for p in topology.pops)


def test_profiles_and_overrides():
    """A PoP has its profile's numbers, but for those it gives itself."""
    topology = world(
        "defaults: {profile: medium}\n"
        "pops:\n  - fra1\n  - {id: gru1, profile: large, memory: 4GiB, slots: 30, queue: 0, queue_timeout: 250ms}\n"
    )

    fra, gru = topology.pops
    assert (fra.profile, fra.slots, fra.queue, fra.queue_timeout_s, fra.memory_bytes) == (
        "medium",
        32,
        256,
        1.0,
        2 << 30,
    )
    assert (gru.profile, gru.slots, gru.queue, gru.queue_timeout_s, gru.memory_bytes) == ("large", 30, 0, 0.25, 4 << 30)
    assert (fra.city, fra.country, fra.at) == ("Frankfurt", "DE", load_sites()["fra"].at)


def test_a_site_of_ones_own_and_a_moved_one():
    """Coordinates may be given for any PoP; without a regions section, regions come from the (nearest) site."""
    topology = world(
        "pops:\n  - {id: lab1, city: Reykjavik, country: IS, lat: 64.13, lon: -21.94}\n  - {id: fra2, lat: 1.5, lon: 2}\n  - nrt1\n"
    )

    lab, fra, _ = topology.pops
    assert (lab.city, lab.country, lab.at, lab.region) == ("Reykjavik", "IS", LatLon(64.13, -21.94), "weur")
    assert (fra.city, fra.at) == ("Frankfurt", LatLon(1.5, 2))
    assert topology.regions == {"weur": ("lab1", "fra2"), "apac": ("nrt1",)}


def test_origins():
    """An origin is at a PoP of the file, at a site, or at coordinates."""
    topology = world(
        "defaults: {origin: far}\n"
        "origins:\n"
        "  demo: {kind: builtin, at: lab1, latency: 5ms, capacity: 3}\n"
        "  near: {kind: url, at: iad, url: 'http://127.0.0.1:9000'}\n"
        "  far: {kind: url, at: {lat: -10, lon: 20}, url: 'https://example.org'}\n"
        "pops: [{id: lab1, city: R, country: IS, lat: 64, lon: -21}, {id: fra1, origin: near}]\n"
    )

    assert topology.origins["demo"].at == LatLon(64, -21)
    assert (topology.origins["demo"].latency_s, topology.origins["demo"].capacity) == (0.005, 3)
    assert topology.origins["near"].at == load_sites()["iad"].at
    assert topology.origins["far"].at == LatLon(-10, 20)
    assert [p.origin for p in topology.pops] == ["far", "near"]


def test_settings_of_routing_and_network():
    """All settings reach their values, with units."""
    topology = world(
        "network: {time_scale: 0, access_mix: lte}\n"
        "routing: {policy: proximity, health: {interval: 250ms, missed_beats: 4}, retry: {budget: 50%, attempts: 3, min_concurrency: 1}}\n"
        "pops: [fra1]\n"
    )

    assert (topology.network.time_scale, topology.network.access_mix) == (0.0, "lte")
    assert (topology.routing.health.interval_s, topology.routing.health.missed_beats) == (0.25, 4)
    assert (topology.routing.retry.budget, topology.routing.retry.attempts, topology.routing.retry.min_concurrency) == (
        0.5,
        3,
        1,
    )


@pytest.mark.parametrize(
    ("text", "field", "message", "help_"),
    [
        ("pops: [fxa1]", "pops.0.id", "no site 'fxa' in pops/sites.csv", "did you mean 'fra1' (Frankfurt)?"),
        ("pops: [fra]", "pops.0.id", "'fra' is not a PoP's id", "did you mean 'fra1' (Frankfurt)?"),
        ("pops: [FRA1]", "pops.0.id", "'FRA1' is not a PoP's id", "did you mean 'fra1' (Frankfurt)?"),
        (
            "pops: [fra1, nrt1, fra1]",
            "pops.2.id",
            "the PoP 'fra1' is there twice",
            "ids are unique; it stands already on line 3",
        ),
        (
            "pops: [{id: fra1, lat: 91, lon: 0}]",
            "pops.0.lat",
            "91: must be at most 90",
            "a number of degrees from -90 to 90",
        ),
        (
            "pops: [{id: fra1, lat: 50, lon: -181}]",
            "pops.0.lon",
            "-181: must be at least -180",
            "a number of degrees from -180 to 180",
        ),
        ("pops: [{id: fra1, lat: 50}]", "pops.0", "lon is missing", "coordinates need lat and lon"),
        (
            "pops: [{id: lab1, lat: 50, lon: 1}]",
            "pops.0.id",
            "'lab' is not in pops/sites.csv, and city and country are missing",
            "a site of one's own gives city, country, lat and lon",
        ),
        ("pops: [{id: fra1, memory: 4 cows}]", "pops.0.memory", "'4 cows' is not a size", "a size looks like"),
        ("pops: [{id: fra1, slots: 0}]", "pops.0.slots", "0: must be at least 1", "a whole number from 1 to 4096"),
        ("pops: [{id: fra1, profile: smal}]", "pops.0.profile", "no profile 'smal'", "did you mean 'small'?"),
        ("pops: [{id: fra1, origin: dmo}]", "pops.0.origin", "no origin 'dmo'", "did you mean 'demo'?"),
        (
            "defaults: {profile: huge}\npops: [fra1]",
            "defaults.profile",
            "no profile 'huge'",
            "profiles: large, medium, small",
        ),
        (
            "routing: {policy: proximty}\npops: [fra1]",
            "routing.policy",
            "no routing policy 'proximty'",
            "did you mean 'proximity'?",
        ),
        (
            "routing: {params: {k: 1}}\npops: [fra1]",
            "routing.params.k",
            "proximity has no parameter 'k'",
            "it has no parameters",
        ),
        (
            "routing: {health: {interval: 1 day}}\npops: [fra1]",
            "routing.health.interval",
            "'1 day' is not a duration",
            "a duration looks",
        ),
        (
            "network: {access_mix: dls}\npops: [fra1]",
            "network.access_mix",
            "no access mix 'dls'",
            "did you mean 'dsl'?",
        ),
        ("network: {modle: hub-graph}\npops: [fra1]", "network.modle", "unknown key 'modle'", "did you mean 'model'?"),
        (
            "regions: {weur: [fra1, frb1]}\npops: [fra1]",
            "regions.weur.1",
            "no PoP 'frb1' in this file",
            "did you mean 'fra1'?",
        ),
        (
            "regions: {a: [fra1], b: [fra1]}\npops: [fra1]",
            "regions.b.0",
            "'fra1' is in a region already",
            "exactly one",
        ),
        ("regions: {a: [fra1]}\npops: [fra1, nrt1]", "pops.1", "'nrt1' is in no region", "add it to one"),
        (
            "origins: {demo: {kind: builtin, at: xyz1}}\npops: [fra1]",
            "origins.demo.at",
            "no PoP or site 'xyz1'",
            "PoPs of this file: fra1",
        ),
        (
            "origins: {demo: {kind: url, at: iad}}\npops: [fra1]",
            "origins.demo",
            "an origin of kind url needs the URL of a server",
            "http://",
        ),
        (
            "origins: {demo: {kind: url, at: iad, url: 'ftp://x'}}\npops: [fra1]",
            "origins.demo.url",
            "an origin of kind url needs the URL of a server",
            "such as http://127.0.0.1:9000",
        ),
        (
            "origins: {o: {kind: builtin, at: iad}}\npops: [fra1]",
            "origins",
            "no origin 'demo', which is the default",
            "set defaults.origin",
        ),
        (
            "pops: [{id: fra1, lat: .nan, lon: 0}]",
            "pops.0.lat",
            "expected a number of degrees from -90 to 90, not '.nan'",
            "",
        ),
        (
            "pops: [{id: fra1, country: ZZZ}]",
            "pops.0.country",
            "'ZZZ' is not a country code",
            "two capital letters of ISO 3166-1, such as DE",
        ),
        ("pops: []", "pops", "expected at least 1 entry, not 0", f"a list of 1 to {MAX_POPS} PoPs"),
        ("pops: [7]", "pops.0", "expected a PoP's id, such as fra1, or a mapping {id: …}, not 7", ""),
        ("regions: {}", "pops", "the key 'pops' is missing", "add `pops: …`"),
    ],
)
def test_one_mistake(text, field, message, help_):
    """Each kind of mistake has one problem, with its field, its words and what to do."""
    ((got_field, got_message, got_help),) = problems(text)

    assert (got_field, got_message) == (field, message)
    assert help_ in got_help
    assert bool(help_) == bool(got_help)


def test_all_kinds_of_mistakes_at_once():
    """Mistakes of form, type, unit, range and reference are all in one answer, by line."""
    with pytest.raises(ConfigError) as error:
        world(
            "netwrk: {}\ndefaults: {profile: smal}\nregions: {a: [fra1, fra9]}\npops:\n  - fra1\n  - {id: nrt1, memory: big}\n  - fra1\n"
        )

    found = [(p.line, p.field) for p in error.value.problems]
    assert found == [
        (3, "netwrk"),
        (4, "defaults.profile"),
        (5, "regions.a.1"),
        (8, "pops.1"),
        (8, "pops.1.memory"),
        (9, "pops.2.id"),
    ]
    assert error.value.exit_code == 2
    assert error.value.problems[3].source == "  - {id: nrt1, memory: big}"


def test_too_many_pops():
    """One more than the limit is one problem, and the limit itself is fine."""
    entries = [
        f"  - {{id: {chr(97 + i // 676)}{chr(97 + i // 26 % 26)}{chr(97 + i % 26)}{d}, city: X, country: XX, lat: {i % 90}, lon: 1}}\n"
        for i in range(MAX_POPS // 10 + 1)
        for d in range(10)
    ]

    assert len(world("pops:\n" + "".join(entries[:MAX_POPS])).pops) == MAX_POPS
    assert problems("pops:\n" + "".join(entries[: MAX_POPS + 1])) == [
        ("pops", "expected at most 4200 entries, not 4201", f"a list of 1 to {MAX_POPS} PoPs, such as [fra1, nrt1]")
    ]


def test_sites_of_the_default_world_ship(tmp_path: Path):
    """The file works from anywhere: it refers only to data that ships."""
    copy = tmp_path / "mine.yaml"
    copy.write_text(resource_path("topology.yaml").read_text())

    assert load_topology(copy).name == "world-20"
    assert Counter(p.profile for p in load_topology(copy).pops)["small"] >= 15
