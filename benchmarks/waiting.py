"""2,000 guests that wait for a slow origin in one PoP host: its memory, and how late its event loop is.

A real edge: front door in one process, one PoP with 2,400 slots in another. Clients come over five seconds, each worker sends a
request to an origin that answers eight seconds later. Memory is the PoP host's
proportional set size while all wait. Lag is the p99 of `edgesim_loop_lag_seconds` of that process over the whole of it: arrival,
waiting and the answers.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from benchmarks._guests import guest
from benchmarks._procs import child, edge, pss_bytes, tree
from benchmarks.pop_http import is_pop_host

GUESTS = 2_000
RAMP_S, DELAY_S = 5.0, 8.0
MAX_MIB, MAX_LAG_MS = 300.0, 20.0
WORLD = """\
version: 1
name: waiting
network: {time_scale: 0}
defaults: {profile: small, origin: demo}
origins:
  demo: {kind: builtin, at: iad1, latency: 1ms}
pops:
  - {id: fra1, slots: 2400, memory: 8GiB}
"""
MANIFEST = """\
spin_manifest_version = 2
[application]
name = "wait"
[[trigger.http]]
route = "/..."
component = "c"
[component.c]
source = "guest.wasm"
allowed_outbound_hosts = ["http://127.0.0.1:PORT"]
[component.c.tool.edgesim]
wall = "60s"
memory = "8MiB"
cpu_ms = 5000
"""


def run() -> list[dict[str, Any]]:
    """Memory and lag."""
    with ExitStack() as stack:
        crowd = stack.enter_context(child("benchmarks._slow_origin"))
        ours = stack.enter_context(edge("--processes", "2", topology=WORLD))
        ours.wait_ready()
        deploy(ours, int(crowd.said))
        (host,) = [pid for pid in tree(ours.process.pid) if is_pop_host(pid)][:1]
        order = {"port": ours.port, "host": "wait.localhost", "path": f"/sub?url=http://127.0.0.1:{crowd.said}/"}
        crowd.ask({**order, "clients": 20, "ramp_s": 0.1, "delay_s": 1.0})
        crowd.ask({})
        before_mib, lag = pss_bytes(host) / 2**20, lags(ours, host)
        waiting = crowd.ask({**order, "clients": GUESTS, "ramp_s": RAMP_S, "delay_s": DELAY_S})["waiting"]
        mib = pss_bytes(host) / 2**20
        answer = crowd.ask({})
        lag_ms = percentile_ms(lag, lags(ours, host), 0.99)
    if waiting < GUESTS or answer["ok"] < GUESTS:
        raise RuntimeError(f"{waiting} of {GUESTS} guests waited, {answer['ok']} were answered: {answer['bad']}")
    return [
        _entry("waiting", mib, "MiB", f"{before_mib:.0f} MiB before", f"< {MAX_MIB:g} MiB", ok=mib < MAX_MIB),
        _entry("waiting.lag", lag_ms, "ms p99", None, f"< {MAX_LAG_MS:g} ms", ok=lag_ms < MAX_LAG_MS),
    ]


def deploy(ours: Any, origin_port: int) -> None:
    """The C guest, allowed to call the origin."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "spin.toml").write_text(MANIFEST.replace("PORT", str(origin_port)))
        (folder / "guest.wasm").write_bytes(guest("c-echo").read_bytes())
        command = [sys.executable, "-P", "-m", "edgesim", "deploy", "--state", str(ours.state), str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(done.stderr)


def lags(ours: Any, host: int) -> dict[float, float]:
    """The loop lag of one process: upper bound in seconds to how many were at most that."""
    name = next(c.name for c in ours.record.children if c.pid == host)
    target = next(g for g in ours.api("GET", "/v1/sd/prometheus") if g["labels"].get("process") == name)["targets"][0]
    with urllib.request.urlopen(f"http://{target}/metrics", timeout=10) as response:
        text = response.read().decode()
    return {
        float(sample.labels["le"]): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "edgesim_loop_lag_seconds_bucket"
    }


def percentile_ms(before: dict[float, float], after: dict[float, float], at: float) -> float:
    """The upper bound of the bucket that holds a percentile of what came in between."""
    counts = {bound: value - before.get(bound, 0) for bound, value in sorted(after.items())}
    total = counts[max(counts)]
    return next(bound for bound, value in counts.items() if value >= at * total) * 1000


def _entry(id_: str, value: float, unit: str, yardstick: str | None, goal: str, *, ok: bool) -> dict[str, Any]:
    return {
        "id": id_,
        "value": round(value, 1),
        "unit": unit,
        "yardstick": yardstick,
        "ratio": None,
        "goal": goal,
        "ok": ok,
        "command": "make bench ID=waiting",
    }


if __name__ == "__main__":
    print(json.dumps(run(), indent=2, ensure_ascii=False))
