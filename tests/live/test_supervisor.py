"""The supervisor with real child processes that speak its protocol and do nothing else."""

import asyncio
import json
import os
import signal
import socket
import stat
import sys
from pathlib import Path

import pytest

from edgesim.config.settings import ProcessConfig, UpSettings, assign_pops
from edgesim.errors import (
    AlreadyRunningError,
    AuthError,
    BrokerError,
    ControlPlaneError,
    InputError,
    NotFoundError,
    PortInUseError,
    ProcessError,
    StorageError,
    UsageError,
)
from edgesim.live import processes
from edgesim.live.child import Patience
from edgesim.live.state import ChildRecord, create_state_dir, read_run, write_run
from edgesim.live.supervisor import Supervisor, check_ports
from edgesim.live.supervisor_link import SupervisorClient, SupervisorServer

CHILD = Path(__file__).with_name("child_for_tests.py")
PATIENCE = Patience(ready_s=10, grace_s=5, backoff_s=(0.01, 0.02))
POPS = ("fra1", "lhr1", "cdg1", "iad1", "nrt1")


def free_ports(n):
    """Numbers of ports that are free now."""
    sockets = [socket.socket() for _ in range(n)]
    try:
        for s in sockets:
            s.bind(("127.0.0.1", 0))
        return [s.getsockname()[1] for s in sockets]
    finally:
        for s in sockets:
            s.close()


class Edge:
    """A supervisor that runs, and everything it said."""

    def __init__(self, state_dir, *, processes=2, patience=PATIENCE, all_in_one=None, ports=None):
        port, api, broker = ports or free_ports(3)
        self.settings = UpSettings(
            state_dir=state_dir, topology=state_dir / "t.yaml", processes=processes, port=port, api_port=api,
            broker_port=broker,
        )  # fmt: skip
        self.notices = []
        self.changed = asyncio.Event()
        self.ready = asyncio.Event()
        self.supervisor = Supervisor(
            self.settings,
            world="test",
            pops=POPS,
            notify=self.notice,
            argv=lambda role, path: [sys.executable, "-S", str(CHILD), role, "--config", str(path)],
            patience=patience,
            all_in_one=all_in_one,
        )

    def notice(self, notice):
        """Collect what the supervisor says."""
        self.notices.append(notice)
        self.changed.set()

    async def __aenter__(self):
        self.task = asyncio.create_task(self.supervisor.run(lambda record: self.ready.set()))
        ready = asyncio.create_task(self.ready.wait())
        await asyncio.wait({self.task, ready}, return_when=asyncio.FIRST_COMPLETED)
        ready.cancel()
        if self.task.done():
            self.task.result()
        return self

    async def __aexit__(self, *_):
        self.supervisor.request_stop()
        await self.task

    async def until(self, condition):
        """Wait until the run record is as wanted."""
        async with asyncio.timeout(20):
            while not condition(self.supervisor.record):
                self.changed.clear()
                await self.changed.wait()

    @property
    def client(self):
        """A client of its link."""
        record = self.supervisor.record
        return SupervisorClient(record.ports.supervisor, record.supervisor_token)

    def seen(self, name):
        """Kinds of notices about a process, in order."""
        return [n.kind for n in self.notices if n.name == name]


@pytest.mark.e2e
async def test_starts_control_first_and_stops_it_last(tmp_path):
    """Control plane, then the rest; the other way round at the end; run.json is there in between only."""
    async with Edge(tmp_path) as edge:
        record = read_run(tmp_path)
        inside = (tmp_path / "order.txt").read_text().splitlines()

    order = (tmp_path / "order.txt").read_text().splitlines()
    assert record.ready
    assert record.alive
    assert [c.name for c in record.children] == ["control", "host1", "host2", "front-door"]
    assert not any(c.alive for c in record.children)
    assert all(c.urls["data"].startswith("http://") for c in record.children)
    assert inside[0] == "start control"
    assert order[-1] == "end control"
    assert {"end host1", "end host2", "end front-door"} == set(order[4:7])
    assert read_run(tmp_path) is None
    assert edge.notices[-1].kind == "stopped"


@pytest.mark.e2e
async def test_files_are_private(tmp_path):
    """The state directory is 0700, everything with a token in it 0600."""
    async with Edge(tmp_path / "state"):
        modes = {
            str(p.relative_to(tmp_path)): stat.S_IMODE(p.stat().st_mode)
            for p in (tmp_path / "state").rglob("*")
            if p.name != "order.txt"
        }

    assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o700
    assert {0o700} == {mode for name, mode in modes.items() if name in {"state/logs", "state/run"}}
    assert {0o600} == {mode for name, mode in modes.items() if name not in {"state/logs", "state/run"}}
    assert {"state/run.json", "state/run/control.json", "state/logs/host1.log"} <= set(modes)


@pytest.mark.e2e
async def test_child_that_dies_is_started_again(tmp_path):
    """A SIGKILL from outside is noticed; the same name comes back under another pid."""
    async with Edge(tmp_path) as edge:
        old = edge.supervisor.record.child("host1").pid
        os.kill(old, signal.SIGKILL)
        await edge.until(lambda r: r.child("host1").state == "ready" and r.child("host1").pid not in {0, old})
        record = read_run(tmp_path)

    died = next(n for n in edge.notices if n.kind == "died")
    assert died.text == "was ended by SIGKILL; starting it again in 0.01 s"
    assert record.child("host1").restarts == 1
    assert edge.seen("host1") == ["starting", "ready", "died", "starting", "ready", "stopped"]
    assert edge.seen("host2") == ["starting", "ready", "stopped"]


@pytest.mark.e2e
async def test_full_disk_does_not_stop_the_watch(tmp_path, monkeypatch):
    """run.json cannot be written: the operator is told, and a child that dies comes back all the same."""

    def full(state_dir, record):
        raise StorageError("cannot write the file: No space left on device", where="run.json")

    async with Edge(tmp_path) as edge:
        monkeypatch.setattr("edgesim.live.supervisor.write_run", full)
        old = edge.supervisor.record.child("host1").pid
        os.kill(old, signal.SIGKILL)
        await edge.until(lambda r: r.child("host1").state == "ready" and r.child("host1").pid not in {0, old})

    assert any("No space left on device" in n.text for n in edge.notices if n.kind == "info")
    assert edge.notices[-2].kind == "stopped"


@pytest.mark.e2e
async def test_child_that_cannot_be_started_for_a_while(tmp_path, monkeypatch):
    """No memory for a new process: tried again until there is some."""
    real, failures = asyncio.create_subprocess_exec, [OSError(12, "Cannot allocate memory")] * 2

    async def sometimes(*args, **kwargs):
        if failures:
            raise failures.pop()
        return await real(*args, **kwargs)

    async with Edge(tmp_path) as edge:
        monkeypatch.setattr(asyncio, "create_subprocess_exec", sometimes)
        old = edge.supervisor.record.child("host1").pid
        os.kill(old, signal.SIGKILL)
        await edge.until(lambda r: r.child("host1").state == "ready" and r.child("host1").pid not in {0, old})
        restarts = edge.supervisor.record.child("host1").restarts

    texts = [n.text for n in edge.notices if n.kind == "info"]
    assert texts == ["host1 cannot be started: Cannot allocate memory"] * 2
    assert restarts == 3


@pytest.mark.e2e
async def test_killed_child_stays_down_until_restarted(tmp_path):
    """`kill` holds; `restart` brings it back and waits for it; it also restarts one that runs."""
    async with Edge(tmp_path) as edge:
        await edge.client.kill("host2")
        await edge.until(lambda r: r.child("host2").state == "killed")
        held = await edge.client.status()
        with pytest.raises(NotFoundError, match="no process is called 'host9'"):
            await edge.client.kill("host9")
        await edge.client.restart("host2")
        back = edge.supervisor.record.child("host2")
        await edge.client.restart("host2")
        again = edge.supervisor.record.child("host2")

    down = next(c for c in held["children"] if c["name"] == "host2")
    assert {k: down[k] for k in ("state", "pid", "urls")} == {"state": "killed", "pid": 0, "urls": {}}
    assert "token" not in held
    assert "supervisor_token" not in held
    assert back.state == "ready"
    assert again.state == "ready"
    assert back.pid != again.pid
    assert "died" not in edge.seen("host2")


@pytest.mark.e2e
async def test_stop_over_the_link(tmp_path):
    """The `stop` command drains like Ctrl-C."""
    async with Edge(tmp_path) as edge:
        await edge.client.stop()
        await edge.task

    assert edge.notices[-1].kind == "stopped"


@pytest.mark.e2e
async def test_child_says_why_it_cannot_start(tmp_path, monkeypatch):
    """The error that a child reports comes out of `run` as it was raised; the others are ended."""
    monkeypatch.setenv("EDGESIM_TEST_CHILD", json.dumps({"control": "refuse"}))
    with pytest.raises(BrokerError, match="no broker") as caught:
        await Edge(tmp_path).__aenter__()

    assert caught.value.help == "install one"
    assert read_run(tmp_path) is None


@pytest.mark.e2e
async def test_child_that_crashes_at_start(tmp_path, monkeypatch):
    """Without a word of its own, the end of its log is shown; children that were up are drained."""
    monkeypatch.setenv("EDGESIM_TEST_CHILD", json.dumps({"host1": "crash"}))
    with pytest.raises(ProcessError, match="boom: something is missing") as caught:
        await Edge(tmp_path).__aenter__()

    assert "host1 ended with exit code 1 before it was ready" in caught.value.message
    assert "host1.log" in caught.value.help
    assert "end control" in (tmp_path / "order.txt").read_text()


@pytest.mark.e2e
async def test_stubborn_child_is_killed_after_the_grace(tmp_path, monkeypatch):
    """SIGTERM is ignored: SIGKILL follows, and the operator is told."""
    monkeypatch.setenv("EDGESIM_TEST_CHILD", json.dumps({"host1": "stubborn", "host2": "noisy"}))
    patience = Patience(ready_s=10, grace_s=0.1)
    async with Edge(tmp_path, patience=patience) as edge:
        pass

    assert "did not end within 0.1 s; killing it" in [n.text for n in edge.notices if n.name == "host1"]
    assert edge.seen("host2")[:2] == ["starting", "ready"]


@pytest.mark.e2e
async def test_second_request_to_stop_kills(tmp_path, monkeypatch):
    """An operator in a hurry presses Ctrl-C twice."""
    monkeypatch.setenv("EDGESIM_TEST_CHILD", json.dumps({"host1": "stubborn"}))
    async with Edge(tmp_path, patience=Patience(grace_s=60)) as edge:
        edge.supervisor.request_stop()
        edge.supervisor.request_stop()
        async with asyncio.timeout(10):
            await edge.task

    assert edge.notices[-1].kind == "stopped"


@pytest.mark.e2e
async def test_second_edge_in_the_same_state(tmp_path):
    """The second one says who runs, since when, and what to do; the first is not disturbed."""
    async with Edge(tmp_path) as first:
        with pytest.raises(AlreadyRunningError) as caught:
            await Edge(tmp_path).__aenter__()
        still = read_run(tmp_path)

    assert f"(pid {os.getpid()})" in caught.value.message
    assert "edgesim down" in caught.value.help
    assert still.ports == first.supervisor.record.ports


@pytest.mark.e2e
async def test_leftover_child_of_a_dead_supervisor_is_ended(tmp_path):
    """run.json names a child that still runs without its supervisor: it is ended before the new start."""
    async with Edge(tmp_path / "old") as edge:
        leftover = await asyncio.create_subprocess_exec("sleep", "60")
        child = ChildRecord(
            name="host1", role="pop-host", pid=leftover.pid, start_ticks=processes.start_ticks(leftover.pid)
        )
        dead = edge.supervisor.record.model_copy(update={"pid": 2**22, "children": (child,)})
    create_state_dir(tmp_path / "new")
    write_run(tmp_path / "new", dead)
    async with Edge(tmp_path / "new") as edge:
        code = await leftover.wait()

    assert code == -signal.SIGKILL
    assert f"ended a leftover of the last run ({leftover.pid})" in [n.text for n in edge.notices]


async def test_everything_in_one_process(tmp_path):
    """With one process there are no children; all roles get their configuration, and there is nothing to kill."""
    got = []

    async def all_in_one(configs, *, on_ready, stop):
        got.extend(configs)
        for config in configs:
            on_ready(config.name, {"data": "http://127.0.0.1:1"})
        await stop.wait()

    async with Edge(tmp_path, processes=1, all_in_one=all_in_one) as edge:
        record = read_run(tmp_path)
        with pytest.raises(InputError, match="one process"):
            await edge.client.kill("host1")

    assert [c.name for c in got] == ["control", "host1", "front-door"]
    assert got[1].pops == POPS
    assert got[0].pops == ()
    assert record.ready
    assert {os.getpid()} == {c.pid for c in record.children}


async def test_busy_port_names_its_holder():
    """Port, purpose, holder's pid and a flag that helps."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(PortInUseError) as caught:
            check_ports([(port, "front door", "--port"), (free_ports(1)[0], "API", "--api-port")])

    assert f"port {port} (front door) is held by" in caught.value.message
    assert f"(pid {os.getpid()})" in caught.value.message
    assert "API" not in caught.value.message
    assert f"--port {port + 100}" in caught.value.help


@pytest.mark.e2e
async def test_port_held_by_another_edge(tmp_path):
    """The other edge is named by its state directory, with the command that stops it."""
    config = tmp_path / "other" / "run" / "front-door.json"
    script = "import signal, socket, sys; s = socket.create_server(('127.0.0.1', 0)); print(s.getsockname()[1], flush=True); signal.pause()"
    argv = [sys.executable, "-S", "-c", script, "edgesim.live.process", "front-door", "--config", str(config)]
    other = await asyncio.create_subprocess_exec(*argv, stdout=asyncio.subprocess.PIPE)
    port = int(await other.stdout.readline())
    try:
        with pytest.raises(PortInUseError) as caught:
            check_ports([(port, "front door", "--port")])
    finally:
        other.kill()
        await other.wait()

    assert f"port {port} (front door) is held by the edge in {tmp_path}/other (pid {other.pid})" == caught.value.message
    assert f"edgesim down --state {tmp_path}/other" in caught.value.help


async def test_same_port_twice():
    """Two services cannot share a port, whether it is free or not."""
    with pytest.raises(UsageError, match="different ports"):
        check_ports([(8080, "front door", "--port"), (8080, "API", "--api-port")])


async def test_wrong_token():
    """A command without the token is refused and not carried out."""
    done = []

    async def handle(op, name):
        done.append(op)

    server = SupervisorServer("right", handle)
    port = await server.start()
    with pytest.raises(AuthError):
        await SupervisorClient(port, "wrong").stop()
    await SupervisorClient(port, "right").stop()
    await server.close()

    assert done == ["stop"]


@pytest.mark.parametrize("line", [b"\n", b"[]\n", b"{}\n", b"\xff\n", b'{"token": 1}\n', b"[" * 100_000 + b"\n"])
async def test_garbage_on_the_link(line):
    """Whatever is sent, the supervisor answers with an error and goes on."""

    async def handle(op, name):
        raise AssertionError

    server = SupervisorServer("right", handle)
    port = await server.start()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(line)
    answer = json.loads(await reader.readline())
    writer.close()
    await writer.wait_closed()
    await server.close()

    assert answer["error"]["code"] == "E0102"


async def test_no_supervisor():
    """Nobody listens: what to do is said."""
    with pytest.raises(ControlPlaneError) as caught:
        await SupervisorClient(free_ports(1)[0], "x").status()

    assert caught.value.exit_code == 3
    assert "edgesim up" in caught.value.help


def test_pops_are_dealt_out():
    """Neighbours land on different hosts, nobody is lost, and never more hosts than PoPs."""
    hosts = assign_pops(POPS, 3)

    assert [(h.name, h.pops) for h in hosts] == [
        ("host1", ("fra1", "iad1")),
        ("host2", ("lhr1", "nrt1")),
        ("host3", ("cdg1",)),
    ]
    assert len(assign_pops(("fra1", "lhr1"), 8)) == 2


def test_configuration_of_another_version(tmp_path):
    """A file with unknown keys is refused by name of the file, not with a traceback."""
    file = tmp_path / "host1.json"
    file.write_text('{"role": "pop-host", "future": 1}')
    with pytest.raises(UsageError) as caught:
        ProcessConfig.read(file)

    assert str(file) == caught.value.where
