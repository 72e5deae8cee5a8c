"""The blob store: durable or absent, verified, one download for all, nothing left behind."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from edgesim.errors import BundleTooLargeError, ControlPlaneError, InputError, StorageError, TrustError
from edgesim.live.blobs import BlobStore

CONTENT = b"wasm" * 100_000
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def store(tmp_path) -> BlobStore:
    """An empty store."""
    return BlobStore(tmp_path / "blobs")


class Source:
    """A blob server that counts, and that lies when told."""

    def __init__(self, content: bytes = CONTENT, status: int = 200) -> None:
        self.content, self.status, self.count = content, status, 0
        self.cut = False

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Serve the one blob."""
        self.count += 1
        if self.cut:
            response = web.StreamResponse(headers={"Content-Length": str(len(self.content))})
            await response.prepare(request)
            await response.write(self.content[:1000])
            assert request.transport is not None
            request.transport.abort()
            return response
        return web.Response(body=self.content, status=self.status)


async def pull(store: BlobStore, *sources: Source, size: int = len(CONTENT), times: int = 1):
    """Pull the blob from servers, several callers at once."""
    servers = []
    for source in sources:
        app = web.Application()
        app.router.add_get("/blobs/sha256/{digest}", source.handle)
        servers.append(TestServer(app))
        await servers[-1].start_server()
    urls = [str(s.make_url("")).rstrip("/") for s in servers]
    try:
        async with aiohttp.ClientSession() as session:
            return await asyncio.gather(*(store.ensure(DIGEST, size, session, urls) for _ in range(times)))
    finally:
        for server in servers:
            await server.close()


def files(store: BlobStore) -> list[str]:
    """What is on disk."""
    return [f.name for f in store.root.iterdir()]


def test_put(store, tmp_path):
    """Bytes and files are stored under their sha256, privately, once."""
    (tmp_path / "file").write_bytes(CONTENT)

    assert store.put(CONTENT) == DIGEST
    assert store.put(tmp_path / "file") == DIGEST
    assert store.has(DIGEST)
    assert store.path(DIGEST).read_bytes() == CONTENT
    assert files(store) == [DIGEST]
    assert store.root.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("digest", ["", "x", "A" * 64, "0" * 63, "../" + "0" * 61, "0" * 64 + "\n"])
def test_only_digests_are_names(store, digest):
    """Nothing else becomes a path."""
    with pytest.raises(InputError):
        store.path(digest)


def test_damaged_blobs_are_removed(store):
    """A blob that the disk has changed is found out and removed, so that it is pulled again."""
    store.put(CONTENT)
    store.path(DIGEST).write_bytes(b"damaged")

    assert not store.verify(DIGEST)
    assert files(store) == []
    assert not store.verify(DIGEST)


@pytest.mark.parametrize("call", ["write", "fsync"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
def test_failing_disk(store, monkeypatch, call, code):
    """A full or broken disk is a StorageError, and no temporary file is left."""

    def fail(*_: object) -> int:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, call, fail)

    with pytest.raises(StorageError, match="disk is full" if code == errno.ENOSPC else "error"):
        store.put(CONTENT)
    assert files(store) == []


def test_left_overs_of_dead_processes_go(store):
    """Temporary files of processes that were killed are removed at the next start; those of living ones stay."""
    (store.root / "aa.999999999.tmp").write_bytes(b"x")
    (store.root / f"bb.{os.getpid()}.tmp").write_bytes(b"x")
    (store.root / "odd.tmp").write_bytes(b"x")
    BlobStore(store.root)

    assert files(store) == [f"bb.{os.getpid()}.tmp"]


async def test_one_download_for_all(store):
    """Fifty callers, one request; later callers none."""
    source = Source()
    paths = await pull(store, source, times=50)
    await pull(store, source)

    assert set(paths) == {store.path(DIGEST)}
    assert source.count == 1
    assert files(store) == [DIGEST]


async def test_one_caller_gives_up(store):
    """A caller that is cancelled does not end the others' download."""
    release = asyncio.Event()

    class Slow(Source):
        async def handle(self, request: web.Request) -> web.StreamResponse:
            await release.wait()
            return await super().handle(request)

    source = Slow()
    everyone = asyncio.create_task(pull(store, source, times=1))
    while DIGEST not in store._pulls:
        await asyncio.sleep(0)
    async with aiohttp.ClientSession() as session:
        first = asyncio.create_task(store.ensure(DIGEST, len(CONTENT), session, ["http://127.0.0.1:1"]))
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
    release.set()

    assert await everyone == [store.path(DIGEST)]
    assert first.cancelled()


@pytest.mark.parametrize("bad", [b"evil" * 100_000, CONTENT[:-1], CONTENT + b"x", b""])
async def test_tampered_blobs(store, bad):
    """Other bytes, fewer or more: refused, nothing on disk."""
    with pytest.raises(TrustError):
        await pull(store, Source(bad))
    assert files(store) == []


async def test_next_source(store):
    """A source that lies, has not got it, or breaks off is passed over for the next."""
    broken = Source()
    broken.cut = True
    good = Source()

    await pull(store, Source(b"evil"), Source(b"no", status=404), broken, good)

    assert good.count == 1
    assert store.verify(DIGEST)


async def test_no_source(store):
    """None has it, or none is there: an error of the control plane's kind."""
    with pytest.raises(ControlPlaneError, match="404"):
        await pull(store, Source(status=404))
    with pytest.raises(ControlPlaneError):
        await pull(store)
    async with aiohttp.ClientSession() as session:
        with pytest.raises(ControlPlaneError, match="cannot pull"):
            await store.ensure(DIGEST, 1, session, ["http://127.0.0.1:1"])
    await store.close()


async def test_disk_full_while_pulling(store, monkeypatch):
    """A full disk ends the pull at once; no other source is tried, nothing is left."""
    second = Source()
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(errno.ENOSPC, "full")))

    with pytest.raises(StorageError, match="disk is full"):
        await pull(store, Source(), second)
    assert second.count == 0
    assert files(store) == []


async def test_damaged_blob_is_pulled_again(store):
    """What an earlier process left damaged is found at the first use in this one."""
    store.put(CONTENT)
    store.path(DIGEST).write_bytes(b"damaged")
    source = Source()

    await pull(BlobStore(store.root), source)

    assert source.count == 1
    assert store.path(DIGEST).read_bytes() == CONTENT


async def test_receive_limits_and_checks(store):
    """An upload is cut off at its limit, and refused when it is not what was announced."""

    async def chunks():
        yield CONTENT[:1000]
        yield CONTENT[1000:]

    with pytest.raises(BundleTooLargeError):
        await store.receive(DIGEST, chunks(), limit=1000)
    with pytest.raises(TrustError):
        await store.receive("0" * 64, chunks())
    assert files(store) == []
    assert await store.receive(DIGEST, chunks()) == len(CONTENT)
    assert files(store) == [DIGEST]
