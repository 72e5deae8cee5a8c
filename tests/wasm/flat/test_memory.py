"""Pointers that guests pass: whatever they are, the answer is a value or a trap."""

import asyncio
from contextlib import suppress

import pytest
import wasmtime
from hypothesis import given, settings
from hypothesis import strategies as st

from edgesim.errors import GuestTrapError
from edgesim.wasm.engine import make_engine
from edgesim.wasm.flat import types as t
from edgesim.wasm.flat.link import LinkedPlan
from edgesim.wasm.flat.memory import MAX_LIFTED_BYTES
from edgesim.wasm.linking import HostFunction
from tests.support.flat_oracle import call_flat
from tests.support.flat_plans import BUMP, lower, plan, run

TEXT, OCTETS, U32 = t.Prim("string"), t.List(t.Prim("u8")), t.Prim("u32")
HEADERS = t.List(t.Tuple((TEXT, OCTETS)))
SHAPE = t.Variant(
    (("a", TEXT), ("b", t.List(t.Option(t.Prim("char")))), ("c", t.Enum(("x", "y"))), ("d", t.List(t.Prim("u64"))))
)
U32S = st.one_of(
    st.integers(0, (1 << 32) - 1),
    st.integers(0, 200),
    st.integers(131072 - 64, 131072 + 64),
    st.integers((1 << 32) - 64, (1 << 32) - 1),
    st.sampled_from([1 << 31, (1 << 31) - 1, (1 << 29), (1 << 30)]),
)  # fmt: skip


@pytest.fixture(scope="module")
def fuzzed():
    """A module that passes on three numbers, which the host sets before each run, and content that the host writes."""
    numbers = [0, 0, 0]
    engine = make_engine()
    functions = {
        **{f"n{i}": HostFunction(lambda _guest, i=i: numbers[i], waits=False) for i in range(3)},
        **{name: HostFunction(lambda _guest, value: len(repr(value)) and None, waits=False) for name in "stuv"},
        "w": HostFunction(lambda _guest: "some text", waits=False),
    }
    kinds = {"s": (TEXT,), "t": (HEADERS,), "u": (SHAPE,), "v": (t.List(SHAPE),)}
    trampolines = [lower(f"n{i}", (), U32) for i in range(3)]
    trampolines += [lower(name, params) for name, params in kinds.items()]
    trampolines.append(lower("w", (), TEXT))
    wat = """(import "h" "0" (func $n0 (result i32))) (import "h" "1" (func $n1 (result i32)))
      (import "h" "2" (func $n2 (result i32)))
      (import "h" "3" (func $s (param i32 i32))) (import "h" "4" (func $t (param i32 i32)))
      (import "h" "5" (func $u (param i32 i32 i32))) (import "h" "6" (func $v (param i32 i32)))
      (import "h" "7" (func $w (param i32)))
      (data (i32.const 0) "\\01\\00\\00\\00\\40\\00\\00\\00\\05\\00\\00\\00\\ff\\ff\\ff\\ff\\03\\00\\00\\00\\00\\00\\00\\00\\10\\00\\00\\00")
      (func (export "s") (call $s (call $n0) (call $n1)))
      (func (export "t") (call $t (call $n0) (call $n1)))
      (func (export "u") (call $u (call $n2) (call $n0) (call $n1)))
      (func (export "v") (call $v (call $n0) (call $n1)))
      (func (export "w") (call $w (call $n0)))"""
    table = {("test:t/host", name): function for name, function in functions.items()}
    return LinkedPlan(engine, wasmtime.Module(engine, f"(module {wat} {BUMP})"), plan(*trampolines), table), numbers


@settings(max_examples=250, deadline=None)
@given(st.sampled_from("stuvw"), U32S, U32S, st.one_of(st.integers(0, 5), U32S))
def test_any_pointer_gives_a_value_or_a_trap(fuzzed, name, pointer, length, case):
    """Never a crash, never another exception, and never more than the call may take."""
    linked, numbers = fuzzed
    numbers[:] = pointer, length, case

    with suppress(GuestTrapError):
        asyncio.run(call_flat(linked, name))


STRINGS = [
    (b"ok", "utf8", 2, "ok"),
    (b"\xff", "utf8", 1, None),
    (b"\xed\xa0\x80", "utf8", 3, None),
    (b"a\0b\0", "utf16", 2, "ab"),
    (b"\0\xd8a\0", "utf16", 2, None),
    (b"\xe9x", "latin1+utf16", 2, "éx"),
    (b"\xe9\0x\0", "latin1+utf16", 2 | 1 << 31, "éx"),
    (b"\0\xdc", "latin1+utf16", 1 | 1 << 31, None),
]


@pytest.mark.parametrize(("data", "encoding", "size", "text"), STRINGS)
async def test_strings_must_be_what_their_encoding_says(data, encoding, size, text):
    """Bytes that are none are a trap."""
    seen = []
    content = "".join(f"\\{byte:02x}" for byte in data)
    wat = f"""(import "h" "0" (func $f (param i32 i32))) {BUMP} (data (i32.const 64) "{content}")
      (func (export "run") (call $f (i32.const 64) (i32.const {size})))"""
    going = run(plan(lower("f", (TEXT,), encoding=encoding)), wat, {"f": lambda _guest, value: seen.append(value)})
    if text is None:
        with pytest.raises(GuestTrapError, match="string that is not UTF"):
            await going
        return
    await going

    assert seen == [text]


@pytest.mark.parametrize("encoding", ["utf16", "latin1+utf16"])
async def test_wide_strings_are_aligned(encoding):
    """An odd address is a trap."""
    wat = f"""(import "h" "0" (func $f (param i32 i32))) {BUMP}
      (func (export "run") (call $f (i32.const 65) (i32.const 1)))"""

    with pytest.raises(GuestTrapError, match="multiple of 2"):
        await run(plan(lower("f", (TEXT,), encoding=encoding)), wat, {"f": lambda _guest, _value: None})


@pytest.mark.parametrize(
    ("kind", "content", "message"),
    [
        (t.List(t.Prim("char")), "\\00\\d8\\00\\00", "0xd800 as a character"),
        (t.List(t.Prim("char")), "\\00\\00\\11\\00", "0x110000 as a character"),
        (t.List(t.Enum(("a", "b"))), "\\02", "case 2 of a type that has 2"),
        (t.List(t.Option(t.Prim("u8"))), "\\02\\00", "case 2 of a type that has 2"),
    ],
)
async def test_numbers_beyond_their_type_trap(kind, content, message):
    """Characters and discriminants are checked in memory, too."""
    wat = f"""(import "h" "0" (func $f (param i32 i32))) {BUMP} (data (i32.const 64) "{content}")
      (func (export "run") (call $f (i32.const 64) (i32.const 1)))"""

    with pytest.raises(GuestTrapError, match=message):
        await run(plan(lower("f", (kind,))), wat, {"f": lambda _guest, _value: None})


async def test_overlapping_strings_are_bounded():
    """A list of many strings that all lie on the same large text would be copied without end."""
    count = 4096
    wat = f"""(import "h" "0" (func $f (param i32 i32))) {BUMP}
      (func (export "run") (local $i i32)
        (loop (i32.store (i32.add (i32.const 4) (i32.shl (local.get $i) (i32.const 3))) (i32.const 65793))
          (br_if 0 (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const {count}))))
        (call $f (i32.const 0) (i32.const {count})))"""

    assert count * 65_793 > MAX_LIFTED_BYTES
    with pytest.raises(GuestTrapError, match="too much data to one host function"):
        await run(plan(lower("f", (t.List(TEXT),))), wat, {"f": lambda _guest, _value: None})
