"""`edgesim run` as a process: requests over HTTP, Ctrl-C with a summary, files that change, a port that is taken."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import pytest
from wasmtime import wat2wasm

from edgesim.config.resources import resource_path
from tests.e2e.edge import until

BUSY = """(module
  (import "wasi_snapshot_preview1" "fd_write" (func $w (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "\\10\\00\\00\\00\\1e\\00\\00\\00")
  (data (i32.const 16) "Content-Type: text/plain\\n\\nbusy")
  (func (export "_start") (local $i i32)
    (loop $again
      (br_if $again (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 60000000))))
    (drop (call $w (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 100)))))"""
"""Answers after some 20 to 100 ms of CPU time."""


class Running:
    """A process of `edgesim run` with its output in files."""

    def __init__(self, folder: Path, process: subprocess.Popen) -> None:
        self.folder = folder
        self.process = process

    @property
    def out(self) -> str:
        """What it has written to stdout."""
        return (self.folder / "out").read_text()

    @property
    def err(self) -> str:
        """What it has written to stderr."""
        return (self.folder / "err").read_text()

    @property
    def base(self) -> str:
        """Where it serves."""
        found = until(lambda: re.search(r"serving at (http://127\.0\.0\.1:\d+)/", self.err), what=self.err)
        return found[1]

    def get(self, path: str) -> tuple[int, bytes]:
        """Status and body."""
        try:
            with urllib.request.urlopen(self.base + path, timeout=20) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def stop(self) -> int:
        """Ctrl-C."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(20)


@contextmanager
def running(folder: Path, *args: str):
    """`edgesim run` with these arguments on a free port."""
    with (folder / "out").open("w") as out, (folder / "err").open("w") as err:
        process = subprocess.Popen(
            [sys.executable, "-m", "edgesim", "run", *args, "--port", "0"],
            stdout=out, stderr=err, cwd=folder, env={**os.environ, "EDGESIM_STATE": str(folder / "state")},
        )  # fmt: skip
    try:
        yield Running(folder, process)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


@pytest.mark.e2e
def test_requests_and_a_summary(tmp_path):
    """A line for each, and at Ctrl-C what they cost and where that is too much. Nothing is left behind."""
    (tmp_path / "busy.wasm").write_bytes(bytes(wat2wasm(BUSY)))
    with running(tmp_path, "busy.wasm", "--limits-profile", "cloudflare-paid") as run:
        answers = [run.get("/a"), run.get("/b")]
        code = run.stop()

    assert answers == [(200, b"busy"), (200, b"busy")]
    assert code == 0
    lines = run.out.splitlines()
    assert lines[0].split() == ["status", "method", "wall", "cpu", "start", "memory", "out", "path"]
    assert [line.split()[0] for line in lines[1:3]] == ["200", "200"]
    assert "2 requests in" in run.out
    assert re.search(
        r"this worker would be killed on cloudflare-free because one request used [\d.]+ ms of CPU time and the limit is 10 ms",
        run.out,
    )
    assert "killed on cloudflare-paid" not in run.out
    assert "Traceback" not in run.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["busy.wasm", "err", "out"]


@pytest.mark.e2e
def test_files_that_change_are_loaded_again(tmp_path):
    """Also after a version that is none."""
    worker = tmp_path / "app.wasm"
    worker.write_bytes(resource_path("workers/hello/hello.wasm").read_bytes())
    with running(tmp_path, "app.wasm", "--watch") as run:
        first = run.get("/")
        worker.write_bytes(b"nothing")
        until(lambda: "the app goes on as it was" in run.err, what=run.err)
        kept = run.get("/")
        worker.write_bytes(resource_path("workers/hello-v2/hello.wasm").read_bytes())
        until(lambda: "loaded again" in run.err, what=run.err)
        second = run.get("/")
        code = run.stop()

    assert first == kept == (200, b"hello from local v0\n")
    assert second[0] == 200
    assert second[1] != first[1]
    assert code == 0
    assert "error[E0202]: the file is not a Wasm binary" in run.err


@pytest.mark.e2e
def test_json_lines(tmp_path):
    """A document per request, and one at the end."""
    with running(tmp_path, str(resource_path("workers/hello")), "--json") as run:
        run.get("/teapot")
        code = run.stop()
    request, summary = (json.loads(line) for line in run.out.splitlines())

    assert code == 0
    assert (request["schema"], request["status"], request["error"]) == ("edgesim.run.request.v1", 418, None)
    assert summary["schema"] == "edgesim.run.summary.v1"
    assert summary["components"][0]["requests"] == 1
    assert summary["components"][0]["profiles"][0]["profile"] == "cloudflare-free"


@pytest.mark.e2e
def test_an_app_that_is_wrong_ends_the_command(tmp_path):
    """Exit code 2, its port is free again, no traceback."""
    (tmp_path / "app.wasm").write_bytes(bytes(wat2wasm('(module (func (export "go")))')))
    with running(tmp_path, "app.wasm") as run:
        code = run.process.wait(20)

    assert code == 2
    assert "error[E0203]" in run.err
    assert "Traceback" not in run.err
