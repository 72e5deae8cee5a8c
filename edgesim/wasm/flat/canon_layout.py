"""How component-model types lie in linear memory and in core parameters: sizes, alignments, discriminants, flat types.

Source: component-model repository, design/mvp/CanonicalABI.md ("Alignment", "Element Size", "Flattening").
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from edgesim.wasm.flat import Unsupported
from edgesim.wasm.flat import types as t

if TYPE_CHECKING:
    from collections.abc import Iterable

Core: TypeAlias = Literal["i32", "i64", "f32", "f64"]

MAX_FLAT_PARAMS: Final = 16
MAX_FLAT_RESULTS: Final = 1

PRIMITIVES: Final[dict[t.PrimName, tuple[str, int, Core]]] = {
    "bool": ("B", 1, "i32"), "s8": ("b", 1, "i32"), "u8": ("B", 1, "i32"), "s16": ("h", 2, "i32"), "u16": ("H", 2, "i32"),
    "s32": ("i", 4, "i32"), "u32": ("I", 4, "i32"), "s64": ("q", 8, "i64"), "u64": ("Q", 8, "i64"),
    "f32": ("f", 4, "f32"), "f64": ("d", 8, "f64"), "char": ("I", 4, "i32"),
}  # fmt: skip
"""Primitive type to its `struct` code in memory, its size (and alignment), and its core type."""
_UNSIGNED: Final = {1: "B", 2: "H", 4: "I"}


@dataclass(frozen=True, slots=True)
class Layout:
    """One type's shape. Sizes are bytes."""

    size: int
    align: int
    flat: tuple[Core, ...]
    slots: str | None
    """`struct` codes of the value in memory, padding included, one code per part; None when the parts depend on a case."""


@cache
def layout(kind: t.ValType) -> Layout:  # noqa: PLR0911 - a case per type
    """The shape of a type. Raises Unsupported for one that no toolchain makes."""
    match kind:
        case t.Prim("string") | t.List():
            return Layout(8, 4, ("i32", "i32"), "II")
        case t.Prim(name):
            code, size, core = PRIMITIVES[name]
            return Layout(size, size, (core,), code)
        case t.Own() | t.Borrow() | t.Stream() | t.Future():
            return Layout(4, 4, ("i32",), "I")
        case t.Flags(names):
            if not 0 < len(names) <= 32:
                raise Unsupported(f"{len(names)} flags")
            size = 1 if len(names) <= 8 else 2 if len(names) <= 16 else 4
            return Layout(size, size, ("i32",), _UNSIGNED[size])
        case t.Enum(names):
            size = discriminant_size(len(names))
            return Layout(size, size, ("i32",), _UNSIGNED[size])
        case t.Record() | t.Tuple():
            return _aggregate(parts(kind))
        case t.Variant() | t.Option() | t.Result():
            return _variant(cases(kind))
    raise Unsupported(f"the type {type(kind).__name__.lower()}")


def parts(kind: t.Record | t.Tuple) -> tuple[t.ValType, ...]:
    """The types of the fields or elements."""
    return kind.elements if isinstance(kind, t.Tuple) else tuple(field for _, field in kind.fields)


def cases(kind: t.Variant | t.Option | t.Result) -> tuple[t.ValType | None, ...]:
    """The payloads of the cases, in the order of their discriminants."""
    match kind:
        case t.Option(payload):
            return None, payload
        case t.Result(ok, err):
            return ok, err
    return tuple(payload for _, payload in kind.cases)


def align_to(offset: int, align: int) -> int:
    """The next multiple of `align`."""
    return (offset + align - 1) // align * align


def offsets(kinds: Iterable[t.ValType]) -> tuple[list[int], int, int]:
    """Where each of several values lies when they follow one another as in a tuple; then the end and the alignment."""
    found, end, align = [], 0, 1
    for kind in kinds:
        shape = layout(kind)
        end = align_to(end, shape.align)
        found.append(end)
        end += shape.size
        align = max(align, shape.align)
    return found, end, align


def _aggregate(kinds: tuple[t.ValType, ...]) -> Layout:
    found, end, align = offsets(kinds)
    size = align_to(end, align)
    flat = tuple(core for kind in kinds for core in layout(kind).flat)
    codes, at = "", 0
    for kind, offset in zip(kinds, found, strict=True):
        shape = layout(kind)
        if shape.slots is None:
            return Layout(size, align, flat, None)
        codes += "x" * (offset - at) + shape.slots
        at = offset + shape.size
    return Layout(size, align, flat, codes + "x" * (size - at))


def discriminant_size(count: int) -> int:
    """Bytes of the discriminant of so many cases."""
    return 1 if count <= 1 << 8 else 2 if count <= 1 << 16 else 4


def payload_offset(kind: t.Variant | t.Option | t.Result) -> int:
    """Where the payload of a variant begins, whatever the case."""
    payloads = cases(kind)
    align = max((layout(payload).align for payload in payloads if payload is not None), default=1)
    return align_to(discriminant_size(len(payloads)), align)


def _variant(payloads: tuple[t.ValType | None, ...]) -> Layout:
    size = discriminant_size(len(payloads))
    shapes = [layout(payload) for payload in payloads if payload is not None]
    payload_align = max((shape.align for shape in shapes), default=1)
    align = max(size, payload_align)
    end = align_to(size, payload_align) + max((shape.size for shape in shapes), default=0)
    flat: list[Core] = []
    for shape in shapes:
        for i, core in enumerate(shape.flat):
            if i < len(flat):
                flat[i] = _join(flat[i], core)
            else:
                flat.append(core)
    return Layout(align_to(end, align), align, ("i32", *flat), None)


def _join(a: Core, b: Core) -> Core:
    """The core type that can carry either."""
    if a == b:
        return a
    return "i32" if {a, b} == {"i32", "f32"} else "i64"


def core_params(kinds: Iterable[t.ValType]) -> tuple[Core, ...]:
    """The core parameters before they are spilled."""
    return tuple(core for kind in kinds for core in layout(kind).flat)
