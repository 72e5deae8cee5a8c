"""Three hundred PoPs on one machine: they come up, are deployed to, serve whom they are near to, and fail over."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from edgesim.config.catalogue import find_metro
from edgesim.config.topology_generator import generate_world, to_yaml
from edgesim.model.geo import distance_km
from tests.e2e.edge import WORKERS, Edge, running_edge, until

pytestmark = pytest.mark.e2e

WORLD = generate_world(300)
METROS = ("Lagos", "Tokyo", "Sao Paulo", "Auckland", "Anchorage", "Warsaw", "Riyadh", "Miami")
PSS_MAX_MB = 600


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    """The generated world with `hello` on it."""
    folder = tmp_path_factory.mktemp("large")
    with running_edge(folder, topology=to_yaml(WORLD), processes=3, time_scale=0) as edge:
        edge.cli("deploy", WORKERS / "hello")
        yield edge


def nearest(metro: str) -> str:
    """The PoP that is nearest to a metro."""
    at = find_metro(metro).at
    return min(WORLD.pops, key=lambda pop: distance_km(at, pop.at)).id


def test_all_are_ready(edge: Edge) -> None:
    """Every PoP runs the app, and all processes together weigh less than 600 MB."""
    pops = edge.pops()

    assert set(pops) == {pop.id for pop in WORLD.pops}
    assert {(row["state"], *row["apps"].items()) for row in pops.values()} == {("ready", ("hello", 1))}
    assert sum(map(pss_mb, edge.pids())) < PSS_MAX_MB


@pytest.mark.parametrize("metro", METROS)
def test_the_nearest_answers(edge: Edge, metro: str) -> None:
    """Clients are served by the PoP that is nearest to them."""
    answer = edge.http("hello", metro=metro)

    assert (answer.status, answer.pop) == (200, nearest(metro))


def test_one_of_many_dies(edge: Edge) -> None:
    """Its clients go elsewhere without an error, and come back when it does."""
    pop = nearest("Lagos")
    edge.cli("pops", "kill", pop)

    elsewhere = edge.http("hello", metro="Lagos")
    assert elsewhere.status == 200
    assert elsewhere.pop != pop

    edge.cli("pops", "restart", pop)
    until(lambda: edge.http("hello", metro="Lagos").pop == pop, what="its clients are back")


def pss_mb(pid: int) -> float:
    """Proportional set size of a process (proc(5), smaps_rollup)."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise AssertionError(f"no Pss of process {pid}")
