"""Who the client is, and what it cannot make us believe."""

from __future__ import annotations

import pytest

from edgesim.live.client_address import client_address

TRUSTED = {"127.0.0.1", "::1"}
REAL = "198.51.100.7"


def ask(*fields, peer="127.0.0.1"):
    """The address for these fields."""
    return client_address(fields, peer, TRUSTED)


def test_strangers_are_not_listened_to():
    """Fields from a peer that is not trusted count for nothing."""
    assert ask(("x-forwarded-for", "240.0.0.1"), ("forwarded", "for=240.0.0.1"), peer=REAL) == REAL


@pytest.mark.parametrize(
    ("value", "address"),
    [
        ("for=240.0.0.1", "240.0.0.1"),
        ("For=240.0.0.1:8080;proto=http", "240.0.0.1"),
        ('proto=https; for="[2001:db8::1]:80"', "2001:db8::1"),
        ('for="[2001:DB8:0::1]"', "2001:db8::1"),
        ("for=1.1.1.1, for=240.0.0.1", "240.0.0.1"),
        ("for=240.0.0.1, for=127.0.0.1", "240.0.0.1"),
        ("for=127.0.0.1", "127.0.0.1"),
        ("for=_hidden", "127.0.0.1"),
        ("for=unknown, for=127.0.0.1", "127.0.0.1"),
        ("by=240.0.0.1", "127.0.0.1"),
        ("garbage", "127.0.0.1"),
        ("", "127.0.0.1"),
    ],
)
def test_forwarded(value, address):
    """RFC 7239: the nearest address that is not trusted itself; what is none leaves the peer."""
    assert ask(("forwarded", value)) == address


@pytest.mark.parametrize(
    ("value", "address"),
    [
        ("240.0.0.1", "240.0.0.1"),
        ("1.1.1.1, 240.0.0.1", "240.0.0.1"),
        ("1.1.1.1 , 240.0.0.1,127.0.0.1", "240.0.0.1"),
        ("2001:db8::1", "2001:db8::1"),
        ("[2001:db8::1]:443", "2001:db8::1"),
        ("240.0.0.1:99", "240.0.0.1"),
        ("1.1.1.1, not an address", "127.0.0.1"),
        (",", "127.0.0.1"),
    ],
)
def test_x_forwarded_for(value, address):
    """The same rule for the older field."""
    assert ask(("x-forwarded-for", value)) == address


@pytest.mark.parametrize(
    "lie",
    [
        "for=1.1.1.1",
        "for=1.1.1.1, " * 400,  # padding must not push the proxy's own word out
        'host="x;for=1.1.1.1"',
        'x="a, for=1.1.1.1"',
        "for=1.1.1.1;for=2.2.2.2",
    ],
)
def test_what_a_client_puts_in_front_is_not_believed(lie):
    """The proxy appends the truth, in the same field or in one of its own."""
    assert ask(("forwarded", f"{lie.rstrip(', ')}, for={REAL}")) == REAL
    assert ask(("forwarded", lie), ("forwarded", f"for={REAL}")) == REAL


@pytest.mark.parametrize("lie", ['host="evil;for=1.1.1.1"', 'host="evil\\";for=1.1.1.1"', "xfor=1.1.1.1"])
def test_what_a_client_puts_into_another_parameter_is_not_believed(lie):
    """A proxy that reports the Host field as received must not report a client with it."""
    assert ask(("forwarded", f"for={REAL};{lie}")) == REAL


def test_padding_of_the_older_field():
    """Sixteen kilobytes of lies before the truth."""
    assert ask(("x-forwarded-for", "1.1.1.1, " * 1800 + REAL)) == REAL
    assert ask(("x-forwarded-for", "1.1.1.1"), ("x-forwarded-for", REAL)) == REAL
