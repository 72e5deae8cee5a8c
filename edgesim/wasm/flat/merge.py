"""Merging: core instances that are wired to each other become one core module, which does what they did.

Entities (functions, tables, memories, globals, tags) of all instances share one index space per kind. The largest module's
come first, in its own order, so that most of its code stays as it is. An import becomes the index of what it is wired to;
only host functions remain imports. Types of all modules stand one after the other: equal ones are equal to the engine too.

Instantiation keeps its order. The engine applies all active segments before any start function. Where a start function would
have run earlier and seen a difference, the segments of later instances become passive, and one start function of the merged
module does it all in turn.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeAlias

from edgesim.wasm.flat import Unsupported, binary
from edgesim.wasm.flat.binary import Reader, named, section, signed, unsigned, vector, vector_section
from edgesim.wasm.flat.constants import Constants
from edgesim.wasm.flat.core import (
    FUNCTION,
    GLOBAL,
    KINDS,
    MEMORY,
    TABLE,
    TAG,
    CoreModule,
    copy_types,
    table_type,
    value_type,
)
from edgesim.wasm.flat.instructions import Maps, Rewriter

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edgesim.wasm.flat.constants import Entity

HOST_MODULE: Final = "h"
"""What the merged module imports host functions from."""
_MAX_BYTES: Final = 128 << 20
"""Of all modules that are merged; a module counts each time that it is instantiated."""
_MAX_ENTITIES: Final = 500_000
"""Functions, tables, memories, globals and tags, counted in the same way. Large guests have 15,000."""
_MOST: Final = {MEMORY: 8, TABLE: 16}
"""Memories and tables that the pool of `engine.py` has room for in one module."""
_HOST: Final = -1


@dataclass(frozen=True, slots=True)
class Host:
    """A function of the host, imported from `h` under this number."""

    number: int


@dataclass(frozen=True, slots=True)
class Export:
    """What an earlier core instance exports under a name."""

    instance: int
    name: str


Source: TypeAlias = Host | Export


@dataclass(frozen=True, slots=True)
class CoreInstance:
    """A module, and what each of its imports is wired to, in the module's order."""

    module: CoreModule
    imports: tuple[Source, ...]


@dataclass(slots=True)
class _Segments:
    """Element or data segments, and the start function in the making."""

    elements: list[bytes] = field(default_factory=list)
    data: list[bytes] = field(default_factory=list)
    start: list[bytes] = field(default_factory=list)
    called: list[int] = field(default_factory=list)
    """Start functions."""
    started: int = -1
    """The last instance so far that has one. Only memories and tables that are older than that can have been seen by it."""


def merge(instances: Sequence[CoreInstance], exports: Mapping[str, Source]) -> bytes:
    """One core module that stands for the instances, in their order of instantiation, with these exports.

    Raises Unsupported for what it cannot carry over. Indices that lead nowhere raise LookupError: validate first.
    """
    return _Merger(instances).module(exports)


class _Merger:
    def __init__(self, instances: Sequence[CoreInstance]) -> None:
        if sum(i.module.size_bytes for i in instances) > _MAX_BYTES:
            raise Unsupported(f"core modules of more than {_MAX_BYTES >> 20} MiB together")
        if sum(len(i.module.imports) + sum(i.module.counts) for i in instances) > _MAX_ENTITIES:
            raise Unsupported(f"core modules of more than {_MAX_ENTITIES:,} functions, globals and the like together")
        for kind, most in _MOST.items():
            if sum(i.module.counts[kind] for i in instances) > most:
                raise Unsupported(f"more than {most} {'memories' if kind == MEMORY else 'tables'}")
        self._instances = instances
        self._spaces: list[list[list[Entity]]] = []
        """Per instance and kind: the entity behind each index."""
        self._host_types: dict[int, tuple[int, int]] = {}
        """Imported host function to an instance and its index of the function's type."""
        for number, instance in enumerate(instances):
            self._spaces.append(self._wire(number, instance))
        sizes = [instance.module.code_bytes for instance in instances]
        largest = sizes.index(max(sizes, default=0)) if sizes else 0
        self._order = [largest, *(n for n in range(len(instances)) if n != largest)] if instances else []
        self._placed = [self._place(kind) for kind in KINDS]
        self._index = [{entity: index for index, entity in enumerate(placed)} for placed in self._placed]
        self._rewriters: list[Rewriter] = []
        self._type_bases: list[int] = []
        self._types = self._number_types()
        self._constants = Constants(self._rewriters, [s[GLOBAL] for s in self._spaces], self._index[GLOBAL])
        self._segments = _Segments()

    def _wire(self, number: int, instance: CoreInstance) -> list[list[Entity]]:
        spaces: list[list[Entity]] = [[] for _ in KINDS]
        module = instance.module
        for wanted, source in zip(module.imports, instance.imports, strict=True):
            spaces[wanted.kind].append(self._entity(source, wanted.kind))
            if isinstance(source, Host):
                self._host_types.setdefault(source.number, (number, wanted.type))
        for kind in KINDS:
            spaces[kind] += [(number, n) for n in range(module.counts[kind])]
        return spaces

    def _entity(self, source: Source, kind: int) -> Entity:
        if isinstance(source, Host):
            if kind != FUNCTION:
                raise Unsupported("an import from the host that is no function")
            return (_HOST, source.number)
        found, index = self._instances[source.instance].module.exports[source.name]
        if found != kind:
            raise Unsupported(f"an import wired to another kind of export, {source.name!r}")
        return self._spaces[source.instance][kind][index]

    def _place(self, kind: int) -> list[Entity]:
        """Entities of one kind in their new order: host functions, then the largest module's, then the others'."""
        spaces = [self._spaces[n][kind] for n in self._order]
        seen = dict.fromkeys(entity for space in spaces for entity in space)
        if kind == FUNCTION:
            own = [(n, i) for n in self._order for i in range(self._instances[n].module.counts[FUNCTION])]
            return [e for e in seen if e[0] == _HOST] + own
        return list(seen)

    def _number_types(self) -> bytes:
        """The type section; makes the rewriters, for which types must have their numbers."""
        out, groups, base = {}, 0, 0
        bases: dict[int, int] = {}
        for number in self._order:
            module = self._instances[number].module
            groups += module.rec_groups
            types = Reader(module.types.data, module.types.at, module.types.end)
            out[number], _ = copy_types(types, module.rec_groups, base)
            bases[number] = base
            base += module.type_count
        elements = data = 0
        for number, instance in enumerate(self._instances):
            indices = [[self._index[kind][e] for e in self._spaces[number][kind]] for kind in KINDS]
            maps = Maps(
                type_base=bases[number],
                element_base=elements,
                data_base=data,
                functions=indices[FUNCTION],
                tables=indices[TABLE],
                memories=indices[MEMORY],
                globals=indices[GLOBAL],
                tags=indices[TAG],
            )
            self._type_bases.append(bases[number])
            self._rewriters.append(Rewriter(maps))
            elements += instance.module.element_count
            data += instance.module.data_count
        start_type = b"\x60\x00\x00"
        self._start_type = base
        return unsigned(groups + 1) + b"".join(out[n] for n in self._order) + start_type

    def module(self, exports: Mapping[str, Source]) -> bytes:
        """The merged module."""
        globals_ = self._globals()
        tables = self._tables()
        self._copy_segments()
        bodies = self._bodies()
        functions = [
            unsigned(self._type_bases[n] + self._instances[n].module.functions[i])
            for n, i in self._placed[FUNCTION]
            if n != _HOST
        ]
        start = self._start(bodies, functions)
        self._declare_references()
        segments = self._segments
        return b"".join(
            [
                binary.MODULE,
                section(1, self._types),
                vector_section(2, self._imports()),
                vector_section(3, functions),
                vector_section(4, tables),
                vector_section(5, [self._instances[n].module.memories[i] for n, i in self._placed[MEMORY]]),
                vector_section(13, self._tags()),
                vector_section(6, globals_),
                vector_section(7, self._exports(exports)),
                section(8, start),
                vector_section(9, segments.elements),
                section(12, unsigned(len(segments.data))),
                vector_section(10, bodies),
                vector_section(11, segments.data),
                section(0, self._names()),
            ]
        )

    def _imports(self) -> list[bytes]:
        hosts = [number for owner, number in self._placed[FUNCTION] if owner == _HOST]
        out = []
        for host in hosts:
            number, index = self._host_types[host]
            out.append(named(HOST_MODULE) + named(str(host)) + b"\0" + unsigned(self._type_bases[number] + index))
        return out

    def _tags(self) -> list[bytes]:
        return [b"\0" + unsigned(self._type_bases[n] + self._instances[n].module.tags[i]) for n, i in self._placed[TAG]]

    def _exports(self, exports: Mapping[str, Source]) -> list[bytes]:
        out = []
        for name, source in exports.items():
            kind = (
                FUNCTION
                if isinstance(source, Host)
                else self._instances[source.instance].module.exports[source.name][0]
            )
            out.append(named(name) + bytes((kind,)) + unsigned(self._index[kind][self._entity(source, kind)]))
        return out

    def _globals(self) -> list[bytes]:
        """Globals in their new order, with initialisers that read only what the engine allows them to read."""
        out: dict[Entity, bytes] = {}
        for number, instance in enumerate(self._instances):
            reader = _again(instance.module.globals)
            for i in range(instance.module.counts[GLOBAL]):
                of_type = value_type(reader, self._type_bases[number])
                mutable = reader.byte()
                if mutable > 1:
                    raise Unsupported(f"a global with flags {mutable:#x}")
                initial = self._constants.initialiser((number, i), reader, mutable=bool(mutable))
                out[number, i] = of_type + bytes((mutable,)) + initial + b"\x0b"
            reader.finish("a global section")
        return [out[entity] for entity in self._placed[GLOBAL]]

    def _tables(self) -> list[bytes]:
        out: dict[Entity, bytes] = {}
        for number, instance in enumerate(self._instances):
            reader, base = _again(instance.module.tables), self._type_bases[number]
            for i in range(instance.module.counts[TABLE]):
                if reader.data[reader.at] == 0x40:
                    prefix = reader.take(2)
                    out[number, i] = (
                        prefix + table_type(reader, base) + self._constants.expression(number, reader) + b"\x0b"
                    )
                else:
                    out[number, i] = table_type(reader, base)
            reader.finish("a table section")
        return [out[entity] for entity in self._placed[TABLE]]

    def _copy_segments(self) -> None:
        segments = self._segments
        for number, instance in enumerate(self._instances):
            module = instance.module
            reader = _again(module.elements)
            for _ in range(module.element_count):
                self._element(number, reader)
            reader.finish("an element section")
            reader = _again(module.data)
            for _ in range(module.data_count):
                self._data(number, reader)
            reader.finish("a data section")
            if module.start is not None:
                function = self._index[FUNCTION][self._spaces[number][FUNCTION][module.start]]
                segments.called.append(function)
                segments.started = number
                segments.start.append(b"\x10" + unsigned(function))

    def _element(self, number: int, reader: Reader) -> None:
        """An element segment. Its flags: 1 passive or declarative, 2 with a table (declarative), 4 expressions."""
        flags = reader.u32()
        if flags > 7:
            raise Unsupported(f"an element segment with flags {flags:#x}")
        active, expressions = not flags & 1, bool(flags & 4)
        table = offset = b""
        deferred = False
        if active:
            target = self._spaces[number][TABLE][reader.u32() if flags & 2 else 0]
            table = unsigned(self._index[TABLE][target])
            deferred = target[0] <= self._segments.started
            offset = self._constants.expression(number, reader)
        if flags & 3 == 0:
            kind = b"\x70" if expressions else b"\0"
        elif expressions:
            kind = value_type(reader, self._type_bases[number])
        else:
            kind = reader.take(1)
        count, items = self._element_items(number, reader, expressions=expressions)
        out = self._segments
        expression_flag = 4 if expressions else 0
        if not active:
            out.elements.append(bytes((flags,)) + kind + unsigned(count) + items)
        elif not deferred:
            implicit = flags & 3 == 0 and table == b"\0"
            where = bytes((expression_flag,)) if implicit else bytes((2 | expression_flag,)) + table
            out.elements.append(where + offset + b"\x0b" + (b"" if implicit else kind) + unsigned(count) + items)
        else:
            segment = unsigned(len(out.elements))
            out.elements.append(bytes((1 | expression_flag,)) + kind + unsigned(count) + items)
            out.start.append(
                offset + b"\x41\0\x41" + signed(count) + b"\xfc\x0c" + segment + table + b"\xfc\x0d" + segment
            )

    def _element_items(self, number: int, reader: Reader, *, expressions: bool) -> tuple[int, bytes]:
        count = reader.count()
        if expressions:
            return count, b"".join([self._constants.expression(number, reader) + b"\x0b" for _ in range(count)])
        function_index = self._rewriters[number].function_index
        out = []
        for _ in range(count):
            at = reader.at
            reader.leb()
            out.append(function_index(reader.data[at : reader.at]))
        return count, b"".join(out)

    def _data(self, number: int, reader: Reader) -> None:
        """A data segment. Its flags: 1 passive, 2 with a memory."""
        flags = reader.u32()
        if flags > 2:
            raise Unsupported(f"a data segment with flags {flags:#x}")
        out = self._segments
        memory = offset = b""
        deferred = False
        if flags != 1:
            target = self._spaces[number][MEMORY][reader.u32() if flags else 0]
            memory = unsigned(self._index[MEMORY][target])
            deferred = target[0] <= out.started
            offset = self._constants.expression(number, reader)
        size = reader.u32()
        content = unsigned(size) + reader.take(size)
        if flags == 1:
            out.data.append(b"\x01" + content)
        elif not deferred:
            out.data.append((b"\0" if memory == b"\0" else b"\x02" + memory) + offset + b"\x0b" + content)
        else:
            segment = unsigned(len(out.data))
            out.data.append(b"\x01" + content)
            out.start.append(
                offset + b"\x41\0\x41" + signed(size) + b"\xfc\x08" + segment + memory + b"\xfc\x09" + segment
            )

    def _bodies(self) -> list[bytes]:
        out = []
        for number in self._order:
            module, body = self._instances[number].module, self._rewriters[number].body
            for start, end in module.bodies:
                translated = body(module.code, start, end)
                out.append(unsigned(len(translated)) + translated)
        return out

    def _start(self, bodies: list[bytes], functions: list[bytes]) -> bytes:
        """The start section; adds a function that does all that instantiation has to do in turn."""
        segments = self._segments
        if len(segments.start) == len(segments.called) <= 1:
            return b"".join(unsigned(function) for function in segments.called)
        code = b"\0" + b"".join(segments.start) + b"\x0b"
        bodies.append(unsigned(len(code)) + code)
        functions.append(unsigned(self._start_type))
        return unsigned(len(self._placed[FUNCTION]))

    def _declare_references(self) -> None:
        """Functions that `ref.func` names must be declared; the exports that declared some of them are gone."""
        referenced = sorted({index for rewriter in self._rewriters for index in rewriter.referenced})
        if referenced:
            self._segments.elements.append(b"\x03\0" + vector([unsigned(index) for index in referenced]))

    def _names(self) -> bytes:
        found = {}
        for number, instance in enumerate(self._instances):
            space = self._spaces[number][FUNCTION]
            for index, name in instance.module.names:
                if index < len(space) and space[index][0] == number:
                    found[self._index[FUNCTION][space[index]]] = name
        if not found:
            return b""
        return named("name") + section(1, vector([unsigned(index) + found[index] for index in sorted(found)]))


def _again(reader: Reader) -> Reader:
    """A fresh cursor: a module may be instantiated several times."""
    return Reader(reader.data, reader.at, reader.end)
