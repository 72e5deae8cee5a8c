"""kill -9 of each process with traffic on: the rest serves from its last good state, and all comes back by itself."""

from __future__ import annotations

import hashlib
import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from http.client import HTTPException

import pytest

from tests.e2e.edge import WORKERS, Edge, Traffic, running_edge, until
from tests.support.tools import require_tool

pytestmark = pytest.mark.e2e

METROS = ("Frankfurt", "New York", "Tokyo")
HOME = {"fra1", "iad1", "nrt1"}
"""Their nearest PoPs, all on host1; the next nearest, lhr1, ord1 and sin1, are on host2."""


@pytest.fixture(scope="module")
def module_edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    """A small world over mosquitto that is killed piece by piece."""
    require_tool("mosquitto")
    with running_edge(tmp_path_factory.mktemp("kills"), broker="mosquitto") as running:
        running.cli("deploy", WORKERS / "hello")
        yield running


@pytest.fixture
def edge(module_edge: Edge) -> Edge:
    """That edge, whole again after the last test."""
    until(lambda: is_whole(module_edge), what="the edge is whole")
    return module_edge


def newest(edge: Edge) -> int:
    """The version of `hello` that PoPs shall run."""
    return int(edge.api("GET", "/v1/status").json()["apps"]["hello"])


def is_whole(edge: Edge) -> bool:
    """Whether every PoP serves the newest version; False too while the control plane is away after a failed test."""
    with suppress(OSError, HTTPException):
        return edge.converged("hello", newest(edge))
    return False


def pids(edge: Edge, *names: str) -> list[int]:
    """Process ids by name."""
    return [edge.pid(name) for name in names]


def reborn(edge: Edge, name: str, former: int) -> None:
    """Wait for a new process in the place of a killed one."""
    until(lambda: edge.pid(name) not in (0, former), what=f"{name} is back")


def test_a_pop_host(edge: Edge) -> None:
    """No request fails: the neighbours on the other host answer, and the dead ones take over again."""
    others = pids(edge, "control", "host2", "front-door", "mosquitto")
    with Traffic(edge, "hello", METROS) as traffic:
        former = edge.kill_9("host1")
        traffic.more(60)
        seen = len(traffic.answers)
        reborn(edge, "host1", former)
        until(lambda: edge.converged("hello", newest(edge)))
        until(lambda: {pop for _, _, pop, _ in traffic.answers[-6:]} == HOME, what="home again")

    assert traffic.failed == []
    assert {"lhr1", "ord1", "sin1"} <= {pop for _, _, pop, _ in traffic.answers[:seen]}
    assert pids(edge, "control", "host2", "front-door", "mosquitto") == others
    assert edge.record.child("host1").restarts >= 1


def test_the_control_plane_and_with_it_its_broker(edge: Edge) -> None:
    """Not one request notices; deployments work again by themselves."""
    others = pids(edge, "host1", "host2", "front-door")
    broker = edge.pid("mosquitto")
    version = newest(edge)
    with Traffic(edge, "hello", METROS) as traffic:
        former = edge.kill_9("control")
        until(lambda: edge.pid("mosquitto") != broker, what="mosquitto dies with its parent")
        traffic.more(60)
        reborn(edge, "control", former)
        until(lambda: edge.converged("hello", version))
        edge.cli("deploy", WORKERS / "hello")
        traffic.more(10)

    assert traffic.failed == []
    assert [answer for answer in traffic.answers if answer[2] not in HOME] == []
    assert pids(edge, "host1", "host2", "front-door") == others
    assert newest(edge) == version + 1


def test_what_was_acknowledged_is_not_lost(edge: Edge) -> None:
    """SIGKILL of the control plane in the instant of its 201: the version is rolled out after its restart."""
    wasm = (WORKERS / "hello-v2" / "hello.wasm").read_bytes()
    digest = hashlib.sha256(wasm).hexdigest()
    assert edge.api("PUT", f"/v1/blobs/sha256/{digest}", wasm).status in (200, 201)
    body = {"components": [{"id": "hello", "digest": digest}], "routes": [{"pattern": "/...", "component": "hello"}]}
    former = edge.pid("control")
    with Traffic(edge, "hello", METROS) as traffic:
        answer = edge.api("POST", "/v1/apps/hello/deployments", body)
        edge.kill_9("control")
        reborn(edge, "control", former)
        until(lambda: edge.converged("hello", answer.json()["version"]))
        traffic.more(10)

    assert answer.status == 201
    assert traffic.failed == []
    assert edge.http("hello", metro="Tokyo").body.startswith(b"welcome from nrt1")


def test_mosquitto_alone(edge: Edge) -> None:
    """It is started again by the control plane, everybody reconnects, and deployments arrive."""
    others = pids(edge, "control", "host1", "host2", "front-door")
    version = newest(edge)
    with Traffic(edge, "hello", METROS) as traffic:
        former = edge.kill_9("mosquitto")
        reborn(edge, "mosquitto", former)
        edge.cli("deploy", WORKERS / "hello")
        traffic.more(30)

    assert traffic.failed == []
    assert pids(edge, "control", "host1", "host2", "front-door") == others
    assert edge.converged("hello", version + 1)


def test_the_front_door(edge: Edge) -> None:
    """While it is away nobody answers; nothing else is touched, and it serves again as soon as it is back."""
    others = pids(edge, "control", "host1", "host2", "mosquitto")
    with Traffic(edge, "hello", METROS) as traffic:
        former = edge.kill_9("front-door")
        reborn(edge, "front-door", former)
        until(lambda: {(a[1], a[2]) for a in traffic.answers[-20:]} == {(200, pop) for pop in HOME}, what="it serves")

    assert traffic.failed != []
    assert {status for _, status, _, _ in traffic.failed} == {0}
    assert pids(edge, "control", "host1", "host2", "mosquitto") == others


def test_everything_but_the_supervisor_at_once(edge: Edge) -> None:
    """Control plane, broker, a host and the front door together: the edge is whole again without help."""
    version = newest(edge)
    names = ("front-door", "control", "mosquitto", "host2")
    former = {name: edge.pid(name) for name in names}
    for pid in former.values():
        with suppress(ProcessLookupError):  # the broker dies with the control plane, perhaps before its turn
            os.kill(pid, signal.SIGKILL)
    for name, pid in former.items():
        reborn(edge, name, pid)
    until(lambda: edge.converged("hello", version))
    answers = [edge.http("hello", metro=metro) for metro in METROS]

    assert [(a.status, a.pop) for a in answers] == [(200, "fra1"), (200, "iad1"), (200, "nrt1")]


def test_a_pop_by_command(edge: Edge) -> None:
    """`pops kill` resets it in silence; its neighbour answers, until `pops restart` brings it back from its disk."""
    with Traffic(edge, "hello", ("Frankfurt",)) as traffic:
        edge.cli("pops", "kill", "fra1")
        until(lambda: edge.pops()["fra1"]["state"] != "ready", what="it is missed")
        traffic.more(10)
        before = traffic.answers[-1][2]
        edge.cli("pops", "restart", "fra1")
        until(lambda: traffic.answers[-1][2] == "fra1", what="it answers again")

    assert traffic.failed == []
    assert before == "lhr1"


def test_a_host_by_command_stays_down(edge: Edge) -> None:
    """`hosts kill` is on purpose: nobody starts it again but `hosts restart`."""
    edge.cli("hosts", "kill", "host2")
    down = edge.record.child("host2").state
    with Traffic(edge, "hello", ("London",)) as traffic:
        traffic.more(20)
    edge.cli("hosts", "restart", "host2")
    until(lambda: edge.http("hello", metro="London").pop == "lhr1", what="it answers again")

    assert down == "killed"
    assert traffic.failed == []
    assert {pop for _, _, pop, _ in traffic.answers} == {"fra1"}


def test_names_that_do_not_exist(edge: Edge) -> None:
    """Exit code 1 and what there is."""
    done = edge.cli("pops", "kill", "xxx9", code=1)

    assert "error[E0103]" in done.err
    assert "fra1" in done.err
