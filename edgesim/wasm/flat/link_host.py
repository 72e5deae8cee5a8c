"""Trampolines into the host: source of the C callback for each lowered function that a host function serves.

A callback lifts its arguments, calls `fn(guest, *values)`, and lowers the result. A function that may wait returns a `Suspend`;
its callback then leaves a continuation that lowers the result when the wait is over, on the fiber.
"""

from __future__ import annotations

from ctypes import c_char, c_void_p
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from edgesim.wasm.flat import types as t
from edgesim.wasm.flat.canon import CORE_CODES
from edgesim.wasm.flat.canon_layout import MAX_FLAT_PARAMS, MAX_FLAT_RESULTS, Core, core_params, layout, offsets
from edgesim.wasm.flat.guest import find_guest
from edgesim.wasm.flat.handles import give_back
from edgesim.wasm.flat.plan import HostFunction
from edgesim.wasm.guest import Suspend
from edgesim.wasm.guest_store import LIVE, finish_at_once

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from edgesim.wasm import linking
    from edgesim.wasm.flat.canon import Codecs
    from edgesim.wasm.flat.guest import FlatGuest
    from edgesim.wasm.flat.plan import Lower

CELL: Final[dict[Core, str]] = {"i32": "I12x", "i64": "Q8x", "f32": "f12x", "f64": "d8x"}
"""A core value in `wasmtime_val_raw_t`, 16 bytes."""
VAL: Final[dict[Core, str]] = {"i32": "8xI20x", "i64": "8xQ16x", "f32": "8xf20x", "f64": "8xd16x"}
"""A core value in `wasmtime_val_t`, 32 bytes."""
KINDS: Final[dict[Core, int]] = {"i32": 0, "i64": 1, "f32": 2, "f64": 3}


class Trampoline(NamedTuple):
    """A core function that the merged module imports."""

    call: str | Callable[..., Any]
    """The callback, or its name in the source."""
    params: tuple[Core, ...]
    results: tuple[Core, ...]
    waits: bool = False


class Signature:
    """The core side of a lowered function, and the source that reads its arguments and writes its result."""

    def __init__(self, codecs: Codecs, kind: t.FuncType) -> None:
        self._codecs = codecs
        self.kinds = [param for _, param in kind.params]
        self.result = kind.result
        flat = core_params(self.kinds)
        self.spilled = len(flat) > MAX_FLAT_PARAMS
        result = () if kind.result is None else layout(kind.result).flat
        self.by_pointer = len(result) > MAX_FLAT_RESULTS
        self.params: tuple[Core, ...] = (("i32",) if self.spilled else flat) + (("i32",) if self.by_pointer else ())
        self.results: tuple[Core, ...] = () if self.by_pointer else result
        self.names = [f"a{n}" for n in range(len(self.params))]

    def unpack(self, cells: dict[Core, str], size: int) -> list[str]:
        """Statements that name the core arguments, which lie at the address `args`."""
        if not self.params:
            return []
        codecs, count = self._codecs, len(self.params)
        codes = "".join(cells[core] for core in self.params)
        return [
            f"raw = {chars(codecs, size * count)}(args)",
            f"{', '.join(self.names)}, = un{codecs.format(codes)}(raw)",
        ]

    def lift(self) -> tuple[list[str], list[str]]:
        """Statements that must come first, and an expression per argument."""
        codecs = self._codecs
        before = ["cx.lifted = 0"] if any(has_pointer(kind) for kind in self.kinds) or self.spilled else []
        if self.spilled:
            places, end, align = offsets(self.kinds)
            before.append(check("a0", end, align))
            return before, [codecs.load(k, f"a0 + {at}") for k, at in zip(self.kinds, places, strict=True)]
        slots = iter(self.names)
        return before, [codecs.lift(kind, slots, flat=True) for kind in self.kinds]

    def lower(self, direct: Callable[[str], list[str]]) -> list[str]:
        """Statements that hand `v` to the caller. `direct` writes a core value where a single result goes."""
        if self.result is None:
            return []
        if self.by_pointer:
            shape, pointer = layout(self.result), self.names[-1]
            return [check(pointer, shape.size, shape.align), self._codecs.store(self.result, pointer, "v")]
        return direct(", ".join(self._codecs.lower(self.result, "v", flat=True)))


def chars(codecs: Codecs, size: int) -> str:
    """The name of a function that makes a buffer of the bytes at an address."""
    name = f"chars_{size}"
    codecs.namespace.setdefault(name, (c_char * size).from_address)
    return name


def check(pointer: str, size: int, align: int) -> str:
    """A statement that raises unless the pointer is good."""
    misaligned = f"{pointer} & {align - 1} or " if align > 1 else ""
    return f"if {misaligned}{pointer} + {size} > cx.size: cx.check({pointer}, {size}, {align})"


def host_function(
    codecs: Codecs, number: int, lower: Lower, realm: int, function: linking.HostFunction | None
) -> Trampoline:
    """The trampoline to one host function, or to a trap where there is none."""
    callee = lower.callee
    assert isinstance(callee, HostFunction)
    signature = Signature(codecs, lower.type)
    name = f"{callee.interface}#{callee.name}"
    if function is None:
        return Trampoline(missing(name), signature.params, signature.results)
    waits = function.waits
    codecs.namespace |= {
        "Suspend": Suspend, "finish_at_once": finish_at_once, "trap_at": c_void_p.from_address, "give_back": give_back,
        f"fn_{number}": function.call,
    }  # fmt: skip
    body = _waiting(codecs, signature, number, name) if waits else _plain(codecs, signature, number)
    head = f"def call_{number}(_env, caller, args, _n{', results, _m, trap_out, continuation' if waits else ''}):"
    failed = f"guest.fail(error, {name!r})"
    context = [f"cx = guest.contexts[{realm}] or guest.open({realm}, caller)"]
    codecs.write(
        head,
        "    guest = live.get(word_at(caller).value) or find(caller)",
        *(["    finish_at_once(continuation)"] if waits else []),
        "    try:",
        "        if guest.locked: guest.check_may_leave()",
        *[f"        {line}" for line in (context if any("cx" in line for line in body) else []) + body],
        "    except BaseException as error:",
        f"        {f'trap_at(trap_out).value = {failed}' if waits else f'return {failed}'}",
        *([] if waits else ["    return 0"]),
    )
    return Trampoline(f"call_{number}", signature.params, signature.results, waits)


def _call(signature: Signature, number: int) -> list[str]:
    """Statements that lift the arguments and set `v` to what the host function gives."""
    before, values = signature.lift()
    arguments = ", ".join(["guest", *values])
    if _goes_both_ways(signature.kinds):
        before += [
            "lenders = []",
            "cx.lend_to(lenders)",
            f"values = {', '.join(values)},",
            "cx.lend_to(None)",
            "give_back(lenders)",
        ]
        arguments = "guest, *values"
    call = f"v = fn_{number}({arguments})"
    if isinstance(signature.result, t.Result):
        return [*before, *catch(call)]
    return [*before, call]


def catch(call: str) -> list[str]:
    """A raised Err is a value. Without its traceback: that would hold this frame, which holds it."""
    return ["try:", f"    {call}", "except Err as err:", "    v = err.with_traceback(None)"]


def _plain(codecs: Codecs, signature: Signature, number: int) -> list[str]:
    """The body for a function that does not wait."""

    def direct(value: str) -> list[str]:
        buffer = "raw" if signature.params else f"{chars(codecs, 16)}(args)"
        return [f"in{codecs.format(CORE_CODES[signature.results[0]])}({buffer}, 0, {value})"]

    return [*signature.unpack(CELL, 16), *_call(signature, number), *signature.lower(direct)]


def _waiting(codecs: Codecs, signature: Signature, number: int, name: str) -> list[str]:
    """The body for a function that may wait. What it leaves behind catches its own errors: a trap may be written late."""

    def direct(value: str) -> list[str]:
        core = signature.results[0]
        codes = f"B7x{CORE_CODES[core]}"
        return [f"in{codecs.format(codes)}({chars(codecs, 16)}(results), 0, {KINDS[core]}, {value})"]

    lower = signature.lower(direct) or ["pass"]
    result = ["v = call.result()"]
    if isinstance(signature.result, t.Result):
        result = catch(result[0])
    return [
        *signature.unpack(VAL, 32),
        *_call(signature, number),
        "if v.__class__ is Suspend:",
        "    guest.check_may_wait()",
        "    def deliver(call):",
        "        try:",
        *[f"            {line}" for line in (*result, *lower)],
        "        except BaseException as error:",
        f"            trap_at(trap_out).value = guest.fail(error, {name!r})",
        "    guest.suspend(v, deliver, continuation)",
        "else:",
        *[f"    {line}" for line in lower],
    ]


def missing(name: str) -> Callable[..., int]:
    """The callback of a host function that does not exist: it traps, whatever the arguments."""
    live: dict[int | None, Any] = LIVE  # type: ignore[assignment]

    def call(_env: int, caller: int, _args: int, _n: int) -> int:
        guest: FlatGuest = live.get(c_void_p.from_address(caller).value) or find_guest(caller)
        return guest.fail(NotImplementedError(name), name)

    return call


def _walk(kind: t.ValType | None) -> Iterator[t.ValType]:
    """A type and every type in it."""
    if kind is None:
        return
    yield kind
    match kind:
        case t.List(element):
            inner: tuple[t.ValType | None, ...] = (element,)
        case t.Record(fields):
            inner = tuple(field for _, field in fields)
        case t.Tuple(elements):
            inner = elements
        case t.Variant(cases):
            inner = tuple(payload for _, payload in cases)
        case t.Option(payload):
            inner = (payload,)
        case t.Result(ok, err):
            inner = (ok, err)
        case _:
            return
    for part in inner:
        yield from _walk(part)


def has_pointer(kind: t.ValType) -> bool:
    """Whether values of this type lie partly behind a pointer."""
    return any(isinstance(part, t.List) or part == t.Prim("string") for part in _walk(kind))


def _goes_both_ways(kinds: list[t.ValType]) -> bool:
    """Whether a call both borrows and takes a resource, so that a guest could pass one handle twice."""
    found = [part for kind in kinds for part in _walk(kind)]
    owned = {part.resource for part in found if isinstance(part, t.Own)}
    return bool(owned & {part.resource for part in found if isinstance(part, t.Borrow)})
