"""The embedded broker: amqtt's defects that matter here, one test each, and what was added to it.

The names D1 to D5 are those of docs/control-plane.md.
"""

from __future__ import annotations

import asyncio
import contextlib

import aiomqtt
import pytest

from edgesim.errors import PortInUseError
from edgesim.live import embedded_broker
from edgesim.live import endpoint as live_endpoint
from edgesim.live.broker import EmbeddedMqtt, Login
from tests.support.mqtt import RawClient, until


@contextlib.asynccontextmanager
async def broker(*more: str):
    """A running broker with some logins."""
    own = EmbeddedMqtt(0, {name: f"secret-{name}" for name in ("control", "host1", "host2", "front-door", *more)})
    endpoint = await own.start()
    try:
        yield own, endpoint
    finally:
        await own.stop()


def client(own: EmbeddedMqtt, endpoint, login: str, identifier: str) -> aiomqtt.Client:
    """A well-behaved client."""
    known = own.credentials(login)
    return aiomqtt.Client(
        endpoint.host, endpoint.port, username=known.user, password=known.password, identifier=identifier
    )


async def test_d1_no_retained_messages_without_a_subscription():
    """A newcomer gets only what it subscribed to, although others subscribed to everything."""
    async with broker() as (own, endpoint), client(own, endpoint, "control", "a") as one:
        await one.subscribe("es1/#", qos=1)
        await one.publish("es1/d/host1/fra1", b"secret of host1", qos=1, retain=True)
        async with client(own, endpoint, "host2", "b") as two:
            await two.subscribe("es1/d/host2/+", qos=1)
            await one.publish("es1/d/host2/gru1", b"mine", qos=1)
            async with asyncio.timeout(5):
                first = await anext(aiter(two.messages))

            assert first.payload == b"mine"
            assert len(two.messages) == 0


async def test_d2_nobody_is_left_deaf_by_a_boot_storm():
    """Fifty clients that connect and subscribe at once beside ten that are there all hear their messages, no others."""
    hosts = [f"host{i}" for i in range(10, 70)]
    async with broker(*hosts) as (own, endpoint), contextlib.AsyncExitStack() as stack:
        control = await stack.enter_async_context(client(own, endpoint, "control", "control"))
        for host in hosts:
            await control.publish(f"es1/d/{host}/fra1", b"old", qos=1, retain=True)

        async def boot(host: str) -> aiomqtt.Client:
            newcomer = await stack.enter_async_context(client(own, endpoint, host, host))
            await newcomer.subscribe(f"es1/d/{host}/+", qos=1)
            return newcomer

        there = [await boot(host) for host in hosts[:10]]
        newcomers = there + await asyncio.gather(*map(boot, hosts[10:]))
        for host in hosts:
            await control.publish(f"es1/d/{host}/fra1", b"new", qos=1)

        async def heard(newcomer: aiomqtt.Client) -> list[bytes]:
            messages = aiter(newcomer.messages)
            return [bytes((await anext(messages)).payload) for _ in range(2)]

        async with asyncio.timeout(20):
            everything = await asyncio.gather(*map(heard, newcomers))

        assert everything == [[b"old", b"new"]] * 60


@pytest.mark.e2e
async def test_d3_the_will_of_a_frozen_client_is_published():
    """A client that falls silent is dropped after its keep-alive and 2 s of grace."""
    async with broker() as (own, endpoint), client(own, endpoint, "control", "a") as watch:
        await watch.subscribe("es1/p/+", qos=1)
        frozen = RawClient(
            endpoint, own.credentials("host1"), identifier="host1", keepalive_s=1, will=("es1/p/host1", b"gone")
        )
        async with frozen, asyncio.timeout(8):
            message = await anext(aiter(watch.messages))

        assert (str(message.topic), message.payload) == ("es1/p/host1", b"gone")


@pytest.mark.e2e
async def test_d4_unacknowledged_messages_are_lost_after_5_s():
    """A known limit, stated here: after 5 s without PUBACK a QoS 1 message is gone, also for a persistent session.

    Nothing depends on it: sessions are clean, and what counts is retained and published again at each connect.
    """
    async with broker() as (own, endpoint), client(own, endpoint, "control", "a") as control:
        login = own.credentials("host1")
        async with RawClient(endpoint, login, identifier="host1", clean=False) as first:
            await first.subscribe("es1/d/host1/+")
            await control.publish("es1/d/host1/fra1", b"once", qos=1)
            sent = await first.packet()
            await asyncio.sleep(5.5)
        async with RawClient(endpoint, login, identifier="host1", clean=False) as second:
            again = await second.packet(timeout_s=1.0)

        assert sent is not None
        assert sent[1].endswith(b"once")
        assert again is None


async def test_d5_shutdown_does_not_wait_for_idle_connections():
    """A connection that never said anything does not hold up the end."""
    own = EmbeddedMqtt(0, {})
    endpoint = await own.start()
    reader, writer = await asyncio.open_connection(endpoint.host, endpoint.port)
    await until(lambda: own._broker is not None and own._broker._writers)

    async with asyncio.timeout(3):
        await own.stop()
        ended = await asyncio.gather(reader.read(), return_exceptions=True)
    writer.close()

    assert ended[0] == b"" or isinstance(ended[0], ConnectionError)


async def test_passwords():
    """A wrong password and an unknown user are refused; amqtt alone would let any user name in."""
    async with broker() as (own, endpoint):
        for login, code in (
            (own.credentials("host1"), 0),
            (Login("host1", "wrong"), 5),
            (Login("host1", ""), 5),
            (Login("nobody", "x"), 5),
            (Login("", ""), 5),
        ):
            async with RawClient(endpoint, login, identifier="x") as raw:
                assert raw.code == code


async def test_access_rules():
    """A host neither reads another's documents nor publishes what is not its own, also not as a will."""
    async with broker() as (own, endpoint), client(own, endpoint, "control", "a") as control:
        await control.subscribe("es1/#", qos=1)
        will = ("es1/d/host2/gru1", b"forged will")
        async with RawClient(endpoint, own.credentials("host1"), identifier="host1", will=will) as host:
            assert await host.subscribe("es1/d/host2/+") == 0x80
            assert await host.subscribe("es1/#") == 0x80
            assert await host.subscribe("es1/d/host1/+") == 1
            for topic in ("es1/d/host1/fra1", "es1/r/host2/gru1", "es1/p/host2", "es1/cp"):
                await host.publish(topic, b"forged", retain=True)
        async with RawClient(endpoint, own.credentials("host1"), identifier="host1") as host:
            await host.publish("es1/h/host1", b"honest")
        messages = aiter(control.messages)
        async with asyncio.timeout(5):
            first = await anext(messages)

        assert first.payload == b"honest"
        assert own._broker is not None
        assert not own._broker.retained_messages


async def test_packets_beyond_the_limit_end_the_connection():
    """As with mosquitto's max_packet_size; others are not disturbed."""
    async with broker() as (own, endpoint), client(own, endpoint, "control", "a") as control:
        await control.subscribe("es1/h/+", qos=0)
        async with RawClient(endpoint, own.credentials("host1"), identifier="host1") as raw:
            with contextlib.suppress(ConnectionError):
                await raw.publish("es1/h/host1", b"x" * (2 << 20))
            assert await raw.packet() is None
        async with RawClient(endpoint, own.credentials("host1"), identifier="host1") as raw:
            await raw.publish("es1/h/host1", b"small")
            async with asyncio.timeout(5):
                assert (await anext(aiter(control.messages))).payload == b"small"


async def test_silent_connections_are_dropped(monkeypatch):
    """A connection that sends nothing is closed after a time."""
    monkeypatch.setattr(embedded_broker, "_CONNECT_TIMEOUT_S", 0.05)
    async with broker() as (_, endpoint):
        reader, writer = await asyncio.open_connection(endpoint.host, endpoint.port)
        async with asyncio.timeout(5):
            ended = await asyncio.gather(reader.read(), return_exceptions=True)
        writer.close()

        assert ended[0] == b"" or isinstance(ended[0], ConnectionError)


async def test_port_in_use(monkeypatch):
    """A taken port is an error that names it."""
    monkeypatch.setattr(live_endpoint, "PORT_PATIENCE_S", 0.1)
    async with broker() as (_, endpoint):
        with pytest.raises(PortInUseError, match=str(endpoint.port)):
            await EmbeddedMqtt(endpoint.port, {}).start()
