"""allowed_outbound_hosts as Spin reads them, and addresses that are never public."""

from ipaddress import ip_address

import pytest

from edgesim.model.outbound import check_allowed_hosts, is_special, parse_allowed_host


@pytest.mark.parametrize(
    ("entry", "scheme", "host", "port", "allowed"),
    [
        ("https://example.com", "https", "example.com", 443, True),
        ("https://example.com", "http", "example.com", 443, False),
        ("https://example.com", "https", "example.com", 8443, False),
        ("https://example.com/", "https", "example.com", 443, True),
        ("https://EXAMPLE.com", "https", "example.com", 443, True),
        ("https://example.com", "https", "www.example.com", 443, False),
        ("http://*.example.com:8080", "http", "a.b.example.com", 8080, True),
        ("http://*.example.com:8080", "http", "example.com", 8080, False),
        ("http://*.example.com:8080", "http", "evilexample.com", 8080, False),
        ("*://host:*", "https", "host", 1, True),
        ("http://host:8000..8010", "http", "host", 8009, True),
        ("http://host:8000..8010", "http", "host", 8010, False),
        ("http://host:{80,8000..8002}", "http", "host", 8001, True),
        ("http://host:{80,8000..8002}", "http", "host", 81, False),
        ("*://*:*", "http", "anything", 9, True),
        ("*://127.0.0.0/24:63551", "http", "127.0.0.9", 63551, True),
        ("*://127.0.0.0/24:63551", "http", "127.0.1.9", 63551, False),
        ("*://127.0.0.0/24:63551", "http", "localhost", 63551, False),
        ("http://[::1]:8080", "http", "::1", 8080, True),
        ("http://[::1]", "http", "::1", 80, True),
        ("http://[fc00::]/7:9", "http", "fd00::5", 9, True),
        ("http://self", "http", "self", 80, False),
    ],
)
def test_what_an_entry_allows(entry, scheme, host, port, allowed):
    """Scheme, host and port must all fit."""
    assert parse_allowed_host(entry).allows(scheme, host, port) is allowed


@pytest.mark.parametrize(
    ("entry", "named"),
    [
        ("http://127.0.0.1:9000", True),
        ("http://localhost:9000", True),
        ("http://shop.localhost:9000", True),
        ("*://10.0.0.0/8:*", True),
        ("*://0.0.0.0/0:*", False),
        ("*://*:*", False),
        ("*://*.localhost:*", False),
        ("http://rebind.example.com:9000", False),
    ],
)
def test_only_literal_hosts_name_their_own_networks(entry, named):
    """A wildcard, or a name whose owner decides what it resolves to, does not open the machine's own networks."""
    hosts = {"http://localhost:9000": "localhost", "http://shop.localhost:9000": "shop.localhost",
             "*://10.0.0.0/8:*": "10.1.2.3", "*://*.localhost:*": "x.localhost",
             "http://rebind.example.com:9000": "rebind.example.com"}  # fmt: skip

    assert parse_allowed_host(entry).names("http", hosts.get(entry, "127.0.0.1"), 9000) is named


def test_self_is_the_front_door():
    """By its own word or by `*`, with the scheme that is asked for."""
    assert parse_allowed_host("http://self").allows_self("http")
    assert not parse_allowed_host("https://self").allows_self("http")
    assert parse_allowed_host("*://*:*").allows_self("http")
    assert not parse_allowed_host("*://0.0.0.0/0:*").allows_self("http")
    assert not parse_allowed_host("http://example.com").allows_self("http")


@pytest.mark.parametrize(
    ("entry", "text"),
    [
        ("example.com", "no scheme"),
        ("*", "no scheme"),
        ("insecure:allow-all", "every public host"),
        ("http://", "no host"),
        ("h2c://example.com:80", "letters"),
        ("http://a/b", "path"),
        ("http://a:80/b", "path"),
        ("*://example.com", "no port"),
        ("ftp://example.com", "no port"),
        ("http://a:b", "port 'b'"),
        ("http://a:80..70", "empty"),
        ("http://a:70000", "65535"),
        ("http://a.*.com", "first label"),
        ("http://*a.com", "first label"),
        ("http://{a,b}", "not a host name"),
        ("http://a b", "not a host name"),
        ("http://user@host", "not a host name"),
    ],
)
def test_a_malformed_entry_is_refused(entry, text):
    """With what is wrong about it."""
    with pytest.raises(ValueError, match=text):
        check_allowed_hosts(["http://good", entry])


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.8.8.8", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1",
        "224.0.0.1", "240.0.0.1", "255.255.255.255", "198.18.0.1", "192.0.2.1", "::", "::1", "fe80::1", "fe80::1%eth0",
        "fc00::1", "fd12::1", "ff02::1", "fec0::1", "2001:db8::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::127.0.0.1",
        "2002:7f00:1::", "2002:a00:1::1", "64:ff9b::7f00:1", "2001:0:0:0:0:0:80ff:fffe",
    ],
)  # fmt: skip
def test_addresses_of_the_hosts_own_networks(address):
    """Also where an IPv6 address carries them."""
    assert is_special(ip_address(address))


@pytest.mark.parametrize(
    "address", ["1.1.1.1", "93.184.216.34", "2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101"]
)
def test_public_addresses(address):
    """Are not special."""
    assert not is_special(ip_address(address))
