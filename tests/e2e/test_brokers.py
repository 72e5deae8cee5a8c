"""One suite for both brokers of our own, with real processes where there are any; then what only mosquitto does."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pwd
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from edgesim.core.desired import desired_topic
from edgesim.live.broker import Mosquitto, make_broker
from edgesim.live.bus import Bus, Message, Subscription
from edgesim.model.ids import HostId, PopId
from tests.support.control import LOGINS, control_plane, listening_host, request, wasm
from tests.support.mqtt import RawClient, until
from tests.support.tools import require_tool

pytestmark = pytest.mark.e2e


@pytest.fixture(params=["mosquitto", "embedded"])
def kind(request: pytest.FixtureRequest) -> str:
    """Both kinds; mosquitto must be installed."""
    if request.param == "mosquitto":
        require_tool("mosquitto")
    return str(request.param)


@contextlib.asynccontextmanager
async def running(kind: str):
    """A started broker."""
    broker = make_broker(kind, port=0, logins=LOGINS)
    endpoint = await broker.start()
    try:
        yield broker, endpoint
    finally:
        await broker.stop()


@contextlib.asynccontextmanager
async def connected(broker, endpoint, login: str, **more):
    """A running bus."""
    bus = Bus(endpoint, broker.credentials(login), identifier=login, **more)
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


async def test_retained_and_live_messages(kind):
    """A late subscriber gets the last retained value, then what is published; an empty one clears it."""
    heard: list[tuple[str, bytes]] = []
    async with running(kind) as (broker, endpoint), connected(broker, endpoint, "control") as control:
        topic = desired_topic(HostId("host1"), PopId("fra1"))
        control.publish(topic, b"1", retain=True)
        await control.flush()
        control.publish(topic, b"2", retain=True)
        await control.flush()
        async with connected(broker, endpoint, "host1", subscriptions=[hearing("es1/d/host1/+", heard)]):
            await until(lambda: heard)
            control.publish(topic, b"3", retain=True)
            await until(lambda: len(heard) == 2)
        control.publish(topic, b"", retain=True)
        await control.flush()
        later: list[tuple[str, bytes]] = []
        async with connected(broker, endpoint, "host1", subscriptions=[hearing("es1/d/host1/+", later)]):
            control.publish(topic, b"live")
            await until(lambda: later)

    assert [payload for _, payload in heard] == [b"2", b"3"]
    assert [payload for _, payload in later] == [b"live"]


async def test_will_when_a_process_dies(kind):
    """An aborted connection publishes the will, retained."""
    heard: list[tuple[str, bytes]] = []
    async with running(kind) as (broker, endpoint):
        async with connected(broker, endpoint, "front-door", subscriptions=[hearing("es1/p/+", heard)]):
            login = broker.credentials("host1")
            async with RawClient(endpoint, login, identifier="host1", will=("es1/p/host1", b"gone")):
                pass
            await until(lambda: heard)

        assert heard == [("es1/p/host1", b"gone")]


async def test_a_host_cannot_read_or_forge(kind):
    """A host neither gets another's documents nor gets anything of its forgeries through."""
    seen: list[tuple[str, bytes]] = []
    stolen: list[tuple[str, bytes]] = []
    filters = ["es1/d/host2/+", "es1/d/+/+", "es1/#", "#", "es1/p/host2"]
    async with (
        running(kind) as (broker, endpoint),
        connected(broker, endpoint, "control", subscriptions=[hearing("es1/#", seen)]) as control,
        connected(broker, endpoint, "host1", subscriptions=[hearing(f, stolen) for f in filters]) as host,
    ):
        control.publish("es1/d/host2/lhr1", b"for host2", retain=True)
        forgeries = [
            "es1/d/host1/fra1",
            "es1/d/host2/lhr1",
            "es1/r/host2/lhr1",
            "es1/h/host2",
            "es1/p/host2",
            "es1/cp",
        ]
        for topic in forgeries:
            host.publish(topic, b"forged", retain=True)
        await host.flush()
        host.publish("es1/h/host1", b"honest")
        await until(lambda: ("es1/h/host1", b"honest") in seen)

    assert not any(payload == b"forged" for _, payload in seen)
    assert stolen == []


async def test_wrong_passwords(kind):
    """Neither a wrong password nor an unknown or missing user gets in."""
    from edgesim.live.broker import Login

    async with running(kind) as (_, endpoint):
        for login in (Login("host1", "wrong"), Login("root", "x"), Login("", "")):
            async with RawClient(endpoint, login, identifier="x") as raw:
                assert raw.code in {4, 5, -1}


async def test_large_packets_end_the_connection(kind):
    """2 MB in one packet cost the sender its connection."""
    async with (
        running(kind) as (broker, endpoint),
        RawClient(endpoint, broker.credentials("host1"), identifier="host1") as raw,
    ):
        with contextlib.suppress(ConnectionError):
            await raw.publish("es1/h/host1", b"x" * (2 << 20))

        assert await raw.packet() is None


async def test_only_loopback(kind):
    """The port is not open on other addresses of this machine."""
    async with running(kind) as (_, endpoint):
        listening = Path("/proc/net/tcp").read_text().split("\n")[1:]
        addresses = {line.split()[1] for line in listening if line and line.split()[3] == "0A"}
        ours = {a for a in addresses if a.endswith(f":{endpoint.port:04X}")}

        assert ours == {f"0100007F:{endpoint.port:04X}"}


async def test_deploy_through_it(kind, tmp_path):
    """The control plane and two hosts over each broker: all PoPs ready."""
    control = control_plane(tmp_path / "c", broker=kind)
    await control.start()
    try:
        async with listening_host(control, "host1"), listening_host(control, "host2"):
            await control.deploy("hello", request(control.blobs.put(wasm("a"))))
            progress = await control.wait("hello", 1, 10)

            assert progress.count("ready") == 4
    finally:
        await control.stop()


async def test_kill_9_of_mosquitto(tmp_path):
    """It comes back on its port with its logins; everybody reconnects, and what was deployed meanwhile arrives."""
    require_tool("mosquitto")
    control = control_plane(tmp_path / "c", broker="mosquitto")
    await control.start()
    try:
        async with listening_host(control, "host1") as one, listening_host(control, "host2"):
            digest = control.blobs.put(wasm("a"))
            await control.deploy("hello", request(digest))
            await control.wait("hello", 1, 10)
            first = control.broker.pid
            os.kill(first, signal.SIGKILL)
            await until(lambda: not control.bus.connected)
            await control.deploy("hello", request(digest))
            progress = await control.wait("hello", 2, 20)

            assert progress.count("ready") == 4
            assert one.bus.connects == 2
            assert control.broker.pid not in {0, first}
            assert isinstance(control.broker, Mosquitto)
            assert control.broker.restarts == 1
    finally:
        await control.stop()


async def test_mosquitto_runs_unprivileged_and_cleans_up():
    """As root we give it another user; its directory is private and gone afterwards."""
    require_tool("mosquitto")
    async with running("mosquitto") as (broker, _):
        assert isinstance(broker, Mosquitto)
        directory, pid = broker._directory, broker.pid
        owner = Path(f"/proc/{pid}").stat().st_uid
        assert directory is not None
        mode = directory.stat().st_mode & 0o777
        files = {f.name: f.stat().st_mode & 0o077 for f in directory.iterdir() if f.name != "log"}

    assert mode == 0o700
    assert set(files.values()) == {0}
    assert owner == os.geteuid() if os.geteuid() else pwd.getpwuid(owner).pw_name in {"mosquitto", "nobody"}
    assert not directory.exists()
    assert not Path(f"/proc/{pid}").exists()


PARENT = """
import asyncio
from edgesim.live.broker import make_broker

async def main():
    broker = make_broker("mosquitto", port=0, logins=["control"])
    await broker.start()
    print(broker.pid, flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


async def test_mosquitto_dies_with_its_parent():
    """SIGKILL of the process that started it ends it too."""
    require_tool("mosquitto")
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    with parent:
        pid = int(parent.stdout.readline())
        alive = Path(f"/proc/{pid}").exists()
        parent.kill()

    def gone() -> bool:
        try:
            return Path(f"/proc/{pid}/stat").read_text().split(") ")[1][0] == "Z"
        except FileNotFoundError:
            return True

    await until(gone)
    assert alive


@pytest.mark.e2e
def test_both_under_uvloop(kind):
    """The bus and both brokers work under the loop that the edge uses."""
    import uvloop

    async def main() -> list[tuple[str, bytes]]:
        heard: list[tuple[str, bytes]] = []
        will = Message(topic="es1/p/host1", payload=b"gone", retain=True)
        async with (
            running(kind) as (broker, endpoint),
            connected(broker, endpoint, "control", subscriptions=[hearing("es1/h/+", heard)]),
            connected(broker, endpoint, "host1", will=will) as host,
        ):
            host.publish("es1/h/host1", b"beat")
            await until(lambda: heard)
        return heard

    assert uvloop.run(main()) == [("es1/h/host1", b"beat")]
