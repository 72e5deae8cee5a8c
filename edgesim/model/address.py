"""Addresses of simulated clients: metro, access class and host number in an IP address, both ways, without a table.

    IPv4       240 . [metro:10][access:3][host:11]           240/4 is reserved (RFC 1112 §4): never a real client's
    loopback   127 . the same 24 bits                        Linux lets a client bind any 127.x.y.z as its source
    IPv6       2001:db8:<metro:16>:[access:3][host:13]::1    documentation prefix (RFC 3849); one /64 per client

Metros are 1 to 1023 and append-only; 0 is the loopback address itself and everything unknown.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final, Literal, NamedTuple

Family = Literal["v4", "loopback", "v6"]

MAX_METRO: Final = 1023
MAX_ACCESS: Final = 7
MAX_HOST: Final = 2047
"""Largest host number in IPv4."""
MAX_HOST_V6: Final = 8191

_OCTET: Final = {"v4": 240, "loopback": 127}
_DB8: Final = 0x20010DB8


class Client(NamedTuple):
    """What the address of a simulated client says."""

    metro: int
    """1 to 1023."""
    access: int
    """Index of the access class."""
    host: int


def client_address(metro: int, access: int, host: int, family: Family = "v4") -> str:
    """The address of a simulated client.

    Args:
        metro: id of the metro, 1 to 1023.
        access: index of the access class, 0 to 7.
        host: 0 to 2047, to 8191 for `v6`.
        family: `v4` for headers and in-process use, `loopback` to bind as a source address on Linux, `v6`.

    Raises:
        ValueError: a number is out of its range.
    """
    limit = MAX_HOST_V6 if family == "v6" else MAX_HOST
    if not (1 <= metro <= MAX_METRO and 0 <= access <= MAX_ACCESS and 0 <= host <= limit):
        raise ValueError(f"no address for metro {metro}, access {access}, host {host} in {family}")
    if family == "v6":
        return str(IPv6Address(_DB8 << 96 | metro << 80 | (access << 13 | host) << 64 | 1))
    return f"{_OCTET[family]}.{metro >> 2}.{(metro & 3) << 6 | access << 3 | host >> 8}.{host & 0xFF}"


def decode(address: str) -> Client | None:
    """The simulated client that has this address; None for all other addresses, 127.0.0.1 among them.

    Args:
        address: normalised text (`normalise`).
    """
    try:
        ip = ip_address(address)
    except ValueError:
        return None
    number = int(ip)
    if isinstance(ip, IPv4Address):
        metro, access, host = number >> 14 & MAX_METRO, number >> 11 & MAX_ACCESS, number & MAX_HOST
        known = number >> 24 in (240, 127)
    else:
        metro, access, host = number >> 80 & 0xFFFF, number >> 77 & MAX_ACCESS, number >> 64 & MAX_HOST_V6
        known = number >> 96 == _DB8
    return Client(metro, access, host) if known and 1 <= metro <= MAX_METRO else None


def network(metro: int, access: int, family: Family = "v4") -> str:
    """The network of all clients of one metro and access class: a /21 in IPv4, a /51 in IPv6."""
    first = client_address(metro, access, 0, family)
    return f"{first.removesuffix('1')}/51" if family == "v6" else f"{first}/21"


def normalise(text: str) -> str:
    """An address in its one canonical form: IPv4 mapped into IPv6 becomes IPv4, a zone is dropped.

    Raises:
        ValueError: it is not an IP address.
    """
    if ":" not in text:
        return str(IPv4Address(text))
    ip = IPv6Address(text.partition("%")[0])
    return str(ip.ipv4_mapped or ip)
