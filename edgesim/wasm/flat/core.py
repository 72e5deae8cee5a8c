"""Core modules as the merger sees them: their index spaces, and where their sections lie.

Types are copied here too, because a module's types may name each other. Instructions are the matter of `instructions.py`.
Source: WebAssembly core specification 3.0, chapter 5 (binary format).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from edgesim.wasm.flat import Unsupported, binary
from edgesim.wasm.flat.binary import Reader, signed, unsigned

FUNCTION: Final = 0
TABLE: Final = 1
MEMORY: Final = 2
GLOBAL: Final = 3
TAG: Final = 4
KINDS: Final = (FUNCTION, TABLE, MEMORY, GLOBAL, TAG)
"""External kinds, by their numbers in imports and exports."""

NUMERIC: Final = frozenset(range(0x7B, 0x80))
"""i32, i64, f32, f64, v128."""
_ABSTRACT: Final = frozenset(range(0x68, 0x76))
"""Abstract heap types; alone, the nullable reference to one."""
_NULLABLE, _NON_NULL = 0x63, 0x64
_PACKED: Final = frozenset({0x77, 0x78})
_MAX_ITEMS: Final = 1_000_000
"""Types or functions of one module: the engine's own limit."""


@dataclass(frozen=True, slots=True)
class Import:
    """One import: of what kind it is, and for a function or tag, of which type."""

    module: str
    name: str
    kind: int
    type: int = 0


@dataclass(slots=True)
class CoreModule:
    """One core module. Readers stand behind their section's count."""

    types: Reader = field(default_factory=lambda: Reader(b""))
    rec_groups: int = 0
    type_count: int = 0
    imports: list[Import] = field(default_factory=list)
    functions: list[int] = field(default_factory=list)
    """Type of each function that is not imported."""
    tables: Reader = field(default_factory=lambda: Reader(b""))
    memories: list[bytes] = field(default_factory=list)
    globals: Reader = field(default_factory=lambda: Reader(b""))
    tags: list[int] = field(default_factory=list)
    counts: list[int] = field(default_factory=lambda: [0] * len(KINDS))
    """How many of each kind are defined, not imported."""
    exports: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Kind and index."""
    start: int | None = None
    elements: Reader = field(default_factory=lambda: Reader(b""))
    element_count: int = 0
    data: Reader = field(default_factory=lambda: Reader(b""))
    data_count: int = 0
    bodies: list[tuple[int, int]] = field(default_factory=list)
    """Where each function's body lies in `code`."""
    code: bytes = b""
    code_bytes: int = 0
    size_bytes: int = 0
    """Of the whole module."""
    names: list[tuple[int, bytes]] = field(default_factory=list)
    """Functions' names, each with its size in front."""


def heap_type(reader: Reader, base: int) -> bytes:
    """Copy a heap type; type indices grow by `base`."""
    at = reader.at
    value = reader.signed()
    if value >= 0:
        return signed(value + base)
    if reader.data[at] in _ABSTRACT:
        return reader.data[at : reader.at]
    raise Unsupported(f"heap type {reader.data[at]:#x}")


def value_type(reader: Reader, base: int) -> bytes:
    """Copy a value type; type indices grow by `base`."""
    byte = reader.byte()
    if byte in NUMERIC or byte in _ABSTRACT:
        return bytes((byte,))
    if byte in {_NULLABLE, _NON_NULL}:
        return bytes((byte,)) + heap_type(reader, base)
    raise Unsupported(f"value type {byte:#x}")


def _field_type(reader: Reader, base: int) -> bytes:
    if reader.at < reader.end and reader.data[reader.at] in _PACKED:
        return reader.take(2)
    return value_type(reader, base) + reader.take(1)


def _composite(reader: Reader, base: int) -> bytes:
    form = reader.byte()
    if form == 0x60:
        parts = [binary.vector([value_type(reader, base) for _ in range(reader.count())]) for _ in range(2)]
        return b"\x60" + b"".join(parts)
    if form == 0x5F:
        return b"\x5f" + binary.vector([_field_type(reader, base) for _ in range(reader.count())])
    if form == 0x5E:
        return b"\x5e" + _field_type(reader, base)
    raise Unsupported(f"composite type {form:#x}")


def _sub_type(reader: Reader, base: int) -> bytes:
    if reader.at < reader.end and reader.data[reader.at] in {0x50, 0x4F}:
        form = reader.take(1)
        supers = binary.vector([unsigned(reader.u32() + base) for _ in range(reader.count())])
        return form + supers + _composite(reader, base)
    return _composite(reader, base)


def copy_types(reader: Reader, rec_groups: int, base: int) -> tuple[bytes, int]:
    """The recursion groups with every type index raised by `base`, and how many types they define."""
    out, types = [], 0
    for _ in range(rec_groups):
        if reader.at < reader.end and reader.data[reader.at] == 0x4E:
            reader.byte()
            members = [_sub_type(reader, base) for _ in range(reader.count())]
            out.append(b"\x4e" + binary.vector(members))
            types += len(members)
        else:
            out.append(_sub_type(reader, base))
            types += 1
    if types > _MAX_ITEMS:
        raise Unsupported(f"a core module with more than {_MAX_ITEMS:,} types")
    return b"".join(out), types


def _limits(reader: Reader) -> bytes:
    start = reader.at
    flags = reader.byte()
    if flags & ~0x0F:
        raise Unsupported(f"limits with flags {flags:#x}")
    reader.leb()
    if flags & 1:
        reader.leb()
    if flags & 8:
        reader.leb()
    return reader.data[start : reader.at]


def table_type(reader: Reader, base: int) -> bytes:
    """Copy a table's type."""
    return value_type(reader, base) + _limits(reader)


def _import(reader: Reader) -> Import:
    module, name, kind = reader.name(), reader.name(), reader.byte()
    index = 0
    if kind == FUNCTION:
        index = reader.u32()
    elif kind == TABLE:
        table_type(reader, 0)
    elif kind == MEMORY:
        _limits(reader)
    elif kind == GLOBAL:
        value_type(reader, 0)
        reader.skip(1)
    elif kind == TAG:
        reader.skip(1)
        index = reader.u32()
    else:
        raise Unsupported(f"a core import of kind {kind:#x}")
    return Import(module, name, kind, index)


def _tag(reader: Reader) -> int:
    if reader.byte():
        raise Unsupported("a tag with an unknown attribute")
    return reader.u32()


def _function_names(reader: Reader) -> list[tuple[int, bytes]]:
    """The names of functions in a `name` section. A broken one is no reason to refuse a module."""
    found: list[tuple[int, bytes]] = []
    try:
        if reader.name() != "name":
            return []
        while reader.at < reader.end:
            kind, part = reader.byte(), reader.section()
            if kind == 1:
                for _ in range(part.count()):
                    index, at = part.u32(), part.at
                    part.skip(part.u32())
                    found.append((index, part.data[at : part.at]))
    except Unsupported:
        return []
    return found


def parse(reader: Reader) -> CoreModule:
    """Read the sections of a module. Raises Unsupported for sections and kinds that are not known here."""
    module = CoreModule(size_bytes=reader.end - reader.at)
    for number, content in binary.sections(reader, binary.MODULE):
        if number == 0:
            module.names = module.names or _function_names(content)
        elif number in _SECTIONS:
            _SECTIONS[number](module, content)
        else:
            raise Unsupported(f"core section {number}")
    if len(module.bodies) != len(module.functions):
        raise Unsupported("functions and bodies that differ in number")
    return module


def _read_types(module: CoreModule, reader: Reader) -> None:
    module.rec_groups = reader.count()
    module.types = Reader(reader.data, reader.at, reader.end)
    module.type_count = copy_types(reader, module.rec_groups, 0)[1]
    reader.finish("a type section")


def _read_imports(module: CoreModule, reader: Reader) -> None:
    module.imports = [_import(reader) for _ in range(reader.count())]
    reader.finish("an import section")


def _read_functions(module: CoreModule, reader: Reader) -> None:
    module.functions = [reader.u32() for _ in range(reader.count())]
    module.counts[FUNCTION] = len(module.functions)


def _read_tables(module: CoreModule, reader: Reader) -> None:
    module.counts[TABLE], module.tables = reader.count(), reader


def _read_memories(module: CoreModule, reader: Reader) -> None:
    module.memories = [_limits(reader) for _ in range(reader.count())]
    module.counts[MEMORY] = len(module.memories)


def _read_globals(module: CoreModule, reader: Reader) -> None:
    module.counts[GLOBAL], module.globals = reader.count(), reader


def _read_tags(module: CoreModule, reader: Reader) -> None:
    module.tags = [_tag(reader) for _ in range(reader.count())]
    module.counts[TAG] = len(module.tags)


def _read_exports(module: CoreModule, reader: Reader) -> None:
    for _ in range(reader.count()):
        name, kind = reader.name(), reader.byte()
        if kind not in KINDS:
            raise Unsupported(f"a core export of kind {kind:#x}")
        module.exports[name] = (kind, reader.u32())


def _read_start(module: CoreModule, reader: Reader) -> None:
    module.start = reader.u32()


def _read_elements(module: CoreModule, reader: Reader) -> None:
    module.element_count, module.elements = reader.count(), reader


def _read_code(module: CoreModule, reader: Reader) -> None:
    module.code, module.code_bytes = reader.data, reader.end - reader.at
    for _ in range(reader.count()):
        body = reader.section()
        module.bodies.append((body.at, body.end))


def _read_data(module: CoreModule, reader: Reader) -> None:
    module.data_count, module.data = reader.count(), reader


def _read_data_count(_module: CoreModule, reader: Reader) -> None:
    reader.u32()  # told by the data section too


_SECTIONS: Final = {
    1: _read_types,
    2: _read_imports,
    3: _read_functions,
    4: _read_tables,
    5: _read_memories,
    6: _read_globals,
    7: _read_exports,
    8: _read_start,
    9: _read_elements,
    10: _read_code,
    11: _read_data,
    12: _read_data_count,
    13: _read_tags,
}
