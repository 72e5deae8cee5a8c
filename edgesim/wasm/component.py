"""Component glue: turns component-model values into Python ones and back. Linking is `linking.py`.

For each type a pair of closures is compiled once, when a worker is linked: `lift` reads a C value that the engine hands in,
`lower` makes one that the engine takes over. A C value is four 64-bit words: kind, then up to three payload words.
`list<u8>` costs 32 bytes of C value per byte of body, which bounds components to roughly 10 MB/s; nothing here can help it.

How types look in Python: integers, floats, str, bytes (`list<u8>`), list, tuple, dict (record), set (flags), `Var` (variant),
str (enum), None or the value (option), the value or `Err` (result; `Ok` where a result holds a result), and for resources
the object that the host put into the guest's table.
"""

from __future__ import annotations

import struct
from ctypes import addressof, c_uint64, memmove, string_at
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from wasmtime.component import _types as T  # noqa: N812 - short for the many types of the component model

from edgesim.errors import GuestMemoryError
from edgesim.wasm import raw
from edgesim.wasm.guest_store import Guest
from edgesim.wasm.values import Err, Ok, Var, nesting

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edgesim.model.worker import Limits
    from edgesim.wasm.guest import Grants, GuestRequest

MAX_HANDLES: Final = 8192
"""Resources that one guest may hold at the same time."""
VAL: Final = struct.Struct("<4Q")

Words: TypeAlias = "Sequence[int]"
Lift: TypeAlias = "Callable[[ComponentGuest, Words, int], Any]"
"""(guest, words, index of the first payload word) to the Python value."""
Lower: TypeAlias = "Callable[[ComponentGuest, Any], tuple[int, int, int, int]]"
"""(guest, Python value) to kind and payload words."""


class Prepared:
    """A value that is the same in every request: lowered once, then cloned by the engine (a fifth of the cost for eight strings)."""

    __slots__ = ("_template", "value")

    def __init__(self, value: Any) -> None:
        self.value = value
        self._template: Any = None

    def store(self, guest: ComponentGuest, results: int, lower: Lower) -> None:
        """Put a clone where the engine wants the result. One value is always lowered by the same `lower`."""
        if self._template is None:
            self._template = (c_uint64 * 4)(*lower(guest, self.value))
        raw.val_clone(addressof(self._template), results)

    def __del__(self) -> None:
        if self._template is not None:
            raw.val_delete(addressof(self._template))


class ComponentGuest(Guest):
    """A guest with a table of host resources."""

    __slots__ = ("_last", "environment", "resources", "scratch", "scratch_at")

    def __init__(self, engine: int, request: GuestRequest, limits: Limits, grants: Grants) -> None:
        super().__init__(engine, request, limits, grants)
        self.environment: Prepared
        """`list<tuple<string, string>>`; set by who starts the guest."""
        self.resources: dict[int, Any] = {}
        self._last = 0
        self.scratch = (c_uint64 * 2)()
        self.scratch_at = addressof(self.scratch)

    def put(self, resource: Any) -> int:
        """Number a resource. Raises GuestMemoryError when the guest holds too many."""
        if len(self.resources) >= MAX_HANDLES:
            raise GuestMemoryError(
                f"the worker holds more than {MAX_HANDLES} host resources",
                help="drop resources when they are done with",
            )
        self._last += 1
        self.resources[self._last] = resource
        return self._last

    def own(self, resource: Any, type_id: int) -> int:
        """A `wasmtime_component_resource_any_t *` that owns the resource."""
        host = raw.resource_host_new(True, self.put(resource), type_id)
        error = raw.resource_host_to_any(self.context, host, self.scratch_at)
        raw.resource_host_delete(host)
        if error:
            raw.check(error)
        return self.scratch[0]

    def vec(self, data: bytes) -> tuple[int, int]:
        """A `wasm_byte_vec_t` (size, pointer) that the engine may free."""
        raw.byte_vec_new(self.scratch_at, len(data), data)
        return self.scratch[0], self.scratch[1]

    def block(self, new: Callable[[int, int], None], count: int, content: bytes) -> tuple[int, int]:
        """A vector (size, pointer) from the engine's allocator, filled."""
        new(self.scratch_at, count)
        size, pointer = self.scratch[0], self.scratch[1]
        if content:
            memmove(pointer, content, len(content))
        return size, pointer


def _text(size: int, pointer: int) -> str:
    return string_at(pointer, size).decode() if size else ""


def _words(pointer: int, count: int) -> tuple[int, ...]:
    """`count` words of C memory that the engine owns."""
    return struct.unpack(f"<{count}Q", string_at(pointer, 8 * count)) if count else ()


class Glue:
    """The compiled conversions of one worker. Resource types are numbered as they come up."""

    def __init__(self) -> None:
        self._resource_types: list[Any] = []

    def type_id(self, resource_type: Any) -> int:
        """A number per resource type; equal types, which are re-exported by several interfaces, share it."""
        for number, known in enumerate(self._resource_types, 1):
            if known == resource_type:
                return number
        self._resource_types.append(resource_type)
        return len(self._resource_types)

    def convert(self, kind: Any) -> tuple[Lift, Lower]:
        """The conversions of a type. Raises TypeError for one that WASI 0.2 does not use."""
        if type(kind) in _INTEGERS:
            return _integer(*_INTEGERS[type(kind)])
        compile_ = _COMPILERS.get(type(kind))
        if compile_ is None:
            raise TypeError(f"the component type {type(kind).__name__} is not supported")
        return compile_(self, kind)

    def boxed(self, kind: Any) -> tuple[Lift, Callable[[ComponentGuest, Any], int]]:
        """The conversions of a payload that lives behind a pointer; None for no payload."""
        if kind is None:
            return (lambda _g, _w, _i: None), (lambda _g, _v: 0)
        lift, lower = self.convert(kind)

        def up(guest: ComponentGuest, words: Words, i: int) -> Any:
            pointer = words[i]
            return lift(guest, _words(pointer, 4), 1) if pointer else None

        def down(guest: ComponentGuest, value: Any) -> int:
            pointer: int = raw.val_new(VAL.pack(*lower(guest, value)))
            return pointer

        return up, down


def _integer(kind: int, bits: int, signed: bool) -> tuple[Lift, Lower]:  # noqa: FBT001 - a table row
    mask, sign = (1 << bits) - 1, 1 << (bits - 1)
    if signed:
        return (lambda _g, w, i: ((w[i] & mask) ^ sign) - sign), (lambda _g, v: (kind, v & mask, 0, 0))
    return (lambda _g, w, i: w[i] & mask), (lambda _g, v: (kind, v & mask, 0, 0))


def _bool(_glue: Glue, _kind: Any) -> tuple[Lift, Lower]:
    return (lambda _g, w, i: bool(w[i] & 1)), (lambda _g, v: (0, int(bool(v)), 0, 0))


def _char(_glue: Glue, _kind: Any) -> tuple[Lift, Lower]:
    return (lambda _g, w, i: chr(w[i] & 0x1FFFFF)), (lambda _g, v: (11, ord(v), 0, 0))


def _f32(_glue: Glue, _kind: Any) -> tuple[Lift, Lower]:
    def up(_guest: ComponentGuest, words: Words, i: int) -> float:
        return float(struct.unpack("<f", struct.pack("<I", words[i] & 0xFFFFFFFF))[0])

    return up, lambda _g, v: (9, struct.unpack("<I", struct.pack("<f", v))[0], 0, 0)


def _f64(_glue: Glue, _kind: Any) -> tuple[Lift, Lower]:
    def up(_guest: ComponentGuest, words: Words, i: int) -> float:
        return float(struct.unpack("<d", struct.pack("<Q", words[i]))[0])

    return up, lambda _g, v: (10, struct.unpack("<Q", struct.pack("<d", v))[0], 0, 0)


def _string(_glue: Glue, _kind: Any) -> tuple[Lift, Lower]:
    return (lambda _g, w, i: _text(w[i], w[i + 1])), (lambda g, v: (12, *g.vec(v.encode(errors="replace")), 0))


def _enum(_glue: Glue, _kind: Any) -> tuple[Lift, Lower]:
    return (lambda _g, w, i: _text(w[i], w[i + 1])), (lambda g, v: (17, *g.vec(v.encode()), 0))


_BYTE: Final = VAL.pack(2, 0, 0, 0)


def _list(glue: Glue, kind: Any) -> tuple[Lift, Lower]:
    if isinstance(kind.element, T.U8):  # one C value per byte: take and set every 32nd byte

        def bytes_up(guest: ComponentGuest, words: Words, i: int) -> bytes:
            size = words[i]
            guest.copied_bytes += size
            return string_at(words[i + 1], size * raw.VAL_BYTES)[8 :: raw.VAL_BYTES] if size else b""

        def bytes_down(guest: ComponentGuest, value: bytes) -> tuple[int, int, int, int]:
            values = bytearray(_BYTE * len(value))
            values[8 :: raw.VAL_BYTES] = value
            guest.copied_bytes += len(value)
            return (13, *guest.block(raw.vallist_new, len(value), bytes(values)), 0)

        return bytes_up, bytes_down
    lift, lower = glue.convert(kind.element)

    def up(guest: ComponentGuest, words: Words, i: int) -> list[Any]:
        items = _words(words[i + 1], 4 * words[i])
        return [lift(guest, items, at) for at in range(1, len(items), 4)]

    def down(guest: ComponentGuest, value: Sequence[Any]) -> tuple[int, int, int, int]:
        content = b"".join([VAL.pack(*lower(guest, item)) for item in value])
        return (13, *guest.block(raw.vallist_new, len(value), content), 0)

    return up, down


def _tuple(glue: Glue, kind: Any) -> tuple[Lift, Lower]:
    parts = [glue.convert(element) for element in kind.elements]
    lifts, lowers = [p[0] for p in parts], [p[1] for p in parts]

    def up(guest: ComponentGuest, words: Words, i: int) -> tuple[Any, ...]:
        items = _words(words[i + 1], 4 * len(lifts))
        return tuple(lift(guest, items, 4 * n + 1) for n, lift in enumerate(lifts))

    def down(guest: ComponentGuest, value: Sequence[Any]) -> tuple[int, int, int, int]:
        content = b"".join([VAL.pack(*lower(guest, v)) for lower, v in zip(lowers, value, strict=True)])
        return (15, *guest.block(raw.vallist_new, len(lowers), content), 0)

    return up, down


def _record(glue: Glue, kind: Any) -> tuple[Lift, Lower]:
    """An entry of a record is its name (16 bytes) and its value (32 bytes)."""
    fields = [(name, *glue.convert(field)) for name, field in kind.fields]

    def up(guest: ComponentGuest, words: Words, i: int) -> dict[str, Any]:
        items = _words(words[i + 1], 6 * len(fields))
        return {name: lift(guest, items, 6 * n + 3) for n, (name, lift, _) in enumerate(fields)}

    def down(guest: ComponentGuest, value: dict[str, Any]) -> tuple[int, int, int, int]:
        content = b"".join(
            [struct.pack("<6Q", *guest.vec(name.encode()), *lower(guest, value[name])) for name, _, lower in fields]
        )
        return (14, *guest.block(raw.valrecord_new, len(fields), content), 0)

    return up, down


def _flags(_glue: Glue, _kind: Any) -> tuple[Lift, Lower]:
    def up(_guest: ComponentGuest, words: Words, i: int) -> set[str]:
        items = _words(words[i + 1], 2 * words[i])
        return {_text(items[at], items[at + 1]) for at in range(0, len(items), 2)}

    def down(guest: ComponentGuest, value: set[str]) -> tuple[int, int, int, int]:
        content = b"".join([struct.pack("<2Q", *guest.vec(flag.encode())) for flag in sorted(value)])
        return (20, *guest.block(raw.valflags_new, len(value), content), 0)

    return up, down


def _variant(glue: Glue, kind: Any) -> tuple[Lift, Lower]:
    cases = {name: glue.boxed(payload) for name, payload in kind.cases}

    def up(guest: ComponentGuest, words: Words, i: int) -> Var:
        tag = _text(words[i], words[i + 1])
        return Var(tag, cases[tag][0](guest, words, i + 2))

    def down(guest: ComponentGuest, value: Var) -> tuple[int, int, int, int]:
        return (16, *guest.vec(value.tag.encode()), cases[value.tag][1](guest, value.value))

    return up, down


def _option(glue: Glue, kind: Any) -> tuple[Lift, Lower]:
    lift, lower = glue.boxed(kind.payload)
    if not nesting(kind).wraps:
        return lift, lambda g, v: (18, 0 if v is None else lower(g, v), 0, 0)

    def up(guest: ComponentGuest, words: Words, i: int) -> Any:
        return Ok(lift(guest, words, i)) if words[i] else None

    def down(guest: ComponentGuest, value: Any) -> tuple[int, int, int, int]:
        if value is None:
            return 18, 0, 0, 0
        return 18, lower(guest, value.value if isinstance(value, Ok) else value), 0, 0

    return up, down


def _result(glue: Glue, kind: Any) -> tuple[Lift, Lower]:
    (ok_up, ok_down), (err_up, err_down) = glue.boxed(kind.ok), glue.boxed(kind.err)
    wraps = nesting(kind).wraps

    def up(guest: ComponentGuest, words: Words, i: int) -> Any:
        if not words[i] & 1:
            return Err(err_up(guest, words, i + 1))
        value = ok_up(guest, words, i + 1)
        return Ok(value) if wraps else value

    def down(guest: ComponentGuest, value: Any) -> tuple[int, int, int, int]:
        if isinstance(value, Err):
            return 19, 0, err_down(guest, value.value), 0
        return 19, 1, ok_down(guest, value.value if isinstance(value, Ok) else value), 0

    return up, down


def _own(glue: Glue, kind: Any) -> tuple[Lift, Lower]:
    type_id = glue.type_id(kind.ty)

    def up(guest: ComponentGuest, words: Words, i: int) -> Any:
        return guest.resources.pop(_rep(guest, words[i]))

    return up, lambda g, v: (21, g.own(v, type_id), 0, 0)


def _borrow(glue: Glue, kind: Any) -> tuple[Lift, Lower]:
    type_id = glue.type_id(kind.ty)

    def up(guest: ComponentGuest, words: Words, i: int) -> Any:
        return guest.resources[_rep(guest, words[i])]

    return up, lambda g, v: (21, g.own(v, type_id), 0, 0)


def _rep(guest: ComponentGuest, pointer: int) -> int:
    """The number of the resource behind a handle. Raises WasmtimeError when it is another host type."""
    error = raw.resource_any_to_host(guest.context, pointer, guest.scratch_at)
    if error:
        raw.check(error)
    host = guest.scratch[0]
    rep: int = raw.resource_host_rep(host)
    raw.resource_host_delete(host)
    return rep


_INTEGERS: Final[dict[type, tuple[int, int, bool]]] = {
    T.S8: (1, 8, True), T.U8: (2, 8, False), T.S16: (3, 16, True), T.U16: (4, 16, False),
    T.S32: (5, 32, True), T.U32: (6, 32, False), T.S64: (7, 64, True), T.U64: (8, 64, False),
}  # fmt: skip
_COMPILERS: Final[dict[type, Callable[[Glue, Any], tuple[Lift, Lower]]]] = {
    T.Bool: _bool, T.Char: _char, T.F32: _f32, T.F64: _f64, T.String: _string, T.EnumType: _enum, T.ListType: _list,
    T.TupleType: _tuple, T.RecordType: _record, T.FlagsType: _flags, T.VariantType: _variant, T.OptionType: _option,
    T.ResultType: _result, T.OwnType: _own, T.BorrowType: _borrow,
}  # fmt: skip
