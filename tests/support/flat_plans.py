"""Plans by hand: core modules in text, and what their trampolines are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import wasmtime

from edgesim.wasm.engine import make_engine
from edgesim.wasm.flat import types as t
from edgesim.wasm.flat.link import LinkedPlan
from edgesim.wasm.flat.plan import HostFunction, Lifted, Lower, Options, Plan
from edgesim.wasm.linking import HostFunction as Entry
from tests.support.flat_oracle import call_flat

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgesim.wasm.flat.guest import FlatGuest
    from edgesim.wasm.flat.plan import Resource, Trampoline

INTERFACE = "test:t/host"
OPTIONS = Options(instance=0, memory="memory", realloc="realloc")
BUMP = """
  (memory (export "memory") 2)
  (global $next (mut i32) (i32.const 65536))
  (func $realloc (export "realloc") (param i32 i32 i32 i32) (result i32)
    (global.set $next (i32.and (i32.add (global.get $next) (i32.const 15)) (i32.const -8)))
    (global.get $next)
    (global.set $next (i32.add (global.get $next) (local.get 3))))
"""
"""A memory, and a realloc that never frees."""


def lower(name: str, params: tuple[t.ValType, ...] = (), result: t.ValType | None = None, **options: Any) -> Lower:
    """A lowered host function."""
    kinds = tuple((f"p{i}", kind) for i, kind in enumerate(params))
    return Lower(
        callee=HostFunction(interface=f"{INTERFACE}@0.1.0", name=name),
        type=t.FuncType(kinds, result),
        options=Options(**{"instance": 0, "memory": "memory", "realloc": "realloc"} | options),
    )


def plan(
    *trampolines: Trampoline, resources: tuple[Resource, ...] = (), lifted: tuple[Lifted, ...] = (), instances: int = 1
) -> Plan:
    """A plan whose module exports `run`."""
    return Plan(trampolines=trampolines, lifted=lifted, resources=resources, exports=(), instances=instances)


async def run(
    plan: Plan,
    wat: str,
    functions: dict[str, Any],
    look: Callable[[FlatGuest], None] = lambda _guest: None,
    waits: tuple[str, ...] = (),
) -> None:
    """Link the module and call its `run`. `functions` are `fn(guest, *values)` by name."""
    engine = make_engine()
    table = {(INTERFACE, name): Entry(call, waits=name in waits) for name, call in functions.items()}
    linked = LinkedPlan(engine, wasmtime.Module(engine, f"(module {wat})"), plan, table)
    await call_flat(linked, "run", look)
