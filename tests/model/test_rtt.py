"""The RTT model: its figures, its bounds, and its agreement with measured tables."""

from __future__ import annotations

import csv
import json
from math import exp
from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgesim.config.catalogue import find_metro, load_access, load_hub_graph, network_model
from edgesim.config.resources import resource_path
from edgesim.config.topology import load_topology
from edgesim.model.address import client_address
from edgesim.model.geo import LatLon, Place, distance_km
from edgesim.model.ids import PopId
from edgesim.model.rtt import HubGraph, NetworkModel, pair_noise, setup_rtts
from tests.support.data import data_file

TOPOLOGY = load_topology(resource_path("topology.yaml"))
MODEL = network_model(TOPOLOGY)
GRAPH = load_hub_graph()
NRT, FRA = PopId("nrt1"), PopId("fra1")
LATLON = st.builds(LatLon, st.floats(-90, 90), st.floats(-180, 180))


def client(city: str, access: str = "cable", host: int = 5) -> Place:
    """A simulated client."""
    metro = find_metro(city)
    address = client_address(metro.id, load_access().names().index(access), host)
    return Place(address=address, at=metro.at, city=metro.city, country=metro.country, metro=metro.id, access=access)


@pytest.mark.parametrize(
    ("a", "b", "public_ms", "backbone_ms"),
    [
        ("London", "New York", 91, 83),
        ("London", "Frankfurt", 20, 14),
        ("New York", "Tokyo", 179, 169),
        ("Singapore", "Sydney", 114, 106),
        ("Sao Paulo", "New York", 126, 118),
        ("Johannesburg", "London", 164, 154),
        ("Frankfurt", "Tokyo", 247, 236),
    ],
)
def test_figures_of_the_fit(a, b, public_ms, backbone_ms):
    """The fitted model's values for known pairs, to the millisecond."""
    ends = GRAPH.attach(find_metro(a).at), GRAPH.attach(find_metro(b).at)

    assert round(GRAPH.rtt_public_s(*ends) * 1e3) == public_ms
    assert round(GRAPH.rtt_backbone_s(*ends) * 1e3) == backbone_ms


def test_a_graph_by_hand():
    """Path, detour through hubs, the short way below 500 km and the bound by light, on a graph of three hubs."""
    form = {"constant_ms": 2.0, "ms_per_100km": 1.5}
    hubs = {"A": [0, 0], "B": [0, 20], "C": [20, 20]}
    graph = HubGraph.from_values(
        {
            "forms": dict.fromkeys(("public", "backbone", "client"), form),
            "direct_km": 500,
            "hubs": hubs,
            "links": {"A": ["B"], "B": ["C"]},
        }
    )
    degree_km = distance_km(LatLon(0, 0), LatLon(0, 1))
    a, c, near = graph.attach(LatLon(0, 0)), graph.attach(LatLon(20, 20)), graph.attach(LatLon(0, 1))

    assert graph.path_km(a, c) == pytest.approx(40 * degree_km)
    assert graph.path_km(a, near) == pytest.approx(degree_km)
    assert graph.rtt_public_s(a, c) == pytest.approx((2.0 + 1.5 * 40 * degree_km / 100) / 1e3)
    assert graph.rtt_s(graph.public, a, c, factor=0.1) == pytest.approx(distance_km(a.at, c.at) / 1e5)


@given(LATLON, LATLON)
def test_never_faster_than_light_and_symmetric(a, b):
    """Any two places: not below 1 ms per 100 km, the same both ways, not absurd."""
    x, y = GRAPH.attach(a), GRAPH.attach(b)

    assert distance_km(a, b) / 1e5 <= GRAPH.rtt_backbone_s(x, y) <= 0.8
    assert GRAPH.path_km(x, y) == pytest.approx(GRAPH.path_km(y, x))


def test_path_of_a_client():
    """The client's form times the persistent noise of its metro and PoP; without the last mile."""
    tokyo, frankfurt = find_metro("Tokyo"), TOPOLOGY.pop("fra1")
    assert frankfurt is not None
    path_km = GRAPH.path_km(GRAPH.attach(tokyo.at), GRAPH.attach(frankfurt.at))
    noise = pair_noise("Tokyo,JP", "fra1")

    expected_s = max((2.6 + 1.452 * path_km / 100) * noise / 1e3, distance_km(tokyo.at, frankfurt.at) / 1e5)
    assert MODEL.client_rtt_s(client("Tokyo"), FRA) == pytest.approx(expected_s)
    assert MODEL.client_rtt_s(client("Tokyo", "lte", 77), FRA) == MODEL.client_rtt_s(client("Tokyo"), FRA)


def test_pair_noise_is_persistent_and_spread_as_stated():
    """The same pair has the same noise; over many pairs its median is near 1 and its tail holds the detours."""
    noises = sorted(pair_noise(f"m{i}", f"p{j}") for i in range(100) for j in range(20))

    assert pair_noise("a", "b") == pair_noise("a", "b") != pair_noise("b", "a")
    assert median(noises) == pytest.approx(1.0, abs=0.05)
    assert noises[len(noises) * 5 // 100] == pytest.approx(exp(-0.19 * 1.645), rel=0.1)
    assert 1.3 < noises[len(noises) * 97 // 100] < 2.2


@given(st.integers(0, 2**64 - 1))
def test_legs_are_halves_of_path_last_mile_and_jitter(bits):
    """Each leg is half of path and base plus half of its own jitter, taken from its own 11 bits."""
    place = client("Sydney", "lte")
    up_s, down_s = MODEL.legs(place, NRT, bits)
    fixed_s = MODEL.client_rtt_s(place, NRT) + MODEL.access_base_s(place)
    jitter = MODEL.access(place).jitter_table

    assert up_s == pytest.approx((fixed_s + jitter[bits % 2048]) / 2)
    assert down_s == pytest.approx((fixed_s + jitter[bits // 2048 % 2048]) / 2)


def test_a_client_keeps_its_last_mile():
    """The base depends on the address alone; over many clients its median is that of the class."""
    bases = [MODEL.access_base_s(client("London", "cable", host)) for host in range(0, 2048, 3)]

    assert MODEL.access_base_s(client("London", "cable", 9)) == bases[3]
    assert len(set(bases)) > 500
    assert median(bases) == pytest.approx(0.011, rel=0.08)


def test_places_that_are_no_metro():
    """A real client has a path by its coordinates to a tenth of a degree, and the access class of unknown clients."""
    place = Place(address="81.2.69.142", at=LatLon(51.5142, -0.0931))

    assert MODEL.client_rtt_s(place, PopId("lhr1")) < 0.02 < MODEL.client_rtt_s(place, NRT)
    assert MODEL.access(place).name == load_access().unknown
    assert MODEL.legs(place, NRT, 0) == MODEL.legs(place, NRT, 1 << 22)


def test_caches_are_bounded(monkeypatch):
    """Clients from everywhere do not grow the caches without end, and forgetting changes no value."""
    monkeypatch.setattr("edgesim.model.rtt._MAX_PATHS", 50)
    monkeypatch.setattr("edgesim.model.rtt._MAX_ENDS", 50)
    monkeypatch.setattr("edgesim.model.rtt._MAX_CLIENTS", 50)
    model = network_model(TOPOLOGY)
    places = [Place(address=f"198.51.100.{i}", at=LatLon(i / 5 - 20, i)) for i in range(180)]
    first = [model.legs(place, NRT, 7) for place in places]

    assert [model.legs(place, NRT, 7) for place in places] == first
    assert len(model._path_s) <= 50
    assert len(model._ends) <= 50
    assert len(model._base_s) <= 50


def test_unknown_pop():
    """Asking for a PoP that is not in the topology is the caller's mistake."""
    with pytest.raises(KeyError):
        MODEL.legs(client("Tokyo"), PopId("xyz9"), 0)


def test_origin_and_backbone():
    """The built-in origin is reached over the backbone, a URL over the public internet; both are symmetric in place."""
    far = TOPOLOGY.origins["demo"].at
    url = NetworkModel(
        graph=GRAPH,
        access=load_access(),
        pops=TOPOLOGY.pops,
        origins={"u": type(TOPOLOGY.origins["demo"])(name="u", kind="url", at=far, url="http://x")},
    )

    assert MODEL.pop_origin_rtt_s(PopId("iad1"), "demo") < 0.01
    assert MODEL.pop_origin_rtt_s(NRT, "demo") < url.pop_origin_rtt_s(NRT, "u")
    assert MODEL.pop_pop_rtt_s(NRT, FRA) == pytest.approx(MODEL.pop_pop_rtt_s(FRA, NRT))


def test_set_up():
    """TCP takes one round trip, TLS 1.3 one more."""
    assert (setup_rtts(secure=False), setup_rtts(secure=True)) == (1, 2)


def test_the_file_is_what_is_documented():
    """The coefficients in the module's table are those of the data file."""
    forms = json.loads(resource_path("pops/hub_graph.json").read_text())["forms"]

    assert {name: (form["constant_ms"], form["ms_per_100km"]) for name, form in forms.items()} == {
        "public": (9.68, 1.452),
        "backbone": (3.9, 1.419),
        "client": (2.6, 1.452),
    }


@pytest.mark.parametrize("form", ["public", "backbone"])
def test_agreement_with_azure(form):
    """Against measured round trips between cloud regions: median error at most 12 %, 90th percentile at most 35 %."""
    with data_file("rtt_azure.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    errors = []
    for row in rows:
        a = GRAPH.attach(LatLon(float(row["src_lat"]), float(row["src_lon"])))
        b = GRAPH.attach(LatLon(float(row["dst_lat"]), float(row["dst_lon"])))
        measured_s = float(row["rtt_p95_ms"]) / 1e3
        errors.append(abs(GRAPH.rtt_s(getattr(GRAPH, form), a, b) - measured_s) / measured_s)
    errors.sort()

    assert len(errors) >= 200
    assert median(errors) <= 0.12
    assert errors[int(len(errors) * 0.9)] <= 0.35
