"""wasi:http fields: what a guest may put into them."""

import pytest

from edgesim.errors import GuestOutputError
from edgesim.wasm.host import host_functions
from edgesim.wasm.host.fields import FORBIDDEN, Fields, append, clone, delete, from_headers, from_list, get, has, set_
from edgesim.wasm.host.http import OutgoingResponse
from edgesim.wasm.values import Err

GUEST = None  # these functions do not look at the guest


def reason(call, *args) -> str:
    """The header-error of a refused call."""
    with pytest.raises(Err) as caught:
        call(GUEST, *args)
    return caught.value.value.tag


def test_names_compare_without_case():
    """And keep the order and the values."""
    fields = from_list(GUEST, [("X-A", b"1"), ("b", b"2"), ("x-a", b"3")])

    assert get(GUEST, fields, "x-A") == [b"1", b"3"]
    assert has(GUEST, fields, "B")
    delete(GUEST, fields, "X-a")
    assert fields.headers() == (("b", "2"),)
    set_(GUEST, fields, "B", [b"4", b"5"])
    assert fields.headers() == (("b", "4"), ("b", "5"))


@pytest.mark.parametrize("name", ["", "a b", "a:", "ä", "a\n"])
def test_malformed_names(name):
    """RFC 9110 §5.1: a token."""
    assert reason(append, Fields(), name, b"x") == "invalid-syntax"


@pytest.mark.parametrize("value", [b"a\r\nb", b"\0", b"a\nb", b"\x7f"])
def test_malformed_values(value):
    """No response splitting."""
    assert reason(append, Fields(), "a", value) == "invalid-syntax"


@pytest.mark.parametrize("name", sorted(FORBIDDEN))
def test_forbidden_names(name):
    """What belongs to the connection is not the guest's."""
    assert reason(append, Fields(), name.title(), b"x") == "forbidden"
    assert reason(set_, Fields(), name, []) == "forbidden"
    assert not from_headers(((name, "x"),)).entries


def test_a_set_that_fails_changes_nothing():
    """All values or none."""
    fields = from_list(GUEST, [("a", b"1")])

    assert reason(set_, fields, "a", [b"2", b"\n"]) == "invalid-syntax"
    assert fields.entries == [("a", b"1")]


def test_fields_of_messages_are_immutable():
    """Those of a request always, those of a response once it is made. A clone is free."""
    fields = from_list(GUEST, [("a", b"1")])
    OutgoingResponse(fields)
    for immutable in (fields, from_headers((("a", "1"),))):
        assert reason(append, immutable, "b", b"2") == "immutable"
        assert reason(delete, immutable, "a") == "immutable"
        copy = clone(GUEST, immutable)
        append(GUEST, copy, "b", b"2")
        assert has(GUEST, copy, "b")
        assert not has(GUEST, immutable, "b")


def test_fields_are_bounded():
    """In number and in bytes."""
    with pytest.raises(GuestOutputError, match="100 header fields"):
        from_list(GUEST, [("a", b"1")] * 101)
    with pytest.raises(GuestOutputError, match="16384 bytes"):
        append(GUEST, Fields(), "a", b"x" * 20_000)


def test_the_table_has_the_whole_proxy_world():
    """What the interfaces of wasi:http/proxy@0.2 need is there; a few samples of each package."""
    table = host_functions()
    names = [
        ("wasi:http/types", "[method]incoming-request.consume"),
        ("wasi:http/outgoing-handler", "handle"),
        ("wasi:io/poll", "poll"),
        ("wasi:io/streams", "[method]output-stream.check-write"),
        ("wasi:clocks/monotonic-clock", "subscribe-duration"),
        ("wasi:random/insecure-seed", "insecure-seed"),
        ("wasi:cli/stderr", "get-stderr"),
    ]

    assert all(name in table for name in names)
    assert len(table) > 90
