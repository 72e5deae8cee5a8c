"""kill -9 of the control plane, with mosquitto as its child: what was acknowledged is there, and hosts come back."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import signal
import sys
from pathlib import Path

import aiohttp
import pytest

from edgesim.config.messages import encode
from edgesim.core.desired import assign
from edgesim.live.broker import BrokerEndpoint, read_login
from edgesim.live.endpoint import free_port
from edgesim.live.signing import Verifier
from tests.support.control import HOSTS, ListeningHost, request, small_topology, wasm
from tests.support.mqtt import until
from tests.support.tools import require_tool

pytestmark = pytest.mark.e2e
ROOT = Path(__file__).parents[2]
CHILD = """
import asyncio, sys
from pathlib import Path
from aiohttp import web
from edgesim.live.control.api import build_app
from tests.support.control import control_plane

async def main(directory, broker_port, api_port):
    control = control_plane(Path(directory), broker="mosquitto", port=int(broker_port))
    await control.start()
    runner = web.AppRunner(build_app(control, token="secret"))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", int(api_port)).start()
    print("up", control.broker.pid, flush=True)
    await asyncio.sleep(120)

asyncio.run(main(*sys.argv[1:]))
"""


@contextlib.asynccontextmanager
async def process(directory: Path, broker_port: int, api_port: int):
    """A control plane in a process of its own, once it is up; killed at the end."""
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-c", CHILD, str(directory), str(broker_port), str(api_port)),
        stdout=asyncio.subprocess.PIPE,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert child.stdout is not None
    try:
        async with asyncio.timeout(20):
            line = (await child.stdout.readline()).split()
        assert line[:1] == [b"up"]
        yield child
    finally:
        with contextlib.suppress(ProcessLookupError):
            child.send_signal(signal.SIGKILL)
        await child.wait()


async def deploy(session: aiohttp.ClientSession, base: str, content: bytes) -> int:
    """Upload and deploy; the acknowledged version."""
    digest = hashlib.sha256(content).hexdigest()
    async with session.put(f"{base}/v1/blobs/sha256/{digest}", data=content) as response:
        response.raise_for_status()
    async with session.post(f"{base}/v1/apps/hello/deployments", data=encode(request(digest))) as response:
        response.raise_for_status()
        return int((await response.json())["version"])


async def rollout(session: aiohttp.ClientSession, base: str, version: int) -> dict[str, object]:
    """The last event of a version's rollout."""
    async with session.get(f"{base}/v1/apps/hello/deployments/{version}/events?timeout_s=15") as events:
        lines = [line async for line in events.content]
    return dict(json.loads(lines[-1]))


async def test_kill_9_and_restart(tmp_path):
    """Broker and API come back on their ports; the acknowledged version is there and served; the next one arrives."""
    require_tool("mosquitto")
    directory = tmp_path / "c"
    broker_port, api_port = free_port(0), free_port(0)
    base = f"http://127.0.0.1:{api_port}"
    assignment = assign([p.id for p in small_topology().pops], HOSTS)
    async with contextlib.AsyncExitStack() as stack:
        session = await stack.enter_async_context(aiohttp.ClientSession(headers={"Authorization": "Bearer secret"}))
        async with process(directory, broker_port, api_port):
            hosts = [
                await stack.enter_async_context(
                    ListeningHost(
                        endpoint=BrokerEndpoint("127.0.0.1", broker_port),
                        login=read_login(directory / "logins.json", host),
                        pops=tuple(p for p, h in assignment.items() if h == host),
                        verifier=Verifier.load(directory / "signing.pub"),
                    )
                )
                for host in HOSTS
            ]
            await deploy(session, base, wasm("a"))
            first = await rollout(session, base, 1)
            acknowledged = await deploy(session, base, wasm("b"))
        await until(lambda: not any(h.bus.connected for h in hosts))
        async with process(directory, broker_port, api_port):
            await until(lambda: all(h.bus.connected for h in hosts), 20)
            second = await rollout(session, base, acknowledged)
            third = await rollout(session, base, await deploy(session, base, wasm("c")))
            documents = [d for h in hosts for d in h.documents.values()]

    assert acknowledged == 2
    assert [r["ok"] for r in (first, second, third)] == [True, True, True]
    assert [(d.gen, d.apps[0].version) for d in documents] == [(3, 3)] * 4
    assert not any(h.refused for h in hosts)
