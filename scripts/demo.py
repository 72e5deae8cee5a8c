"""`make demo`: the main job from end to end, on this machine, in about two minutes.

It runs the `edgesim` command as a user would, each call shown, against an edge of its own (state in out/demo, free ports), and
ends by itself. What it prints last is read from the running edge: nothing here is worked out beforehand.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "out" / "demo"
STATE = OUT / "state"
ENVIRONMENT = {**os.environ, "EDGESIM_STATE": str(STATE), "COLUMNS": os.environ.get("COLUMNS", "120")}
for name in ("EDGESIM_ENDPOINT", "EDGESIM_TOKEN"):
    ENVIRONMENT.pop(name, None)
PORTS = {"--port": 8080, "--api-port": 8081, "--broker-port": 18830}
PHASES = ("distribute", "fetch", "compile", "load", "shared", "instantiate", "init", "first_call")


def edgesim(*arguments: str, quiet: bool = False) -> str:
    """Run one command; its output, which is also shown. The demo ends with the command's exit code if it fails."""
    if not quiet:
        print(f"\n$ edgesim {' '.join(arguments)}", flush=True)
    command = [sys.executable, "-m", "edgesim", *arguments]
    stdout = subprocess.PIPE if quiet else None
    done = subprocess.run(command, env=ENVIRONMENT, cwd=ROOT, stdout=stdout, text=True, check=False)
    if done.returncode != 0:
        sys.exit(done.returncode)
    return done.stdout or ""


def free_port(wanted: int) -> int:
    """The port itself, or a free one when it is taken."""
    for port in (wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    sys.exit("no free port on 127.0.0.1")


def heading(text: str) -> None:
    """One step of the demo."""
    print(f"\n\033[1m== {text}\033[0m" if sys.stdout.isatty() else f"\n== {text}", flush=True)


def milliseconds(seconds: float | None) -> str:
    """A duration for a table."""
    return "-" if seconds is None else f"{seconds * 1e3:.2f}" if seconds < 0.1 else f"{seconds * 1e3:.0f}"


def show_pops(pops: list[dict]) -> None:
    """Requests and latency per PoP, then cold starts by phase and role."""
    print(
        f"\n{'PoP':<5} {'city':<14} {'host':<6} {'requests':>8} {'failed':>6} {'p50 ms':>8} {'p99 ms':>8} {'cold':>5}"
    )
    for pop in pops:
        duration = pop["duration"]
        print(
            f"{pop['pop']:<5} {pop['city']:<14} {pop['host']:<6} {pop['requests']:>8} {pop['errors']:>6} "
            f"{milliseconds(duration['p50_s']):>8} {milliseconds(duration['p99_s']):>8} {pop['cold']:>5}"
        )
    print("\nTimes at the PoP: queue, start, instance and guest; the network comes on top (`network p50` above).")
    print("\nCold starts: count, and p99 in ms of each phase")
    print(f"{'PoP':<5} {'role':<8} {'count':>5} {'total':>8}  " + " ".join(f"{phase:>11}" for phase in PHASES))
    for pop in pops:
        for starts in pop["cold_starts"]:
            cells = (starts["phases"].get(phase, {}).get("p99_s") for phase in PHASES)
            print(
                f"{pop['pop']:<5} {starts['role']:<8} {starts['total']['count']:>5} "
                f"{milliseconds(starts['total']['p99_s']):>8}  " + " ".join(f"{milliseconds(c):>11}" for c in cells)
            )
    print(
        "trigger: the request that caused the start; waiter: one that queued behind it; deploy: started ahead of requests."
    )


def show_failures(summaries: list[Path]) -> int:
    """How many requests failed in all, by what."""
    failed = 0
    for path in summaries:
        summary = json.loads(path.read_text())
        failed += summary["totals"]["failed"]
        print(
            f"{summary['scenario']['name']}: {summary['totals']['requests']} requests, {summary['totals']['failed']} failed"
        )
    return failed


def main() -> None:
    """Run the demo."""
    began = time.monotonic()
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir(parents=True)
    ports = [text for flag, port in PORTS.items() for text in (flag, str(free_port(port)))]
    heading("A world of 20 PoPs starts: control plane, broker, three PoP hosts, front door")
    edgesim("up", "--detach", *ports)
    try:
        heading(
            "hello@1 goes out without prefetch, as the app `lazy`: the first visitor of each PoP pays for the start"
        )
        edgesim("deploy", "workers/hello", "--app", "lazy", "--no-prefetch")
        edgesim("curl", "--from", "Tokyo", "http://lazy.localhost/")
        edgesim("load", "run", "scenarios/first-visitors.yaml", "--out", str(OUT / "first-visitors.json"))
        heading("hello@1 goes out with prefetch: loaded everywhere before the first request")
        edgesim("deploy", "workers/hello", "--app", "hello")
        edgesim("curl", "--from", "Tokyo", "http://hello.localhost/")
        heading("Load from fourteen metros; meanwhile hello-v2 is rolled out, a PoP dies, a whole PoP host is killed")
        edgesim("load", "run", "scenarios/demo.yaml", "--out", str(OUT / "summary.json"))
        heading("What every PoP saw")
        show_pops(json.loads(edgesim("pops", "list", "--json", quiet=True))["pops"])
        heading("The same scenario on the virtual clock, and both side by side")
        edgesim("profile", "workers/hello", "--seconds", "4", "--out", str(OUT / "profile.json"))
        simulated, profile = str(OUT / "sim-summary.json"), str(OUT / "profile.json")
        edgesim("sim", "run", "scenarios/demo.yaml", "--profile", profile, "--out", simulated)
        edgesim("compare", str(OUT / "summary.json"), simulated, "--no-parts")
        heading("Failed requests")
        failed = show_failures([OUT / "first-visitors.json", OUT / "summary.json"])
        print("none" if not failed else "the run above says which, and when")
    finally:
        edgesim("down")
    print(f"\nThe demo took {time.monotonic() - began:.0f} s. Summaries are in {OUT.relative_to(ROOT)}/. Try next:")
    print("  . .venv/bin/activate       then: edgesim up")
    print("  edgesim deploy workers/hello")
    print("  edgesim curl --from Lagos http://hello.localhost/")
    print("  edgesim pops kill los1     and curl again")
    print("  edit topology.yaml, then: edgesim topology validate topology.yaml")


if __name__ == "__main__":
    main()
