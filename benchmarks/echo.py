"""Bodies through components: 64 KiB and 1 MiB of random bytes echoed by C, JavaScript and Python guests, on both floors.

CPU time of the whole request, fresh instance, in this process. And 32 MiB through each guest: how much the process's peak of
resident memory rises above what it was, since a body must take the window's memory and not its own. Peaks are the kernel's
(`VmHWM`, reset through /proc/self/clear_refs).
"""

from __future__ import annotations

import asyncio
import gc
import json
import random
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks._guests import FLOORS, LIMITS, Chunks, cheapest, guest, load, read_all, request, runtime
from edgesim.errors import GuestError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from edgesim.wasm.runtime import LoadedWorker

KIB = 1024
GUESTS = {"c": "c-echo", "js": "js-fetch", "python": "py"}
GOALS = {
    ("c", 64): 20.0, ("c", 1024): 40.0, ("js", 64): 5.0, ("js", 1024): 6.0, ("python", 64): 3.0, ("python", 1024): 10.0,
}  # fmt: skip
"""How many times less CPU than through the component C API."""
BATCHES = {64: (20, 4), 1024: (6, 1)}
ROUNDS = 6
STREAMED_MIB = 32
MAX_PEAK_MIB = 8.0
"""Above the peak of an echo of 64 KiB: four windows of 256 KiB in each direction, and what the allocator keeps."""


def run() -> list[dict[str, Any]]:
    """Two sizes and one stream per guest."""
    return asyncio.run(_measure())


async def _measure() -> list[dict[str, Any]]:
    entries = []
    async with runtime("auto") as flat, runtime("component") as api:
        for language, name in GUESTS.items():
            workers = dict(zip(FLOORS, [await load(each, guest(name)) for each in (flat, api)], strict=True))
            for kib, counts in BATCHES.items():
                data = random.Random(kib).randbytes(kib * KIB)
                shapes = {floor: echo(worker, data) for floor, worker in workers.items()}
                cost = await cheapest(shapes, counts, ROUNDS)
                entries.append(_entry(language, kib, cost))
            try:
                entries.append(_memory(language, *await peaks_mib(workers["auto"])))
            except GuestError as error:
                entries.append(
                    _memory(language, 0.0, float("inf")) | {"value": None, "yardstick": None, "reason": error.message}
                )
    return entries


def echo(worker: LoadedWorker, data: bytes) -> Callable[[], Awaitable[None]]:
    """One echo, compared byte by byte."""

    async def once() -> None:
        response = await worker.run(request("/echo", Chunks(data), len(data)), LIMITS)
        if await read_all(response) != data:
            raise RuntimeError("the echo differs")

    return once


async def peaks_mib(worker: LoadedWorker) -> tuple[float, float]:
    """How far resident memory rises in one echo of 64 KiB, and in one of `STREAMED_MIB` that a reader takes as it comes.

    Without what the guest's own memory grew by: componentize-py leaks the bytes of a body, to its limit.
    """
    data = random.Random(1).randbytes(64 * KIB)
    found = []
    for times in (1, STREAMED_MIB * 16):
        gc.collect()
        before = _status_kib("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")
        response = await worker.run(request("/echo", Chunks(data, times), len(data) * times), LIMITS)
        size = await _drain(response)
        if size != len(data) * times:
            raise RuntimeError(f"{size} bytes came back of {len(data) * times}")
        found.append((_status_kib("VmHWM") - before) / KIB - response.memory_bytes / KIB**2)
    return found[0], found[1]


async def _drain(response: Any) -> int:
    if isinstance(response.body, bytes):
        return len(response.body)
    size = 0
    while (chunk := await response.body.next()) is not None:
        size += len(chunk)
    while response.ended is not None and not response.ended.done:
        await asyncio.sleep(0)
    return size


def _status_kib(name: str) -> int:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1])


def _entry(language: str, kib: int, cost: dict[str, float]) -> dict[str, Any]:
    times, goal = cost["component"] / cost["auto"], GOALS[language, kib]
    return {
        "id": f"echo.{language}-{kib}k",
        "value": round(cost["auto"]),
        "unit": "µs CPU per echo",
        "yardstick": f"component C API: {cost['component']:.0f} µs",
        "ratio": round(times, 1),
        "goal": f"{goal:g}x less",
        "ok": times >= goal,
        "command": "make bench ID=echo",
    }


def _memory(language: str, small_mib: float, large_mib: float) -> dict[str, Any]:
    more = large_mib - small_mib
    return {
        "id": f"echo.{language}-memory",
        "value": round(more, 1),
        "unit": "MiB",
        "yardstick": f"above the guest's linear memory, an echo of 64 KiB: {small_mib:.1f} MiB; of {STREAMED_MIB} MiB: {large_mib:.1f} MiB",
        "ratio": None,
        "goal": f"<= {MAX_PEAK_MIB:g} MiB more",
        "ok": more <= MAX_PEAK_MIB,
        "command": "make bench ID=echo",
    }


if __name__ == "__main__":
    print(json.dumps(run(), indent=2, ensure_ascii=False))
