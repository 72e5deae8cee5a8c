"""CPU of one request through the Wasm runtime, without HTTP: a fresh instance of the smallest workers.

Measured in process with the limits on, as a PoP calls it (`LoadedWorker.run`). The yardstick is the engine's public Python
API making a fresh store and instance of the smallest core module and calling its empty function, with nothing of WASI or HTTP:
less cannot be done through it. Batches of both alternate and the cheapest of each counts, since the same code costs up to
half as much again when the machine is busy.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import wasmtime

from edgesim.config.resources import resource_path
from edgesim.model.worker import Component, Limits
from edgesim.wasm.guest import Grants, GuestRequest
from edgesim.wasm.runtime import Runtime

if TYPE_CHECKING:
    from edgesim.model.worker import Abi
    from edgesim.wasm.runtime import LoadedWorker

GOAL_RATIO = 4.0
ROUNDS = 30
BATCH = 200
WORKERS: dict[Abi, str] = {"wasi-http": "workers/hello/hello.wasm", "wagi": "workers/hello-wagi/hello.wasm"}
GRANTS = Grants(environment=(("EDGESIM_POP", "fra1"), ("EDGESIM_VERSION", "1")))


def run() -> list[dict[str, Any]]:
    """One entry per ABI: µs of CPU per request."""
    return asyncio.run(measure())


async def measure() -> list[dict[str, Any]]:
    """Measure both ABIs beside the yardstick."""
    empty = Empty()
    best = dict.fromkeys([*WORKERS, "empty"], float("inf"))
    with tempfile.TemporaryDirectory() as folder:
        runtime = Runtime(Path(folder) / "aot")
        loaded = {abi: await load(runtime, abi, resource_path(name)) for abi, name in WORKERS.items()}
        for _ in range(ROUNDS):
            for abi, worker in loaded.items():
                best[abi] = min(best[abi], await batch(worker))
            best["empty"] = min(best["empty"], empty.batch())
        for worker in loaded.values():
            runtime.release(worker)
        await runtime.close()
    return [entry(abi, best[abi] * 1e6, best["empty"] * 1e6) for abi in WORKERS]


async def load(runtime: Runtime, abi: Abi, path: Path) -> LoadedWorker:
    """A sample worker in memory."""
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return await runtime.load(path, Component(id=abi, digest=digest, size_bytes=path.stat().st_size, abi=abi))


async def batch(worker: LoadedWorker) -> float:
    """Seconds of CPU per request."""
    limits = Limits()
    deadline_s = asyncio.get_running_loop().time() + 60
    begin = time.process_time()
    for _ in range(BATCH):
        response = await worker.run(
            GuestRequest(
                method="GET",
                target="/",
                headers=(("host", "hello.localhost"), ("user-agent", "bench")),
                body=None,
                authority="hello.localhost",
                scheme="http",
                client_address="240.0.0.1",
                deadline_s=deadline_s,
            ),
            limits,
            GRANTS,
        )
        if response.body != b"hello from fra1 v1\n":
            raise RuntimeError(f"the worker answered {response.body!r}")
    return (time.process_time() - begin) / BATCH


class Empty:
    """The yardstick."""

    def __init__(self) -> None:
        self.engine = wasmtime.Engine()
        self.module = wasmtime.Module(self.engine, '(module (memory 1) (func (export "run")))')
        self.linker = wasmtime.Linker(self.engine)

    def batch(self) -> float:
        """Seconds of CPU per call in a fresh instance."""
        begin = time.process_time()
        for _ in range(BATCH):
            store = wasmtime.Store(self.engine)
            self.linker.instantiate(store, self.module).exports(store)["run"](store)
        return (time.process_time() - begin) / BATCH


def entry(abi: str, value_us: float, empty_us: float) -> dict[str, Any]:
    """One result."""
    return {
        "id": f"wasm-hello.{abi}",
        "value": round(value_us, 1),
        "unit": "µs CPU per request",
        "yardstick": f"an empty core function in a fresh instance, public API: {empty_us:.1f} µs",
        "ratio": round(value_us / empty_us, 2),
        "goal": f"ratio <= {GOAL_RATIO:g}",
        "ok": value_us / empty_us <= GOAL_RATIO,
        "command": "make bench ID=wasm-hello",
    }


if __name__ == "__main__":
    print(json.dumps(run(), indent=2))
