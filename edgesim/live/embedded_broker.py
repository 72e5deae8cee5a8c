"""The broker that runs inside our process where mosquitto is not installed: amqtt, hardened.

amqtt 0.12.1 (pinned) leaks retained messages, loses clients in a boot storm, forgets wills of frozen clients and may hang
at shutdown; what is overridden here is private, so tests/live/test_embedded_broker.py holds each defect. Added: passwords,
access rules and a packet limit. Not fixed, and not needed by us: unacknowledged QoS 1 is dropped after 5 s, QoS is not
lowered for a lower publish, no shared subscriptions, no MQTT 5, cost linear in distinct filters. For these, mosquitto.
"""

from __future__ import annotations

import asyncio
import contextvars
import hmac
import logging
from typing import TYPE_CHECKING, Any, Final

from amqtt.adapters import StreamReaderAdapter, StreamWriterAdapter
from amqtt.broker import Broker
from amqtt.errors import BrokerError as AmqttBrokerError
from amqtt.mqtt.protocol.broker_handler import BrokerProtocolHandler

from edgesim.errors import BrokerError
from edgesim.live.acl import allowed

if TYPE_CHECKING:
    from collections.abc import Mapping

_REFUSED: Final = 0x80
"""SUBACK return code for failure (MQTT 3.1.1 §3.9.3)."""
_CONNECT_TIMEOUT_S: Final = 10.0

_subscribing: Final = contextvars.ContextVar("_subscribing", default=False)


def embedded_config(port: int) -> dict[str, Any]:
    """The configuration: loopback only, no anonymous access, keep-alive with 2 s of grace."""
    return {
        "listeners": {"default": {"type": "tcp", "bind": f"127.0.0.1:{port}"}},
        "timeout_disconnect_delay": 2,
        "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": False}},
    }


class EmbeddedBroker(Broker):  # type: ignore[misc]  # amqtt has no complete types
    """A broker without its defects that matter here, with logins and access rules."""

    def __init__(self, config: dict[str, Any], passwords: Mapping[str, str], *, max_packet_bytes: int) -> None:
        """Prepare it; `start` opens the port."""
        logging.getLogger("amqtt").setLevel(logging.CRITICAL)  # Hundreds of lines for twenty connections.
        logging.getLogger("transitions").setLevel(logging.WARNING)
        super().__init__(config)
        self._passwords = {login: secret.encode() for login, secret in passwords.items()}
        self._max_packet_bytes = max_packet_bytes
        self._writers: set[asyncio.StreamWriter] = set()

    async def start(self) -> None:
        """Open the port. Raises BrokerError."""
        try:
            await super().start()
        except AmqttBrokerError as exc:
            raise BrokerError(f"the embedded broker cannot start: {exc}") from exc

    # -- D1, D2: retained messages only in answer to a SUBSCRIBE, never for other clients' filters at connect -----------

    async def _handle_subscription(self, client_session: Any, handler: Any, subscribe_waiter: Any) -> None:
        token = _subscribing.set(True)
        try:
            await super()._handle_subscription(client_session, handler, subscribe_waiter)
        finally:
            _subscribing.reset(token)

    async def _publish_retained_messages_for_subscription(self, subscription: tuple[str, int], session: Any) -> None:
        if _subscribing.get():
            await super()._publish_retained_messages_for_subscription(subscription, session)

    # -- D5: shutdown must not wait for idle connections (Python 3.12.1 and later do in `wait_closed`) ------------------

    async def stream_connected(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, listener_name: str
    ) -> None:
        """Serve one connection."""
        self._writers.add(writer)
        silent = asyncio.get_running_loop().call_later(_CONNECT_TIMEOUT_S, self._drop_silent, writer)
        try:
            limited = _LimitedReader(reader, self._max_packet_bytes, silent)
            await self._client_connected(listener_name, limited, StreamWriterAdapter(writer))
        finally:
            silent.cancel()
            self._writers.discard(writer)
            writer.close()

    def _drop_silent(self, writer: asyncio.StreamWriter) -> None:
        """A connection that has not sent a byte within the time limit."""
        writer.transport.abort()

    async def shutdown(self) -> None:
        """Close the port and every connection."""
        reaper = asyncio.create_task(self._reap())
        try:
            await super().shutdown()
        finally:
            reaper.cancel()
            await asyncio.gather(reaper, return_exceptions=True)

    async def _reap(self) -> None:
        while True:
            for server in self._servers.values():
                if server.instance is not None:
                    server.instance.close()
            for writer in list(self._writers):
                writer.transport.abort()
            await asyncio.sleep(0.05)

    # -- logins and access rules, without amqtt's topic plugins: those await while iterating over the subscriptions -----

    async def _authenticate(self, session: Any, listener: Any) -> bool:
        secret = self._passwords.get(session.username or "")
        offered = (session.password or "").encode()
        if secret is None or not hmac.compare_digest(secret, offered):
            return False
        return bool(await super()._authenticate(session, listener))

    async def add_subscription(self, subscription: tuple[str, int], session: Any) -> int:
        """Note a subscription; its QoS, or 0x80 when the login may not read there."""
        if not allowed(session.username or "", "read", subscription[0]):
            return _REFUSED
        return int(await super().add_subscription(subscription, session))

    async def _broadcast_message(self, session: Any, topic: Any, data: Any, force_qos: int | None = None) -> None:
        # Both messages and wills come through here, and through retain_message.
        if session is None or allowed(session.username or "", "write", topic or ""):
            await super()._broadcast_message(session, topic, data, force_qos)

    async def retain_message(self, source_session: Any, topic_name: Any, data: Any, qos: int | None = None) -> None:
        """Keep a retained message, if its sender may write there."""
        if source_session is None or allowed(source_session.username or "", "write", topic_name or ""):
            await super().retain_message(source_session, topic_name, data, qos)


class _LimitedReader(StreamReaderAdapter):  # type: ignore[misc]
    """Ends the connection at a packet larger than the limit, as mosquitto does with `max_packet_size`."""

    def __init__(self, reader: asyncio.StreamReader, limit: int, silent: asyncio.TimerHandle) -> None:
        super().__init__(reader)
        self._limit = limit
        self._silent = silent
        self._over = False

    async def read(self, n: int = -1) -> bytes:
        if self._over or n > self._limit:
            self._over = True
            return b""
        data = await super().read(n)
        self._silent.cancel()
        return bytes(data)


def _drop_frozen(self: Any) -> None:
    """D3: when keep-alive expires the client is dropped, so that its will is published."""
    if self._reader_task is not None and not self._reader_task.done():
        self._loop.call_soon(self._reader_task.cancel)


BrokerProtocolHandler.handle_read_timeout = _drop_frozen
