"""A real guest with what a PoP grants it: files from the blob store, and servers that it may reach."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from aiohttp import web

from edgesim.core.pop import Pop, Stage, Worker
from edgesim.errors import GuestWallError
from edgesim.live.blobs import BlobStore
from edgesim.live.grants import make_grants
from edgesim.live.outbound import OutboundNetwork
from edgesim.model.ids import AppName, Digest
from edgesim.model.worker import BundledFile, Component, Release, Route
from edgesim.wasm.runtime import Runtime
from tests.support.guests import artifacts, guest
from tests.support.request_path import FRA, spec
from tests.support.wasm import GENEROUS, read_all, request


@pytest.fixture
async def loaded():
    """The conformance guest in C."""
    runtime = Runtime(artifacts())
    path = guest("c-echo")
    found = await runtime.inspect(path)
    worker = await runtime.load(
        path, Component(id="c", digest=found.digest, size_bytes=found.size_bytes, abi=found.abi)
    )
    yield worker
    runtime.release(worker)
    await runtime.close()


@asynccontextmanager
async def upstream(handler):
    """A server, and a network whose front door it is; both with the server's address."""
    server = web.Server(handler, handler_cancellation=True)
    sockets = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{sockets.sockets[0].getsockname()[1]}"
    network = OutboundNetwork(url)
    try:
        yield url, network
    finally:
        await network.close()
        sockets.close()
        await server.shutdown(0.1)


def granted(tmp_path, network, *, allowed=(), files=()):
    """The grants of a component at a PoP."""
    component = Component(
        id="c", digest=Digest("0" * 64), size_bytes=1, abi="wasi-http", environment=(("A", "b"),), outbound=allowed,
        files=files,
    )  # fmt: skip
    release = Release(
        app=AppName("shop"), version=3, digest=Digest("1" * 64), components=(component,),
        routes=(Route(pattern="/...", component="c"),),
    )  # fmt: skip
    return make_grants(Pop(spec(FRA)), Worker(release, component, Stage.LOADED), BlobStore(tmp_path / "blobs"), network)


def test_variables_of_the_pop(tmp_path):
    """The component's own, then where it runs; nobody may be reached."""
    grants = granted(tmp_path, None)

    assert dict(grants.environment) == {
        "A": "b", "EDGESIM_POP": "fra1", "EDGESIM_REGION": "r", "EDGESIM_APP": "shop", "EDGESIM_VERSION": "3",
    }  # fmt: skip
    assert grants.outbound is None
    assert not grants.files


async def test_files_come_from_the_blob_store(loaded, tmp_path):
    """By their digest, under their path."""
    digest = BlobStore(tmp_path / "blobs").put(b"content")
    grants = granted(tmp_path, None, files=(BundledFile(path="/data/x", digest=digest, size_bytes=7),))
    response = await loaded.run(request("/file?path=/data/x"), GENEROUS, grants)

    assert await read_all(response) == b"content"


async def test_a_server_that_is_allowed(loaded, tmp_path):
    """The answer streams through the guest, and the request says how it came."""
    seen = []

    async def handler(incoming):
        seen.append((incoming.host, incoming.headers.get("CDN-Loop")))
        return web.Response(body=bytes(200_000), status=203)

    async with upstream(handler) as (url, network):
        for target in (f"{url}/x", "http://self/x"):
            grants = granted(tmp_path, network, allowed=(url, "http://self"))
            response = await loaded.run(request(f"/sub?url={target}"), GENEROUS, grants)
            assert (response.status, len(await read_all(response))) == (203, 200_000)

    port = url.rpartition(":")[2]
    assert seen == [(f"127.0.0.1:{port}", "edgesim"), (f"shop.fra1.localhost:{port}", "edgesim")]


async def test_a_guest_that_ends_hangs_up(loaded, tmp_path):
    """At its wall-clock limit in the middle of a request: the server sees the connection go, and nothing is left."""
    begun, gone = asyncio.Event(), asyncio.Event()

    async def handler(_incoming):
        begun.set()
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            gone.set()

    async with upstream(handler) as (url, network):
        grants = granted(tmp_path, network, allowed=(url,))
        with pytest.raises(GuestWallError):
            await loaded.run(request(f"/sub?url={url}/"), replace(GENEROUS, wall_s=1.0), grants)
        await asyncio.wait_for(gone.wait(), 10)

    assert begun.is_set()
