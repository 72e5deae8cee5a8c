"""Where a broker listens, who a process is there, and what our own brokers share."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from edgesim.errors import BrokerError, PortInUseError, StorageError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

LOOPBACK: Final = "127.0.0.1"
MAX_PACKET_BYTES: Final = 1 << 20
PORT_PATIENCE_S = 3.0


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


async def wait_free_port(port: int) -> int:
    """As `free_port`, with some patience: the broker of a control plane that was killed just now takes a moment to end."""
    deadline_s = asyncio.get_running_loop().time() + PORT_PATIENCE_S
    while asyncio.get_running_loop().time() < deadline_s:
        with contextlib.suppress(PortInUseError):
            return free_port(port)
        await asyncio.sleep(0.05)
    return free_port(port)


# -- the credentials file (0600): a user and a password per process, so that a restarted broker knows them again ------


def load_or_create_logins(path: Path | None, processes: Sequence[str]) -> dict[str, Login]:
    """The logins in the file, with new random ones for processes that it lacks; the file is brought up to date.

    Args:
        path: the credentials file; None keeps them in memory only.
        processes: `control`, PoP hosts, front doors: names and logins are the same.

    Raises:
        StorageError: when the file cannot be read or written.
    """
    known = {}
    if path is not None and path.exists():
        known = {name: login for name, login in _read_logins(path).items() if login.user == name}
    logins = {name: known.get(name) or Login(name, secrets.token_urlsafe(24)) for name in processes}
    if path is not None and logins != known:
        write_logins(path, logins)
    return logins


def write_logins(path: Path, logins: Mapping[str, Login]) -> None:
    """Write the credentials file, mode 0600. Raises StorageError."""
    document = {name: {"user": login.user, "password": login.password} for name, login in logins.items()}
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "w") as file:
            json.dump(document, file)
        temporary.replace(path)
    except OSError as exc:
        temporary.unlink(missing_ok=True)
        raise StorageError(f"cannot write the broker's credentials: {exc.strerror}", where=str(path)) from exc


def read_login(path: Path, process: str) -> Login:
    """The login of one process, from the credentials file.

    Raises:
        StorageError: when the file cannot be read or is damaged.
        BrokerError: when the process is not in it.
    """
    login = _read_logins(path).get(process)
    if login is None:
        raise BrokerError(
            f"no broker login for {process}", where=str(path), help="the control plane writes the file when it starts"
        )
    return login


def _read_logins(path: Path) -> dict[str, Login]:
    try:
        document = json.loads(path.read_bytes())
        return {str(name): Login(str(entry["user"]), str(entry["password"])) for name, entry in document.items()}
    except OSError as exc:
        raise StorageError(
            f"cannot read the broker's credentials: {exc.strerror}",
            where=str(path),
            help="the control plane writes the file when it starts; is it up?",
        ) from exc
    except (ValueError, KeyError, TypeError, AttributeError) as exc:
        raise StorageError(
            "the broker's credentials file is damaged", where=str(path), help="delete it and start the edge again"
        ) from exc
