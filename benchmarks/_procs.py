"""Processes as benchmarks see them: their CPU time, their memory, and an edge of one's own.

CPU time is the kernel's per-process CPU clock (user and system, nanoseconds; clock_getcpuclockid(3)), so that what else runs
on the machine does not count. Linux only.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgesim.config.resources import resource_path

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edgesim.live.state import RunRecord

_CPUCLOCK_SCHED = 2
READY_TIMEOUT_S = 60.0


def cpu_s(*pids: int) -> float:
    """CPU seconds that the processes have used, with their threads."""
    return sum(time.clock_gettime((~pid << 3) | _CPUCLOCK_SCHED) for pid in pids)


def pss_bytes(pid: int) -> int:
    """Proportional set size: shared pages count by their share (proc(5), smaps_rollup)."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"no Pss of process {pid}")


def tree(pid: int) -> list[int]:
    """The process and all its descendants."""
    found = [pid]
    for at in found:
        for task in Path(f"/proc/{at}/task").iterdir():
            found += [int(child) for child in (task / "children").read_text().split()]
    return found


def free_ports(count: int) -> list[int]:
    """Ports of the loopback address that are free now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


class Helper:
    """A process of the benchmarks' own: `python -m module arguments`. It says one line when it is ready."""

    def __init__(self, module: str, *arguments: object) -> None:
        argv = [sys.executable, "-m", module, *map(str, arguments)]
        self._process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.pid = self._process.pid
        self.said = self._line()

    def ask(self, order: dict[str, Any]) -> Any:
        """One line of JSON to it, one back."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return json.loads(self._line())

    def _line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline().strip()
        if not line:
            raise RuntimeError(f"{self._process.args} ended with code {self._process.wait()}")
        return line

    def close(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.communicate()


@contextmanager
def child(module: str, *arguments: object) -> Iterator[Helper]:
    """A helper process as long as the block runs."""
    helper = Helper(module, *arguments)
    try:
        yield helper
    finally:
        helper.close()


class Edge:
    """An edge that `edgesim up` runs in a state directory of its own, on free ports."""

    def __init__(self, state: Path, process: subprocess.Popen[bytes]) -> None:
        self.state = state
        self.process = process
        self.began_s = time.monotonic()

    @property
    def record(self) -> RunRecord | None:
        """Its run.json, None until there is one."""
        from edgesim.live.state import read_run

        return read_run(self.state)

    @property
    def port(self) -> int:
        """The front door's."""
        record = self.record
        assert record is not None
        return record.ports.front_door

    def api(self, method: str, path: str, body: bytes | None = None) -> Any:
        """One call of its API."""
        record = self.record
        assert record is not None
        headers = {"Authorization": f"Bearer {record.token}"}
        request = urllib.request.Request(record.endpoint + path, data=body, method=method, headers=headers)
        with urllib.request.urlopen(request, timeout=30) as response:
            return json.load(response)

    def wait_ready(self) -> float:
        """Wait until every process is ready; seconds since its start."""
        self.wait(lambda: (record := self.record) is not None and record.ready)
        return time.monotonic() - self.began_s

    def wait(self, reached: Any) -> None:
        """Wait until `reached()` is true."""
        while not reached():
            if self.process.poll() is not None:
                raise RuntimeError(f"edgesim up ended with code {self.process.returncode}, see {self.state}/logs")
            if time.monotonic() - self.began_s > READY_TIMEOUT_S:
                raise RuntimeError(f"the edge was not ready within {READY_TIMEOUT_S:g} s, see {self.state}/logs")
            time.sleep(0.01)

    def deploy(self, app: str, wasm: Path) -> None:
        """Deploy a worker for all paths, and wait until it is loaded on every PoP."""
        content = wasm.read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        self.api("PUT", f"/v1/blobs/sha256/{digest}", content)
        release = {"components": [{"id": app, "digest": digest}], "routes": [{"pattern": "/...", "component": app}]}
        version = self.api("POST", f"/v1/apps/{app}/deployments", json.dumps(release).encode())["version"]
        where = f"/v1/apps/{app}/deployments/{version}"
        self.wait(lambda: all(pop["state"] == "ready" for pop in _pops(self.api("GET", where))))


def _pops(deployment: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows of a deployment, one per PoP."""
    pops = deployment["pops"]
    return list(pops.values()) if isinstance(pops, dict) else pops


@contextmanager
def edge(*options: str, topology: str = "") -> Iterator[Edge]:
    """`edgesim up` with these options, started but not waited for; drained at the end of the block.

    `topology` is a world of its own in YAML; the default world without it.
    """
    front_door, api, broker = free_ports(3)
    ports = ["--port", str(front_door), "--api-port", str(api), "--broker-port", str(broker)]
    with tempfile.TemporaryDirectory(prefix="edgesim-bench-") as folder:
        state = Path(folder) / "state"
        argv = [sys.executable, "-P", "-m", "edgesim", "up", "--state", str(state), *ports, *options]
        world = resource_path("topology.yaml")
        if topology:
            world = Path(folder) / "topology.yaml"
            world.write_text(topology)
        environment = {k: v for k, v in os.environ.items() if not k.startswith("EDGESIM_")}
        process = subprocess.Popen(
            [*argv, "--topology", str(world)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
            env=environment,
        )
        try:
            yield Edge(state, process)
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
