"""The address plan, both ways."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgesim.model.address import MAX_HOST, Client, client_address, decode, network, normalise

METROS = st.integers(1, 1023)
ACCESS = st.integers(0, 7)
HOSTS = st.integers(0, MAX_HOST)
FAMILIES = st.sampled_from(["v4", "loopback", "v6"])


@given(METROS, ACCESS, HOSTS, FAMILIES)
def test_decode_is_the_inverse(metro, access, host, family):
    """Every client's address says its metro, access class and host again, and is in canonical form."""
    address = client_address(metro, access, host, family)

    assert decode(address) == Client(metro, access, host)
    assert normalise(address) == address
    assert str(ip_address(address)) == address


@given(METROS, ACCESS, HOSTS, FAMILIES)
def test_clients_are_in_their_network(metro, access, host, family):
    """All clients of a metro and class share a /21, or a /51 in IPv6, and only they do."""
    net = ip_network(network(metro, access, family))

    assert ip_address(client_address(metro, access, host, family)) in net
    assert ip_address(client_address(metro, (access + 1) % 8, host, family)) not in net
    assert net.prefixlen == (51 if family == "v6" else 21)


@given(st.tuples(METROS, ACCESS, HOSTS, FAMILIES), st.tuples(METROS, ACCESS, HOSTS, FAMILIES))
def test_addresses_are_unique(a, b):
    """Two clients never share an address."""
    assert (client_address(*a) == client_address(*b)) == (a == b)


def test_examples():
    """The bit layout, written out: Tokyo's cable clients are in 240.0.72.0/21."""
    assert client_address(1, 1, 5) == "240.0.72.5"
    assert client_address(1, 1, 5, "loopback") == "127.0.72.5"
    assert client_address(1, 1, 5, "v6") == "2001:db8:1:2005::1"
    assert client_address(1023, 7, 2047) == "240.255.255.255"
    assert network(1, 1) == "240.0.72.0/21"
    assert network(1, 1, "v6") == "2001:db8:1:2000::/51"


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "240.0.0.1",
        "8.8.8.8",
        "10.0.72.5",
        "2001:db8::1",
        "2001:db9:1::1",
        "2001:db8:400::1",
        "::1",
        "hello",
        "",
    ],
)
def test_all_other_addresses(address):
    """Loopback itself, real addresses, unused metros and text are nobody's."""
    assert decode(address) is None


@pytest.mark.parametrize(
    ("metro", "access", "host", "family"),
    [(0, 0, 0, "v4"), (1024, 0, 0, "v4"), (1, 8, 0, "v4"), (1, -1, 0, "v4"), (1, 0, 2048, "v4"), (1, 0, 8192, "v6")],
)
def test_out_of_range(metro, access, host, family):
    """A number that does not fit its bits is refused, never wrapped."""
    with pytest.raises(ValueError, match="no address for"):
        client_address(metro, access, host, family)


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("::ffff:240.0.72.5", "240.0.72.5"),
        ("::FFFF:7f00:4805", "127.0.72.5"),
        ("2001:DB8:1:2005:0:0:0:1", "2001:db8:1:2005::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("192.0.2.1", "192.0.2.1"),
    ],
)
def test_normalise(text, normal):
    """One form per address; dual-stack listeners hand out mapped ones."""
    assert normalise(text) == normal


@pytest.mark.parametrize("text", ["", "1.2.3", "01.2.3.4", "1.2.3.4:80", ":::", "localhost"])
def test_normalise_refuses(text):
    """What is no address is a ValueError."""
    with pytest.raises(ValueError, match=r".*"):
        normalise(text)
