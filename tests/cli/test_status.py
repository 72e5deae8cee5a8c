"""`edgesim status --watch`: lines, documents and a screen in place, through absences of the control plane and the edge."""

import asyncio
import io
import json
import os
import signal
import subprocess
import sys
import time

import pytest
from aiohttp import web

from edgesim.cli._status_screen import LineScreen, LiveScreen, Look, head_lines, line
from edgesim.cli.main import run
from edgesim.cli.status import watch_edge
from edgesim.live import processes
from edgesim.live.state import ChildRecord, Ports, RunRecord, create_state_dir, remove_run, write_run
from tests.support.serving import serving

STATUS = {"apps": {"hello": 2}, "pops": {"total": 20, "ready": 18, "down": 2}}


def record_for(api_port):
    """An edge whose supervisor is this process."""
    pid, ticks = os.getpid(), processes.start_ticks(os.getpid())
    child = ChildRecord(name="host1", role="pop-host", pid=pid, start_ticks=ticks, state="ready", pops=("fra1",))
    return RunRecord(
        version="0.1.0", pid=pid, start_ticks=ticks, started_at=time.time() - 65, ready=True, topology="/t", world="world-2",
        endpoint=f"http://127.0.0.1:{api_port}", front_door="http://127.0.0.1:8080", token="tok", supervisor_token="sup",
        ports=Ports(front_door=8080, api=api_port, broker=1, supervisor=1),
        children=(child, child.model_copy(update={"name": "host2", "state": "killed", "pid": 0})),
    )  # fmt: skip


@pytest.fixture
def edge(tmp_path, monkeypatch):
    """A state directory whose edge has an API that answers `STATUS`."""

    async def handle(_request):
        return web.json_response(STATUS)

    monkeypatch.setenv("EDGESIM_STATE", str(tmp_path))
    create_state_dir(tmp_path)
    with serving(handle) as port:
        write_run(tmp_path, record_for(port))
        yield tmp_path


class Seen:
    """A screen that keeps what it is shown, acts between two looks, and stops after so many."""

    def __init__(self, stop, after, **acts):
        self.looks, self._stop, self._after, self._acts = [], stop, after, acts

    def show(self, look):
        """One more."""
        self.looks.append(look)
        act = self._acts.get(f"look{len(self.looks)}")
        if act:
            act()
        if len(self.looks) == self._after:
            self._stop.set()


async def test_it_goes_on_when_the_control_plane_and_the_edge_go(edge):
    """First both are there, then the control plane does not answer, then nothing runs; each look says which."""
    stop = asyncio.Event()
    screen = Seen(
        stop, 3, look1=lambda: write_run(edge, record_for(9)), look2=lambda: remove_run(edge)
    )  # port 9: nobody listens
    await watch_edge(None, 0.0, screen, stop)
    whole, alone, nothing = screen.looks

    assert whole.control == STATUS
    assert whole.problem == ""
    assert (alone.control, alone.record is None) == ({}, False)
    assert "cannot be reached" in alone.problem
    assert nothing.record is None
    assert "no edge is running" in nothing.problem


def look(**changes):
    """A look with all there is."""
    values = {"state": "/s", "at_s": time.time(), "record": record_for(1), "control": STATUS, "problem": ""} | changes
    return Look(**values)


def test_a_line_says_all():
    """Processes, which of them are not ready, PoPs by state, apps; what is away; that there is no edge."""
    assert line(look())[10:] == "1/2 processes ready, host2 killed, PoPs 20: 2 down, 18 ready, hello@2"
    assert line(look(control={}, problem="refused")).endswith("host2 killed, control plane away: refused")
    assert line(look(record=None, problem="gone")).endswith("no edge: gone")
    assert list(head_lines(look(record=None, problem="gone"))) == ["gone"]


def test_json_lines_have_no_tokens(capsys):
    """One document per line, with its schema."""
    with LineScreen(as_json=True) as screen:
        screen.show(look())
        screen.show(look(record=None, control={}, problem="gone"))
    out = capsys.readouterr().out
    first, second = (json.loads(text) for text in out.splitlines())

    assert (first["schema"], first["world"], first["control"]) == ("edgesim.status.v1", "world-2", STATUS)
    assert second["problem"] == "gone"
    assert '"tok"' not in out
    assert '"sup"' not in out


def test_the_screen_in_place(monkeypatch):
    """Head, processes, PoPs, the warning and how to end it."""
    out = io.StringIO()
    monkeypatch.setattr("sys.stdout", out)
    for shown in (look(), look(control={}, problem="refused")):
        with LiveScreen(2.0) as screen:  # without a terminal, rich prints the last status only
            screen.show(shown)
    text = out.getvalue()

    for words in (
        "world-2",
        "20: 2 down, 18 ready",
        "host2",
        "the control plane is away: refused",
        "every 2 s; Ctrl-C ends",
    ):
        assert words in text


def test_no_edge_at_the_beginning_is_a_mistake(tmp_path, monkeypatch, capsys):
    """Exit code 3 at once, not a watch of nothing."""
    monkeypatch.setenv("EDGESIM_STATE", str(tmp_path))
    code = run(["status", "--watch"])

    assert code == 3
    assert "edgesim up" in capsys.readouterr().err


def test_ctrl_c_ends_it_without_a_word(edge):
    """Plain lines where it is no terminal; SIGINT is how a watch ends, so the exit code is 0."""
    command = [sys.executable, "-m", "edgesim", "status", "--watch", "--interval", "0.2"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        lines = [process.stdout.readline() for _ in range(2)]
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=20)

    assert all("1/2 processes ready" in text for text in lines)
    assert process.returncode == 0
    assert err == ""
