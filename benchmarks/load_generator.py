"""How late the load generator sends at 2,000 requests/s, what that costs, and whether a server that freezes can hide from it.

The generator is the process that `edgesim load run` starts, against a small server in a process of its own. The truth about
the frozen server is computed: its own log of when it was frozen, and the times at which requests were due, give the time that
each request had to wait. The yardstick is what a client measures that waits for each answer before it sends the next request.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter
from typing import Any

from edgesim.config.scenario import load_scenario
from edgesim.live.load.sender import Server, job
from edgesim.results.collect import Results
from edgesim.scenario.arrivals import arrivals

COMMAND = "make bench ID=load-generator"
RATE = 2000
SECONDS = 10
FREEZE_S, EVERY_S = 0.5, 2.0
FROZEN_RATE = 300
SCENARIO = """\
version: 1
name: benchmark
target: {{url: "http://127.0.0.1:{port}"}}
load: {{maxInFlight: 20000, phases: [{{name: warm up, duration: 1s, arrivalRate: {rate}, record: false}}, {{name: steady, duration: {seconds}s, arrivalRate: {rate}}}]}}
populations: [{{name: world, metros: [Tokyo, London, New York, Sao Paulo, Mumbai, Sydney, Lagos, Paris]}}]
"""


def generate(port: int, rate: int, seconds: int) -> tuple[Results, float, bool, list[float]]:
    """Run the generator's process: results, its CPU seconds, whether it had the core to itself, when requests were due."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "scenario.yaml"
        path.write_text(SCENARIO.format(port=port, rate=rate, seconds=seconds))
        scenario = load_scenario(path)
        order = job(str(path), Server.from_url(f"http://127.0.0.1:{port}"), {})
        before = os.times()
        with subprocess.Popen(
            [sys.executable, "-P", "-m", "edgesim.live.load"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as process:
            quiet = _own_core(process.pid)
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(json.dumps(order).encode() + b"\n")
            process.stdin.flush()
            began_s, results = 0.0, None
            for line in process.stdout:
                message = json.loads(line)
                if message["event"] == "ready":
                    began_s = perf_counter() + 0.5
                    process.stdin.write(json.dumps({"begin_s": began_s}).encode() + b"\n")
                    process.stdin.flush()
                elif message["event"] == "result":
                    results = Results.from_json(scenario, message["results"])
                    break
            process.stdin.close()
        after = os.times()
        if results is None:
            raise RuntimeError("the generator gave no result")
        cpu_s = after.children_user + after.children_system - before.children_user - before.children_system
        return results, cpu_s, quiet, [began_s + a.at_s for a in arrivals(scenario) if a.phase == 1]


def _own_core(pid: int) -> bool:
    """Put a process before everything else on this machine, where we may: the figure is about a quiet core."""
    try:
        os.sched_setscheduler(pid, os.SCHED_RR, os.sched_param(1))
    except (PermissionError, AttributeError):
        return False
    return True


class Target:
    """The server of `_frozen_server.py`."""

    def __init__(self, freeze_s: float, every_s: float) -> None:
        command = [sys.executable, "-m", "benchmarks._frozen_server", str(freeze_s), str(every_s)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())

    def stop(self) -> list[tuple[float, float]]:
        """End it; when it was frozen."""
        out, _ = self._process.communicate(timeout=30)
        return [(a, b) for a, b in json.loads(out)]


def naive_p99_s(port: int, seconds: float) -> float:
    """The p99 that a client sees which sends its next request after the answer to the one before, at most 300 a second."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        times: list[float] = []
        end_s = perf_counter() + seconds
        while (began := perf_counter()) < end_s:
            connection.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
            connection.recv(4096)
            times.append(perf_counter() - began)
            while perf_counter() - began < 1 / FROZEN_RATE:
                pass
    return sorted(times)[int(len(times) * 0.99)]


def truth_p99_s(due: list[float], frozen: list[tuple[float, float]]) -> float:
    """The p99 of how long requests had to wait for the server to move again."""
    waits = sorted(next((end - at for begin, end in frozen if begin <= at < end), 0.0) for at in due)
    return waits[int(len(waits) * 0.99)]


def run() -> list[dict[str, Any]]:
    """Measure, and return one entry per figure."""
    target = Target(0.0, 0.0)
    try:
        fast, cpu_s, quiet, _ = generate(target.port, RATE, SECONDS)
    finally:
        target.stop()
    target = Target(FREEZE_S, EVERY_S)
    try:
        frozen, _, _, due = generate(target.port, FROZEN_RATE, 4 * int(EVERY_S * 2))
        naive_s = naive_p99_s(target.port, 2 * EVERY_S)
    finally:
        windows = target.stop()
    lag_s = fast.lag.quantile(0.99) or 0.0
    cost_us = cpu_s / (RATE * (SECONDS + 1)) * 1e6
    measured_s, truth_s = frozen.select().response.quantile(0.99) or 0.0, truth_p99_s(due, windows)
    failed = fast.select().failed + frozen.select().failed
    error = abs(measured_s - truth_s) / truth_s
    sent = f"{fast.select().requests / SECONDS:.0f}/s sent, {failed} failed, load average {os.getloadavg()[0]:.1f}"
    sent += ", the generator at real-time priority" if quiet else ""
    return [
        {
            "id": "load-generator-lag",
            "value": round(lag_s * 1e3, 2),
            "unit": "ms",
            "yardstick": sent,
            "ratio": round(lag_s / 0.010, 3),
            "goal": "p99 < 10 ms at 2,000/s on a quiet core",
            "ok": lag_s < 0.010 and not failed,
            "command": COMMAND,
        },
        {
            "id": "load-generator-cpu",
            "value": round(cost_us, 1),
            "unit": "µs",
            "yardstick": "500 µs: a core at 2,000/s, start of the process included",
            "ratio": round(cost_us / 500, 3),
            "goal": "< 500 µs per request",
            "ok": cost_us < 500,
            "command": COMMAND,
        },
        {
            "id": "load-generator-frozen",
            "value": round(measured_s * 1e3, 1),
            "unit": "ms",
            "yardstick": f"truth {truth_s * 1e3:.1f} ms; a client that waits for answers: {naive_s * 1e3:.1f} ms",
            "ratio": round(measured_s / truth_s, 4),
            "goal": "p99 within 5 % of the truth",
            "ok": error <= 0.05 and not failed,
            "command": COMMAND,
        },
    ]
