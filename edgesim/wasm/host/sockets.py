"""wasi:sockets: none. What a guest asks for is denied, where the function can say so; requests go through wasi:http."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from edgesim.wasm.linking import HostTable
from edgesim.wasm.values import Err

if TYPE_CHECKING:
    from edgesim.wasm.component import ComponentGuest

TABLE: Final = HostTable()


class Network:
    """A network that leads nowhere."""

    __slots__ = ()


@TABLE.add("wasi:sockets/instance-network", "instance-network")
def instance_network(_guest: ComponentGuest) -> Network:
    """It is needed to ask for anything."""
    return Network()


@TABLE.add("wasi:sockets/network", "network-error-code")
def network_error_code(_guest: ComponentGuest, _error: object) -> None:
    """No stream error comes from a socket."""


@TABLE.add("wasi:sockets/ip-name-lookup", "resolve-addresses")
@TABLE.add("wasi:sockets/tcp-create-socket", "create-tcp-socket")
@TABLE.add("wasi:sockets/udp-create-socket", "create-udp-socket")
def denied(guest: ComponentGuest, *_args: Any) -> None:
    """There are no sockets and no look-ups of names; without these there is nothing to call the other functions on."""
    guest.log.write(b"edgesim: a socket was refused: workers have wasi:http only\n")
    raise Err("access-denied")
