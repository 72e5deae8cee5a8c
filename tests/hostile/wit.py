"""Components for tests, put together from a table of WIT interfaces: a core module in WAT goes in, a component comes out.

`component` writes what wit-component would: imported instances with their types, one `canon lower` per host function that
the core module names, an allocator, and the lift of `handle`. Only what is named is imported. It knows the WIT types that
the table below uses, and the flat signature of each function, so that a test can call every host function there is.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cache
from typing import Final

from wasmtime import wat2wasm

VERSION: Final = "0.2.0"
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


@dataclass(frozen=True, slots=True)
class Interface:
    """One interface: resources and types of its own, names that it uses from others, and functions in WIT."""

    name: str
    functions: str
    resources: str = ""
    uses: str = ""
    types: dict[str, str] = field(default_factory=dict)


ERROR_CODES: Final = (
    "DNS-timeout DNS-error(DNS-error-payload) destination-not-found destination-unavailable destination-IP-prohibited "
    "destination-IP-unroutable connection-refused connection-terminated connection-timeout connection-read-timeout "
    "connection-write-timeout connection-limit-reached TLS-protocol-error TLS-certificate-error "
    "TLS-alert-received(TLS-alert-received-payload) HTTP-request-denied HTTP-request-length-required "
    "HTTP-request-body-size(option<u64>) HTTP-request-method-invalid HTTP-request-URI-invalid HTTP-request-URI-too-long "
    "HTTP-request-header-section-size(option<u32>) HTTP-request-header-size(option<field-size-payload>) "
    "HTTP-request-trailer-section-size(option<u32>) HTTP-request-trailer-size(field-size-payload) "
    "HTTP-response-incomplete HTTP-response-header-section-size(option<u32>) HTTP-response-header-size(field-size-payload) "
    "HTTP-response-body-size(option<u64>) HTTP-response-trailer-section-size(option<u32>) "
    "HTTP-response-trailer-size(field-size-payload) HTTP-response-transfer-coding(option<string>) "
    "HTTP-response-content-coding(option<string>) HTTP-response-timeout HTTP-upgrade-failed HTTP-protocol-error "
    "loop-detected configuration-error internal-error(option<string>)"
)

INTERFACES: Final = (
    Interface("wasi:io/error", "error.to-debug-string(self) -> string", "error"),
    Interface(
        "wasi:io/poll",
        "pollable.ready(self) -> bool; pollable.block(self); poll(in: list<borrow<pollable>>) -> list<u32>",
        "pollable",
    ),
    Interface(
        "wasi:io/streams",
        """input-stream.read(self, len: u64) -> result<list<u8>, stream-error>;
        input-stream.blocking-read(self, len: u64) -> result<list<u8>, stream-error>;
        input-stream.skip(self, len: u64) -> result<u64, stream-error>;
        input-stream.blocking-skip(self, len: u64) -> result<u64, stream-error>;
        input-stream.subscribe(self) -> pollable;
        output-stream.check-write(self) -> result<u64, stream-error>;
        output-stream.write(self, contents: list<u8>) -> result<_, stream-error>;
        output-stream.blocking-write-and-flush(self, contents: list<u8>) -> result<_, stream-error>;
        output-stream.flush(self) -> result<_, stream-error>;
        output-stream.blocking-flush(self) -> result<_, stream-error>;
        output-stream.subscribe(self) -> pollable;
        output-stream.write-zeroes(self, len: u64) -> result<_, stream-error>;
        output-stream.blocking-write-zeroes-and-flush(self, len: u64) -> result<_, stream-error>;
        output-stream.splice(self, src: borrow<input-stream>, len: u64) -> result<u64, stream-error>;
        output-stream.blocking-splice(self, src: borrow<input-stream>, len: u64) -> result<u64, stream-error>""",
        "input-stream output-stream",
        "error pollable",
        {"stream-error": "variant last-operation-failed(error) closed"},
    ),
    Interface(
        "wasi:cli/environment",
        """get-environment() -> list<tuple<string, string>>; get-arguments() -> list<string>;
        initial-cwd() -> option<string>""",
    ),
    Interface("wasi:cli/exit", "exit(status: result)"),
    Interface("wasi:cli/stdin", "get-stdin() -> input-stream", uses="input-stream"),
    Interface("wasi:cli/stdout", "get-stdout() -> output-stream", uses="output-stream"),
    Interface("wasi:cli/stderr", "get-stderr() -> output-stream", uses="output-stream"),
    Interface(
        "wasi:clocks/monotonic-clock",
        """now() -> u64; resolution() -> u64; subscribe-instant(when: u64) -> pollable;
        subscribe-duration(when: u64) -> pollable""",
        uses="pollable",
    ),
    Interface(
        "wasi:clocks/wall-clock",
        "now() -> datetime; resolution() -> datetime",
        types={"datetime": "record seconds:u64 nanoseconds:u32"},
    ),
    Interface("wasi:random/random", "get-random-bytes(len: u64) -> list<u8>; get-random-u64() -> u64"),
    Interface(
        "wasi:random/insecure", "get-insecure-random-bytes(len: u64) -> list<u8>; get-insecure-random-u64() -> u64"
    ),
    Interface("wasi:random/insecure-seed", "insecure-seed() -> tuple<u64, u64>"),
    Interface(
        "wasi:http/types",
        """fields.new() -> fields;
        fields::from-list(entries: list<tuple<string, list<u8>>>) -> result<fields, header-error>;
        fields.get(self, name: string) -> list<list<u8>>; fields.has(self, name: string) -> bool;
        fields.set(self, name: string, value: list<list<u8>>) -> result<_, header-error>;
        fields.delete(self, name: string) -> result<_, header-error>;
        fields.append(self, name: string, value: list<u8>) -> result<_, header-error>;
        fields.entries(self) -> list<tuple<string, list<u8>>>; fields.clone(self) -> fields;
        incoming-request.method(self) -> method; incoming-request.path-with-query(self) -> option<string>;
        incoming-request.scheme(self) -> option<scheme>; incoming-request.authority(self) -> option<string>;
        incoming-request.headers(self) -> fields; incoming-request.consume(self) -> result<incoming-body>;
        incoming-body.stream(self) -> result<input-stream>; incoming-body::finish(this: incoming-body) -> future-trailers;
        future-trailers.subscribe(self) -> pollable;
        future-trailers.get(self) -> option<result<result<option<fields>, error-code>>>;
        outgoing-response.new(headers: fields) -> outgoing-response; outgoing-response.status-code(self) -> u16;
        outgoing-response.set-status-code(self, status-code: u16) -> result; outgoing-response.headers(self) -> fields;
        outgoing-response.body(self) -> result<outgoing-body>; outgoing-body.write(self) -> result<output-stream>;
        outgoing-body::finish(this: outgoing-body, trailers: option<fields>) -> result<_, error-code>;
        response-outparam::set(param: response-outparam, response: result<outgoing-response, error-code>);
        outgoing-request.new(headers: fields) -> outgoing-request; outgoing-request.body(self) -> result<outgoing-body>;
        outgoing-request.method(self) -> method; outgoing-request.set-method(self, method: method) -> result;
        outgoing-request.path-with-query(self) -> option<string>;
        outgoing-request.set-path-with-query(self, path-with-query: option<string>) -> result;
        outgoing-request.scheme(self) -> option<scheme>;
        outgoing-request.set-scheme(self, scheme: option<scheme>) -> result;
        outgoing-request.authority(self) -> option<string>;
        outgoing-request.set-authority(self, authority: option<string>) -> result;
        outgoing-request.headers(self) -> fields; request-options.new() -> request-options;
        request-options.connect-timeout(self) -> option<u64>;
        request-options.set-connect-timeout(self, duration: option<u64>) -> result;
        request-options.first-byte-timeout(self) -> option<u64>;
        request-options.set-first-byte-timeout(self, duration: option<u64>) -> result;
        request-options.between-bytes-timeout(self) -> option<u64>;
        request-options.set-between-bytes-timeout(self, duration: option<u64>) -> result;
        incoming-response.status(self) -> u16; incoming-response.headers(self) -> fields;
        incoming-response.consume(self) -> result<incoming-body>; future-incoming-response.subscribe(self) -> pollable;
        future-incoming-response.get(self) -> option<result<result<incoming-response, error-code>>>;
        http-error-code(err: borrow<error>) -> option<error-code>""",
        "fields incoming-request incoming-body future-trailers outgoing-response outgoing-body response-outparam "
        "outgoing-request request-options incoming-response future-incoming-response",
        "error pollable input-stream output-stream",
        {
            "header-error": "variant invalid-syntax forbidden immutable",
            "method": "variant get head post put delete connect options trace patch other(string)",
            "scheme": "variant HTTP HTTPS other(string)",
            "DNS-error-payload": "record rcode:option<string> info-code:option<u16>",
            "TLS-alert-received-payload": "record alert-id:option<u8> alert-message:option<string>",
            "field-size-payload": "record field-name:option<string> field-size:option<u32>",
            "error-code": "variant " + ERROR_CODES,
        },
    ),
    Interface(
        "wasi:http/outgoing-handler",
        """handle(request: outgoing-request, options: option<request-options>)
        -> result<future-incoming-response, error-code>""",
        uses="outgoing-request request-options future-incoming-response error-code",
    ),
)

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


def _instance(interface: Interface, wanted: list[Function]) -> str:
    """One import, and the names that others may use from it."""
    short = interface.name.rpartition("/")[2]
    lines = [f'(import "{interface.name}@{VERSION}" (instance $i-{short}']
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
        lines.append(f'(alias export $i-{short} "{name}" (type ${name}))')
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
    parts = ["(component $c", *(_instance(i, imported.get(f"{i.name}@{VERSION}", [])) for i in INTERFACES)]
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
            short = f.interface.partition("@")[0].rpartition("/")[2]
            parts.append(
                f'(core func $c-{f.id} (canon lower (func $i-{short} "{f.name}")'
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
