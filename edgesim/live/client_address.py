"""Who the client is: the peer of the connection, or what a trusted peer says of whom it speaks for.

`Forwarded` (RFC 7239) wins over `X-Forwarded-For`. From both the address nearest to us that is not itself trusted is taken,
so that a client cannot put one in front. PROXY protocol v2 is not read yet.
"""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from edgesim.model.http import Headers

_PAIR: Final = re.compile(r"""([!#$%&'*+.^_`|~0-9A-Za-z-]+)=(?:"((?:[^"\\]|\\.)*)"|([^",;\s]*))""")
"""A parameter of RFC 7239 §4. Quoted strings are taken whole: what a client put into `host` is no `for`."""


def client_address(headers: Headers, peer: str, trusted: Collection[str]) -> str:
    """The client's IP address as text; `peer` when nobody trusted says otherwise or what is said is no address."""
    if peer not in trusted:
        return peer
    forwarded = [v for n, v in headers if n == "forwarded"]
    if forwarded:
        return _nearest((node for value in forwarded for node in _nodes(value)), peer, trusted)
    x_forwarded = [v for n, v in headers if n == "x-forwarded-for"]
    if x_forwarded:
        return _nearest((part for v in x_forwarded for part in v.split(",")), peer, trusted)
    return peer


def _nodes(forwarded: str) -> list[str]:
    """The `for` parameters of a `Forwarded` field, in their order."""
    return [m[2] or m[3] or "" for m in _PAIR.finditer(forwarded) if m[1].lower() == "for"]


def _nearest(names: Iterable[str], peer: str, trusted: Collection[str]) -> str:
    for name in reversed(list(names)):
        address = _address(name.strip())
        if address is None:
            return peer
        if address not in trusted:
            return address
    return peer


def _address(node: str) -> str | None:
    """The address in a node name of RFC 7239 §6: `192.0.2.1`, `192.0.2.1:80`, `[2001:db8::1]:80`."""
    if node.startswith("["):
        node = node[1:].partition("]")[0]
    elif node.count(":") == 1:
        node = node.partition(":")[0]
    try:
        return str(ip_address(node))
    except ValueError:
        return None
