"""Brokers behind one face: mosquitto as a private child process, the embedded one, or somebody's by URL.

Rules: the broker is a cache, never a database; nothing it forgets is lost. Ours listen on 127.0.0.1 only, with a random
password per login and the rules of `edgesim/live/acl.py`. The child process itself is `edgesim/live/mosquitto.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, Protocol
from urllib.parse import unquote, urlsplit

from edgesim.errors import BrokerError, UsageError
from edgesim.live.embedded_broker import EmbeddedBroker, embedded_config
from edgesim.live.endpoint import (
    LOOPBACK,
    MAX_PACKET_BYTES,
    BrokerEndpoint,
    Login,
    OwnBroker,
    load_or_create_logins,
    read_login,
    wait_free_port,
    write_logins,
)
from edgesim.live.mosquitto import Mosquitto

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = [
    "Broker",
    "BrokerEndpoint",
    "EmbeddedMqtt",
    "ExternalBroker",
    "Login",
    "Mosquitto",
    "find_mosquitto",
    "make_broker",
    "read_login",
]

DAEMON_PATH: Final = "/usr/sbin:/usr/local/sbin:/opt/homebrew/sbin"
"""Where distributions put daemons; often not on PATH."""
Kind = Literal["mosquitto", "embedded", "external"]


class Broker(Protocol):
    """A broker that the control plane starts (or, by URL, only uses)."""

    @property
    def kind(self) -> Kind:
        """Which one it is."""
        ...

    @property
    def pid(self) -> int:
        """The child's process id; 0 when it has no process of its own."""
        ...

    async def start(self) -> BrokerEndpoint:
        """Start it and wait until it listens. Raises BrokerError or PortInUseError."""
        ...

    def credentials(self, login: str) -> Login:
        """User and password of one of its logins. Raises UsageError for others."""
        ...

    async def stop(self) -> None:
        """Stop it. Idempotent."""
        ...


def make_broker(spec: str, *, port: int, logins: Sequence[str], credentials: Path | None = None) -> Broker:
    """The broker that a setting names.

    Args:
        spec: `auto` (mosquitto where it is installed, else embedded), `mosquitto`, `embedded`, or
            `mqtt://user:password@host:port`.
        port: where ours shall listen; 0 for any free port.
        logins: `control`, the ids of all PoP hosts, and the front doors' logins.
        credentials: file (0600) that the logins are written to and kept in; other processes `read_login` from it.

    Raises:
        UsageError: for any other text.
        BrokerError: when mosquitto is asked for and not installed.
        StorageError: when the credentials file cannot be read or written.
    """
    if spec.startswith("mqtt://"):
        external = ExternalBroker(spec)
        if credentials is not None:
            write_logins(credentials, {login: external.credentials(login) for login in logins})
        return external
    passwords = {name: login.password for name, login in load_or_create_logins(credentials, logins).items()}
    if spec == "embedded":
        return EmbeddedMqtt(port, passwords)
    if spec not in {"auto", "mosquitto"}:
        raise UsageError(
            f"unknown broker {spec!r}", help="use auto, mosquitto, embedded or mqtt://user:password@host:port"
        )
    binary = find_mosquitto()
    if binary is not None:
        return Mosquitto(binary, port, passwords)
    if spec == "auto":
        return EmbeddedMqtt(port, passwords)
    raise BrokerError("mosquitto is not installed", help="install the package mosquitto, or use --broker embedded")


def find_mosquitto() -> Path | None:
    """The mosquitto program: on PATH, or where distributions put daemons."""
    found = shutil.which("mosquitto") or shutil.which("mosquitto", path=DAEMON_PATH)
    return Path(found) if found else None


class EmbeddedMqtt(OwnBroker):
    """The embedded broker, in this process and loop."""

    kind: Final = "embedded"
    pid: Final = 0

    def __init__(self, port: int, passwords: Mapping[str, str]) -> None:
        """Prepare it; `start` opens the port."""
        super().__init__(port, passwords)
        self._broker: EmbeddedBroker | None = None

    async def start(self) -> BrokerEndpoint:
        """Open the port. Raises PortInUseError or BrokerError."""
        self._port = await wait_free_port(self._port)
        broker = EmbeddedBroker(embedded_config(self._port), self._passwords, max_packet_bytes=MAX_PACKET_BYTES)
        await broker.start()
        self._broker = broker
        return BrokerEndpoint(LOOPBACK, self._port)

    async def stop(self) -> None:
        """Close the port and all connections."""
        broker, self._broker = self._broker, None
        if broker is not None:
            await broker.shutdown()


class ExternalBroker:
    """A broker that somebody else runs; all processes share the URL's login."""

    kind: Final = "external"
    pid: Final = 0

    def __init__(self, url: str) -> None:
        """Read the URL. Raises UsageError."""
        help_ = "use mqtt://user:password@host:port"
        try:
            parts = urlsplit(url)
            port = parts.port or 1883
        except ValueError as exc:
            raise UsageError("the broker's URL cannot be read", help=help_) from exc
        if not parts.hostname or parts.path.strip("/"):
            raise UsageError("the broker's URL needs a host and no path", help=help_)
        self.endpoint: Final = BrokerEndpoint(parts.hostname, port)
        self._login = Login(unquote(parts.username or ""), unquote(parts.password or ""))

    async def start(self) -> BrokerEndpoint:
        """Check that something listens there. Raises BrokerError."""
        host, port = self.endpoint.host, self.endpoint.port
        try:
            async with asyncio.timeout(5):
                _, writer = await asyncio.open_connection(host, port)
        except (OSError, TimeoutError) as exc:
            raise BrokerError(
                f"cannot reach the broker: {str(exc) or 'no answer'}", where=f"{host}:{port}", help="is it running?"
            ) from exc
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        return self.endpoint

    def credentials(self, login: str) -> Login:  # noqa: ARG002 - all processes share one login
        """The URL's login."""
        return self._login

    async def stop(self) -> None:
        """Nothing: it is not ours."""
