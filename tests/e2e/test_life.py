"""Starting and stopping: second starts, Ctrl-C, SIGKILL of the supervisor, each kind of broker, one process."""

from __future__ import annotations

import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.e2e.edge import WORKERS, Edge, free_ports, running_edge, until
from tests.support.tools import require_tool
from tests.support.wasm import hostile

pytestmark = pytest.mark.e2e


def test_a_second_edge_is_told_what_is_in_the_way(shared_edge: Edge, tmp_path: Path) -> None:
    """From the same state directory, or on the same ports: exit code 1, who it is, and what to do."""
    again = shared_edge.cli("up", code=1)
    ports = ("--port", str(shared_edge.port), "--api-port", str(shared_edge.api_port))
    elsewhere = shared_edge.cli("up", "--state", tmp_path / "other", *ports, code=1)

    assert "error[E0308]" in again.err
    assert str(shared_edge.record.pid) in again.err
    assert "edgesim down" in again.err
    assert "error[E0307]" in elsewhere.err
    assert f"port {shared_edge.port} (front door) is held by the edge in {shared_edge.state}" in elsewhere.err
    assert "--port" in elsewhere.err
    assert shared_edge.http("hello").status == 200


def test_ctrl_c_lets_requests_end(tmp_path: Path) -> None:
    """A request that takes four seconds is in flight: it is answered, then everything ends with exit code 0."""
    with running_edge(tmp_path) as edge:
        (tmp_path / "sleeper.wasm").write_bytes(hostile("wagi", "sleep"))
        edge.cli("deploy", tmp_path / "sleeper.wasm")
        with ThreadPoolExecutor(1) as client:
            waiting = client.submit(edge.http, "sleeper")
            until(lambda: any(row["busy"] for row in edge.pops().values()), what="the worker runs")
            code = edge.stop(signal.SIGINT)
            answer = waiting.result()

        assert code == 0
        assert (answer.status, answer.body) == (200, b"awake")
        assert edge.record_or_none() is None


def test_the_death_of_the_supervisor_and_the_next_start(tmp_path: Path) -> None:
    """SIGKILL takes all with it; the next start serves what was deployed, and versions go on counting."""
    with running_edge(tmp_path) as edge:
        edge.cli("deploy", WORKERS / "hello")
        assert edge.process is not None
        edge.process.kill()
        edge.process.wait()
        until(lambda: not edge.pids(), timeout_s=10, what="its children end with it")
        gone = edge.cli("status", code=3)
        edge.start()
        until(lambda: edge.converged("hello", 1), what="the last good state is back")
        answer = edge.http("hello", metro="Tokyo")
        deployed = edge.cli("deploy", WORKERS / "hello-v2", "--app", "hello")

    assert "error[E0301]" in gone.err
    assert "edgesim up" in gone.err
    assert (answer.status, answer.headers["X-Edge-Version"]) == (200, "hello@1")
    assert "hello@2" in deployed.out


def test_stop_and_start_keeps_everything(tmp_path: Path) -> None:
    """`down`, then `up` with a PoP more: old PoPs and the new one run the app; `down` twice is no error."""
    with running_edge(tmp_path) as edge:
        edge.cli("deploy", WORKERS / "hello")
        down = edge.cli("down")
        assert edge.process is not None
        assert edge.process.wait(30) == 0
        again = edge.cli("down")
        world = tmp_path / "topology.yaml"
        world.write_text(world.read_text().replace("sin1]", "sin1, syd1]"))
        edge.start()
        until(lambda: edge.converged("hello", 1))
        answer = edge.http("hello", metro="Sydney")

    assert "stopped in" in down.out
    assert "no edge is running" in again.out
    assert (answer.status, answer.pop) == (200, "syd1")


def smoke(edge: Edge) -> None:
    """Deploy, curl, lose a PoP and get it back."""
    edge.cli("deploy", WORKERS / "hello")
    said = edge.cli("curl", "--from", "Tokyo", "http://hello.localhost/")
    assert said.out == "hello from nrt1 v1\n"
    assert "200 OK hello@1 from nrt1" in said.err
    edge.cli("pops", "kill", "nrt1")
    assert edge.http("hello", metro="Tokyo").pop == "sin1"
    edge.cli("pops", "restart", "nrt1")
    until(lambda: edge.http("hello", metro="Tokyo").pop == "nrt1")


def test_the_embedded_broker(tmp_path: Path) -> None:
    """Without mosquitto: deploy, curl, kill -9 of a host and of the control plane, which carries the broker."""
    with running_edge(tmp_path, broker="embedded") as edge:
        smoke(edge)
        former = {name: edge.kill_9(name) for name in ("host1", "control")}
        until(lambda: all(edge.pid(name) not in (0, pid) for name, pid in former.items()))
        until(lambda: edge.converged("hello", 1))
        edge.cli("deploy", WORKERS / "hello")

        assert edge.pid("mosquitto") == 0
        assert edge.http("hello", metro="Frankfurt").headers["X-Edge-Version"] == "hello@2"


@pytest.mark.parametrize("broker", ["auto", "embedded"])
def test_one_process(tmp_path: Path, broker: str) -> None:
    """The whole edge in one process: the same smoke; no host to kill; SIGKILL takes the broker with it."""
    with running_edge(tmp_path, processes=1, broker=broker) as edge:
        smoke(edge)
        refused = edge.cli("hosts", "kill", "host1", code=None)

        assert refused.code in (1, 2)
        assert "one process" in refused.err
        assert edge.process is not None
        edge.process.kill()
        edge.process.wait()
        until(lambda: not edge.pids(), timeout_s=10, what="its broker ends with it")
        edge.start()
        until(lambda: edge.converged("hello", 1))
        assert edge.http("hello", metro="Frankfurt").status == 200


def test_an_external_broker(tmp_path: Path) -> None:
    """A mosquitto of the operator's, with a password: used, not stopped; its death costs nothing but deployments."""
    program = require_tool("mosquitto")
    (port,) = free_ports(1)
    config = tmp_path / "mosquitto.conf"
    config.write_text(
        f"listener {port} 127.0.0.1\nallow_anonymous false\npassword_file {tmp_path}/passwords\nuser root\n"
    )
    subprocess.run([require_tool("mosquitto_passwd"), "-b", "-c", tmp_path / "passwords", "edge", "a b"], check=True)

    def start() -> subprocess.Popen[bytes]:
        return subprocess.Popen([program, "-c", config], stderr=subprocess.DEVNULL)

    broker = start()
    try:
        with running_edge(tmp_path, broker=f"mqtt://edge:a%20b@127.0.0.1:{port}") as edge:
            smoke(edge)
            broker.kill()
            broker.wait()
            without = [edge.http("hello", metro="Tokyo").status for _ in range(20)]
            broker = start()
            edge.cli("deploy", WORKERS / "hello")
            answer = edge.http("hello", metro="Tokyo")

        assert broker.poll() is None
    finally:
        broker.kill()
        broker.wait()

    assert without == [200] * 20
    assert answer.headers["X-Edge-Version"] == "hello@2"


def test_a_broker_that_is_not_there(shared_edge: Edge, tmp_path: Path) -> None:
    """Exit code 1 with the address; nothing is left running."""
    one, two, three = free_ports(3)
    done = shared_edge.cli(
        "up", "--state", tmp_path / "s", "--port", str(one), "--api-port", str(two), "--broker", f"mqtt://127.0.0.1:{three}",
        code=1,
    )  # fmt: skip

    assert "error[E0306]" in done.err
    assert f"127.0.0.1:{three}" in done.err
