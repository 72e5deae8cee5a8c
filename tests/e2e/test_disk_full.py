"""A full disk under the state directory: deployments fail in words, everything that runs goes on, space heals it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.edge import WORKERS, Edge, Traffic, running_edge, until

pytestmark = pytest.mark.e2e


@contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    """A file system of 16 MB on `folder`; skips where that takes rights that we do not have."""
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", folder], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip("mounting a small file system takes root; the file-size limit is tested instead")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def fill(path: Path) -> None:
    """Write a file that takes all the space that is left."""
    with path.open("ab", buffering=0) as file:
        for size in (1 << 20, 4096):
            try:
                while True:
                    file.write(b"\0" * size)
            except OSError:
                continue


def grown(folder: Path, by: int) -> Path:
    """A worker of its own digest, larger by a custom section."""
    wasm = (WORKERS / "hello" / "hello.wasm").read_bytes()
    size = bytes([by & 0x7F | 0x80, by >> 7 & 0x7F | 0x80, by >> 14])
    path = folder / "hello.wasm"
    path.write_bytes(wasm + b"\0" + size + b"\x01x" + b"\0" * (by - 2))
    return path


def refuse_and_serve(edge: Edge, file: Path) -> None:
    """A deployment fails for lack of space and changes nothing."""
    before = edge.desired()
    done = edge.cli("deploy", file, "--app", "hello", code=1)

    assert "error[E0305]" in done.err
    assert "disk is full" in done.err
    assert "= help: free some space" in done.err
    assert edge.desired() == before
    assert edge.http("hello", metro="Tokyo").headers["X-Edge-Version"] == "hello@1"


def test_no_space_left(tmp_path: Path) -> None:
    """Also a host that dies now comes back; with space again, everything works again."""
    with small_disk(tmp_path / "edge"), running_edge(tmp_path / "edge") as edge:
        edge.cli("deploy", WORKERS / "hello")
        edge.cli("deploy", WORKERS / "hello-wagi", "--app", "lazy", "--no-prefetch")
        filler = edge.folder / "filler"
        fill(filler)
        file = grown(tmp_path, 50_000)
        refuse_and_serve(edge, file)
        # A PoP that has to fetch now cannot: its request fails in words, and nothing else.
        lazy = edge.http("lazy", metro="Tokyo")
        with Traffic(edge, "hello", ("Frankfurt", "Tokyo")) as traffic:
            fill(filler)
            former = edge.kill_9("host1")
            until(lambda: edge.http("hello", pop="fra1").status == 200, what="host1 serves again")
            traffic.more(10)
        until(lambda: edge.converged("hello", 1))
        refuse_and_serve(edge, file)
        assert not list((edge.state / "control" / "oci").rglob("*.tmp"))
        filler.unlink()
        edge.cli("deploy", file, "--app", "hello")
        until(lambda: edge.pid("host1"), what="run.json tells of the new host1")

        assert traffic.failed == []
        assert not Path(f"/proc/{former}").exists()
        assert (lazy.status, lazy.error.split(";")[1]) == (502, " error=destination_unavailable")
        assert b"E0503" in lazy.body
        assert edge.http("lazy", metro="Tokyo").status == 200
        assert edge.http("hello", metro="Tokyo").headers["X-Edge-Version"] == "hello@2"


def test_a_file_size_limit(tmp_path: Path) -> None:
    """Where nobody may mount: a limit of 400 KB per file (`ulimit -f`) is a full disk to a larger blob."""
    with running_edge(tmp_path, processes=1) as edge:
        edge.cli("deploy", WORKERS / "hello")
        assert edge.stop() == 0
        edge.start("bash", "-c", 'ulimit -f 400; exec "$@"', "bash")
        until(lambda: edge.converged("hello", 1))
        refuse_and_serve(edge, grown(tmp_path, 500_000))

        assert (edge.state / "control" / "control.db").stat().st_size < 400 << 10
