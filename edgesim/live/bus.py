"""A process's one connection to the broker: subscriptions, an outbox, a will, and reconnecting for ever.

Rules: `publish` never blocks; the outbox is bounded and holds one message per retained topic, the last one. Sessions are
clean: at each connect the subscriptions are made anew and `on_up` announces the process's state, so a broker may lose
everything. Messages are acknowledged before handlers run, so handlers must be idempotent; they are plain functions and
must not block. A handler's EdgesimError (a malformed or forged message) is logged and counted, and the bus goes on. Only
the MQTT 3.1.1 subset that every broker has is used; QoS 2 never.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import random
import secrets
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import aiomqtt

from edgesim.errors import BrokerError, EdgesimError, InputError
from edgesim.live.acl import covers

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edgesim.live.endpoint import BrokerEndpoint, Login

KEEPALIVE_S: Final = 10
_TIMEOUT_S: Final = 5.0
_FIRST_DELAY_S: Final = 0.1
_LAST_DELAY_S: Final = 5.0
_BATCH: Final = 32
"""Publishes that wait for their acknowledgement at the same time."""
PAYLOAD_LIMIT_BYTES: Final = 512 * 1024
"""Half of the brokers' packet limit: a larger message would cost the connection, again and again."""
_MANY: Final = 1_000_000
"""aiomqtt warns, and searches a list, from its threshold of pending calls on; our own bound is the batch."""

_log = logging.getLogger(__name__)
_client_log = logging.getLogger(f"{__name__}.client")
# paho logs each lost connection with a traceback's worth of detail; `run` says the same in one line.
_client_log.setLevel(logging.CRITICAL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """A topic filter and what to do with its messages (topic, payload)."""

    filter: str
    handler: Callable[[str, bytes], None]
    qos: Literal[0, 1] = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A message to be sent."""

    topic: str
    payload: bytes
    qos: Literal[0, 1] = 1
    retain: bool = False


def new_boot() -> str:
    """A name for this life of a process: the time and some entropy, so that no two are the same."""
    return f"{time.time_ns() // 1_000_000:013d}-{secrets.token_hex(4)}"


class Bus:
    """The connection of one process. Make it in the loop that runs it; all methods belong to that loop's thread."""

    def __init__(
        self,
        endpoint: BrokerEndpoint,
        login: Login,
        *,
        identifier: str,
        subscriptions: Sequence[Subscription] = (),
        will: Message | None = None,
        on_up: Callable[[], None] | None = None,
        on_down: Callable[[], None] | None = None,
        capacity: int = 8192,
    ) -> None:
        """Prepare a connection; `run` makes it.

        Args:
            endpoint: where the broker listens.
            login: user and password.
            identifier: the MQTT client id; a second client with the same one replaces this one.
            subscriptions: made at each connect.
            will: what the broker publishes when this process dies.
            on_up: called at each connect, before anything else is sent: announce everything that is retained.
            on_down: called when the connection is lost.
            capacity: messages in the outbox; the oldest is dropped (and counted) for one more.
        """
        self.connected = False
        self.connects = 0
        """Connections made so far."""
        self.dropped = 0
        """Messages that the full outbox lost."""
        self.refused = 0
        """Received messages that a handler refused."""
        self._endpoint, self._login, self._identifier = endpoint, login, identifier
        self._subscriptions, self._will = tuple(subscriptions), will
        self._on_up, self._on_down = on_up, on_down
        self._capacity = capacity
        self._outbox: OrderedDict[str | int, Message] = OrderedDict()
        self._numbers = itertools.count()
        self._wake = asyncio.Event()
        self._flushed = asyncio.Event()
        self._flushed.set()
        self._up = asyncio.Event()
        self._logged_s = 0.0

    def publish(self, topic: str, payload: bytes, *, qos: Literal[0, 1] = 1, retain: bool = False) -> None:
        """Queue a message and return. A waiting older message on the same retained topic is replaced.

        Raises:
            InputError: when the payload is larger than 512 KiB.
        """
        if len(payload) > PAYLOAD_LIMIT_BYTES:
            raise InputError(f"message of {len(payload)} bytes; the limit is {PAYLOAD_LIMIT_BYTES}", where=topic)
        if qos == 0 and not retain and not self.connected:
            return  # A beat that nobody hears is not kept for later.
        key: str | int = topic if retain else next(self._numbers)
        self._outbox.pop(key, None)
        if len(self._outbox) >= self._capacity:
            self._outbox.popitem(last=False)
            self.dropped += 1
        self._outbox[key] = Message(topic=topic, payload=payload, qos=qos, retain=retain)
        self._flushed.clear()
        self._wake.set()

    async def wait_connected(self, timeout_s: float) -> None:
        """Wait for the first connection. Raises BrokerError when it does not come in time."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._up.wait()
        except TimeoutError as exc:
            where = f"{self._endpoint.host}:{self._endpoint.port}"
            raise BrokerError(
                f"no connection to the broker within {timeout_s:g} s",
                where=where,
                help="is it running, and the login right?",
            ) from exc

    async def flush(self, timeout_s: float = 2.0) -> bool:
        """Wait until everything queued has been acknowledged; False when that takes too long."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._flushed.wait()
        except TimeoutError:
            return False
        return True

    async def run(self) -> None:
        """Keep the process connected until cancelled; then say goodbye, so that the will is not sent."""
        delay_s = _FIRST_DELAY_S
        while True:
            try:
                async with self._client() as client:
                    await self._session(client)
            except aiomqtt.MqttError as exc:
                self._log(f"broker {self._endpoint.host}:{self._endpoint.port}: {exc}")
            finally:
                if self.connected:
                    delay_s = _FIRST_DELAY_S
                    self._down()
            # Full jitter: processes that lost the same broker do not come back in step.
            await asyncio.sleep(random.uniform(0.05, delay_s))  # noqa: S311 - not for secrets
            delay_s = min(delay_s * 2, _LAST_DELAY_S)

    def _client(self) -> aiomqtt.Client:
        """A new client: aiomqtt's are not reliable after a failure."""
        will = self._will and aiomqtt.Will(self._will.topic, self._will.payload, self._will.qos, self._will.retain)
        return aiomqtt.Client(
            self._endpoint.host,
            self._endpoint.port,
            username=self._login.user or None,
            password=self._login.password or None,
            identifier=self._identifier,
            clean_session=True,
            keepalive=KEEPALIVE_S,
            timeout=_TIMEOUT_S,
            max_inflight_messages=_BATCH,
            will=will or None,
            logger=_client_log,
        )

    async def _session(self, client: aiomqtt.Client) -> None:
        """One connection, until it breaks."""
        client.pending_calls_threshold = _MANY
        if self._subscriptions:
            filters: list[tuple[str, int]] = [(s.filter, s.qos) for s in self._subscriptions]
            granted = await client.subscribe(filters)
            for subscription, code in zip(self._subscriptions, granted, strict=False):
                if isinstance(code, int) and code >= 0x80:
                    _log.error("the broker refused the subscription to %s", subscription.filter)
        self.connected = True
        self.connects += 1
        if self._on_up is not None:
            self._on_up()
        self._up.set()
        tasks = {asyncio.create_task(self._receive(client)), asyncio.create_task(self._send(client))}
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        for task in done:
            task.result()

    async def _receive(self, client: aiomqtt.Client) -> None:
        async for message in client.messages:
            topic = str(message.topic)
            payload = message.payload if isinstance(message.payload, bytes) else b""
            for subscription in self._subscriptions:
                if covers(subscription.filter, topic):
                    try:
                        subscription.handler(topic, payload)
                    except EdgesimError as exc:
                        self.refused += 1
                        self._log(f"refused a message on {topic}: {exc}")
                    break

    async def _send(self, client: aiomqtt.Client) -> None:
        """Send the outbox in batches. What a broken connection leaves unacknowledged goes back, unless it is QoS 0."""
        while True:
            while not self._outbox:
                self._flushed.set()
                self._wake.clear()
                await self._wake.wait()
            batch = dict(self._outbox.popitem(last=False) for _ in range(min(_BATCH, len(self._outbox))))
            pending = dict(batch)

            async def send(key: str | int, message: Message, pending: dict[str | int, Message] = pending) -> None:
                await client.publish(message.topic, message.payload, qos=message.qos, retain=message.retain)
                del pending[key]

            try:
                results = await asyncio.gather(*(send(k, m) for k, m in batch.items()), return_exceptions=True)
            finally:
                for key, message in reversed(pending.items()):
                    if message.qos and key not in self._outbox:
                        self._outbox[key] = message
                        self._outbox.move_to_end(key, last=False)
            for result in results:
                if isinstance(result, BaseException):
                    raise result

    def _down(self) -> None:
        self.connected = False
        if self._on_down is not None:
            self._on_down()

    def _log(self, line: str) -> None:
        """At most one line per second: a broker that is away is not worth a full log."""
        now = time.monotonic()
        if now - self._logged_s >= 1.0:
            self._logged_s = now
            _log.warning("%s", line)
