"""Workers as benchmarks run them: through the Wasm runtime in this process, on either floor, without HTTP.

The guests are those of tests/guests, built on demand; what Cranelift makes of them is kept beside them. CPU time is this
process's, all threads; batches of what is compared alternate and the cheapest of each counts, since the same code costs up
to half as much again when the machine is busy.
"""

from __future__ import annotations

import asyncio
import gc
import hashlib
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgesim.model.worker import Component, Limits
from edgesim.wasm.guest import GuestRequest
from edgesim.wasm.runtime import Runtime
from tests.guests import build

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable

    from edgesim.model.worker import Abi
    from edgesim.wasm.guest import GuestResponse
    from edgesim.wasm.runtime import LoadedWorker

LIMITS = Limits(cpu_ms=60_000, wall_s=120, body_bytes=1 << 30, response_bytes=1 << 30)
FLOORS = ("auto", "component")
"""`auto`: components as core modules, as edgesim runs them; `component`: through the component C API."""


def guest(name: str) -> Path:
    """A guest's file. Raises RuntimeError when its toolchain cannot be had."""
    try:
        return build.ensure(name)
    except build.MissingToolError as error:
        raise RuntimeError(f"the guest {name} cannot be built here: {error}") from error


@asynccontextmanager
async def runtime(floor: str = "auto") -> AsyncIterator[Runtime]:
    """A runtime whose compiled workers are kept from run to run."""
    folder = build.cache() / "aot-bench"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # native code: for this user alone
    made = Runtime(folder, floor=floor)  # type: ignore[arg-type]
    yield made
    await made.close()


async def load(made: Runtime, path: Path, abi: Abi = "wasi-http") -> LoadedWorker:
    """A worker in memory, with Cranelift's code."""
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    component = Component(id="bench", digest=digest, size_bytes=path.stat().st_size, abi=abi)
    worker = await made.load(path, component)
    await made.improved(digest)
    if worker.tier != "cranelift":
        raise RuntimeError(f"{path.name} runs the code of {worker.tier}")
    await worker.warm_up(LIMITS)
    return worker


@dataclass
class Chunks:
    """A request body in pieces of 64 KiB."""

    data: bytes
    times: int = 1
    _at: int = field(default=0)

    async def next(self) -> bytes | None:
        """The next piece."""
        at, self._at = self._at, self._at + 65536
        if at >= len(self.data) * self.times:
            return None
        at %= len(self.data)
        return self.data[at : at + 65536]

    def trailers(self):
        """None."""
        return ()

    def close(self) -> None:
        """Nothing to do."""


def request(target: str = "/hello", body: Any = None, size: int = 0) -> GuestRequest:
    """A request as a client of a small site sends it."""
    headers = (("host", "hello.localhost"), ("user-agent", "bench"), ("accept", "*/*"))
    return GuestRequest(
        method="POST" if body else "GET",
        target=target,
        headers=(*headers, ("content-length", str(size))) if body else headers,
        body=body,
        authority="hello.localhost",
        scheme="http",
        client_address="240.0.0.1",
        deadline_s=asyncio.get_running_loop().time() + 600,
    )


async def read_all(response: GuestResponse) -> bytes:
    """The whole body, and the guest's end."""
    if isinstance(response.body, bytes):
        return response.body
    parts = []
    while (chunk := await response.body.next()) is not None:
        parts.append(chunk)
    while response.ended is not None and not response.ended.done:
        await asyncio.sleep(0)
    return b"".join(parts)


async def cpu_us(once: Callable[[], Awaitable[None]], count: int) -> float:
    """CPU µs of one call, over a batch."""
    gc.collect()
    began_s = time.process_time()
    for _ in range(count):
        await once()
    return (time.process_time() - began_s) / count * 1e6


async def cheapest(
    shapes: dict[str, Callable[[], Awaitable[None]]], counts: Iterable[int], rounds: int
) -> dict[str, float]:
    """CPU µs of one call of each shape, in its cheapest batch; batches alternate."""
    best: dict[str, float] = {}
    sized = dict(zip(shapes, counts, strict=True))
    for number in range(rounds + 1):
        for name in sorted(shapes, reverse=bool(number % 2)):
            cost = await cpu_us(shapes[name], sized[name])
            if number:  # the first round warms up
                best[name] = min(best.get(name, cost), cost)
    return best
