"""Whom a worker may send requests to: Spin's `allowed_outbound_hosts`, parsed once, and which addresses are nobody's business.

An entry is `<scheme>://<host>[:<port>]`. Scheme: letters, or `*`. Host: a name, `*.suffix`, an IP address or network in CIDR
notation, `self` for the app's own front door, or `*`. Port: a number, `8000..8010` (without its end), a list of both in
braces, or `*`; without one it is the scheme's own. Nothing is resolved here.

Sources: Spin, "Granting HTTP permissions to components" and `outbound-networking-config`; IANA special-purpose address
registries (RFC 6890) as Python's `ipaddress` has them; RFC 6761 §6.3 for `localhost`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable

Address: TypeAlias = "IPv4Address | IPv6Address"
Network: TypeAlias = "IPv4Network | IPv6Network"

SELF: Final = frozenset({"self", "self.alt"})
"""Hosts that mean the app's own front door."""
PORTS: Final = {"http": 80, "https": 443, "mqtt": 1883, "mysql": 3306, "postgres": 5432, "redis": 6379}
FORM: Final = (
    "an entry is <scheme>://<host>[:<port>], e.g. https://api.example.com, http://*.example.com:8080, http://self"
)
_NAME: Final = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*\.?")
_NAMED_PREFIX_BITS: Final = 7
"""A network of at least this prefix length is taken for one that its author has named on purpose (fc00::/7, 10.0.0.0/8)."""
_NAT64: Final = IPv6Network("64:ff9b::/96")


@dataclass(frozen=True, slots=True)
class AllowedHost:
    """One entry."""

    scheme: str
    """Lowercase; empty for any."""
    host: str
    """A name in lowercase, or a suffix that begins with a dot; empty for any, and where `network` is set."""
    network: Network | None
    ports: tuple[range, ...]
    """Empty for any."""
    own: bool = False
    """`self`."""

    def allows(self, scheme: str, host: str, port: int) -> bool:
        """Whether a request may go there. `host` is lowercase, an IPv6 address without brackets."""
        if not self._fits(scheme, port) or self.own:
            return False
        if self.network is not None:
            address = parse_address(host)
            return address is not None and address in self.network
        return not self.host or host == self.host or (self.host.startswith(".") and host.endswith(self.host))

    def allows_self(self, scheme: str) -> bool:
        """Whether a request may go to the app's own front door."""
        return self.scheme in ("", scheme) and (self.own or (not self.host and self.network is None))

    def names(self, scheme: str, host: str, port: int) -> bool:
        """Whether it allows this host by its literal address, or as `localhost`, so that even the host's own networks are meant."""
        if not self.allows(scheme, host, port):
            return False
        if self.network is not None:
            return self.network.prefixlen >= _NAMED_PREFIX_BITS
        return self.host == host and is_localhost(host)

    def _fits(self, scheme: str, port: int) -> bool:
        return self.scheme in ("", scheme) and (not self.ports or any(port in r for r in self.ports))


def parse_allowed_host(text: str) -> AllowedHost:
    """One entry of `allowed_outbound_hosts`. Raises ValueError, which says what is wrong with it."""
    scheme, rest = _split_scheme(text.strip())
    host, port = _split_port(rest)
    if not host:
        raise ValueError(f"{text!r} has no host")
    ports = _parse_ports(port, scheme)
    if host == "*":
        return AllowedHost(scheme, "", None, ports)
    if host in SELF:
        return AllowedHost(scheme, "", None, ports, own=True)
    network = _parse_network(host.strip("[]"))
    if network is not None:
        return AllowedHost(scheme, "", network, ports)
    name = host.removeprefix("*.").rstrip("/").lower()
    if "/" in name:
        raise ValueError(f"{text!r} has a path; only hosts are allowed")
    if "*" in name:
        raise ValueError(f"in {host!r} the wildcard is not the first label: *.example.com")
    if not _NAME.fullmatch(name):
        raise ValueError(f"{host!r} is not a host name or address")
    return AllowedHost(scheme, f".{name}" if host.startswith("*.") else name, None, ports)


def _split_scheme(text: str) -> tuple[str, str]:
    """The scheme, empty for any, and what follows it. Raises ValueError."""
    scheme, mark, rest = text.partition("://")
    if text == "insecure:allow-all":
        raise ValueError("insecure:allow-all is not allowed; *://*:* allows every public host")
    if not mark:
        raise ValueError(f"{text!r} has no scheme such as http:// or *://")
    if scheme == "*":
        return "", rest
    if not re.fullmatch("[A-Za-z]+", scheme):
        raise ValueError(f"the scheme {scheme!r} is not made of letters")
    return scheme.lower(), rest


def _split_port(rest: str) -> tuple[str, str]:
    """Host and port of what follows the scheme; brackets stay."""
    if rest.startswith("["):
        host, _, port = rest.partition("]")
        if port.startswith("/") and ":" in port:  # a network: [fc00::]/7:8080
            prefix, _, port = port.partition(":")
            return host + prefix, port
        return (f"{host}]{port}", "") if port.startswith("/") and port != "/" else (f"{host}]", port.lstrip(":"))
    host, _, port = rest.rpartition(":") if ":" in rest else (rest, "", "")
    return host.lower() or rest.lower(), port


def _parse_ports(text: str, scheme: str) -> tuple[range, ...]:
    """The ports of an entry. Raises ValueError."""
    text, slash, path = text.partition("/")
    if slash and path:
        raise ValueError(f"there is a path {slash + path!r}; only hosts are allowed")
    if text == "*":
        return ()
    if not text:
        if scheme not in PORTS:
            raise ValueError("there is no port, and the scheme has none of its own; write :* for any")
        return (range(PORTS[scheme], PORTS[scheme] + 1),)
    parts = text[1:-1].split(",") if text.startswith("{") and text.endswith("}") else [text]
    found = []
    for part in parts:
        begin, dots, end = part.strip().partition("..")
        if not begin.isdecimal() or (dots and not end.isdecimal()):
            raise ValueError(f"the port {part!r} is not a number, a range such as 8000..8010, or *")
        ports = range(int(begin), int(end) if dots else int(begin) + 1)
        if not ports or ports[-1] > 65535:
            raise ValueError(f"the port {part!r} is empty or above 65535")
        found.append(ports)
    return tuple(found)


def _parse_network(text: str) -> Network | None:
    try:
        return ip_network(text, strict=False)
    except ValueError:
        return None


def parse_address(text: str) -> Address | None:
    """An IP address in its usual notation, or None."""
    try:
        return ip_address(text)
    except ValueError:
        return None


def is_localhost(host: str) -> bool:
    """Whether the name always means this machine."""
    name = host.rstrip(".")
    return name == "localhost" or name.endswith(".localhost")


def is_special(address: Address) -> bool:
    """Whether an address is anything but a public host: loopback, link-local, private, multicast, unspecified, reserved.

    Addresses that carry an IPv4 address (mapped, 6to4, Teredo, NAT64, the old compatible form) are what that one is.
    """
    if isinstance(address, IPv6Address):
        teredo = address.teredo
        inner = address.ipv4_mapped or address.sixtofour or (teredo[1] if teredo else None)
        if inner is None and (address in _NAT64 or 1 < int(address) < 1 << 32):
            inner = IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return is_special(inner)
        if address.is_site_local:
            return True
    return not address.is_global or address.is_multicast or address.is_reserved or address.is_unspecified


def check_allowed_hosts(entries: Iterable[str]) -> None:
    """Look at every entry. Raises ValueError for the first one that is malformed."""
    for entry in entries:
        parse_allowed_host(entry)
