"""`python -m tests.hostile.mutants FILE SEED COUNT FOLDER`: broken copies of a worker, compiled, and run where they compile.

A process of its own, because the question is whether it survives. It says on stdout which copy comes next, and at the end
how many were refused, how many ran, and how each ended, as JSON.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from edgesim.errors import BundleError, EdgesimError
from edgesim.model.worker import MIB, Limits
from edgesim.wasm import guest_store
from edgesim.wasm.compile import compile_file
from edgesim.wasm.runtime import Runtime
from tests.support.wasm import build_script, load, read_all, request

LIMITS = Limits(cpu_ms=50, wall_s=1.0, memory_bytes=16 * MIB, body_bytes=MIB)
MAX_RUNS = 25
"""Copies that still compile and are run: each needs a compiler process."""


def boundaries(data: bytes) -> list[int]:
    """Where the sections of a module or component begin, and where their contents do; sections in it as well."""
    found, at = [], 8
    while at < len(data):
        size, start = build_script().read_leb128(data, at + 1)
        found += [at, start]
        if data[start : start + 4] == b"\0asm":
            found += [start + inner for inner in boundaries(data[start : start + size])]
        at = start + size
    return found


def mutants(data: bytes, seed: int, count: int) -> Iterator[tuple[str, bytes]]:
    """Copies cut at and around each boundary, then copies with bits flipped, bytes replaced, or a part moved."""
    rng = random.Random(seed)
    for at in boundaries(data):
        yield f"cut at {at}", data[:at]
        yield f"cut at {at + 1}", data[: at + 1]
    for n in range(count):
        copy = bytearray(data)
        for _ in range(rng.choice((1, 1, 1, 2, 8))):
            at = rng.randrange(8, len(copy))
            if n % 3 == 0:
                copy[at] ^= 1 << rng.randrange(8)
            elif n % 3 == 1:
                copy[at] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
            else:
                size = rng.randrange(1, 9)
                copy[at : at + size] = copy[rng.randrange(len(copy)) :][:size]
        yield f"changed, {n}", bytes(copy)


async def end_of(runtime: Runtime, folder: Path, data: bytes) -> str:
    """How one copy ends: the code of its error, or its status."""
    try:
        worker = await load(runtime, folder, data)
        response = await worker.run(request(), LIMITS)
        await read_all(response)
        runtime.release(worker)
    except EdgesimError as error:
        return error.code
    return str(response.status)


async def main(file: Path, seed: int, count: int, folder: Path) -> dict[str, object]:
    """See the module."""
    ends: Counter[str] = Counter()
    runs, slowest_s = 0, 0.0
    runtime = Runtime(folder / "artifacts")
    source, target = folder / "mutant.wasm", folder / "mutant.out"
    for name, data in mutants(file.read_bytes(), seed, count):
        print(name, flush=True)
        source.write_bytes(data)
        begin = time.monotonic()
        try:
            compile_file(source, target)
        except BundleError as error:
            ends[error.code] += 1
        else:
            runs += 1
            ends["compiled" if runs > MAX_RUNS else await end_of(runtime, folder, data)] += 1
        slowest_s = max(slowest_s, time.monotonic() - begin)
    await runtime.close()
    return {"ends": ends, "slowest_s": slowest_s, "live": len(guest_store.LIVE)}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4])))))
