"""What a fresh instance of a large component costs, on both floors: shared by `js_cold` and `python_cold`."""

from __future__ import annotations

import asyncio
from statistics import median
from typing import TYPE_CHECKING, Any

from benchmarks._guests import FLOORS, LIMITS, cheapest, guest, load, read_all, request, runtime
from edgesim.wasm.keeping import KeptInstance

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from edgesim.wasm.runtime import LoadedWorker

ROUNDS = 12
BATCH = 40
SERVE_ONCE = ("js-fetch",)
"""StarlingMonkey's fetch event: "respondWith can't be called twice"."""


def measure(id_: str, name: str, goal: float) -> list[dict[str, Any]]:
    """Entries for the whole request, for the instance alone, and for an instance that serves again."""
    return asyncio.run(_measure(id_, name, goal))


async def _measure(id_: str, name: str, goal: float) -> list[dict[str, Any]]:
    path = guest(name)
    made_s: dict[str, list[list[float]]] = {floor: [] for floor in FLOORS}
    async with runtime("auto") as flat, runtime("component") as api:
        workers = dict(zip(FLOORS, [await load(each, path) for each in (flat, api)], strict=True))
        shapes = {floor: _fresh(worker, made_s[floor]) for floor, worker in workers.items()}
        cost = await cheapest(shapes, [BATCH, BATCH], ROUNDS)
        kept = KeptInstance()
        again = {}
        if name not in SERVE_ONCE:
            again = await cheapest({"reused": _fresh(workers["auto"], [], kept)}, [BATCH], ROUNDS)
        kept.close()
    instance = {floor: min(median(batch) for batch in found) * 1000 for floor, found in made_s.items()}
    ratio = cost["auto"] / cost["component"]
    entries = [
        {
            "id": id_,
            "value": round(cost["auto"]),
            "unit": "µs CPU, fresh request",
            "yardstick": f"the same request through the component C API: {cost['component']:.0f} µs",
            "ratio": round(ratio, 2),
            "goal": f"ratio <= {goal:g}",
            "ok": ratio <= goal,
            "command": f"make bench ID={id_}",
        },
        {
            "id": f"{id_}.instantiate",
            "value": round(instance["auto"], 3),
            "unit": "ms p50",
            "yardstick": f"component C API: {instance['component']:.3f} ms",
            "ratio": round(instance["auto"] / instance["component"], 2),
            "goal": "<= 0.3 ms" if name.startswith("js") else None,
            "ok": instance["auto"] <= 0.3 if name.startswith("js") else None,
            "command": f"make bench ID={id_}",
            **({} if name.startswith("js") else {"reason": "reported without a goal"}),
        },
    ]
    if again:
        entries.append(
            {
                "id": f"{id_}.reused",
                "value": round(again["reused"]),
                "unit": "µs CPU per request",
                "yardstick": f"a fresh instance: {cost['auto']:.0f} µs",
                "ratio": round(again["reused"] / cost["auto"], 3),
                "goal": "<= 350 µs" if name == "py" else None,
                "ok": again["reused"] <= 350 if name == "py" else None,
                "command": f"make bench ID={id_}",
                **({} if name == "py" else {"reason": "reported without a goal"}),
            }
        )
    return entries


def _fresh(
    worker: LoadedWorker, made_s: list[list[float]], kept: KeptInstance | None = None
) -> Callable[[], Awaitable[None]]:
    """One request; `made_s` gets how long each instance took, in batches."""

    async def once() -> None:
        response = await worker.run(request(), LIMITS, kept=kept)
        if response.status != 200 or not (await read_all(response)).startswith(b"hello from"):
            raise RuntimeError(f"the worker answered {response.status}")
        if not made_s or len(made_s[-1]) >= BATCH:
            made_s.append([])
        made_s[-1].append(response.instantiate_s)

    return once
