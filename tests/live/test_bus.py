"""The bus: what reaches the other side, what is kept while the broker is away, and what is not."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from edgesim.errors import BrokerError, InputError
from edgesim.live.broker import BrokerEndpoint, EmbeddedMqtt, Login
from edgesim.live.bus import PAYLOAD_LIMIT_BYTES, Bus, Message, Subscription, new_boot
from tests.support.mqtt import until

LOGINS = {name: f"secret-{name}" for name in ("control", "host1", "front-door")}


@contextlib.asynccontextmanager
async def broker(port: int = 0):
    """A running embedded broker."""
    own = EmbeddedMqtt(port, LOGINS)
    endpoint = await own.start()
    try:
        yield endpoint
    finally:
        await own.stop()


@contextlib.asynccontextmanager
async def connected(endpoint: BrokerEndpoint, login: str, **more):
    """A running bus."""
    bus = Bus(endpoint, Login(login, LOGINS[login]), identifier=login, **more)
    task = asyncio.create_task(bus.run())
    try:
        await bus.wait_connected(10)
        yield bus
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def hearing(filter_: str, heard: list[tuple[str, bytes]]) -> Subscription:
    """A subscription that notes what it hears."""
    return Subscription(filter=filter_, handler=lambda topic, payload: heard.append((topic, payload)))


async def test_messages_arrive_in_order():
    """Messages of one topic arrive in the order in which they were published."""
    heard: list[tuple[str, bytes]] = []
    async with (
        broker() as endpoint,
        connected(endpoint, "control", subscriptions=[hearing("es1/h/+", heard)]),
        connected(endpoint, "host1") as host,
    ):
        for i in range(200):
            host.publish("es1/h/host1", b"%d" % i)
        flushed = await host.flush(5)
        await until(lambda: len(heard) >= 200)

    assert flushed
    assert [payload for _, payload in heard] == [b"%d" % i for i in range(200)]


async def test_last_value_wins_in_the_outbox():
    """Waiting messages of one retained topic are one; the full outbox drops the oldest and counts it."""
    bus = Bus(BrokerEndpoint("127.0.0.1", 1), Login("host1", "x"), identifier="x", capacity=3)
    for i in range(10):
        bus.publish("es1/p/host1", b"%d" % i, retain=True)
    bus.publish("es1/h/host1", b"beat", qos=0)
    for i in range(3):
        bus.publish("es1/r/host1/fra1", b"%d" % i)

    assert [m.payload for m in bus._outbox.values()] == [b"0", b"1", b"2"]
    assert bus.dropped == 1


async def test_too_large():
    """A message that would cost the connection is refused at once."""
    bus = Bus(BrokerEndpoint("127.0.0.1", 1), Login("host1", "x"), identifier="x")

    with pytest.raises(InputError, match="the limit is"):
        bus.publish("es1/p/host1", b"x" * (PAYLOAD_LIMIT_BYTES + 1))


async def test_a_broker_that_forgets_everything():
    """After the broker is replaced: subscriptions are made anew, on_up announces, what was queued meanwhile arrives."""
    heard: list[tuple[str, bytes]] = []
    ups: list[str] = []
    downs: list[str] = []
    async with contextlib.AsyncExitStack() as stack:
        async with broker() as endpoint:
            host = await stack.enter_async_context(
                connected(endpoint, "host1", on_up=lambda: ups.append("up"), on_down=lambda: downs.append("down"))
            )
            control = await stack.enter_async_context(
                connected(
                    endpoint,
                    "control",
                    subscriptions=[hearing("es1/r/+/+", heard)],
                )
            )

        await until(lambda: not host.connected and not control.connected)
        host.publish("es1/r/host1/fra1", b"old", retain=True)
        host.publish("es1/r/host1/fra1", b"new", retain=True)
        host.publish("es1/h/host1", b"stale beat", qos=0)
        async with broker(endpoint.port):
            await until(lambda: (b"new" in [p for _, p in heard]) and host.connected and control.connected, 20)

            assert heard == [("es1/r/host1/fra1", b"new")]
            assert ups.count("up") == 2
            assert downs == ["down"]
            assert host.connects == 2


async def test_will_and_goodbye():
    """The will is published when the process dies, not when it says goodbye."""
    heard: list[tuple[str, bytes]] = []
    will = Message(topic="es1/p/host1", payload=b"gone", retain=True)
    async with broker() as endpoint, connected(endpoint, "front-door", subscriptions=[hearing("es1/p/+", heard)]):
        async with connected(endpoint, "host1", will=will) as host:
            host.publish("es1/p/host1", b"here", retain=True)
            await until(lambda: heard)
        async with connected(endpoint, "host1", will=will) as host:
            host.publish("es1/p/host1", b"here again", retain=True)
            await until(lambda: len(heard) > 1)

    assert [payload for _, payload in heard] == [b"here", b"here again"]


async def test_refused_messages_are_counted_and_the_bus_goes_on():
    """A handler's EdgesimError concerns that message only."""
    heard: list[tuple[str, bytes]] = []

    def picky(topic: str, payload: bytes) -> None:
        if payload == b"bad":
            raise InputError("malformed")
        heard.append((topic, payload))

    async with broker() as endpoint:
        subscription = Subscription(filter="es1/h/+", handler=picky)
        async with connected(endpoint, "control", subscriptions=[subscription]) as control:
            async with connected(endpoint, "host1") as host:
                for payload in (b"bad", b"good"):
                    host.publish("es1/h/host1", payload)
                await until(lambda: heard)

            assert control.refused == 1
            assert control.connects == 1


async def test_no_broker():
    """Waiting for a broker that is not there ends with an error that names the address; publishing goes on."""
    bus = Bus(BrokerEndpoint("127.0.0.1", 1), Login("host1", "x"), identifier="x")
    task = asyncio.create_task(bus.run())
    bus.publish("es1/p/host1", b"x", retain=True)

    with pytest.raises(BrokerError, match="no connection"):
        await bus.wait_connected(0.05)
    assert not await bus.flush(0.01)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_wrong_password():
    """A refused login never connects."""
    async with broker() as endpoint:
        bus = Bus(endpoint, Login("host1", "wrong"), identifier="x")
        task = asyncio.create_task(bus.run())
        with pytest.raises(BrokerError):
            await bus.wait_connected(0.5)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def test_boots_differ():
    """No two lives of a process have the same name."""
    assert len({new_boot() for _ in range(1000)}) == 1000
