"""The flat floor against the component C API: random values of random types, lifted and lowered by both."""

import asyncio

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgesim.wasm.engine import make_engine
from edgesim.wasm.flat import types as t
from edgesim.wasm.values import Err, Ok, Var, nesting
from tests.support import flat_oracle as oracle

INTEGERS = {
    "s8": (-(1 << 7), (1 << 7) - 1), "u8": (0, 255), "s16": (-(1 << 15), (1 << 15) - 1), "u16": (0, 65535),
    "s32": (-(1 << 31), (1 << 31) - 1), "u32": (0, (1 << 32) - 1), "s64": (-(1 << 63), (1 << 63) - 1), "u64": (0, (1 << 64) - 1),
}  # fmt: skip
PRIMITIVES = [t.Prim(name) for name in (*INTEGERS, "bool", "f32", "f64", "char", "string")]


def labels(count):
    """Distinct names."""
    return tuple(f"n{i}" for i in range(count))


def compound(inner):
    """Types made of others."""
    maybe = st.none() | inner
    return st.one_of(
        inner.map(t.List),
        st.lists(inner, min_size=1, max_size=5).map(lambda kinds: t.Tuple(tuple(kinds))),
        st.lists(inner, min_size=1, max_size=5).map(lambda kinds: t.Record(tuple(zip(labels(9), kinds, strict=False)))),
        st.lists(maybe, min_size=1, max_size=5).map(
            lambda kinds: t.Variant(tuple(zip(labels(9), kinds, strict=False)))
        ),
        inner.map(t.Option),
        st.tuples(maybe, maybe).map(lambda arms: t.Result(*arms)),
    )


LEAVES = st.one_of(
    st.sampled_from(PRIMITIVES),
    st.integers(1, 32).map(lambda n: t.Flags(labels(n))),
    st.integers(1, 6).map(lambda n: t.Enum(labels(n))),
)
TYPES = st.recursive(LEAVES, compound, max_leaves=8)


def values(kind):
    """Values of a type, as host functions see them."""
    match kind:
        case t.Prim("bool"):
            return st.booleans()
        case t.Prim("char"):
            return st.characters(exclude_categories=["Cs"])
        case t.Prim("string"):
            return st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
        case t.Prim("f32"):
            return st.floats(width=32)
        case t.Prim("f64"):
            return st.floats()
        case t.Prim(name):
            return st.integers(*INTEGERS[name])
        case t.List(t.Prim("u8")):
            return st.binary(max_size=12)
        case t.List(element):
            return st.lists(values(element), max_size=4)
        case t.Tuple(elements):
            return st.tuples(*map(values, elements))
        case t.Record(fields):
            return st.fixed_dictionaries({name: values(field) for name, field in fields})
        case t.Enum(names):
            return st.sampled_from(names)
        case t.Flags(names):
            return st.sets(st.sampled_from(names))
        case t.Variant(found):
            return st.one_of(*[
                st.just(Var(name)) if payload is None else values(payload).map(lambda v, n=name: Var(n, v))
                for name, payload in found
            ])  # fmt: skip
        case t.Option(payload):
            return st.none() | (values(payload).map(Ok) if nesting(kind).wraps else values(payload))
        case t.Result(ok, err):
            good = st.none() if ok is None else values(ok).map(Ok) if nesting(kind).wraps else values(ok)
            return good | (st.just(Err()) if err is None else values(err).map(Err))
    raise AssertionError(kind)


@pytest.fixture(scope="module")
def engine():
    """One engine for all: it compiles small modules only."""
    return make_engine()


def both(engine, kind, value, encoding="utf8"):
    """What the host saw on either floor."""
    binary = oracle.binary_of(kind, encoding)
    found = []
    for run in (oracle.on_component, oracle.on_flat):
        seen = []
        asyncio.run(run(engine, binary, oracle.table(value, seen)))
        found.append([oracle.plain(one) for one in seen])
    return found


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(TYPES.flatmap(lambda kind: st.tuples(st.just(kind), values(kind))))
def test_random_values_arrive_as_on_the_other_floor(engine, case):
    """Through memory, core values, another component instance and back."""
    kind, value = case
    component, flat = both(engine, kind, value)

    assert flat == component
    assert flat == [oracle.plain(value)] * 2


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (t.Enum(labels(300)), "n299"),
        (t.Variant(tuple((name, t.Prim("u64")) for name in labels(300))), Var("n270", 1 << 60)),
        (t.Flags(labels(9)), {"n0", "n8"}),
        (t.Flags(labels(32)), {"n31"}),
        (t.Tuple((t.Prim("u8"), t.Prim("u64")) * 9), (1, 1 << 63) * 9),
        (t.Record((("a", t.Prim("f32")), ("b", t.List(t.Prim("f64"))))), {"a": float("nan"), "b": [float("nan"), 0.5]}),
        (t.Variant((("a", t.Prim("f32")), ("b", t.Prim("s32")), ("c", t.Prim("f64")))), Var("a", -0.0)),
        (t.List(t.Tuple((t.Prim("string"), t.List(t.Prim("u8"))))), [("host", b"x")] * 300),
        (t.List(t.Prim("u8")), bytes(range(256)) * 200),
        (t.List(t.Prim("s16")), [-1, 5, 32767]),
        (t.List(t.Prim("char")), ["a", "\U0010ffff", "é"]),
    ],
)
def test_special_shapes_arrive_as_on_the_other_floor(engine, kind, value):
    """Wide discriminants, flags of every size, spilled parameters, NaN, joined floats, headers, bodies."""
    component, flat = both(engine, kind, value)

    assert flat == component
    assert flat == [oracle.plain(value)] * 2


@pytest.mark.parametrize("encoding", ["utf8", "utf16", "latin1+utf16"])
@pytest.mark.parametrize("text", ["", "plain", "blåbær", "日本 and \U0001f600"])
def test_every_encoding_arrives_as_on_the_other_floor(engine, encoding, text):
    """Strings in a list and alone, whatever the guest's encoding."""
    kind = t.Tuple((t.Prim("string"), t.List(t.Prim("string"))))
    component, flat = both(engine, kind, (text, [text, "x", text]), encoding)

    assert flat == component
    assert flat == [(text, [text, "x", text])] * 2
