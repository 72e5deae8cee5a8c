"""The canonical ABI of variants, options and results, as generated Python: a discriminant, then the payload of its case.

In memory the payload begins at one place for all cases. As core values the cases share slots of joined types, and a float may
travel as the bits of an integer. Source: CanonicalABI.md ("Loading", "Storing", "Flat Lifting", "Flat Lowering").
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from edgesim.wasm.flat import types as t
from edgesim.wasm.flat.canon_layout import cases, discriminant_size, layout, payload_offset
from edgesim.wasm.values import Var, nesting

if TYPE_CHECKING:
    from edgesim.wasm.flat.canon import Codecs
    from edgesim.wasm.flat.canon_layout import Core

Cases: TypeAlias = t.Variant | t.Option | t.Result


def load(codecs: Codecs, name: str, kind: Cases) -> None:
    """Write `name(cx, p)`."""
    payloads, at = cases(kind), payload_offset(kind)
    size = discriminant_size(len(payloads))
    tag = "cx.view[p]" if size == 1 else f"un{codecs.format('H' if size == 2 else 'I')}(cx.view, p)[0]"
    codecs.write(f"def {name}(cx, p):", f"    i = {tag}")
    _dispatch(codecs, kind, [None if payload is None else codecs.load(payload, f"p + {at}") for payload in payloads])


def lift(codecs: Codecs, name: str, kind: Cases) -> None:
    """Write `name(cx, i, s0, …)`."""
    joined = layout(kind).flat[1:]
    slots = [f"s{n}" for n in range(len(joined))]
    values = [
        None if payload is None else codecs.lift(payload, iter(_split(slots, joined, layout(payload).flat)), flat=True)
        for payload in cases(kind)
    ]
    codecs.write(f"def {name}({', '.join(['cx', 'i', *slots])}):")
    _dispatch(codecs, kind, values)


def store(codecs: Codecs, name: str, kind: Cases) -> None:
    """Write `name(cx, p, v)`."""
    payloads, at = cases(kind), payload_offset(kind)
    size = discriminant_size(len(payloads))
    codecs.write(f"def {name}(cx, p, v):", *_split_value(codecs, kind))
    if size == 1:
        codecs.write("    cx.view[p] = i")
    else:
        codecs.write(f"    in{codecs.format('H' if size == 2 else 'I')}(cx.view, p, i)")
    for i, payload in enumerate(payloads):
        if payload is not None:
            codecs.write(f"    if i == {i}: {codecs.store(payload, f'p + {at}', 'v')}")


def lower(codecs: Codecs, name: str, kind: Cases) -> None:
    """Write `name(cx, v)`, which returns the discriminant and the joined core values."""
    joined = layout(kind).flat[1:]
    codecs.write(f"def {name}(cx, v):", *_split_value(codecs, kind))
    for i, payload in enumerate(cases(kind)):
        flat = () if payload is None else layout(payload).flat
        zeros = ["0.0" if core in ("f32", "f64") else "0" for core in joined[len(flat) :]]
        if payload is None:
            values = zeros
        else:
            names = [f"s{n}" for n in range(len(flat))]
            parts = ", ".join(codecs.lower(payload, "v", flat=True))
            codecs.write(f"    if i == {i}:", f"        {', '.join(names)}, = {parts},")
            values = [_join(slot, core, into) for slot, core, into in zip(names, flat, joined, strict=False)] + zeros
        codecs.write(f"    {'    ' if payload is not None else f'if i == {i}: '}return {', '.join(['i', *values])},")


def _dispatch(codecs: Codecs, kind: Cases, values: list[str | None]) -> None:
    """Return the value of case `i`. `values` are expressions for the payloads."""
    for i, value in enumerate(values):
        if value is not None:
            codecs.write(f"    if i == {i}: return {_wrap(kind, i, value)}")
    codecs.write(f"    if i >= {len(values)}: bad_case(i, {len(values)})")
    if isinstance(kind, t.Variant):
        tags = tuple(Var(tag) for tag, _ in kind.cases)
        codecs.write(f"    return {codecs.constant(tags, 'TAGS')}[i]")
    elif isinstance(kind, t.Option):
        codecs.write("    return None")
    else:
        codecs.write("    return Err() if i else None")


def _wrap(kind: Cases, case: int, value: str) -> str:
    """An expression for the Python value of a case with its payload."""
    match kind:
        case t.Result() if case == 1:
            return f"Err({value})"
        case t.Option() | t.Result():
            return f"Ok({value})" if nesting(kind).wraps else value
    return f"Var({kind.cases[case][0]!r}, {value})"


def _split_value(codecs: Codecs, kind: Cases) -> list[str]:
    """Statements that turn the value `v` into the number of its case, `i`, and its payload, `v`."""
    match kind:
        case t.Option():
            unwrap = ["    if v.__class__ is Ok: v = v.value"] if nesting(kind).wraps else []
            return ["    i = 0 if v is None else 1", *unwrap]
        case t.Result():
            return [
                "    i = 1 if isinstance(v, Err) else 0",
                "    if i or v.__class__ is Ok: v = v.value",
            ]
    numbers = {tag: i for i, (tag, _) in enumerate(kind.cases)}
    return [f"    i = {codecs.constant(numbers, 'NUMBERS')}[v.tag]", "    v = v.value"]


def _split(slots: list[str], joined: tuple[Core, ...], flat: tuple[Core, ...]) -> list[str]:
    """Expressions for the core values of one case from the shared slots."""
    return [_unjoin(slot, have, want) for slot, have, want in zip(slots, joined, flat, strict=False)]


def _unjoin(slot: str, have: Core, want: Core) -> str:
    if have == want:
        return slot
    if want == "i32":
        return f"({slot} & 4294967295)"
    return f"bits_{want}({slot})"


def _join(slot: str, have: Core, into: Core) -> str:
    return slot if have == into or have in ("i32", "i64") else f"{have}_bits({slot})"
