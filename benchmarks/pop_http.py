"""CPU per request of a whole PoP over HTTP, fresh Wasm instance each, beside workerd with a new Wasm instance each.

A PoP host is one process with many PoPs that takes HTTP requests: admission, pool, memory budget, instance, limits, metrics,
trace. It is asked as a front door would ask it, with the hop's own fields, so that it is as busy as workerd is. Its guest is
the smallest that answers with a body: a WASI command with one host call; the smallest component, with eight, is beside it. So is the
whole edge in one process (`--processes 1`, with front door, routing, network model, control plane and broker), asked at its
front door. workerd serves the smallest JavaScript worker that makes a `WebAssembly.Instance`, and does nothing else.

Load comes from a process of its own, and rounds of all alternate. What counts is all CPU time over all rounds: both runtimes
collect garbage, and the cheapest round of either would be one that happened to do without.
"""

from __future__ import annotations

import json
import tempfile
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING, Any

from wasmtime import wat2wasm

from benchmarks._procs import child, edge, tree
from benchmarks._workerd import VERSION, MissingWorkerdError, workerd
from benchmarks.edge_cpu import cost_us
from edgesim.core.request import Connection, Request
from edgesim.live import hop
from edgesim.model.geo import LatLon, Place
from edgesim.model.ids import AppName, PopId
from edgesim.model.stream import Stream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks._procs import Edge

GOAL = 0.8
ROUNDS = 16
REQUESTS = 2000
PLACE = Place(address="240.1.0.1", at=LatLon(51.5, -0.1), city="London", country="GB", metro=1, access="fttp")


def run() -> list[dict[str, Any]]:
    """The PoP host with both guests, and the whole edge, beside workerd."""
    with ExitStack() as stack:
        hello = stack.enter_context(child("benchmarks._aiohttp_yardstick", "hello"))
        load = stack.enter_context(child("benchmarks._load"))
        shapes: dict[str, Callable[[int], float]] = {"aiohttp": partial(_cost, load, int(hello.said), [hello.pid])}
        for name, guest in (("command", "smallest_command.wat"), ("component", "smallest.wat")):
            pid, port, fields = _host(stack.enter_context(_serving(guest, "2")))
            shapes[name] = partial(_cost, load, port, [pid], fields=fields)
        whole = stack.enter_context(_serving("smallest.wat", "1"))
        shapes["edge"] = partial(_cost, load, whole.port, tree(whole.process.pid))
        missing = ""
        try:
            pid, port = stack.enter_context(workerd())
            shapes["workerd"] = partial(_cost, load, port, [pid])
        except MissingWorkerdError as error:
            missing = str(error)
        costs = _alternate(shapes)
    return [
        _entry("pop-http", costs, "command", GOAL, missing),
        _entry("pop-http.component", costs, "component", None, missing),
        _entry("pop-http.edge", costs, "edge", None, missing),
    ]


@contextmanager
def _serving(guest: str, processes: str) -> Iterator[Edge]:
    """An edge with one of the guests deployed as `hello`."""
    with edge("--time-scale", "0", "--processes", processes) as ours, tempfile.TemporaryDirectory() as folder:
        ours.wait_ready()
        wasm = Path(folder) / "guest.wasm"
        wasm.write_bytes(wat2wasm(Path(__file__).with_name(guest).read_text()))
        ours.deploy("hello", wasm)
        yield ours


def _host(ours: Edge) -> tuple[int, int, str]:
    """A PoP host: its process id, its port, and the header lines that a front door sends besides."""
    record = ours.record
    assert record is not None
    host = next(child for child in record.children if child.role == "pop-host")
    token = json.loads((ours.state / "run" / f"{host.name}.json").read_text())["hop_token"]
    asked = Request(
        "f00d-1", AppName("hello"), "GET", "/", (), None, PLACE, Connection(), Stream(0), 0.0, 10.0, network_s=0.0123
    )  # fmt: skip
    fields = hop.request_headers(asked, PopId(host.pops[0]), token, 0.0)
    port = int(host.urls["data"].rsplit(":", 1)[1])
    return host.pid, port, "".join(f"{name}: {value}\r\n" for name, value in fields.items())


def _cost(load: Any, port: int, pids: list[int], requests: int, *, fields: str = "") -> float:
    return cost_us(load, port, requests, pids, fields)


def _alternate(shapes: dict[str, Callable[[int], float]]) -> dict[str, float]:
    """Mean CPU µs per request over all rounds, after a warm-up."""
    for shape in shapes.values():
        shape(REQUESTS)
    costs: dict[str, list[float]] = {name: [] for name in shapes}
    for number in range(ROUNDS):
        for name in sorted(shapes, reverse=bool(number % 2)):
            costs[name].append(shapes[name](REQUESTS))
    return {name: mean(rounds) for name, rounds in costs.items()}


def is_pop_host(pid: int) -> bool:
    """Whether a process serves PoPs."""
    return b"\0pop-host\0" in Path(f"/proc/{pid}/cmdline").read_bytes()


def _entry(id_: str, costs: dict[str, float], shape: str, goal: float | None, missing: str) -> dict[str, Any]:
    reference = f"bare aiohttp hello {costs['aiohttp']:.0f} µs"
    ratio = None if missing else costs[shape] / costs["workerd"]
    return {
        "id": id_,
        "value": round(costs[shape], 1),
        "unit": "µs CPU per request",
        "yardstick": reference if ratio is None else f"workerd {VERSION}: {costs['workerd']:.0f} µs; {reference}",
        "ratio": None if ratio is None else round(ratio, 2),
        "goal": None if goal is None else f"ratio <= {goal}",
        "ok": None if goal is None or ratio is None else ratio <= goal,
        "command": "make bench ID=pop-http",
        **({"reason": missing or "reported without a goal"} if goal is None or missing else {}),
    }


if __name__ == "__main__":
    print(json.dumps(run(), indent=2, ensure_ascii=False))
