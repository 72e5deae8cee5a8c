"""`edgesim up` and `down` as processes, and what the screen of `up` shows."""

import dataclasses
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from queue import Empty, Queue

import pytest
from rich.console import Console

from edgesim import __version__
from edgesim.cli._up_screen import pops_table, ready_lines
from edgesim.cli.main import run
from edgesim.config.resources import resource_path
from edgesim.config.topology import load_topology
from edgesim.live.state import ChildRecord, Ports, RunRecord, read_run

SMALL = """
version: 1
name: small
pops: [fra1, nrt1]
"""


def free_ports(n):
    """Numbers of ports that are free now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(n)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


class Up:
    """`edgesim up` in a process of its own, with a small world."""

    def __init__(self, tmp_path, *flags):
        (tmp_path / "small.yaml").write_text(SMALL)
        self.state = tmp_path / "state"
        self.ports = free_ports(3)
        port, api, broker = map(str, self.ports)
        self.argv = [
            sys.executable, "-m", "edgesim", "up", "--state", str(self.state), "--topology", str(tmp_path / "small.yaml"),
            "--port", port, "--api-port", api, "--broker-port", broker, "--time-scale", "0", *flags,
        ]  # fmt: skip
        self.lines = Queue()
        self.text = ""

    def __enter__(self):
        self.process = subprocess.Popen(self.argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.reader = threading.Thread(target=self._read)
        self.reader.start()
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(30)
        self.reader.join(30)
        self.process.stdout.close()

    def _read(self):
        for line in self.process.stdout:
            self.lines.put(line)

    def until(self, pattern, timeout_s=60):
        """Read lines until one matches."""
        end = time.monotonic() + timeout_s
        while time.monotonic() < end:
            try:
                line = self.lines.get(timeout=1)
            except Empty:
                assert self.process.poll() is None, self.text
                continue
            self.text += line
            if re.search(pattern, line):
                return line
        raise AssertionError(f"no line with {pattern} in:\n{self.text}")

    def interrupt(self):
        """Ctrl-C; the exit code."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(60)


@pytest.mark.e2e
def test_up_from_start_to_ctrl_c(tmp_path, capsys):
    """Lines without escapes, a second `up` refused, a host that dies comes back, Ctrl-C drains and exits with 0."""
    with Up(tmp_path, "--processes", "2") as up:
        up.until("^ready in .* small, 2 PoPs in 2 hosts$")
        up.until("stop        Ctrl-C")
        second = run(up.argv[3:])
        refused = capsys.readouterr().err
        other = run([*up.argv[3:5], str(tmp_path / "other"), *up.argv[6:]])
        busy = capsys.readouterr().err
        os.kill(read_run(up.state).child("host1").pid, signal.SIGKILL)
        up.until("host1       was ended by SIGKILL; starting it again in 0.5 s")
        up.until("host1       ready ")
        killed = run(["hosts", "kill", "--state", str(up.state), "host2"])
        up.until("host2       killed")
        code = up.interrupt()
        up.until("edge        stopped")

    assert code == 0
    assert "\x1b" not in up.text
    assert up.text.startswith(f"edgesim {__version__}  {tmp_path}/small.yaml\n")
    assert second == 1
    assert refused.startswith("error[E0308]: an edge already runs here since")
    assert other == 1
    assert f"port {up.ports[0]} (front door) is held by the edge in {up.state} (pid " in busy
    assert f"edgesim down --state {up.state}" in busy
    assert killed == 0
    assert read_run(up.state) is None


@pytest.mark.e2e
def test_reader_that_hangs_up(tmp_path):
    """`edgesim up | head -1`: the edge drains and ends without a word."""
    reader, writer = os.pipe()
    with subprocess.Popen(Up(tmp_path, "--processes", "1").argv, stdout=writer, stderr=subprocess.PIPE) as process:
        os.close(writer)
        os.read(reader, 10)
        os.close(reader)
        _, err = process.communicate(timeout=60)

    assert err == b""
    assert process.returncode == 0


@pytest.mark.e2e
def test_detach_and_down(tmp_path, capfd):
    """`--detach` returns when the edge is ready; `down` ends it, once."""
    up = Up(tmp_path, "--processes", "1", "--detach")
    state = ["--state", str(up.state)]
    codes = run(up.argv[3:]), run(["status", *state]), run(["down", *state]), run(["down", *state])
    out = capfd.readouterr().out

    assert codes == (0, 0, 0, 0)
    assert "small, 2 PoPs in one process" in out
    assert re.search(r"^stopped in [0-9.]+ s$", out, re.MULTILINE)
    assert f"no edge is running from {up.state}" in out


@pytest.mark.e2e
def test_detached_edge_that_cannot_start(tmp_path, capfd):
    """Its error and its exit code come out of the command that started it."""
    up = Up(tmp_path, "--broker", "mqtt://127.0.0.1:1", "--detach")
    code = run(up.argv[3:])

    assert code == 1
    assert "error[E0306]: cannot reach the broker" in capfd.readouterr().err


@pytest.mark.e2e
def test_down_after_the_supervisor_was_killed(tmp_path, capfd):
    """`status` says that it died, `down` cleans up, and the next `up` starts as if nothing had been."""
    up = Up(tmp_path, "--processes", "2", "--detach")
    state = ["--state", str(up.state)]
    first = run(up.argv[3:])
    record = read_run(up.state)
    fds = [os.pidfd_open(pid) for pid in (record.pid, *(c.pid for c in record.children))]
    os.kill(record.pid, signal.SIGKILL)
    import select

    ended = [bool(select.select([fd], [], [], 10)[0]) for fd in fds]
    for fd in fds:
        os.close(fd)
    dead = run(["status", *state])
    again = run(up.argv[3:])
    down = run(["down", *state])

    assert (first, dead, again, down) == (0, 3, 0, 0)
    assert ended == [True] * 5
    assert "died without cleaning up" in capfd.readouterr().err


def record(world, **changes):
    """A run of this world on two hosts."""
    ids = tuple(p.id for p in world.pops)
    hosts = tuple(ChildRecord(name=f"host{i + 1}", role="pop-host", state="ready", pops=ids[i::2]) for i in range(2))
    values = {
        "version": "0.1.0", "pid": 1, "start_ticks": 1, "started_at": 0.0, "topology": "/t", "world": world.name,
        "endpoint": "http://127.0.0.1:8081", "front_door": "http://127.0.0.1:8080", "token": "", "supervisor_token": "",
        "ports": Ports(front_door=8080, api=8081, broker=1, supervisor=2), "children": hosts,
    }  # fmt: skip
    return RunRecord(**(values | changes))


@pytest.fixture
def world():
    """The world that ships."""
    return load_topology(resource_path("topology.yaml"))


def shown(table, width=140):
    """The table as lines of text."""
    screen = Console(width=width)
    with screen.capture() as capture:
        screen.print(table)
    return capture.get().splitlines()


def test_table_has_every_pop(world):
    """One row each with its host, and figures where there are some."""
    rows = [{"pop": "nrt1", "state": "ready", "apps": {"hello": 2}, "requests": 7, "duration": {"p50_s": 0.002}}]
    lines = shown(pops_table(rows, world, record(world), width=140, room=50, note=""))

    assert len(lines) == 1 + len(world.pops)
    assert next(x for x in lines if x.startswith("nrt1")).split() == (
        ["nrt1", "Tokyo", "apac", "host2", "ready", "hello@2", "7", "2.00", "ms", "-", "-", "-"]
    )


def test_table_in_a_narrow_terminal(world):
    """In 80 columns no number and no id is cut; columns that can be had elsewhere give way."""
    row = {"pop": "nrt1", "state": "starting", "requests": 1_234_567, "duration": {"p50_s": 0.123, "p99_s": 9.876}}
    row |= {"apps": {"a-rather-long-name": 12, "another": 1}, "cold": 99_999, "queued": 128}
    lines = shown(pops_table([row], world, record(world), width=80, room=50, note=""), 80)
    line = next(x for x in lines if x.startswith("nrt1"))

    assert lines[0].split() == ["PoP", "state", "apps", "requests", "p50", "p99", "cold", "starts", "queue"]
    assert line.split()[-7:] == ["1,234,567", "123", "ms", "9876", "ms", "99,999", "128"]
    assert "starting  a-rather" in line
    assert max(map(len, lines)) <= 80


def test_table_that_does_not_fit(world):
    """The busiest PoPs stay, in the order of the world, and the rest is counted."""
    rows = [{"pop": "syd1", "requests": 9}, {"pop": "iad1", "requests": 5}]
    lines = shown(pops_table(rows, world, record(world), width=140, room=3, note="the control plane is away"))

    assert [line.split()[0] for line in lines[1:4] if line.split()[0] in {"iad1", "syd1"}] == ["iad1", "syd1"]
    assert f"and {len(world.pops) - 3} more" in lines[4]
    assert "the control plane is away" in lines[5]


@pytest.mark.parametrize(("processes", "where"), [(1, "one process"), (2, "1 host"), (3, "1 host")])
def test_ready_lines_of_one_pop(world, processes, where):
    """One is told as one."""
    run_record = record(world, processes=processes, children=record(world).children[:1])
    first = next(ready_lines(run_record, dataclasses.replace(world, pops=world.pops[:1]), 1.0))

    assert first.endswith(f", 1 PoP in {where}")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--geoip-db", __file__], "is not a MaxMind database, or is damaged"),
        (["--port", "http"], "'http' is not a whole number"),
        (["--time-scale", "fast"], "'fast' is not a number"),
    ],
)
def test_mistakes_are_found_before_anything_starts(tmp_path, flags, message, capsys):
    """Exit code 2, and not even a state directory."""
    code = run(["up", "--state", str(tmp_path / "state"), *flags])

    assert code == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "state").exists()


def test_ready_lines(world):
    """Where to send requests, and what to do next."""
    text = "\n".join(ready_lines(record(world), world, 1.25))

    assert "ready in 1.2 s: world-20, 20 PoPs in 2 hosts" in text
    assert "http://<app>.localhost:8080/" in text
    assert "Ctrl-C" in text
    assert "edgesim down" in "\n".join(ready_lines(record(world), world, 1.0, detached=True))
