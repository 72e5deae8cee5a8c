"""Where a broker listens, who a process is there, and what our own brokers share."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from edgesim.errors import PortInUseError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

LOOPBACK: Final = "127.0.0.1"
MAX_PACKET_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class BrokerEndpoint:
    """Where a broker listens."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Login:
    """Who a process is at the broker. Its text form never shows the password."""

    user: str
    password: str

    def __repr__(self) -> str:
        return f"Login({self.user!r}, …)"


class OwnBroker:
    """What both brokers of our own share: a port and passwords."""

    def __init__(self, port: int, passwords: Mapping[str, str]) -> None:
        self._port = port
        self._passwords = dict(passwords)

    def credentials(self, login: str) -> Login:
        """User and password of a login. Raises UsageError for unknown ones."""
        if login not in self._passwords:
            raise UsageError(f"the broker has no login {login!r}", help=f"it has {', '.join(sorted(self._passwords))}")
        return Login(login, self._passwords[login])


def free_port(port: int) -> int:
    """The port when it is free, or any free one for 0. Raises PortInUseError."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError as exc:
            raise PortInUseError(
                f"the broker's port {port} is in use",
                where=f"{LOOPBACK}:{port}",
                help="use --broker-port, or stop what holds it",
            ) from exc
        return int(probe.getsockname()[1])
