"""Types, names and aliases of a component's binary, as they are written: indices are not looked up here.

Source: component-model repository, design/mvp/Binary.md, as wasmtime 50 reads it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from edgesim.wasm.flat import Unsupported
from edgesim.wasm.flat.types import Prim

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgesim.wasm.flat.binary import Reader
    from edgesim.wasm.flat.types import PrimName

CORE: Final = 0x100
"""Added to the sorts of core definitions, so that one number names any sort."""
FUNC: Final = 1
TYPE: Final = 3
COMPONENT: Final = 4
INSTANCE: Final = 5
CORE_FUNC: Final = CORE
CORE_TABLE: Final = CORE | 1
CORE_MEMORY: Final = CORE | 2
CORE_GLOBAL: Final = CORE | 3
CORE_TAG: Final = CORE | 4
CORE_TYPE: Final = CORE | 0x10
CORE_MODULE: Final = CORE | 0x11
CORE_INSTANCE: Final = CORE | 0x12
SORTS: Final = (
    FUNC, TYPE, COMPONENT, INSTANCE,
    CORE_FUNC, CORE_TABLE, CORE_MEMORY, CORE_GLOBAL, CORE_TAG, CORE_TYPE, CORE_MODULE, CORE_INSTANCE,
)  # fmt: skip
_MAX_NESTING: Final = 50
"""Types declared inside types declared inside types."""

Ref: TypeAlias = "Prim | int"
"""A value type where one is used: primitive, or the index of a type."""

_PRIMS: Final[dict[int, PrimName]] = {
    0x7F: "bool", 0x7E: "s8", 0x7D: "u8", 0x7C: "s16", 0x7B: "u16", 0x7A: "s32", 0x79: "u32", 0x78: "s64", 0x77: "u64",
    0x76: "f32", 0x75: "f64", 0x74: "char", 0x73: "string",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Compound:
    """A defined value type: its form, and its parts as far as the form has them."""

    form: str
    """record, variant, tuple, list, flags, enum, option, result, own, borrow, stream or future."""
    labels: tuple[str, ...] = ()
    parts: tuple[Ref | None, ...] = ()


@dataclass(frozen=True, slots=True)
class Func:
    """A function type."""

    params: tuple[tuple[str, Ref], ...]
    result: Ref | None
    is_async: bool


@dataclass(frozen=True, slots=True)
class ResourceDecl:
    """A resource that the component defines; `destructor` is a core function's index."""

    destructor: int | None


@dataclass(frozen=True, slots=True)
class InstanceDecl:
    """An instance type."""

    decls: tuple[Decl, ...]


@dataclass(frozen=True, slots=True)
class ComponentDecl:
    """A component type. Nothing that is built here needs to look inside."""


DefType: TypeAlias = "Prim | Compound | Func | ResourceDecl | InstanceDecl | ComponentDecl"


@dataclass(frozen=True, slots=True)
class Extern:
    """What an import or export is: its sort, and the index of its type. A type without one is an abstract resource."""

    sort: int
    index: int | None


@dataclass(frozen=True, slots=True)
class ExportAlias:
    """An export of an instance, or of a core instance."""

    sort: int
    instance: int
    name: str
    of_core: bool


@dataclass(frozen=True, slots=True)
class OuterAlias:
    """A definition of an enclosing component or type; 0 is the one that holds the alias."""

    sort: int
    depth: int
    index: int


@dataclass(frozen=True, slots=True)
class ExportDecl:
    """An export of an instance type."""

    name: str
    extern: Extern


Decl: TypeAlias = "DefType | ExportAlias | OuterAlias | ExportDecl"


def extern_name(reader: Reader) -> str:
    """The name of an import or export."""
    form = reader.byte()
    if form > 1:
        raise Unsupported("a name with options")
    return reader.name()


def sort(reader: Reader) -> int:
    """A sort, of components or core."""
    number = reader.byte()
    number = CORE | reader.byte() if number == 0 else number
    if number not in SORTS:
        raise Unsupported(f"a definition of sort {number:#x}")
    return number


def optional(reader: Reader, read: Callable[[Reader], Ref]) -> Ref | None:
    """Nothing, or what `read` reads."""
    flag = reader.byte()
    if flag > 1:
        raise Unsupported("an optional part that is neither there nor absent")
    return read(reader) if flag else None


def ref(reader: Reader) -> Ref:
    """A value type where it is used."""
    at = reader.at
    index = reader.signed()
    return index if index >= 0 else _prim(reader.data[at])


def _prim(byte: int) -> Prim:
    if byte not in _PRIMS:
        raise Unsupported(f"value type {byte:#x}")
    return Prim(_PRIMS[byte])


def _labels(reader: Reader) -> tuple[str, ...]:
    return tuple(reader.name() for _ in range(reader.count()))


def _fields(reader: Reader) -> tuple[tuple[str, Ref], ...]:
    return tuple((reader.name(), ref(reader)) for _ in range(reader.count()))


def _record(reader: Reader) -> Compound:
    fields = _fields(reader)
    return Compound("record", tuple(n for n, _ in fields), tuple(r for _, r in fields))


def _variant(reader: Reader) -> Compound:
    labels, parts = [], []
    for _ in range(reader.count()):
        labels.append(reader.name())
        parts.append(optional(reader, ref))
        if reader.byte():
            raise Unsupported("a variant's case that refines another")
    return Compound("variant", tuple(labels), tuple(parts))


_COMPOUNDS: Final[dict[int, Callable[[Reader], Compound]]] = {
    0x72: _record,
    0x71: _variant,
    0x70: lambda r: Compound("list", (), (ref(r),)),
    0x6F: lambda r: Compound("tuple", (), tuple(ref(r) for _ in range(r.count()))),
    0x6E: lambda r: Compound("flags", _labels(r)),
    0x6D: lambda r: Compound("enum", _labels(r)),
    0x6B: lambda r: Compound("option", (), (ref(r),)),
    0x6A: lambda r: Compound("result", (), (optional(r, ref), optional(r, ref))),
    0x69: lambda r: Compound("own", (), (r.u32(),)),
    0x68: lambda r: Compound("borrow", (), (r.u32(),)),
    0x66: lambda r: Compound("stream", (), (optional(r, ref),)),
    0x65: lambda r: Compound("future", (), (optional(r, ref),)),
}


def result_list(reader: Reader) -> Ref | None:
    """A function's result: a value type, or none."""
    form = reader.byte()
    if form == 0:
        return ref(reader)
    if form == 1 and reader.byte() == 0:
        return None
    raise Unsupported("a function with several results")


def _resource(reader: Reader) -> ResourceDecl:
    if reader.byte() != 0x7F:
        raise Unsupported("a resource whose representation is no i32")
    flag = reader.byte()
    if flag > 1:
        raise Unsupported("a resource with an unknown destructor")
    return ResourceDecl(reader.u32() if flag else None)


def def_type(reader: Reader, nesting: int = 0) -> DefType:
    """A type definition."""
    if nesting > _MAX_NESTING:
        raise Unsupported(f"types that are declared more than {_MAX_NESTING} deep")
    byte = reader.byte()
    if byte in _PRIMS:
        return _prim(byte)
    if byte in _COMPOUNDS:
        return _COMPOUNDS[byte](reader)
    if byte in {0x40, 0x43}:
        return Func(_fields(reader), result_list(reader), byte == 0x43)
    if byte == 0x42:
        return InstanceDecl(tuple(_decl(reader, nesting) for _ in range(reader.count())))
    if byte == 0x41:
        for _ in range(reader.count()):
            if reader.data[reader.at : reader.at + 1] == b"\x03":
                reader.byte()
                extern_name(reader)
                extern(reader)
            else:
                _decl(reader, nesting)
        return ComponentDecl()
    if byte == 0x3F:
        return _resource(reader)
    raise Unsupported(f"type {byte:#x}")


def _decl(reader: Reader, nesting: int) -> Decl:
    form = reader.byte()
    if form == 1:
        return def_type(reader, nesting + 1)
    if form == 2:
        return alias(reader)
    if form == 4:
        return ExportDecl(extern_name(reader), extern(reader))
    raise Unsupported(f"a declaration of form {form:#x}")


def extern(reader: Reader) -> Extern:
    """What an import or export is."""
    number = sort(reader)
    if number == TYPE:
        bound = reader.byte()
        if bound > 1:
            raise Unsupported(f"a type bound of form {bound:#x}")
        return Extern(TYPE, None if bound else reader.u32())
    if number not in {FUNC, COMPONENT, INSTANCE, CORE_MODULE}:
        raise Unsupported(f"an import or export of sort {number:#x}")
    return Extern(number, reader.u32())


def alias(reader: Reader) -> ExportAlias | OuterAlias:
    """An alias."""
    number = sort(reader)
    target = reader.byte()
    if target == 2:
        return OuterAlias(number, reader.u32(), reader.u32())
    if target > 2:
        raise Unsupported(f"an alias of form {target:#x}")
    return ExportAlias(number, reader.u32(), reader.name(), of_core=target == 1)
