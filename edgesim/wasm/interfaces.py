"""Names in a component: which interfaces it imports and exports, with which functions. For `report.py`.

Types are read only as far as is needed to pass over them. Whatever is not understood leaves an interface without the names
of its functions, or ends in `Unsupported` where the next item cannot be found.

Source: component-model repository, design/mvp/Binary.md.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeAlias

from edgesim.wasm.flat import Unsupported

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgesim.wasm.flat.binary import Reader

Functions: TypeAlias = tuple[str, ...]

_CORE, _FUNC, _VALUE, _TYPE, _COMPONENT, _INSTANCE = range(6)
"""Sorts."""
_DEPTH_MAX: Final = 32


@dataclass(slots=True)
class Names:
    """Of one component: its imports and exports, and the index spaces through which their functions are found."""

    imports: list[tuple[str, Functions]] = field(default_factory=list)
    exports: list[tuple[str, Functions]] = field(default_factory=list)
    functions: list[str] = field(default_factory=list)
    """Exports that are functions."""
    types: list[Functions | None] = field(default_factory=list)
    """By type index: the functions of an instance type, None for other types."""
    instances: list[Functions] = field(default_factory=list)
    components: list[Names | None] = field(default_factory=list)


def instance_names(number: int, section: Reader, names: Names) -> None:
    """Take in one section of a component."""
    take = _SECTIONS.get(number)
    if take is not None:
        for _ in range(section.count()):
            take(section, names)


def _type(section: Reader, names: Names) -> None:
    names.types.append(_deftype(section, 0))


def _import(section: Reader, names: Names) -> None:
    name = _extern_name(section)
    names.imports.append((name, _describe(section, names, known=None)))


def _extern_name(section: Reader) -> str:
    """The name of an import or export; form 2 also has attributes."""
    form = section.byte()
    name = section.name()
    if form == 2:
        for _ in range(section.count()):
            section.byte()
            section.name()
    return name


def _export(section: Reader, names: Names) -> None:
    name = _extern_name(section)
    sort = _sort(section)
    index = section.u32()
    functions: Functions = ()
    if sort == _INSTANCE and index < len(names.instances):
        functions = names.instances[index]
    if section.byte():
        functions = _describe(section, names, known=functions)  # also makes the new index
    else:
        _define(names, sort, functions, index)
    if sort == _FUNC:
        names.functions.append(name)
    if sort != _TYPE:
        names.exports.append((name, functions))


def _sort(section: Reader) -> int:
    sort = section.byte()
    if sort == _CORE:
        section.byte()
    return sort


def _define(names: Names, sort: int, functions: Functions, index: int) -> None:
    """An export makes an index of its own for what it exports."""
    if sort == _TYPE:
        names.types.append(names.types[index] if index < len(names.types) else None)
    elif sort == _INSTANCE:
        names.instances.append(functions)
    elif sort == _COMPONENT:
        names.components.append(names.components[index] if index < len(names.components) else None)


def _describe(section: Reader, names: Names, *, known: Functions | None) -> Functions:
    """An `externdesc` at the top of a component: what it adds to the index spaces, and the functions of an instance."""
    sort = _sort(section)
    functions = known or ()
    if sort == _INSTANCE:
        index = section.u32()
        described = names.types[index] if index < len(names.types) else None
        functions = functions or described or ()
        names.instances.append(functions)
    elif sort == _TYPE:
        same_as = section.u32() if section.byte() == 0 else len(names.types)
        names.types.append(names.types[same_as] if same_as < len(names.types) else None)
    elif sort == _VALUE:
        _bound(section)
    else:
        section.u32()
        if sort == _COMPONENT:
            names.components.append(None)
    return functions


def _bound(section: Reader) -> None:
    """A bound of a value: `eq` with an index, or a type."""
    if section.byte() == 0:
        section.u32()
    else:
        _value_type(section)


def _instance(section: Reader, names: Names) -> None:
    names.instances.append(_instance_functions(section, names))


def _instance_functions(section: Reader, names: Names) -> Functions:
    form = section.byte()
    if form == 0:
        index = section.u32()
        for _ in range(section.count()):
            section.name()
            _sort(section)
            section.u32()
        made = names.components[index] if index < len(names.components) else None
        return () if made is None else tuple(made.functions)
    found = []
    for _ in range(section.count()):
        name = _extern_name(section)
        if _sort(section) == _FUNC:
            found.append(name)
        section.u32()
    return tuple(found)


def _aliased(section: Reader, names: Names) -> None:
    sort = _alias(section)
    if sort == _TYPE:
        names.types.append(None)
    elif sort == _INSTANCE:
        names.instances.append(())
    elif sort == _COMPONENT:
        names.components.append(None)


_SECTIONS: Final[dict[int, Callable[[Reader, Names], None]]] = {
    5: _instance,
    6: _aliased,
    7: _type,
    10: _import,
    11: _export,
}
"""What takes in one entry of a section, by the section's number. The others make no component-level index with names."""


def _alias(section: Reader) -> int:
    """Pass over an alias; returns its sort."""
    sort = _sort(section)
    target = section.byte()
    section.u32()
    if target == 2:
        section.u32()
    else:
        section.name()
    return sort


# -- types ------------------------------------------------------------------------------------------------------------


def _deftype(section: Reader, depth: int) -> Functions | None:
    """Pass over a type; returns the functions of an instance type."""
    if depth > _DEPTH_MAX:
        raise Unsupported(f"types nested {depth} deep")
    form = section.byte()
    if form == 0x42:
        return _declarations(section, depth)
    if form == 0x41:
        _declarations(section, depth)
    elif form in (0x40, 0x43):
        _func_type(section)
    elif form in (0x3F, 0x3E):
        section.byte()
        if section.byte():
            section.u32()
        if form == 0x3E and section.byte():
            section.u32()
    else:
        _defined(section, form)
    return None


def _declarations(section: Reader, depth: int) -> Functions:
    """Declarations of an instance or component type; returns the functions that it exports."""
    found = []
    for _ in range(section.count()):
        form = section.byte()
        if form == 0:
            _core_type(section)
        elif form == 1:
            _deftype(section, depth + 1)
        elif form == 2:
            _alias(section)
        elif form in (3, 4):
            name = _extern_name(section)
            if _extern_desc(section) == _FUNC and form == 4:
                found.append(name)
        else:
            raise Unsupported(f"a declaration of the unknown form {form}, at byte {section.at}")
    return tuple(found)


def _extern_desc(section: Reader) -> int:
    """Pass over an `externdesc`; returns its sort."""
    sort = _sort(section)
    if sort == _TYPE:
        if section.byte() == 0:
            section.u32()
    elif sort == _VALUE:
        _bound(section)
    else:
        section.u32()
    return sort


def _core_type(section: Reader) -> None:
    """Core types inside of component types are rare: they belong to components that import modules."""
    raise Unsupported(f"a core type in a component type, at byte {section.at}")


def _func_type(section: Reader) -> None:
    for _ in range(section.count()):
        section.name()
        _value_type(section)
    if section.byte() == 0:
        _value_type(section)
    else:
        for _ in range(section.count()):  # (result): an empty list since 2025
            section.name()
            _value_type(section)


def _value_type(section: Reader) -> None:
    """A primitive type in one byte, or a type index."""
    section.signed()


def _optional(section: Reader) -> None:
    if section.byte():
        _value_type(section)


def _defined(section: Reader, form: int) -> None:
    """Pass over the rest of a `defvaltype`."""
    shape = "" if 0x73 <= form <= 0x7F else _SHAPES.get(form)
    if shape is None:
        raise Unsupported(f"a type of the unknown form {form:#x}, at byte {section.at}")
    repeat = section.count() if shape.startswith("*") else 1
    for _ in range(repeat):
        for part in shape.removeprefix("*"):
            _PARTS[part](section)


_SHAPES: Final = {
    0x72: "*nt",  # record
    0x71: "*nor",  # variant
    0x70: "t",  # list
    0x6F: "*t",  # tuple
    0x6E: "*n",  # flags
    0x6D: "*n",  # enum
    0x6B: "t",  # option
    0x6A: "oo",  # result
    0x69: "i",  # own
    0x68: "i",  # borrow
    0x67: "ti",  # list of fixed length
    0x66: "o",  # stream
    0x65: "o",  # future
    0x64: "",  # error-context
    0x63: "tt",  # map
}
"""What follows a form: n a name, t a type, o an optional type, i an index or a length, r a variant's last byte; * as a vector."""


def _refines(section: Reader) -> None:
    """A variant's case ends with a byte that was once an optional index."""
    if section.byte():
        section.u32()


_PARTS: Final[dict[str, Callable[[Reader], object]]] = {
    "n": lambda section: section.name(),
    "t": _value_type,
    "o": _optional,
    "i": lambda section: section.u32(),
    "r": _refines,
}
