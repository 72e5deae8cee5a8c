"""Who answers whom: on a running edge, against distances that are computed here, without the router's code."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import pytest
import yaml

from edgesim.config.resources import resource_path
from tests.e2e.edge import SMALL_WORLD, WORKERS, Edge, running_edge, until
from tests.support.data import data_file

pytestmark = pytest.mark.e2e


def rows(name: str) -> list[dict[str, str]]:
    """A table of the catalogue."""
    with resource_path(f"pops/{name}.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def vector(lat: float, lon: float) -> tuple[float, float, float]:
    """A point on the unit sphere."""
    phi, lam = math.radians(lat), math.radians(lon)
    return math.cos(phi) * math.cos(lam), math.cos(phi) * math.sin(lam), math.sin(phi)


def order(at: tuple[float, float], pops: dict[str, tuple[float, float]]) -> list[str]:
    """PoPs by the angle between them and a place, the nearest first."""
    here = vector(*at)
    angles = {
        pop: math.acos(min(1.0, sum(a * b for a, b in zip(here, vector(*there), strict=True))))
        for pop, there in pops.items()
    }
    return sorted(angles, key=angles.__getitem__)


def default_world() -> dict[str, tuple[float, float]]:
    """Where the PoPs of topology.yaml are: the site of their first three letters."""
    sites = {row["iata"]: (float(row["lat"]), float(row["lon"])) for row in rows("sites")}
    entries = yaml.safe_load(resource_path("topology.yaml").read_text())["pops"]
    names = [entry if isinstance(entry, str) else entry["id"] for entry in entries]
    return {name: sites[name[:3]] for name in names}


def test_the_nearest_pop_answers_everywhere(shared_edge: Edge) -> None:
    """Every metro of the catalogue: the PoP that answers, and the first five ranks of the explanation."""
    pops = default_world()
    metros = rows("metros")
    assert (len(pops), len(metros) >= 60) == (20, True)
    wrong = []
    for metro in metros:
        expected = order((float(metro["lat"]), float(metro["lon"])), pops)
        answer = shared_edge.http("hello", metro=f"{metro['city']}, {metro['country']}")
        ranked = [entry[0] for entry in answer.route["ranked"]]
        if (answer.status, answer.pop, ranked) != (200, expected[0], expected[:5]):
            wrong.append((metro["city"], answer.status, answer.pop, ranked, expected[:5]))

    assert wrong == []


def test_moving_a_pop_changes_who_answers(tmp_path: Path) -> None:
    """Istanbul is fra1's; a PoP of one's own, first far away and then next door, takes it over only there."""
    lab = "{id: lab1, city: Somewhere, country: TR, lat: %s, lon: %s}"
    answers = []
    with running_edge(tmp_path, topology=SMALL_WORLD.replace("pops: [", f"pops: [{lab % (-41.0, 29.0)}, ")) as edge:
        edge.cli("deploy", WORKERS / "hello")
        answers.append(edge.http("hello", metro="Istanbul").pop)
        assert edge.stop() == 0
        (edge.folder / "topology.yaml").write_text(SMALL_WORLD.replace("pops: [", f"pops: [{lab % (41.0, 29.0)}, "))
        edge.start()
        until(lambda: edge.http("hello", metro="Istanbul").pop == "lab1", timeout_s=10, what="lab1 beats")
        answers.append(edge.http("hello", metro="Istanbul").pop)
        answers.append(edge.http("hello", metro="Tokyo").pop)

    assert answers == ["fra1", "lab1", "nrt1"]


def test_a_geoip_database_of_ones_own(shared_edge: Edge, tmp_path: Path) -> None:
    """81.2.69.142 is nowhere to the generated database, and in Britain to MaxMind's: another PoP answers."""
    database = data_file("GeoIP2-City-Test.mmdb")
    without = shared_edge.http("hello", address="81.2.69.142")
    with running_edge(tmp_path, topology=None, processes=1, time_scale=0, geoip_db=database) as edge:
        edge.cli("deploy", WORKERS / "hello")
        with_it = edge.http("hello", address="81.2.69.142")
        tokyo = edge.http("hello", metro="Tokyo")

    assert with_it.route["client"]["country"] == "GB"
    assert with_it.pop == "lhr1"
    assert tokyo.pop == "nrt1"
    assert without.route["client"] != with_it.route["client"]
