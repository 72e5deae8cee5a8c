"""The database: what was acknowledged is there after any death; what failed has changed nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from edgesim.core.desired import Generation
from edgesim.errors import StorageError
from edgesim.live.control.store import Deployment, Store
from edgesim.model.worker import Component, Release, Route

WRITER = """
import asyncio, sys
from pathlib import Path
from tests.live.control.test_store import deployment, release
from edgesim.live.control.store import Store

async def main():
    store = Store(Path(sys.argv[1]))
    state = await store.open(epoch_ms=7)
    gen = state.generation.gen
    print("open", gen, flush=True)
    while True:
        gen += 1
        await store.deploy(release(gen), deployment(gen), ["fra1"])
        print(gen, flush=True)

asyncio.run(main())
"""


def release(version: int) -> Release:
    """A release of one app."""
    return Release(
        app="hello",
        version=version,
        digest="d" * 64,
        components=(Component(id="c", digest="a" * 64, size_bytes=1, abi="wagi"),),
        routes=(Route(pattern="/...", component="c"),),
    )


def deployment(gen: int, epoch: int = 7) -> Deployment:
    """The deployment that brings the version of the same number."""
    return Deployment(generation=Generation(epoch, gen), app="hello", version=gen, message="m", created_s=1.5)


@pytest.fixture
async def store(tmp_path):
    """An open store."""
    store = Store(tmp_path / "control.db")
    await store.open(epoch_ms=7)
    yield store
    await store.close()


async def reopened(path: Path):
    """What a new process finds."""
    store = Store(path)
    try:
        return await store.open(epoch_ms=99)
    finally:
        await store.close()


async def test_what_was_committed_is_read_back(store, tmp_path):
    """Releases, deployments, what PoPs shall run, placements, and the epoch of the first opening."""
    await store.place({"fra1": "host1"}, {})
    await store.deploy(release(1), deployment(1), ["fra1", "lhr1"])
    await store.deploy(release(2), deployment(2), ["fra1"])
    await store.point(
        Deployment(generation=Generation(7, 3), app="hello", version=1, message="", created_s=2.0), ["fra1"]
    )
    state = await reopened(tmp_path / "control.db")

    assert state.generation == (7, 3)
    assert [s.release for s in state.releases] == [release(1), release(2)]
    assert state.deployments[:2] == (deployment(1), deployment(2))
    assert state.desired == {"fra1": {"hello": 1}, "lhr1": {"hello": 1}}
    assert state.placements == {"fra1": "host1"}
    assert (tmp_path / "control.db").stat().st_mode & 0o777 == 0o600


async def test_a_failed_change_changes_nothing(store, tmp_path):
    """A version that exists already fails, and with it the whole transaction."""
    await store.deploy(release(1), deployment(1), ["fra1"])

    with pytest.raises(StorageError):
        await store.deploy(release(1), deployment(2), ["fra1", "lhr1"])
    state = await reopened(tmp_path / "control.db")

    assert state.generation == (7, 1)
    assert state.desired == {"fra1": {"hello": 1}}


async def test_raised_generation(store, tmp_path):
    """A generation, with its epoch, can be raised alone; later deployments go on from it."""
    await store.raise_generation(Generation(8, 40))
    await store.deploy(release(1), deployment(41, epoch=8), ["fra1"])

    assert (await reopened(tmp_path / "control.db")).generation == (8, 41)


async def test_damaged_files(tmp_path):
    """Files that are no database, and directories that do not exist, are StorageErrors."""
    (tmp_path / "bad.db").write_bytes(b"not a database" * 1000)

    for path in (tmp_path / "bad.db", tmp_path / "no" / "control.db"):
        store = Store(path)
        with pytest.raises(StorageError):
            await store.open(epoch_ms=1)
        await store.close()
        await store.close()


@pytest.mark.e2e
async def test_kill_9_loses_nothing_that_was_acknowledged(tmp_path):
    """Twelve times a writer is killed in the middle: every commit that it announced is there, and nothing is damaged."""
    path = tmp_path / "control.db"
    acknowledged = 0
    root = Path(__file__).parents[3]
    for round_ in range(12):
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path)],
            stdout=subprocess.PIPE,
            text=True,
            cwd=root,
            env={**os.environ, "PYTHONPATH": str(root)},
        ) as child:
            assert child.stdout is not None
            found = int(child.stdout.readline().split()[1])
            for _ in range(3 + round_):
                acknowledged = int(child.stdout.readline())
            child.send_signal(signal.SIGKILL)
            rest = child.stdout.read().split("\n")
            acknowledged = max([acknowledged, *(int(line) for line in rest[:-1] if line)])
        state = await reopened(path)

        assert state.generation.epoch == 7
        assert state.generation.gen in {acknowledged, acknowledged + 1}
        assert len(state.releases) == state.generation.gen
        assert found <= acknowledged
