"""Layouts of types as CanonicalABI.md has them, and the small conversions that generated source calls."""

import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgesim.errors import GuestTrapError
from edgesim.wasm.flat import Unsupported
from edgesim.wasm.flat import types as t
from edgesim.wasm.flat.canon import bits_f32, bits_f64, char, f32_bits, f64_bits
from edgesim.wasm.flat.canon_layout import discriminant_size, layout
from edgesim.wasm.values import nesting

U8, U16, U32, U64, F32, F64, TEXT = (t.Prim(name) for name in ("u8", "u16", "u32", "u64", "f32", "f64", "string"))


@pytest.mark.parametrize(
    ("kind", "size", "align", "flat", "slots"),
    [
        (U8, 1, 1, "i32", "B"),
        (t.Prim("s64"), 8, 8, "i64", "q"),
        (TEXT, 8, 4, "i32 i32", "II"),
        (t.List(U64), 8, 4, "i32 i32", "II"),
        (t.Own(0), 4, 4, "i32", "I"),
        (t.Tuple((U8, U32, U8)), 12, 4, "i32 i32 i32", "BxxxIBxxx"),
        (t.Record((("a", U64), ("b", U8))), 16, 8, "i64 i32", "QBxxxxxxx"),
        (t.Flags(("a",) * 1), 1, 1, "i32", "B"),
        (t.Flags(tuple("abcdefghi")), 2, 2, "i32", "H"),
        (t.Flags(tuple(f"f{i}" for i in range(17))), 4, 4, "i32", "I"),
        (t.Enum(tuple(f"e{i}" for i in range(257))), 2, 2, "i32", "H"),
        (t.Option(U8), 2, 1, "i32 i32", None),
        (t.Option(U64), 16, 8, "i32 i64", None),
        (t.Result(None, None), 1, 1, "i32", None),
        (t.Result(TEXT, U8), 12, 4, "i32 i32 i32", None),
        (t.Variant((("a", F32), ("b", U32))), 8, 4, "i32 i32", None),
        (t.Variant((("a", F32), ("b", U64), ("c", None))), 16, 8, "i32 i64", None),
        (t.Variant((("a", F64), ("b", t.Tuple((F32, F32))))), 16, 8, "i32 i64 f32", None),
        (t.Tuple((U8, t.Option(U16))), 6, 2, "i32 i32 i32", None),
    ],
)
def test_layouts(kind, size, align, flat, slots):
    """Size, alignment, core values and parts in memory."""
    found = layout(kind)

    assert (found.size, found.align, " ".join(found.flat), found.slots) == (size, align, flat, slots)


def test_discriminants_grow_with_the_cases():
    """One, two, four bytes."""
    assert [discriminant_size(count) for count in (1, 256, 257, 65536, 65537)] == [1, 1, 2, 2, 4]


@pytest.mark.parametrize("count", [0, 33])
def test_flags_beyond_one_word_are_unsupported(count):
    """The specification allows 1 to 32."""
    with pytest.raises(Unsupported, match=f"{count} flags"):
        layout(t.Flags(tuple(f"f{i}" for i in range(count))))


@given(st.integers(0, (1 << 32) - 1))
def test_floats_keep_their_bits(bits):
    """Through an integer and back; a NaN stays one."""
    value = bits_f32(bits)

    assert math.isnan(value) or f32_bits(value) == bits
    assert struct.pack("<d", bits_f64(f64_bits(value))) == struct.pack("<d", value)


@pytest.mark.parametrize("code", [0xD800, 0xDFFF, 0x110000, (1 << 32) - 1])
def test_surrogates_and_more_are_no_characters(code):
    """What is no Unicode scalar value is a trap."""
    with pytest.raises(GuestTrapError, match="as a character"):
        char(code)


@pytest.mark.parametrize(
    ("kind", "wraps"),
    [
        (t.Option(U8), False),
        (t.Option(t.Option(U8)), True),
        (t.Option(t.Result(None, U8)), True),
        (t.Option(t.Result(U8, U8)), False),
        (t.Result(U8, TEXT), False),
        (t.Result(t.Result(U8, None), None), True),
        (t.Result(t.Option(U8), None), False),
        (t.Result(t.Option(t.Option(U8)), None), True),
        (t.Result(None, t.Result(None, None)), False),
    ],
)
def test_what_would_be_ambiguous_is_wrapped(kind, wraps):
    """An option in an option, a result in a result."""
    assert nesting(kind).wraps is wraps
