"""What one host call costs a component on the two floors: the same component, the same host function, called in a loop.

`host_calls()` is for `host_call.py`; run alone it prints its figures.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from time import process_time

import wasmtime
from wasmtime import wat2wasm

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from edgesim.wasm.engine import make_engine
from edgesim.wasm.flat.flatten import flatten
from edgesim.wasm.flat.link import LinkedPlan
from edgesim.wasm.linking import HostFunction
from tests.support.flat_oracle import call_flat, on_component

INTERFACE = "test:bench/host"
CASES: dict[str, tuple[str, str, str, str, object, int]] = {
    "(u32, u32) -> u32": (
        '(param "a" u32) (param "b" u32) (result u32)', "i32 i32", "(result i32)",
        "(drop (call $f (local.get $i) (i32.const 7)))", lambda _guest, a, b: a + b & 0xFFFFFFFF, 20_000,
    ),
    "string 16 B in": (
        '(param "s" string)', "i32 i32", "", "(call $f (i32.const 64) (i32.const 16))", lambda _guest, _text: None, 20_000,
    ),
    "string 16 B out": (
        "(result string)", "i32", "", "(call $f (i32.const 64))", lambda _guest: "sixteen bytes ok", 10_000,
    ),
    "list<u8> 1 KiB in": (
        '(param "b" (list u8))', "i32 i32", "", "(call $f (i32.const 64) (i32.const 1024))", lambda _guest, _data: None, 5_000,
    ),
    "list<u8> 1 KiB out": (
        "(result (list u8))", "i32", "", "(call $f (i32.const 64))", lambda _guest, data=bytes(1024): data, 5_000,
    ),
    "list<u8> 64 KiB in": (
        '(param "b" (list u8))', "i32 i32", "", "(call $f (i32.const 64) (i32.const 65536))", lambda _guest, _data: None, 300,
    ),
    "list<u8> 64 KiB out": (
        "(result (list u8))", "i32", "", "(call $f (i32.const 64))", lambda _guest, data=bytes(65536): data, 300,
    ),
}  # fmt: skip
"""Name to component type, core parameters, core result, the call, the host function, and how many calls."""


def component(kind: str, params: str, result: str, call: str, count: int) -> bytes:
    """A component whose `run` makes `count` calls."""
    return bytes(
        wat2wasm(f"""(component
  (import "{INTERFACE}@0.1.0" (instance $host (export "f" (func {kind}))))
  (core module $libc (memory (export "memory") 8)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 131072)))
  (core instance $libc (instantiate $libc))
  (core func $f (canon lower (func $host "f")
    (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))))
  (core module $m (import "h" "f" (func $f (param {params}) {result}))
    (func (export "run") (local $i i32)
      (loop $l {call} (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br_if $l (i32.lt_u (local.get $i) (i32.const {count}))))))
  (core instance $m (instantiate $m (with "h" (instance (export "f" (func $f))))))
  (func $run (canon lift (core func $m "run")))
  (export "run" (func $run)))""")
    )


async def _both(rounds: int) -> dict[str, tuple[float, float]]:
    engine, found = make_engine(), {}
    for name, (kind, params, result, call, function, count) in CASES.items():
        table = {(INTERFACE, "f"): HostFunction(function, waits=False)}  # type: ignore[arg-type]
        binary = component(kind, params, result, call, count)
        plan, module = flatten(binary)
        linked = LinkedPlan(engine, wasmtime.Module(engine, module), plan, table)
        run = plan.lifted[dict(dict(plan.exports)[""])["run"]].function
        best = [float("inf")] * 2
        for _ in range(rounds):
            begin = process_time()
            await on_component(engine, binary, table)
            middle = process_time()
            await call_flat(linked, run)
            best = [min(best[0], middle - begin), min(best[1], process_time() - middle)]
        found[name] = (best[0] / count * 1e6, best[1] / count * 1e6)
    return found


def host_calls(rounds: int = 3) -> dict[str, tuple[float, float]]:
    """CPU µs per host call, best of `rounds`: the component C API's (with its compilation, under 1 %), and the flat floor's."""
    return asyncio.run(_both(rounds))


if __name__ == "__main__":
    for case, (through_c_api, flat) in host_calls().items():
        print(f"{case:20} C API {through_c_api:9.2f} µs   flat {flat:7.2f} µs   {through_c_api / flat:6.1f}x")
