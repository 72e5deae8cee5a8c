"""Numbers, names, vectors and sections of Wasm binaries."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgesim.wasm.flat import Unsupported
from edgesim.wasm.flat.binary import MODULE, Reader, named, section, sections, signed, unsigned


@given(value=st.integers(0, 2**64 - 1))
def test_unsigned_numbers_survive(value: int):
    """Written and read, and nothing is left."""
    reader = Reader(unsigned(value))

    assert reader.leb() == value
    reader.finish("a number")


@given(value=st.integers(-(2**63), 2**63 - 1))
def test_signed_numbers_survive(value: int):
    """Written and read, with their sign."""
    assert Reader(signed(value)).signed() == value


def test_numbers_may_be_padded():
    """Linkers leave room in numbers that they fill in later."""
    assert Reader(b"\x83\x80\x80\x80\x00").u32() == 3


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "ends early"),
        (b"\x80", "ends early"),
        (b"\x80" * 12, "too long"),
        (b"\xff\xff\xff\xff\x7f", "too large"),
    ],
)
def test_a_number_that_is_none(data: bytes, reason: str):
    """It ends, or does not end."""
    with pytest.raises(Unsupported, match=reason):
        Reader(data).u32()


def test_names_are_utf8():
    """Other bytes are refused."""
    assert Reader(named("grün")).name() == "grün"
    with pytest.raises(Unsupported, match="UTF-8"):
        Reader(b"\x01\xff").name()


def test_counts_must_be_possible():
    """A vector of a million items does not fit into ten bytes."""
    with pytest.raises(Unsupported, match="count"):
        Reader(unsigned(1_000_000) + bytes(10)).count()


def test_sections_end_where_they_say():
    """Each is a cursor of its own, which cannot read on into the next."""
    data = MODULE + section(1, b"ab") + section(5, b"c")
    found = {number: reader.take(reader.end - reader.at) for number, reader in sections(Reader(data), MODULE)}

    assert found == {1: b"ab", 5: b"c"}
    with pytest.raises(Unsupported, match="ends early"):
        list(sections(Reader(data[:-1]), MODULE))
    with pytest.raises(Unsupported, match="preamble"):
        list(sections(Reader(b"\0" * 8), MODULE))
