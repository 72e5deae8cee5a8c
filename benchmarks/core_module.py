"""Cold start of a core module: a fresh instance of a Proxy-Wasm hello, its first call, and its end, artefact loaded.

Ours is what each request with a filter pays: `ProxyModule.instantiate`, `proxy_on_request_headers`, close; with limits, CPU
metering and host functions. The yardstick is the shortest loop that can be written on the C API through ctypes in the same
process, on the same engine and the same module: new store, epoch deadline, instantiate, find the export, call it unchecked,
free the store. Blocks of both alternate. p50 and p99 are those of the quietest block each, since the rest of the machine
only ever adds.
"""

from __future__ import annotations

import gc
import json
import time
from ctypes import addressof, c_uint64
from typing import Any

import wasmtime

from edgesim.model.worker import Limits
from edgesim.wasm import raw
from edgesim.wasm.engine import make_engine
from edgesim.wasm.proxy.module import ProxyModule, check
from edgesim.wasm.proxy.state import PluginState

GOAL = 1.3
QUIET_P99_US = 20.0
"""On a machine with nothing else to do; Fastly publishes 35 µs for a cold start."""
BLOCKS = 40
CALLS = 1000
HELLO = """(module
  (import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "proxy_abi_version_0_2_1"))
  (func (export "malloc") (param i32) (result i32) (i32.const 1024))
  (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (i32.const 0)))"""


def run() -> list[dict[str, Any]]:
    """p50 and p99, each beside the bare loop's."""
    engine = make_engine(pooled=True)
    module = wasmtime.Module(engine, HELLO)
    check(module)
    ours, bare = Ours(engine, module), Bare(engine, module)
    blocks: dict[str, list[list[int]]] = {"ours": [], "bare": []}
    for number in range(BLOCKS):
        for name, once in sorted({"ours": ours.once, "bare": bare.once}.items(), reverse=bool(number % 2)):
            blocks[name].append(block(once))
    blocks = {name: found[4:] for name, found in blocks.items()}  # the first ones warm up
    return [entry("core-module", "p50", 0.5, blocks, GOAL), entry("core-module.p99", "p99", 0.99, blocks, GOAL)]


def block(once: Any) -> list[int]:
    """Sorted wall-clock ns of each of `CALLS` cold starts."""
    clock, times = time.perf_counter_ns, [0] * CALLS
    gc.collect()
    gc.disable()
    try:
        for i in range(CALLS):
            began = clock()
            once()
            times[i] = clock() - began
    finally:
        gc.enable()
    return sorted(times)


class Ours:
    """What a PoP does."""

    def __init__(self, engine: Any, module: Any) -> None:
        self.module = ProxyModule(engine, module)
        self.state = PluginState("hello", Limits())

    def once(self) -> None:
        """One cold start."""
        vm = self.module.instantiate(self.state)
        if vm.call("proxy_on_request_headers", 1, 0, 1) != 0:
            raise RuntimeError("the filter did not say Continue")
        vm.close()


class Bare:
    """The C API and nothing else."""

    def __init__(self, engine: Any, module: Any) -> None:
        self.linked = ProxyModule(engine, module)  # the resolved imports are the same
        self.engine, self.pre = self.linked.engine, self.linked.pre
        self.instance, self.found = raw.Instance(), raw.Extern()
        self.trap, self.values = c_uint64(), (c_uint64 * 8)()
        self.at = tuple(map(addressof, (self.instance, self.found, self.trap, self.values)))
        self.function = addressof(self.found.of)

    def once(self) -> None:
        """One cold start."""
        instance, found, trap, values = self.at
        store = raw.store_new(self.engine, None, None)
        context = raw.store_context(store)
        raw.set_epoch_deadline(context, 1000)
        if raw.instance_pre_instantiate_sync(self.pre, context, instance, trap):
            raise RuntimeError("no instance")
        if not raw.instance_export(context, instance, b"proxy_on_request_headers", 24, found):
            raise RuntimeError("no export")
        self.values[0], self.values[2], self.values[4] = 1, 0, 1
        if raw.func_call_raw(context, self.function, values, 3, trap):
            raise RuntimeError("no call")
        raw.store_delete(store)


def entry(name: str, what: str, at: float, blocks: dict[str, list[list[int]]], goal: float) -> dict[str, Any]:
    """One percentile."""
    best = {who: min(times[int(CALLS * at)] for times in found) / 1000 for who, found in blocks.items()}
    ratio = best["ours"] / best["bare"]
    return {
        "id": name,
        "value": round(best["ours"], 1),
        "unit": f"µs {what}",
        "yardstick": f"bare C-API loop on the same engine and module: {best['bare']:.1f} µs {what}; Fastly publishes 35 µs",
        "ratio": round(ratio, 2),
        "goal": f"ratio <= {goal:g}",
        "ok": ratio <= goal,
        "command": "make bench ID=core-module",
        "quiet_goal": f"p99 < {QUIET_P99_US:g} µs on a quiet machine",
    }


if __name__ == "__main__":
    print(json.dumps(run(), indent=2, ensure_ascii=False))
