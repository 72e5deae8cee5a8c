"""The component C API as the oracle of the flat floor: one component per type, run on both, and what the host saw.

The component is two composed ones. The outer gets a value from the host into its memory (`g`), hands it as core values to the
host (`f`), and to the inner one (`put`), which hands it to the host again. So a value is lowered into memory, lifted from core
values, lowered into core values or another memory, and lifted again.
"""

from __future__ import annotations

import asyncio
from ctypes import addressof, create_string_buffer
from typing import TYPE_CHECKING, Any

import wasmtime
from wasmtime import component as wasm_component
from wasmtime import wat2wasm

from edgesim.wasm import raw
from edgesim.wasm.component import ComponentGuest
from edgesim.wasm.flat import types as t
from edgesim.wasm.flat.canon_layout import (
    MAX_FLAT_PARAMS,
    PRIMITIVES,
    cases,
    core_params,
    discriminant_size,
    layout,
    offsets,
    parts,
    payload_offset,
)
from edgesim.wasm.flat.flatten import flatten
from edgesim.wasm.flat.guest import FlatGuest
from edgesim.wasm.flat.link import LinkedPlan
from edgesim.wasm.guest import NO_GRANTS
from edgesim.wasm.linking import HostFunction, link
from edgesim.wasm.values import Err, Ok, Var
from tests.support.wasm import GENEROUS, request

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from edgesim.wasm.guest_store import Guest

INTERFACE = "test:oracle/host"
BUFFER = 64
"""Where the outer component keeps the value."""

_LOADS = {
    "bool": "i32.load8_u", "u8": "i32.load8_u", "s8": "i32.load8_s", "u16": "i32.load16_u", "s16": "i32.load16_s",
    "u32": "i32.load", "s32": "i32.load", "char": "i32.load", "u64": "i64.load", "s64": "i64.load", "f32": "f32.load",
    "f64": "f64.load",
}  # fmt: skip
_JOINS = {
    ("i32", "i64"): "i64.extend_i32_u", ("f32", "i32"): "i32.reinterpret_f32",
    ("f32", "i64"): "(i64.extend_i32_u (i32.reinterpret_f32", ("f64", "i64"): "i64.reinterpret_f64",
}  # fmt: skip
_MEMORY = """
  (memory (export "memory") 4)
  (global $next (mut i32) (i32.const 65536))
  (func (export "realloc") (param i32 i32 i32 i32) (result i32) (local $p i32)
    (local.set $p (i32.and (i32.add (global.get $next) (i32.sub (local.get 2) (i32.const 1)))
                           (i32.sub (i32.const 0) (local.get 2))))
    (global.set $next (i32.add (local.get $p) (local.get 3)))
    (memory.copy (local.get $p) (local.get 0)
      (select (local.get 1) (local.get 3) (i32.lt_u (local.get 1) (local.get 3))))
    (local.get $p))
"""


class Wit:
    """The text of types: records, variants, enums and flags must have names, which the instance exports."""

    def __init__(self, kind: t.ValType) -> None:
        self.named: list[tuple[str, str]] = []
        self._names: dict[t.ValType, str] = {}
        self.root = self.text(kind)

    def text(self, kind: t.ValType) -> str:
        """A type in the text format."""
        match kind:
            case t.Prim(name):
                return name
            case t.List(element):
                return f"(list {self.text(element)})"
            case t.Tuple(elements):
                return f"(tuple {' '.join(map(self.text, elements))})"
            case t.Option(payload):
                return f"(option {self.text(payload)})"
            case t.Result(ok, err):
                arms = (f" {self.text(ok)}" if ok else "") + (f" (error {self.text(err)})" if err else "")
                return f"(result{arms})"
        if kind not in self._names:
            self._names[kind] = f"$t{len(self._names)}"
            match kind:
                case t.Record(fields):
                    body = "record " + " ".join(f'(field "{name}" {self.text(field)})' for name, field in fields)
                case t.Variant(found):
                    body = "variant " + " ".join(
                        f'(case "{name}"{" " + self.text(payload) if payload else ""})' for name, payload in found
                    )
                case t.Enum(names) | t.Flags(names):
                    word = "enum" if isinstance(kind, t.Enum) else "flags"
                    body = f"{word} " + " ".join(f'"{name}"' for name in names)
                case _:
                    raise AssertionError(kind)
            self.named.append((self._names[kind], body))
        return self._names[kind]

    def instance(self) -> str:
        """What the host's instance exports."""
        out = []
        for name, body in self.named:
            out.append(f'(type {name}-raw ({body})) (export "{name[1:]}" (type {name} (eq {name}-raw)))')
        return "\n".join([
            *out,
            f'(export "g" (func (result (tuple {self.root} u8 u8))))',
            f'(export "f" (func (param "v" {self.root})))',
        ])  # fmt: skip

    def aliases(self, instance: str) -> str:
        """The named types, outside of the instance."""
        return "\n".join(f'(alias export {instance} "{name[1:]}" (type {name}))' for name, _ in self.named)


def fill(kind: t.ValType, at: int, slots: list[tuple[int, str]]) -> str:
    """Core text that reads the value at `BUFFER + at` into locals, each of its (joined) type."""
    match kind:
        case t.Prim("string") | t.List():
            return _set(slots[0], "i32", f"(i32.load (i32.const {BUFFER + at}))") + _set(
                slots[1], "i32", f"(i32.load (i32.const {BUFFER + at + 4}))"
            )
        case t.Prim(name):
            return _set(slots[0], PRIMITIVES[name][2], f"({_LOADS[name]} (i32.const {BUFFER + at}))")
        case t.Enum() | t.Flags():
            return _set(slots[0], "i32", _tag(layout(kind).size, at))
        case t.Record() | t.Tuple():
            text, used = "", 0
            for part, offset in zip(parts(kind), offsets(parts(kind))[0], strict=True):
                count = len(layout(part).flat)
                text += fill(part, at + offset, slots[used : used + count])
                used += count
            return text
    payloads = cases(kind)
    tag = _tag(discriminant_size(len(payloads)), at)
    text = _set(slots[0], "i32", tag)
    for i, payload in enumerate(payloads):
        if payload is not None:
            inner = fill(payload, at + payload_offset(kind), slots[1:])
            text += f"(if (i32.eq {tag} (i32.const {i})) (then {inner}))"
    return text


def _tag(size: int, at: int) -> str:
    return f"({ {1: 'i32.load8_u', 2: 'i32.load16_u', 4: 'i32.load'}[size] } (i32.const {BUFFER + at}))"


def _set(slot: tuple[int, str], core: str, value: str) -> str:
    number, into = slot
    join = _JOINS.get((core, into))
    if join is not None:
        value = f"({join} {value}{'))' if join.startswith('(') else ')'}"
        value = value[1:] if value.startswith("((") else value
    return f"(local.set {number} {value})\n"


def component(kind: t.ValType, encoding: str = "utf8") -> str:
    """The component for a type. The inner one's strings are UTF-8, whatever the outer one's are."""
    wit = Wit(kind)
    flat = core_params([kind])
    spilled = len(flat) > MAX_FLAT_PARAMS
    cores = ("i32",) if spilled else flat
    params = f"(param {' '.join(cores)})" if cores else ""
    if spilled:
        body = f"(call $f (i32.const {BUFFER})) (call $put (i32.const {BUFFER}))"
        local = ""
    else:
        gets = " ".join(f"(local.get {i})" for i in range(len(flat)))
        local = f"(local {' '.join(flat)})"
        body = fill(kind, 0, list(enumerate(flat))) + f"(call $f {gets}) (call $put {gets})"
    forward = " ".join(f"(local.get {i})" for i in range(len(cores)))
    host = f'(import "{INTERFACE}@0.1.0" (instance $host {wit.instance()}))'
    inner_host = f'(import "host" (instance $host {wit.instance()}))'
    options = '(memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))'
    return f"""
(component
  {host}
  (component $inner
    {inner_host}
    {wit.aliases("$host")}
    (core module $libc {_MEMORY})
    (core instance $libc (instantiate $libc))
    (core func $f (canon lower (func $host "f") {options} string-encoding=utf8))
    (core module $m (import "h" "f" (func $f {params}))
      (func (export "put") {params} (call $f {forward})))
    (core instance $m (instantiate $m (with "h" (instance (export "f" (func $f))))))
    (func (export "put") (param "v" {wit.root}) (canon lift (core func $m "put") {options} string-encoding=utf8)))
  {wit.aliases("$host")}
  (instance $inner (instantiate $inner (with "host" (instance $host))))
  (core module $libc {_MEMORY})
  (core instance $libc (instantiate $libc))
  (core func $g (canon lower (func $host "g") {options} string-encoding={encoding}))
  (core func $f (canon lower (func $host "f") {options} string-encoding={encoding}))
  (core func $put (canon lower (func $inner "put") {options} string-encoding={encoding}))
  (core module $m
    (import "h" "g" (func $g (param i32))) (import "h" "f" (func $f {params})) (import "h" "put" (func $put {params}))
    (import "libc" "memory" (memory 4))
    (func (export "run") {local} (call $g (i32.const {BUFFER})) {body}))
  (core instance $m (instantiate $m (with "libc" (instance $libc))
    (with "h" (instance (export "g" (func $g)) (export "f" (func $f)) (export "put" (func $put))))))
  (func $run (canon lift (core func $m "run")))
  (export "run" (func $run)))
"""


def table(value: Any, seen: list[Any]) -> dict[tuple[str, str], HostFunction]:
    """The host functions: one gives `value`, the other remembers what it gets."""

    def f(_guest: Guest, got: Any) -> None:
        seen.append(got)

    return {
        (INTERFACE, "g"): HostFunction(lambda _guest: (value, 1, 2), waits=False),
        (INTERFACE, "f"): HostFunction(f, waits=False),
    }


async def poll(guest: Guest, future: int) -> None:
    """Run a future to its end, and raise what ended it."""
    try:
        while not raw.future_poll(future):
            call, guest.suspended = guest.suspended, None
            if call is not None:
                call.value = await call.start()
                call.done = True
            await asyncio.sleep(0)
    finally:
        raw.future_delete(future)
    guest.check()


async def on_component(
    engine: Any, binary: bytes, functions: Mapping[tuple[str, str], HostFunction], name: str = "run"
) -> None:
    """Call an export without parameters through the C API."""
    compiled = wasm_component.Component(engine, binary)
    linker, _glue, _keep = link(engine, compiled, dict(functions))
    index = compiled.get_export_index(name)
    guest = ComponentGuest(raw.address(engine.ptr()), request(), GENEROUS, NO_GRANTS)
    try:
        instance, function = raw.ComponentInstance(), raw.ComponentFunc()
        await poll(
            guest,
            raw.component_instantiate(
                raw.address(linker.ptr()), guest.context, raw.address(compiled.ptr()), addressof(instance), addressof(guest.error_out)
            ),
        )  # fmt: skip
        assert raw.component_get_func(addressof(instance), guest.context, raw.address(index.ptr()), addressof(function))
        none = create_string_buffer(32)
        await poll(
            guest,
            raw.component_call(
                addressof(function), guest.context, addressof(none), 0, None, 0, addressof(guest.error_out)
            ),
        )
    finally:
        guest.close()


async def call_flat(linked: LinkedPlan, name: str, look: Callable[[FlatGuest], None] = lambda _guest: None) -> None:
    """Instantiate a linked plan and call a core export without parameters and results. `look` sees the guest afterwards."""
    guest = FlatGuest(linked, request(), GENEROUS, NO_GRANTS)
    try:
        await poll(
            guest,
            raw.instance_pre_instantiate(
                linked.pre, guest.context, addressof(guest.instance), addressof(guest.trap_out), addressof(guest.error_out)
            ),
        )  # fmt: skip
        guest.made = guest.entered[0] = True
        function = guest.named(name)
        none = create_string_buffer(32)
        await poll(
            guest,
            raw.func_call(
                guest.context, addressof(function.of), addressof(none), 0, None, 0,
                addressof(guest.trap_out), addressof(guest.error_out),
            ),
        )  # fmt: skip
        look(guest)
    finally:
        guest.close()


async def on_flat(
    engine: Any, binary: bytes, functions: Mapping[tuple[str, str], HostFunction], name: str = "run"
) -> None:
    """Call an export without parameters on the flat floor."""
    plan, module = flatten(binary)
    linked = LinkedPlan(engine, wasmtime.Module(engine, module), plan, functions)
    bare = dict(dict(plan.exports)[""])
    await call_flat(linked, plan.lifted[bare[name]].function)


def binary_of(kind: t.ValType, encoding: str = "utf8") -> bytes:
    """The component for a type as a binary."""
    return bytes(wat2wasm(component(kind, encoding)))


def plain(value: Any) -> Any:
    """A value that can be compared: `Err` is an exception, and NaN is not itself."""
    match value:
        case Err():
            return "Err", plain(value.value)
        case Ok():
            return "Ok", plain(value.value)
        case Var():
            return "Var", value.tag, plain(value.value)
        case float():
            return "nan" if value != value else value
        case dict():
            return {key: plain(one) for key, one in value.items()}
        case list() | tuple():
            return type(value)(plain(one) for one in value)
    return value
