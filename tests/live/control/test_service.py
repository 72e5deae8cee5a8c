"""The control plane as a library: deployments, rollouts, restarts, and what must not change anything."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import sqlite3
from pathlib import Path

import pytest

from edgesim.core.desired import desired_topic, reported_topic
from edgesim.errors import BundleError, InputError, NotFoundError, StorageError, TrustError, UsageError
from edgesim.live.bus import Bus, Subscription
from edgesim.live.control.service import ControlPlane
from edgesim.model.events import PopReported
from edgesim.model.ids import HostId, PopId
from tests.support.control import HOSTS, control_plane, listening_host, request, small_topology, wasm


@contextlib.asynccontextmanager
async def running(control: ControlPlane):
    """A control plane between start and stop."""
    await control.start()
    try:
        yield control
    finally:
        await control.stop()


@contextlib.asynccontextmanager
async def edge(directory: Path, **more):
    """A control plane with both of its hosts."""
    async with (
        running(control_plane(directory, **more)) as control,
        listening_host(control, "host1") as one,
        listening_host(control, "host2") as two,
    ):
        yield control, one, two


async def test_deploy_reaches_every_pop(tmp_path):
    """A deployment is acknowledged with version 1, and all PoPs of both hosts report it ready."""
    async with edge(tmp_path / "c") as (control, one, two):
        digest = control.blobs.put(wasm("a"))

        done = await control.deploy("hello", request(digest, message="first"))
        progress = await control.wait("hello", 1, 5)

        assert done.version == 1
        assert done.generation == (control.generation.epoch, 1)
        assert progress.ok
        assert progress.count("ready") == 4
        assert all(0 <= p.distribute_s < 5 for p in progress.pops)
        assert sorted([*one.documents, *two.documents]) == ["fra1", "gru1", "lhr1", "nrt1"]
        assert one.documents[PopId("fra1")].apps[0].components[0].size_bytes == len(wasm("a"))


async def test_unchanged_content_is_a_new_version_with_the_same_digest(tmp_path):
    """As with wrangler: every deployment counts up; equal content has an equal image digest."""
    async with running(control_plane(tmp_path / "c")) as control:
        digest = control.blobs.put(wasm("a"))

        await control.deploy("hello", request(digest))
        second = await control.deploy("hello", request(digest))

        assert second.version == 2
        assert control.release("hello", 1).release.digest == control.release("hello", 2).release.digest
        assert second.generation.gen == 2


async def test_rollback_is_a_new_generation_with_the_old_release(tmp_path):
    """PoPs go back to version 1; version 2 counts as superseded."""
    async with edge(tmp_path / "c") as (control, one, _):
        first, second = control.blobs.put(wasm("a")), control.blobs.put(wasm("b"))
        await control.deploy("hello", request(first))
        await control.deploy("hello", request(second))
        await control.wait("hello", 2, 5)

        done = await control.rollback("hello", 1, "oops")
        progress = await control.wait("hello", 1, 5)

        assert progress.count("ready") == 4
        assert done.generation.gen == 3
        assert one.documents[PopId("fra1")].apps[0].components[0].digest == first
        assert control.progress("hello", 2).count("superseded") == 4


async def test_restart_resumes(tmp_path):
    """After a restart releases, generation and documents are those of before, and versions go on."""
    async with running(control_plane(tmp_path / "c")) as control:
        digest = control.blobs.put(wasm("a"))
        await control.deploy("hello", request(digest))
        before = control.generation

    async with edge(tmp_path / "c") as (control, one, _):
        progress = await control.wait("hello", 1, 5)
        done = await control.deploy("hello", request(digest))

        assert progress.ok
        assert one.documents[PopId("fra1")].epoch == before.epoch
        assert done.generation == (before.epoch, before.gen + 1)
        assert done.version == 2


async def test_new_pop_and_moved_pop(tmp_path):
    """A PoP that is new in the topology gets what the others run; a moved one's old retained document is cleared."""
    small = small_topology(("fra1", "lhr1"))
    async with running(control_plane(tmp_path / "c", topology=small, hosts=HOSTS[:1])) as control:
        await control.deploy("hello", request(control.blobs.put(wasm("a"))))

    async with running(control_plane(tmp_path / "c")) as control:
        cleared: list[tuple[str, bytes]] = []
        login = control.broker.credentials("control")
        watch = Bus(
            control.endpoint,
            login,
            identifier="watch",
            subscriptions=[Subscription(filter="es1/d/+/+", handler=lambda t, p: cleared.append((t, p)))],
        )
        task = asyncio.create_task(watch.run())
        await watch.wait_connected(5)
        control._publisher.publish_all(control.bus)
        async with listening_host(control, "host2") as two, listening_host(control, "host1"):
            progress = await control.wait("hello", 1, 5)

            assert progress.count("ready") == 4
            assert set(two.documents) == {"lhr1", "gru1"}
            assert (desired_topic(HostId("host1"), PopId("lhr1")), b"") in cleared
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_database_from_an_older_copy_goes_beyond_what_pops_hold(tmp_path):
    """PoPs that hold a higher generation than the database make the control plane raise its own."""
    directory = tmp_path / "c"
    async with running(control_plane(directory)) as control:
        await control.deploy("hello", request(control.blobs.put(wasm("a"))))
        epoch = control.generation.epoch

    async with running(control_plane(directory)) as control, listening_host(control, "host1") as host:
        pop = host.pops[0]
        host.report(PopReported(pop=pop, epoch=epoch, gen=41, state="ready", apps={"hello": 9}))
        async with asyncio.timeout(5):
            while control.generation.gen < 42:
                await control.changed(1)

        assert control.generation == (epoch, 42)
    async with running(control_plane(directory)) as control:
        assert control.generation == (epoch, 42)


async def test_refused_deployments_change_nothing(tmp_path):
    """A missing blob, a broken file, a bad name, a too large document: each an error, and no version, no generation."""
    async with running(control_plane(tmp_path / "c")) as control:
        broken = control.blobs.put(b"<html>")
        good = control.blobs.put(wasm("a"))
        big = request(good)
        huge = tuple((f"V{i}", "x" * 8000) for i in range(9))
        big = big.model_copy(update={"components": (big.components[0].model_copy(update={"environment": huge}),)})

        with pytest.raises(NotFoundError, match="not here"):
            await control.deploy("hello", request("0" * 64))
        with pytest.raises(BundleError, match="not a Wasm file"):
            await control.deploy("hello", request(broken))
        with pytest.raises(UsageError, match="Bad_Name"):
            await control.deploy("Bad_Name", request(good))
        with pytest.raises(InputError, match="the limit is 65536"):
            await control.deploy("hello", big)
        with pytest.raises(NotFoundError, match="no app"):
            await control.rollback("hello", 1)

        assert control.generation.gen == 0
        assert not control.releases


async def test_failed_pops_say_why_and_end_the_rollout(tmp_path):
    """A rollout with failures is done and not ok; the reason is the PoP's."""
    async with (
        running(control_plane(tmp_path / "c")) as control,
        listening_host(control, "host1", fail="does not compile") as _,
        listening_host(control, "host2"),
    ):
        await control.deploy("hello", request(control.blobs.put(wasm("a"))))
        progress = await control.wait("hello", 1, 5)

        assert progress.done
        assert not progress.ok
        assert {p.why for p in progress.failed} == {"does not compile"}
        assert progress.count("ready") == 2


async def test_a_pop_that_serves_other_versions_is_left_alone(tmp_path):
    """After a failed release a PoP is ready without it; the generation must not run away over that."""
    async with running(control_plane(tmp_path / "c")) as control, listening_host(control, "host1") as host:
        await control.deploy("hello", request(control.blobs.put(wasm("a"))))
        epoch, gen = control.generation
        host.report(PopReported(pop=host.pops[0], epoch=epoch, gen=gen, state="ready", apps={}))
        await host.bus.flush()
        async with asyncio.timeout(5):
            while control.observed.reports.get(host.pops[0]) is None:
                await control.changed(1)

        assert control.generation == (epoch, gen)
        assert not control._bumping


async def test_a_host_that_is_away_counts_as_down_until_it_is_back(tmp_path):
    """Missing PoPs neither fail nor finish a rollout; when their host comes it finishes."""
    async with running(control_plane(tmp_path / "c")) as control, listening_host(control, "host1"):
        await control.deploy("hello", request(control.blobs.put(wasm("a"))))
        waiting = await control.wait("hello", 1, 0.25)
        async with listening_host(control, "host2"):
            progress = await control.wait("hello", 1, 5)

        assert not waiting.done
        assert waiting.count("down") == 2
        assert progress.ok


async def test_forged_and_replayed_documents_are_refused(tmp_path):
    """Whoever can publish on the broker still cannot make a PoP run something, nor an older document."""
    async with edge(tmp_path / "c") as (control, one, _):
        pop = one.pops[0]
        await control.deploy("hello", request(control.blobs.put(wasm("a"))))
        await control.wait("hello", 1, 5)
        old = control._publisher.sealed[pop][1]
        await control.deploy("hello", request(control.blobs.put(wasm("b"))))
        await control.wait("hello", 2, 5)
        topic = desired_topic(one.host, pop)
        forged = json.loads(old)
        forged["payload"] = forged["payload"].replace('"gen":1', '"gen":9')
        for payload in (old, json.dumps(forged).encode(), b"\xff", control._publisher.sealed[one.pops[1]][1]):
            control.bus.publish(topic, payload, retain=False)
        await control.bus.flush()
        async with asyncio.timeout(5):
            while len(one.refused) < 4:
                await asyncio.sleep(0)

        assert all(isinstance(e, TrustError) for e in one.refused)
        assert one.documents[pop].gen == 2


async def test_messages_that_do_not_count(tmp_path):
    """Reports under a foreign topic, of another host's PoP, out of order or malformed change nothing, and are counted."""
    async with edge(tmp_path / "c") as (control, one, _):
        await control.deploy("hello", request(control.blobs.put(wasm("a"))))
        await control.wait("hello", 1, 5)
        before = dict(control.observed.reports)
        topic = reported_topic(one.host, one.pops[0])
        for payload in (b"{", b"[]", b'{"pop":"fra1"}', b"x" * 20_000, b"{" * 100_000):
            with pytest.raises(InputError):
                control.observed.take_report(topic, payload)
        message = one._reports[one.pops[0]]
        one._seq = -1
        one.report(message)  # Sequence number 0: older than what was seen.
        one.beat()
        await one.bus.flush()
        async with asyncio.timeout(5):
            while control.observed.beat(one.pops[0]) is None:
                one._seq = 1000
                one.beat()
                await asyncio.sleep(0)

        assert control.observed.reports == before
        assert control.observed.pop_state(one.pops[0]) == "ready"


async def test_disk_full_leaves_state_unchanged(tmp_path, monkeypatch):
    """A commit that finds the disk full is a StorageError; the next one gets the version that this one did not use."""
    async with running(control_plane(tmp_path / "c")) as control:
        digest = control.blobs.put(wasm("a"))
        await control.deploy("hello", request(digest))

        def limit(count: int) -> None:
            control._store._db.execute(f"PRAGMA max_page_count={count}").fetchone()

        used = control._store._db.execute("PRAGMA page_count").fetchone()[0]
        limit(used)
        large = request(digest, message="x" * 500)
        error = None
        for _ in range(40):
            try:
                await control.deploy("hello", large)
            except StorageError as exc:
                error = exc
                break
        full_at = control.generation
        versions = max(control.releases["hello"])
        limit(1 << 20)
        done = await control.deploy("hello", large)

        assert error is not None
        assert "disk is full" in error.message
        assert done.generation.gen == full_at.gen + 1
        assert done.version == versions + 1


async def test_image_layout_is_readable_by_others(tmp_path):
    """`index.json` names each version; manifest, config and layers are there under their digests."""
    async with running(control_plane(tmp_path / "c")) as control:
        layer = control.blobs.put(wasm("a"))
        await control.deploy("hello", request(layer))
        root = tmp_path / "c" / "oci"
        index = json.loads((root / "index.json").read_bytes())
        entry = index["manifests"][0]
        manifest = json.loads((root / "blobs" / entry["digest"].replace(":", "/")).read_bytes())

        assert json.loads((root / "oci-layout").read_bytes()) == {"imageLayoutVersion": "1.0.0"}
        assert entry["annotations"]["org.opencontainers.image.ref.name"] == "hello:1"
        assert manifest["layers"][0]["digest"] == f"sha256:{layer}"
        assert (root / "blobs" / manifest["config"]["digest"].replace(":", "/")).is_file()


async def test_a_second_database_is_a_new_epoch(tmp_path):
    """A lost database does not revive old documents: its epoch is higher, so PoPs take its documents."""
    async with running(control_plane(tmp_path / "c")) as control:
        await control.deploy("hello", request(control.blobs.put(wasm("a"))))
        before = control.generation
    for file in (tmp_path / "c").glob("control.db*"):
        file.unlink()
    await asyncio.sleep(0.002)

    async with running(control_plane(tmp_path / "c")) as control:
        assert control.generation > before
        assert control.generation.gen == 0


async def test_a_database_of_another_version_is_refused(tmp_path):
    """A schema that this version does not know is an error that says what to do; the file stays as it is."""
    (tmp_path / "c").mkdir()
    with contextlib.closing(sqlite3.connect(tmp_path / "c" / "control.db")) as db:
        db.execute("PRAGMA user_version=99")

    with pytest.raises(StorageError, match="schema 99"):
        await control_plane(tmp_path / "c").start()


async def test_a_key_that_others_can_read_is_refused(tmp_path):
    """The signing key must be ours alone."""
    async with running(control_plane(tmp_path / "c")):
        pass
    (tmp_path / "c" / "signing.key").chmod(0o644)

    with pytest.raises(TrustError, match="0644"):
        await control_plane(tmp_path / "c").start()
    shutil.rmtree(tmp_path / "c")
