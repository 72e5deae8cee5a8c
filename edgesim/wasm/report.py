"""What a Wasm file is, from its bytes alone: imports, exports, memories, tables, where its bytes are, who made it.

Nothing is compiled or run, and nothing is validated beyond what reading needs: whether a file is valid is the engine's to
say. Components are read down to their core modules. For people (`edgesim inspect`); the runtime does not need it.

Sources: WebAssembly core specification 3.0, binary format; component-model repository, design/mvp/Binary.md; the "producers"
section of WebAssembly/tool-conventions.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final, Literal

from edgesim.errors import BundleError
from edgesim.wasm.flat import Unsupported
from edgesim.wasm.flat.binary import COMPONENT, MODULE, Reader
from edgesim.wasm.interfaces import Names, instance_names

if TYPE_CHECKING:
    from collections.abc import Iterable

PAGE_BYTES: Final = 64 * 1024
_DEPTH_MAX: Final = 32
_ITEMS_MAX: Final = 200_000
"""Imports and exports that are listed; a file with more is refused."""
_PRODUCERS_MAX_BYTES: Final = 64 * 1024
_NAMES: Final = ("name", "component-name")
_KINDS: Final = ("function", "table", "memory", "global", "tag")


@dataclass(frozen=True, slots=True)
class Bounds:
    """Size of a memory in bytes, or of a table in elements."""

    minimum: int
    maximum: int | None


@dataclass(slots=True)
class ModuleReport:
    """One core module."""

    imports: list[tuple[str, str, str]] = field(default_factory=list)
    """(module, name, kind)."""
    exports: list[tuple[str, str]] = field(default_factory=list)
    """(name, kind)."""
    memories: list[Bounds] = field(default_factory=list)
    """Its own, not those that it imports."""
    tables: list[Bounds] = field(default_factory=list)
    functions: int = 0
    starts: bool = False
    """Whether it has a start function, which runs when the instance is made."""


@dataclass(slots=True)
class FileReport:
    """One file."""

    kind: Literal["module", "component"]
    size_bytes: int
    modules: list[ModuleReport] = field(default_factory=list)
    """The file itself when it is a module, else every core module in it, at any depth."""
    components: int = 0
    """Components inside the component."""
    imports: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)
    """(interface or module with version, names), in their order; names are empty for a bare item of a component."""
    exports: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)
    """Likewise; a module's exports are under the empty name."""
    sections: dict[str, int] = field(default_factory=dict)
    """Bytes of `code`, `data`, `custom` (all of them) and `other`, over all modules."""
    custom: dict[str, int] = field(default_factory=dict)
    """Bytes of the custom sections by name."""
    producers: dict[str, dict[str, str]] = field(default_factory=dict)
    """Field (`language`, `processed-by`, `sdk`) to name and version."""

    @property
    def strippable_bytes(self) -> int:
        """What a file loses without names and debugging information, which only people need."""
        return sum(
            size for name, size in self.custom.items() if name in _NAMES or name.startswith((".debug_", "reloc."))
        )

    @property
    def memory_at_start_bytes(self) -> int:
        """Linear memory that an instance begins with, when each module is instantiated once."""
        return sum(memory.minimum for module in self.modules for memory in module.memories)

    @property
    def memory_maximum_bytes(self) -> int | None:
        """What the file itself allows its memories to grow to; None when one of them has no maximum."""
        maxima = [memory.maximum for module in self.modules for memory in module.memories]
        return None if None in maxima else sum(m for m in maxima if m is not None)

    @property
    def table_elements(self) -> int:
        """Elements of the largest table at start."""
        return max((table.minimum for module in self.modules for table in module.tables), default=0)

    @property
    def toolchain(self) -> str:
        """Who made it, as `clang 18.1, wit-component 0.200`; empty when the file does not say."""
        made: dict[str, str] = {}
        for name in ("language", "processed-by", "sdk"):
            made |= self.producers.get(name, {})
        return ", ".join(f"{tool} {version.partition(' ')[0]}".strip() for tool, version in made.items())


def read_report(data: bytes) -> FileReport:
    """The report of a Wasm binary.

    Raises:
        BundleError: it is something else, or it is cut off or broken; says where.
    """
    _refuse_foreign(data)
    kind: Literal["module", "component"] = "module" if data.startswith(MODULE) else "component"
    report = FileReport(kind=kind, size_bytes=len(data))
    sizes: Counter[str] = Counter({"code": 0, "data": 0, "custom": 0, "other": 0})
    try:
        if kind == "module":
            module = _module(Reader(data), report, sizes)
            report.imports = _grouped((f"{m}", n) for m, n, _ in module.imports)
            report.exports = [("", tuple(name for name, _ in module.exports))] if module.exports else []
        else:
            names = _component(Reader(data), report, sizes, 0)
            report.imports, report.exports = names.imports, names.exports
    except Unsupported as exc:
        raise BundleError(
            f"the Wasm {kind} cannot be read: {exc}", help="it may be cut off or damaged: build or copy it again"
        ) from exc
    report.sections = dict(sizes)
    report.custom = dict(sorted(report.custom.items(), key=lambda item: -item[1]))
    return report


_FOREIGN: Final = (
    (b"PK\x03\x04", "a zip archive", "unpack it, and name the .wasm file in it"),
    (b"\x1f\x8b", "gzip data", "unpack it, and name the .wasm file in it"),
    (b"\x28\xb5\x2f\xfd", "zstd data", "unpack it, and name the .wasm file in it"),
    (b"\x7fELF", "a native program (ELF)", "build it for a wasm32 target"),
    (b"\xcf\xfa\xed\xfe", "a native program (Mach-O)", "build it for a wasm32 target"),
    (b"!<arch>", "a library archive", "link it to a .wasm file"),
    (b"BC\xc0\xde", "LLVM bitcode", "link it to a .wasm file"),
)


def _refuse_foreign(data: bytes) -> None:
    """Anything but a Wasm binary of a known version is an error that says what it is."""
    if data.startswith((MODULE, COMPONENT)):
        return
    name_it = "name the .wasm file that your toolchain builds"
    if not data:
        raise BundleError("the file is empty", help="build it again")
    if b"\0asm".startswith(data) or (data.startswith(b"\0asm") and len(data) < 8):
        raise BundleError(f"the file ends after {len(data)} bytes, in its preamble", help="build or copy it again")
    if data.startswith(b"\0asm"):
        raise BundleError(
            f"the file is a Wasm binary of the unknown version {data[4:8].hex(' ')}",
            help="build it with a current toolchain",
        )
    for magic, what, remedy in _FOREIGN:
        if data.startswith(magic):
            raise BundleError(f"the file is {what}, not a Wasm binary", help=remedy)
    if data[257:262] == b"ustar":
        raise BundleError("the file is a tar archive, not a Wasm binary", help="unpack it, and name the .wasm in it")
    head = data[:4096].lstrip()
    if head.startswith((b"(", b";;")):
        raise BundleError("the file is Wasm text, not a Wasm binary", help="assemble it first: wat2wasm IN -o OUT")
    if head.startswith(b"{") and b'"schemaVersion"' in head:
        raise BundleError("the file is an OCI manifest, not a Wasm binary", help="pull the image, and name its layer")
    raise BundleError("the file is not a Wasm binary", help=name_it)


# -- modules ----------------------------------------------------------------------------------------------------------


def _module(reader: Reader, report: FileReport, sizes: Counter[str]) -> ModuleReport:
    """Read one core module, from its preamble on."""
    module = ModuleReport()
    report.modules.append(module)
    reader.skip(len(MODULE))
    while reader.at < reader.end:
        number = reader.byte()
        section = reader.section()
        size = section.end - section.at
        if number == 0:
            _custom(section, report, sizes)
            continue
        sizes["code" if number == 10 else "data" if number == 11 else "other"] += size
        if number == 2:
            module.imports = [_import(section) for _ in range(_few(section))]
        elif number == 3:
            module.functions = section.u32()
        elif number == 4:
            _tables(section, module)
        elif number == 5:
            module.memories = [_limits(section, PAGE_BYTES) for _ in range(_few(section))]
        elif number == 7:
            module.exports = [(section.name(), _export_kind(section)) for _ in range(_few(section))]
        elif number == 8:
            module.starts = True
    return module


def _few(section: Reader) -> int:
    """The length of a vector that is listed. Raises Unsupported when it is absurd."""
    count = section.count()
    if count > _ITEMS_MAX:
        raise Unsupported(f"{count:,} entries in one section")
    return count


def _import(section: Reader) -> tuple[str, str, str]:
    module, name, kind = section.name(), section.name(), section.byte()
    if kind == 0:
        section.u32()
    elif kind == 1:
        _reference_type(section)
        _limits(section, 1)
    elif kind == 2:
        _limits(section, PAGE_BYTES)
    elif kind == 3:
        _reference_type(section)
        section.byte()
    elif kind == 4:
        section.byte()
        section.u32()
    else:
        raise Unsupported(f"an import of the unknown kind {kind}, at byte {section.at}")
    return module, name, _KINDS[kind]


def _export_kind(section: Reader) -> str:
    kind = section.byte()
    section.u32()
    return _KINDS[kind] if kind < len(_KINDS) else str(kind)


def _tables(section: Reader, module: ModuleReport) -> None:
    """Tables, up to the first with an initial value, whose length only a validator knows."""
    for _ in range(_few(section)):
        if section.data[section.at] == 0x40:
            section.skip(2)
            _reference_type(section)
            module.tables.append(_limits(section, 1))
            return
        _reference_type(section)
        module.tables.append(_limits(section, 1))


def _reference_type(section: Reader) -> None:
    """A value or reference type; the forms with an index take more than a byte."""
    if section.byte() in (0x63, 0x64):
        section.signed()


def _limits(section: Reader, unit: int) -> Bounds:
    """Bounds of a memory or table, times `unit`. A memory may choose its page size."""
    flags = section.byte()
    minimum = section.leb()
    maximum = section.leb() if flags & 1 else None
    if flags & 8:
        unit = 1 << min(section.u32(), 16)
    return Bounds(minimum * unit, None if maximum is None else maximum * unit)


def _custom(section: Reader, report: FileReport, sizes: Counter[str]) -> None:
    """A custom section: its size by name, and what "producers" says."""
    size = section.end - section.at
    sizes["custom"] += size
    name = section.name()[:80]
    report.custom[name] = report.custom.get(name, 0) + size
    if name == "producers" and size <= _PRODUCERS_MAX_BYTES:
        try:
            for _ in range(section.count()):
                names = report.producers.setdefault(section.name(), {})
                for _ in range(section.count()):
                    tool, version = section.name(), section.name()
                    names[_tool(tool)] = version[:80]
        except Unsupported:
            return  # a custom section may hold anything


def _tool(name: str) -> str:
    """A tool without the folder that it stood in."""
    return PurePosixPath(name).name[:80] or name[:80]


def _grouped(pairs: Iterable[tuple[str, str]]) -> list[tuple[str, tuple[str, ...]]]:
    groups: dict[str, list[str]] = {}
    for module, name in pairs:
        groups.setdefault(module, []).append(name)
    return [(module, tuple(names)) for module, names in groups.items()]


# -- components -------------------------------------------------------------------------------------------------------


def _component(reader: Reader, report: FileReport, sizes: Counter[str], depth: int) -> Names:
    """Read one component, from its preamble on, and what is nested in it."""
    if depth > _DEPTH_MAX:
        raise Unsupported(f"components nested {depth} deep")
    names = Names()
    reader.skip(len(COMPONENT))
    while reader.at < reader.end:
        number = reader.byte()
        section = reader.section()
        if number == 0:
            _custom(section, report, sizes)
        elif number == 1:
            _module(_nested(section, MODULE), report, sizes)
        elif number == 4:
            report.components += 1
            names.components.append(_component(_nested(section, COMPONENT), report, sizes, depth + 1))
        else:
            sizes["other"] += section.end - section.at
            instance_names(number, section, names)
        if len(names.imports) + len(names.exports) > _ITEMS_MAX:
            raise Unsupported("too many imports and exports")
    return names


def _nested(section: Reader, preamble: bytes) -> Reader:
    """A binary in a section."""
    if section.data[section.at : section.at + len(preamble)] != preamble:
        raise Unsupported(f"a nested binary with an unknown preamble, at byte {section.at}")
    return section
