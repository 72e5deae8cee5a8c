"""What a call from a guest to the host costs: edgesim's boundary beside wasmtime's public Python API, CPU time.

A guest calls one host function many times in a loop; what the same run without calls takes is subtracted. Core: (i32, i32) ->
i32, through the callbacks of preview 1 and proxy-wasm, on an unchecked call. Components: `wasi:clocks/monotonic-clock#resolution`, () -> u64,
through a flat component as it serves requests. The public API has the same Python function behind `Linker.define_func` and
`LinkerInstance.add_func`.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from contextlib import suppress
from ctypes import addressof, c_uint64, c_void_p
from pathlib import Path
from typing import TYPE_CHECKING, Any

import wasmtime
from wasmtime import component as wasm_component

from benchmarks._guests import LIMITS, load, request, runtime
from edgesim.errors import GuestOutputError
from edgesim.wasm import p1, raw
from edgesim.wasm.guest_store import LIVE
from tests.hostile import wit

if TYPE_CHECKING:
    from collections.abc import Callable

CORE_GOAL, COMPONENT_GOAL = 8.0, 5.0
CALLS = 20_000
PUBLIC_CALLS = 1_000
ROUNDS = 8
CLOCK = "wasi:clocks/monotonic-clock@0.2.0"
CORE = """(module
  (import "env" "add" (func $add (param i32 i32) (result i32)))
  (func (export "run") (param $n i32) (result i32) (local $i i32) (local $sum i32)
    (block $end (loop $next
      (br_if $end (i32.ge_u (local.get $i) (local.get $n)))
      (local.set $sum (call $add (local.get $sum) (local.get $i)))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br $next)))
    (local.get $sum)))"""
PUBLIC_COMPONENT = f"""(component
  (import "{CLOCK}" (instance $clock (export "resolution" (func (result u64)))))
  (core func $resolution (canon lower (func $clock "resolution")))
  (core module $m
    (import "h" "resolution" (func $resolution (result i64)))
    (func (export "run") (param $n i32)
      (loop $next
        (drop (call $resolution))
        (br_if $next (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))))
  (core instance $h (export "resolution" (func $resolution)))
  (core instance $i (instantiate $m (with "h" (instance $h))))
  (func (export "run") (param "n" u32) (canon lift (core func $i "run"))))"""


def run() -> list[dict[str, Any]]:
    """Core and components."""
    core = [ours_core, public_core]
    best = [min(measure() for _ in range(ROUNDS)) for measure in (each() for each in core)]
    component = [asyncio.run(ours_component()), min(public_component() for _ in range(ROUNDS))]
    return [entry("core", *best, CORE_GOAL), entry("component", *component, COMPONENT_GOAL)]


def per_call_us(function: Callable[[int], object], calls: int) -> float:
    """CPU µs of one host call."""
    began_s = time.process_time()
    function(calls)
    return (time.process_time() - began_s) / calls * 1e6


def add(_guest: Any, a: int, b: int) -> int:
    """The host function."""
    return (a + b) & 0xFFFFFFFF


def ours_core() -> Callable[[], float]:
    """Through `raw`."""
    engine = wasmtime.Engine()
    module = wasmtime.Module(engine, CORE)
    linker = wasmtime.Linker(engine)
    callback, kind = p1.raw_callback(add, "ii"), module.imports[0].type
    raw.check(
        raw.linker_define_raw(
            raw.address(linker.ptr()), b"env", 3, b"add", 3, raw.address(kind.ptr()), raw.address(callback), None, None
        )
    )
    pre, trap, values = c_void_p(), c_void_p(), (c_uint64 * 4)()
    raw.check(raw.linker_instantiate_pre(raw.address(linker.ptr()), raw.address(module.ptr()), addressof(pre)))
    instance, found = raw.Instance(), raw.Extern()
    store = raw.store_new(raw.address(engine.ptr()), None, None)
    context = raw.store_context(store)
    raw.check(raw.instance_pre_instantiate_sync(pre.value, context, addressof(instance), addressof(trap)))
    if not raw.instance_export(context, addressof(instance), b"run", 3, addressof(found)):
        raise RuntimeError("no export")
    keep = (engine, module, linker, callback, kind, found)

    def call(calls: int) -> None:
        LIVE[context] = keep  # type: ignore[assignment]
        values[0] = calls
        raw.check(raw.func_call_raw(context, addressof(found.of), addressof(values), 4, addressof(trap)))
        del LIVE[context]
        if values[0] & 0xFFFFFFFF != sum(range(calls)) & 0xFFFFFFFF:
            raise RuntimeError(f"the sum is {values[0]}")

    return lambda: per_call_us(call, CALLS)


def public_core() -> Callable[[], float]:
    """Through the package's own classes."""
    engine = wasmtime.Engine()
    store, module = wasmtime.Store(engine), wasmtime.Module(engine, CORE)
    function = wasmtime.Func(store, module.imports[0].type, lambda a, b: add(None, a, b))
    exported = wasmtime.Instance(store, module, [function]).exports(store)["run"]
    return lambda: per_call_us(lambda calls: exported(store, calls), PUBLIC_CALLS)


async def ours_component() -> float:
    """Through a worker: the loop runs in `handle`, which then ends without an answer."""
    core = """(func (export "handle") (param i32 i32) (local $n i32)
      (loop $next
        (drop (call $monotonic-clock.resolution))
        (br_if $next (i32.ne (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const {calls})))))"""
    cost = {}
    with tempfile.TemporaryDirectory() as folder:
        async with runtime() as made:
            for calls in (1, CALLS):
                path = Path(folder) / f"{calls}.wasm"
                path.write_bytes(wit.component(core.replace("{calls}", str(calls))))
                worker = await load(made, path)
                cost[calls] = min([await _one(worker) for _ in range(ROUNDS)])
    return (cost[CALLS] - cost[1]) / (CALLS - 1) * 1e6


async def _one(worker: Any) -> float:
    began_s = time.process_time()
    with suppress(GuestOutputError):
        await worker.run(request(), LIMITS)
    return time.process_time() - began_s


def public_component() -> float:
    """Through the package's own classes."""
    engine = wasmtime.Engine()
    store, linker = wasmtime.Store(engine), wasm_component.Linker(engine)
    with linker.root() as root, root.add_instance(CLOCK) as instance:
        instance.add_func("resolution", lambda _store: 1000)
    made = linker.instantiate(store, wasm_component.Component(engine, PUBLIC_COMPONENT))
    function = made.get_func(store, "run")
    return per_call_us(lambda calls: function(store, calls), PUBLIC_CALLS)


def entry(name: str, ours_us: float, public_us: float, goal: float) -> dict[str, Any]:
    """One result."""
    times = public_us / ours_us
    return {
        "id": f"host-call.{name}",
        "value": round(ours_us, 2),
        "unit": "µs CPU per call",
        "yardstick": f"wasmtime's public Python API: {public_us:.1f} µs",
        "ratio": round(times, 1),
        "goal": f"{goal:g}x less",
        "ok": times >= goal,
        "command": "make bench ID=host-call",
    }


if __name__ == "__main__":
    print(json.dumps(run(), indent=2, ensure_ascii=False))
