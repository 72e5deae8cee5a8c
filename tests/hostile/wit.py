"""Components for tests, put together from a table of WIT interfaces: a core module in WAT goes in, a component comes out.

`component` writes what wit-component would: imported instances with their types, one `canon lower` per host function that
the core module names, an allocator, and the lift of `handle`. Only what is named is imported. It knows the WIT types that
the table below uses, and the flat signature of each function, so that a test can call every host function there is.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import Final

from wasmtime import wat2wasm

from tests.hostile.interfaces import INTERFACES, VERSION, Interface

HANDLER: Final = f"wasi:http/incoming-handler@{VERSION}"
ALLOCATOR: Final = """\
(memory (export "memory") 5)
(global $next (mut i32) (i32.const 131072))
(func (export "cabi_realloc") (param $old i32) (param $old-size i32) (param $align i32) (param $size i32) (result i32)
  (local $at i32)
  (local.set $at (i32.and (i32.add (global.get $next) (i32.sub (local.get $align) (i32.const 1)))
    (i32.sub (i32.const 0) (local.get $align))))
  (global.set $next (i32.add (local.get $at) (local.get $size)))
  (if (i32.gt_u (global.get $next) (i32.mul (memory.size) (i32.const 65536))) (then unreachable))
  (local.get $at))"""
"""A bump allocator that never frees, above the first 128 KiB."""


# -- types --------------------------------------------------------------------------------------------------------------

Type = (
    tuple  # (head, *arguments): ("list", t), ("result", t | None, e | None), ("borrow", name), ("name", name), ("u8",)
)
_PRIMITIVES: Final = {
    "bool": "i32", "u8": "i32", "s8": "i32", "u16": "i32", "s16": "i32", "u32": "i32", "s32": "i32", "u64": "i64",
    "s64": "i64", "f32": "f32", "f64": "f64", "char": "i32",
}  # fmt: skip
_NAMED: Final[dict[str, str]] = {name: text for i in INTERFACES for name, text in i.types.items()}
_RESOURCES: Final = {name for i in INTERFACES for name in i.resources.split()}


def _split(text: str) -> list[str]:
    """The parts between commas that are in no bracket."""
    parts, depth, at = [], 0, 0
    for i, c in enumerate(text):
        depth += (c in "<(") - (c in ">)" and text[i - 1] != "-")
        if c == "," and not depth:
            parts.append(text[at:i])
            at = i + 1
    return [p.strip() for p in [*parts, text[at:]] if p.strip()]


def parse(text: str) -> Type:
    """A WIT type."""
    head, found, rest = text.strip().partition("<")
    arguments = _split(rest.rpartition(">")[0]) if found else []
    if head in {"borrow", "own"}:
        return (head, arguments[0])
    if head == "result":
        parts = [None if a == "_" else parse(a) for a in arguments]
        return ("result", *[*parts, None, None][:2])
    if head in {"list", "option", "tuple"}:
        return (head, *map(parse, arguments))
    if head in _PRIMITIVES or head == "string":
        return (head,)
    return ("own", head) if head in _RESOURCES else ("name", head)


def wat(kind: Type) -> str:
    """The type in component WAT."""
    match kind:
        case ("own" | "borrow" as how, name):
            return f"({how} ${name})"
        case ("name", name):
            return f"${name}"
        case ("result", ok, error):
            return f"(result{f' {wat(ok)}' if ok else ''}{f' (error {wat(error)})' if error else ''})"
        case ("list" | "option" | "tuple" as how, *parts):
            return f"({how} {' '.join(map(wat, parts))})"
        case (name,):
            return name
    raise AssertionError(kind)


def _cases(kind: Type) -> list[Type | None]:
    """The payloads of a variant, option or result."""
    if kind[0] == "option":
        return [None, kind[1]]
    if kind[0] == "result":
        return list(kind[1:])
    return [parse(case.partition("(")[2][:-1]) if "(" in case else None for case in _NAMED[kind[1]].split()[1:]]


def flat(kind: Type) -> list[str]:
    """The core types that a value takes (CanonicalABI, `flatten_type`)."""
    head = kind[0]
    if head in {"string", "list"}:
        return ["i32", "i32"]
    if head in {"own", "borrow"}:
        return ["i32"]
    if head == "tuple":
        return [f for part in kind[1:] for f in flat(part)]
    if head == "name" and _NAMED[kind[1]].startswith("record"):
        return [f for part in _NAMED[kind[1]].split()[1:] for f in flat(parse(part.partition(":")[2]))]
    if head == "name" and _NAMED[kind[1]].startswith(("enum", "flags")):
        return ["i32"]
    if head in {"name", "option", "result"}:
        joined: list[str] = []
        for case in _cases(kind):
            for i, f in enumerate(flat(case) if case else []):
                if i == len(joined):
                    joined.append(f)
                elif joined[i] != f:
                    joined[i] = "i32" if {joined[i], f} == {"i32", "f32"} else "i64"
        return ["i32", *joined]
    return [_PRIMITIVES[head]]


def _definition(text: str) -> str:
    """A named type in WAT."""
    kind, *parts = text.split()
    if kind == "record":
        fields = [part.partition(":") for part in parts]
        return "(record " + " ".join(f'(field "{n}" {wat(parse(t))})' for n, _, t in fields) + ")"
    if kind in {"enum", "flags"}:
        return f"({kind} " + " ".join(f'"{part}"' for part in parts) + ")"
    cases = [part.partition("(") for part in parts]
    return "(variant " + " ".join(f'(case "{n}"{f" {wat(parse(t[:-1]))}" if t else ""})' for n, _, t in cases) + ")"


# -- functions ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Function:
    """A host function: `id` is how core modules here name it (`$fields.append`, `$poll.poll`, `$fields.drop`)."""

    id: str
    interface: str
    name: str
    """In the component's binary: `[method]fields.append`; `[resource-drop]fields` is a canonical built-in."""
    params: tuple[tuple[str, Type], ...] = ()
    result: Type | None = None

    @property
    def core(self) -> tuple[list[str], list[str]]:
        """Parameters and results of the lowered function."""
        params = [f for _, kind in self.params for f in flat(kind)]
        results = flat(self.result) if self.result else []
        if len(params) > 16:
            params = ["i32"]
        return (params, results) if len(results) <= 1 else ([*params, "i32"], [])


def _function(interface: Interface, text: str) -> Function:
    match = re.fullmatch(r"([\w.:-]+)\((.*?)\)(?:\s*->\s*(.*))?", " ".join(text.split()), re.DOTALL)
    assert match, text
    path, arguments, result = match.groups()
    short = interface.name.rpartition("/")[2]
    owner = re.match(r"[\w-]+", path).group()  # type: ignore[union-attr]
    params = tuple(
        ("self", ("borrow", owner)) if a == "self" else (a.partition(":")[0], parse(a.partition(":")[2]))
        for a in _split(arguments)
    )
    if path.endswith(".new"):
        name = f"[constructor]{owner}"
    elif "::" in path:
        name = f"[static]{path.replace('::', '.')}"
    else:
        name = f"[method]{path}" if "." in path else path
    id_ = path.replace("::", ".") if owner != path else f"{short}.{path}"
    return Function(id_, f"{interface.name}@{VERSION}", name, params, parse(result) if result else None)


@cache
def functions() -> dict[str, Function]:
    """Every host function of the table by id, drops included."""
    found = [_function(i, text) for i in INTERFACES for text in i.functions.split(";")]
    found += [
        Function(f"{r}.drop", f"{i.name}@{VERSION}", f"[resource-drop]{r}", (("self", ("own", r)),))
        for i in INTERFACES
        for r in i.resources.split()
    ]
    return {f.id: f for f in found}


# -- components ---------------------------------------------------------------------------------------------------------


def used(core: str) -> list[Function]:
    """The host functions that a core module names."""
    words = set(re.findall(r"\$([\w.-]+)", core))
    return [f for f in functions().values() if f.id in words]


def core_imports(used_functions: list[Function]) -> str:
    """Their imports."""
    lines = []
    for f in used_functions:
        params, results = f.core
        signature = (f" (param {' '.join(params)})" if params else "") + (
            f" (result {' '.join(results)})" if results else ""
        )
        lines.append(f'(import "{f.interface}" "{f.name}" (func ${f.id}{signature}))')
    return "\n".join(lines)


def _id(interface: str) -> str:
    """An instance's id in WAT."""
    return "i-" + interface.partition("@")[0].replace(":", "-").replace("/", "-")


def _needed(names: set[str]) -> list[Interface]:
    """The interfaces of these names, and those whose types they use, in order."""
    chosen: list[Interface] = []
    used_names: set[str] = set()
    for interface in reversed(INTERFACES):
        own = {*interface.resources.split(), *interface.types}
        if interface.name in names or own & used_names:
            chosen.append(interface)
            used_names |= set(interface.uses.split())
    return chosen[::-1]


def _instance(interface: Interface, wanted: list[Function]) -> str:
    """One import, and the names that others may use from it."""
    lines = [f'(import "{interface.name}@{VERSION}" (instance ${_id(interface.name)}']
    lines += [
        f'  (alias outer $c ${name} (type $o-{name})) (export "{name}" (type ${name} (eq $o-{name})))'
        for name in interface.uses.split()
    ]
    lines += [f'  (export "{name}" (type ${name} (sub resource)))' for name in interface.resources.split()]
    for name, text in interface.types.items():
        lines.append(f"  (type ${name}' {_definition(text)}) (export \"{name}\" (type ${name} (eq ${name}')))")
    for f in wanted:
        params = "".join(f' (param "{n}" {wat(t)})' for n, t in f.params)
        result = f" (result {wat(f.result)})" if f.result else ""
        lines.append(f'  (export "{f.name}" (func{params}{result}))')
    lines.append("))")
    for name in [*interface.resources.split(), *interface.types]:
        lines.append(f'(alias export ${_id(interface.name)} "{name}" (type ${name}))')
    return "\n".join(lines)


def component_wat(core: str, allocator: str = ALLOCATOR, options: str = "", more: str = "") -> str:
    """The component around the fields of a core module that exports `handle`.

    Args:
        core: the fields, with `$ids` of host functions in them.
        allocator: the fields of the module that owns the memory.
        options: further canonical options of every lowered function.
        more: further parts of the component.
    """
    wanted = used(core)
    imported: dict[str, list[Function]] = {}
    for f in wanted:
        if not f.name.startswith("[resource-drop]"):
            imported.setdefault(f.interface, []).append(f)
    names = {f.interface.partition("@")[0] for f in wanted} | {"wasi:http/types"}
    parts = ["(component $c", *(_instance(i, imported.get(f"{i.name}@{VERSION}", [])) for i in _needed(names))]
    parts += [
        f"(core module $libc {allocator})",
        f'(core module $main (import "env" "memory" (memory 1)) {core_imports(wanted)} {core})',
        "(core instance $libc (instantiate $libc))",
        '(alias core export $libc "memory" (core memory $memory))',
        '(alias core export $libc "cabi_realloc" (core func $realloc))',
    ]
    groups: dict[str, list[str]] = {}
    for f in wanted:
        if f.name.startswith("[resource-drop]"):
            parts.append(f"(core func $c-{f.id} (canon resource.drop ${f.name.partition(']')[2]}))")
        else:
            parts.append(
                f'(core func $c-{f.id} (canon lower (func ${_id(f.interface)} "{f.name}")'
                f" (memory (core memory $memory)) (realloc (core func $realloc)) {options}))"
            )
        groups.setdefault(f.interface, []).append(f'(export "{f.name}" (func $c-{f.id}))')
    withs = ['(with "env" (instance $libc))']
    for n, (interface_name, exports) in enumerate(groups.items()):
        parts.append(f"(core instance $x{n} {' '.join(exports)})")
        withs.append(f'(with "{interface_name}" (instance $x{n}))')
    parts.append(more)
    parts.append(f"""\
(core instance $main (instantiate $main {" ".join(withs)}))
(func $handle (param "request" (own $incoming-request)) (param "response-out" (own $response-outparam))
  (canon lift (core func $main "handle")))
(instance $handler (export "handle" (func $handle)))
(export "{HANDLER}" (instance $handler)))""")
    return "\n".join(parts)


def component(core: str, allocator: str = ALLOCATOR, options: str = "", more: str = "") -> bytes:
    """`component_wat` as a binary."""
    return bytes(wat2wasm(component_wat(core, allocator, options, more)))
