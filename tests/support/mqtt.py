"""MQTT 3.1.1 by hand, for clients that misbehave in ways that a library would not."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgesim.live.broker import BrokerEndpoint, Login


async def until(condition: Callable[[], object], timeout_s: float = 5.0) -> None:
    """Let the loop run until the condition holds."""
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0)


def _text(value: str | bytes) -> bytes:
    raw = value.encode() if isinstance(value, str) else value
    return len(raw).to_bytes(2, "big") + raw


def _length(n: int) -> bytes:
    out = bytearray()
    while True:
        n, low = divmod(n, 128)
        out.append(low | (0x80 if n else 0))
        if not n:
            return bytes(out)


class RawClient:
    """One connection that does only what it is told: it neither pings nor acknowledges."""

    def __init__(
        self,
        endpoint: BrokerEndpoint,
        login: Login,
        *,
        identifier: str,
        keepalive_s: int = 0,
        will: tuple[str, bytes] | None = None,
        clean: bool = True,
    ) -> None:
        self._endpoint, self._login, self._identifier = endpoint, login, identifier
        self._keepalive_s, self._will, self._clean = keepalive_s, will, clean
        self.code = -1
        """Return code of CONNACK; -1 when the broker hung up instead."""

    async def __aenter__(self) -> Self:
        self.reader, self.writer = await asyncio.open_connection(self._endpoint.host, self._endpoint.port)
        flags = 0xC0 | (0x02 if self._clean else 0) | (0x2C if self._will else 0)
        body = _text("MQTT") + bytes([4, flags]) + self._keepalive_s.to_bytes(2, "big") + _text(self._identifier)
        if self._will:
            body += _text(self._will[0]) + _text(self._will[1])
        body += _text(self._login.user) + _text(self._login.password)
        await self.send(0x10, body)
        packet = await self.packet()
        if packet is not None:
            self.code = packet[1][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.transport.abort()
        await asyncio.sleep(0)

    async def send(self, kind: int, body: bytes) -> None:
        """One packet."""
        self.writer.write(bytes([kind]) + _length(len(body)) + body)
        await self.writer.drain()

    async def subscribe(self, topic: str, qos: int = 1) -> int:
        """Subscribe; the granted QoS, or 0x80."""
        await self.send(0x82, b"\0\1" + _text(topic) + bytes([qos]))
        while True:
            packet = await self.packet()
            assert packet is not None
            if packet[0] >> 4 == 9:
                return packet[1][2]

    async def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Publish with QoS 0."""
        await self.send(0x31 if retain else 0x30, _text(topic) + payload)

    async def packet(self, timeout_s: float = 5.0) -> tuple[int, bytes] | None:
        """The next packet as first byte and body; None when the connection ended or nothing came in time."""
        try:
            async with asyncio.timeout(timeout_s):
                first = (await self.reader.readexactly(1))[0]
                size, shift = 0, 0
                while True:
                    byte = (await self.reader.readexactly(1))[0]
                    size |= (byte & 0x7F) << shift
                    shift += 7
                    if byte < 0x80:
                        return first, await self.reader.readexactly(size)
        except (asyncio.IncompleteReadError, ConnectionError, TimeoutError):
            return None
