"""Maps of fields and their serialized form."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgesim.wasm.proxy.fields import FieldError, Fields, decode, encode, parse, serialize
from edgesim.wasm.proxy.spec import MAX_FIELDS

PAIRS = st.lists(st.tuples(st.binary(max_size=20), st.binary(max_size=40)), max_size=20)


@given(PAIRS)
def test_serialized_maps_are_read_back(pairs):
    """`parse` is the inverse of `serialize` for any bytes, NULs included."""
    assert parse(serialize(pairs)) == pairs


@given(st.binary(max_size=80))
def test_any_bytes_are_a_map_or_an_error(data):
    """Nothing but FieldError comes out of what a guest sends."""
    try:
        pairs = parse(data)
    except FieldError:
        return

    assert len(pairs) <= MAX_FIELDS


def test_the_example_of_the_specification():
    """Two pairs: count, lengths, then names and values with a NUL each."""
    data = serialize([(b"a", b"1"), (b"b", b"22")])

    assert data == bytes.fromhex("02000000 01000000 01000000 01000000 02000000 6100 3100 6200 323200")


@pytest.mark.parametrize("data", [b"", b"\0", b"\0\0\0\0"])
def test_an_empty_map_has_several_forms(data):
    """No bytes, one NUL, or a count of zero."""
    assert parse(data) == []


@pytest.mark.parametrize(
    "data",
    [b"\1", b"\1\0\0\0", b"\xff\xff\xff\xff", b"\1\0\0\0\xff\xff\xff\xff\0\0\0\0a\0\0", serialize([(b"a", b"b")])[:-1]],
)
def test_malformed_maps(data):
    """Wrong counts and lengths are refused."""
    with pytest.raises(FieldError):
        parse(data)


def test_names_are_lowercase_and_values_are_joined():
    """Several values of one field read as one, in their order (RFC 9110 §5.3)."""
    fields = Fields([("accept", "a")])
    fields.add("Accept", "b")

    assert fields.get("ACCEPT") == "a,b"
    assert fields.get("missing") is None


def test_replace_keeps_the_place_and_drops_the_others():
    """One value where the first one stood; at the end when there was none."""
    fields = Fields([("a", "1"), ("b", "2"), ("a", "3")])
    fields.replace("a", "4")
    fields.replace("c", "5")
    fields.remove("b")

    assert fields.items == [("a", "4"), ("c", "5")]


@pytest.mark.parametrize(("name", "value"), [("a b", "x"), ("", "x"), ("a", "x\r\ny"), ("a", "x\0"), ("a\n", "x")])
def test_fields_that_would_break_a_message(name, value):
    """Header injection is refused, and nothing is changed."""
    fields = Fields([("k", "v")])
    with pytest.raises(FieldError):
        fields.add(name, value)
    with pytest.raises(FieldError):
        fields.replace(name, value)

    assert fields.items == [("k", "v")]


def test_maps_are_bounded():
    """In number and in bytes."""
    fields = Fields([("a", "")] * MAX_FIELDS)
    with pytest.raises(FieldError):
        fields.add("b", "")
    with pytest.raises(FieldError):
        Fields().add("a", "x" * 70_000)

    assert len(fields) == MAX_FIELDS


def test_bytes_that_are_not_utf_8_pass():
    """As PEP 383 surrogates, both ways."""
    assert encode(decode(b"\xff\xfea")) == b"\xff\xfea"
    assert encode("\ud800") == b"?"
