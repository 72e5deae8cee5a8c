"""State directories that are not what they should be: an edge says so, or heals what it can."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.edge import WORKERS, Edge, running_edge, until

pytestmark = pytest.mark.e2e


def fails_to_start(edge: Edge, *said: str) -> None:
    """`up` with the edge's flags ends with exit code 1 and says all of this; nothing is left running."""
    assert edge.process is None
    done = subprocess.run(
        [sys.executable, "-P", "-m", "edgesim", "up", *edge.flags],
        env=edge.environment, cwd=edge.folder, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip

    assert done.returncode == 1, (done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    for words in said:
        assert words in done.stderr, done.stderr
    assert not edge.pids()


def test_what_can_be_healed_and_what_cannot(tmp_path: Path) -> None:
    """Damaged files one after the other: those that are copies are replaced, the database and the key are named."""
    with running_edge(tmp_path) as edge:
        edge.cli("deploy", WORKERS / "hello")
        assert edge.stop() == 0

        documents = sorted((edge.state / "hosts").rglob("desired.json"))
        assert len(documents) == 6
        documents[0].write_bytes(documents[0].read_bytes()[:100])
        documents[1].write_bytes(b"")
        for blob in (edge.state / "hosts").rglob("blobs/*"):
            blob.write_bytes(b"\0" * blob.stat().st_size)
        for artefact in (edge.state / "aot").glob("*.cwasm"):
            artefact.write_bytes(artefact.read_bytes()[:-100] + b"\0" * 100)
        (edge.state / "run" / "addresses.json").write_text("{")
        (edge.state / "run.json").write_text("{")
        told = edge.cli("status", code=None)
        (edge.state / "run.json").unlink()
        edge.start()
        until(lambda: edge.converged("hello", 1), what="everything is pulled again")
        answers = [edge.http("hello", pop=pop).status for pop in edge.pops()]
        assert edge.stop() == 0

        key = edge.state / "control" / "signing.key"
        key.chmod(0o644)
        fails_to_start(edge, "error[E0304]", "mode 0644", "chmod 600", str(key))
        key.chmod(0o600)
        database = edge.state / "control" / "control.db"
        good = database.read_bytes()
        database.write_bytes(b"this is no database, whatever its name says" * 100)
        fails_to_start(edge, "error[E0305]", "control/control.db")
        database.write_bytes(good)
        edge.start()
        until(lambda: edge.converged("hello", 1))

    assert told.code == 1
    assert "error[E0305]: not a run.json of edgesim" in told.err
    assert answers == [200] * 6


def test_a_lost_database_is_a_new_epoch(tmp_path: Path) -> None:
    """Without its database the control plane knows nothing; what it publishes from then on counts all the same."""
    with running_edge(tmp_path) as edge:
        edge.cli("deploy", WORKERS / "hello")
        edge.cli("deploy", WORKERS / "hello")
        assert edge.stop() == 0
        for file in (edge.state / "control").glob("control.db*"):
            file.unlink()
        edge.start()
        edge.cli("deploy", WORKERS / "hello-v2", "--app", "hello")
        answer = edge.http("hello", metro="Tokyo")

    assert (answer.status, answer.headers["X-Edge-Version"]) == (200, "hello@1")
    assert answer.body.startswith(b"welcome")
