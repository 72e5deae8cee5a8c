"""A real edge for tests: `edgesim up` as a subprocess on free ports, with helpers to use, watch and hurt it.

`running_edge` asserts at its end what holds for every run: a clean exit, no process left over, no traceback in any log.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email.message import Message
from pathlib import Path
from typing import Any, Self, TypeVar

from edgesim.config.catalogue import find_metro
from edgesim.live.state import RunRecord, read_run
from edgesim.model.address import client_address

T = TypeVar("T")
ROOT = Path(__file__).parents[2]
WORKERS = ROOT / "workers"
SMALL_WORLD = """\
version: 1
name: small
network: {time_scale: 0}
defaults: {profile: small, origin: demo}
origins:
  demo: {kind: builtin, at: iad1, latency: 1ms}
pops: [fra1, lhr1, iad1, ord1, nrt1, sin1]
"""


def until(check: Callable[[], T], *, timeout_s: float = 30.0, what: str = "") -> T:
    """The first truthy value of `check`, asked every 50 ms; fails at the deadline with its last value."""
    deadline_s = time.monotonic() + timeout_s
    while not (value := check()):
        assert time.monotonic() < deadline_s, f"not within {timeout_s} s: {what or check}; last value {value!r}"
        time.sleep(0.05)
    return value


def free_ports(count: int) -> list[int]:
    """Different ports that nobody listens on."""
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


@dataclass(frozen=True, slots=True)
class Answer:
    """A response of the front door or the API."""

    status: int
    headers: Message
    body: bytes

    @property
    def pop(self) -> str:
        """Who answered."""
        return self.headers.get("X-Edge-Pop", "")

    @property
    def error(self) -> str:
        """The `Proxy-Status` field."""
        return self.headers.get("Proxy-Status", "")

    @property
    def route(self) -> dict[str, Any]:
        """The explanation of the routing."""
        return json.loads(self.headers.get("X-Edge-Route", "{}"))

    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


@dataclass(frozen=True, slots=True)
class Ran:
    """What a command did."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        """Its one JSON document."""
        return json.loads(self.out)


class Edge:
    """One edge in a state directory; `start` and `stop` may be called again and again."""

    def __init__(self, folder: Path, *, topology: str | Path | None = SMALL_WORLD, **flags: str | int | Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.state = folder / "state"
        self.port, self.api_port, broker_port = free_ports(3)
        self._flags: dict[str, str | int | Path] = {
            "port": self.port, "api_port": self.api_port, "broker_port": broker_port, "processes": 2, **flags,
        }  # fmt: skip
        if isinstance(topology, str):
            file = folder / "topology.yaml"
            file.write_text(topology)
            topology = file
        if topology is not None:
            self._flags["topology"] = topology
        self.environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith("EDGESIM_")},
            "EDGESIM_STATE": str(self.state),
            "NO_COLOR": "1",
            "COLUMNS": "160",
        }
        self.process: subprocess.Popen[bytes] | None = None

    # -- life ---------------------------------------------------------------------------------------------------------

    @property
    def flags(self) -> list[str]:
        """What `edgesim up` is called with."""
        return [part for name, value in self._flags.items() for part in (f"--{name.replace('_', '-')}", str(value))]

    @property
    def up_log(self) -> Path:
        """What `edgesim up` printed."""
        return self.folder / "up.log"

    def start(self, *wrapper: str) -> Self:
        """`edgesim up`, behind the command `wrapper` if there is one; returns when it is ready."""
        argv = [*wrapper, sys.executable, "-P", "-m", "edgesim", "up", *self.flags]
        with self.up_log.open("ab") as log:
            self.process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.environment, cwd=self.folder,
                start_new_session=True,
            )  # fmt: skip
        try:
            until(self._ready, timeout_s=90, what="edgesim up is ready")
        except BaseException:
            self.end()
            raise
        return self

    def _ready(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, f"edgesim up ended: {self.up_log.read_text()}"
        record = self.record_or_none()
        return record is not None and record.ready and record.pid == self.process.pid

    def stop(self, how: signal.Signals = signal.SIGINT) -> int:
        """Send a signal, wait, and check that nothing is left. The exit code."""
        assert self.process is not None
        self.process.send_signal(how)
        code = self.process.wait(60)
        self.process = None
        until(lambda: not self.pids(), timeout_s=10, what="every process of the edge is gone")
        return code

    def end(self) -> None:
        """Clean up after a failure: SIGKILL to everything."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None
        for pid in self.pids():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def check_logs(self) -> None:
        """No traceback anywhere."""
        for log in (self.up_log, *sorted((self.state / "logs").glob("*.log*"))):
            text = log.read_text(errors="replace")
            at = text.find("Traceback")
            assert at < 0, f"{log}: {text[max(0, at - 500) : at + 4000]}"
            assert not log.name.startswith("edgesim-crash"), text

    # -- processes ----------------------------------------------------------------------------------------------------

    def record_or_none(self) -> RunRecord | None:
        """What run.json says."""
        return read_run(self.state)

    @property
    def record(self) -> RunRecord:
        """What run.json says, which must be there."""
        record = self.record_or_none()
        assert record is not None
        return record

    def pids(self) -> dict[int, str]:
        """Every process of this edge by id, found by its environment; with its command line."""
        mark = f"EDGESIM_STATE={self.state}\0".encode()
        found = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdecimal() and int(entry.name) != os.getpid():
                with suppress(OSError):
                    if mark in (entry / "environ").read_bytes():
                        found[int(entry.name)] = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        return found

    def pid(self, name: str) -> int:
        """The process id of a child of the supervisor, or of `mosquitto`; 0 while it does not run."""
        if name == "mosquitto":
            return next((pid for pid, command in self.pids().items() if "mosquitto" in command.split(" ")[0]), 0)
        child = self.record.child(name)
        return child.pid if child is not None and child.alive else 0

    def kill_9(self, name: str) -> int:
        """SIGKILL a process by its name; its former id."""
        pid = self.pid(name)
        assert pid, f"{name} does not run"
        os.kill(pid, signal.SIGKILL)
        return pid

    # -- as a user ----------------------------------------------------------------------------------------------------

    def cli(self, *arguments: str | Path, code: int | None = 0, timeout_s: float = 90) -> Ran:
        """Run a command; its exit code must be `code` unless that is None, and it never shows a traceback."""
        done = subprocess.run(
            [sys.executable, "-P", "-m", "edgesim", *map(str, arguments)],
            env=self.environment, cwd=self.folder, capture_output=True, text=True, timeout=timeout_s, check=False,
        )  # fmt: skip
        assert "Traceback" not in done.stderr, done.stderr
        assert code in (None, done.returncode), f"{arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return Ran(done.returncode, done.stdout, done.stderr)

    def http(
        self, app: str, path: str = "/", *, metro: str = "", address: str = "", pop: str = "", method: str = "GET",
        headers: Mapping[str, str] | None = None, body: Any = None, timeout_s: float = 30,
    ) -> Answer:  # fmt: skip
        """One request to the front door, with the explanation of its routing."""
        fields = {"Host": f"{app}.{pop}.localhost" if pop else f"{app}.localhost", "X-Edge-Debug": "1"}
        if metro:
            address = str(client_address(find_metro(metro).id, 0, 1))
        if address:
            fields["X-Forwarded-For"] = address
        return exchange(self.port, method, path, {**fields, **(headers or {})}, body, timeout_s)

    def api(
        self, method: str, path: str, body: Any = None, *, headers: Mapping[str, str] | None = None, token: str = ""
    ) -> Answer:
        """One request to the control plane's API; `body` is bytes, or becomes JSON."""
        fields = {"Authorization": f"Bearer {token or self.record.token}", **(headers or {})}
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        return exchange(self.api_port, method, path, fields, data, 60)

    def pops(self) -> dict[str, dict[str, Any]]:
        """Rows of `/v1/pops` by PoP."""
        return {row["pop"]: row for row in self.api("GET", "/v1/pops").json()["pops"]}

    def desired(self) -> dict[str, Any]:
        """What a failed deployment must leave as it was: generation, apps and versions, and what each PoP serves."""
        status = self.api("GET", "/v1/status").json()
        apps = self.api("GET", "/v1/apps").json()
        pops = {pop: row["apps"] for pop, row in self.pops().items()}
        return {"generation": (status["epoch"], status["gen"]), "apps": apps, "pops": pops}

    def converged(self, app: str, version: int) -> bool:
        """Whether every PoP is up and serves this version."""
        with suppress(OSError, http.client.HTTPException):
            answer = self.api("GET", "/v1/pops")
            if answer.status == 200:
                rows = answer.json()["pops"]
                return all(row["state"] == "ready" and row["apps"].get(app) == version for row in rows)
        return False


def exchange(
    port: int, method: str, path: str, headers: Mapping[str, str], body: Any, timeout_s: float
) -> Answer:  # fmt: skip
    """One request over a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_s)
    try:
        connection.request(method, path, body=body, headers=dict(headers))
        response = connection.getresponse()
        return Answer(response.status, response.headers, response.read())
    finally:
        connection.close()


@contextmanager
def running_edge(folder: Path, **options: Any) -> Iterator[Edge]:
    """A running edge; at the end it must stop cleanly, leave no process, and have logged no traceback."""
    edge = Edge(folder, **options)
    try:
        edge.start()
        yield edge
        if edge.process is not None:
            assert edge.stop() == 0, edge.up_log.read_text()
    finally:
        edge.end()
    edge.check_logs()


@dataclass
class Traffic:
    """Requests in the background, one after the other, each about 20 ms after the last."""

    edge: Edge
    app: str
    metros: tuple[str, ...]
    answers: list[tuple[float, int, str, str]] = field(default_factory=list)
    """When it was sent (monotonic), status (0: no answer), PoP, error."""
    _stop: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._run, name="traffic")
        self._thread.start()
        until(lambda: len(self.answers) >= 10, what="traffic flows")
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        for i in range(1_000_000):
            if self._stop.wait(0.02):
                return
            began_s = time.monotonic()
            try:
                answer = self.edge.http(self.app, metro=self.metros[i % len(self.metros)], timeout_s=15)
            except (OSError, http.client.HTTPException) as exc:
                self.answers.append((began_s, 0, "", repr(exc)))
            else:
                self.answers.append((began_s, answer.status, answer.pop, answer.error))

    @property
    def failed(self) -> list[tuple[float, int, str, str]]:
        """Everything but 200."""
        return [answer for answer in self.answers if answer[1] != 200]

    def more(self, count: int = 20) -> None:
        """Wait until `count` more requests are through."""
        wanted = len(self.answers) + count
        until(lambda: len(self.answers) >= wanted, what="traffic flows on")
