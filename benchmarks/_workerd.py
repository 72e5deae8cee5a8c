"""workerd, the runtime of Cloudflare Workers, as a yardstick: from npm in one pinned version, installed beside the guests.

The worker makes a new `WebAssembly.Instance` for each request, calls it, and answers with bytes of its memory.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from wasmtime import wat2wasm

from benchmarks._procs import free_ports
from tests.guests import build

if TYPE_CHECKING:
    from collections.abc import Iterator

VERSION = "1.20261117.1"
CONFIG = """\
using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [(name = "main", worker = .hello)],
  sockets = [(name = "http", address = "127.0.0.1:{port}", http = (), service = "main")]
);
const hello :Workerd.Worker = (
  modules = [
    (name = "worker.js", esModule = embed "worker.js"),
    (name = "hello.wasm", wasm = embed "hello.wasm")
  ],
  compatibilityDate = "2026-11-01"
);
"""
WORKER = """\
import module from "hello.wasm";
export default {
  fetch() {
    const { memory, handle } = new WebAssembly.Instance(module, {}).exports;
    return new Response(new Uint8Array(memory.buffer, 64, handle()), { headers: { "content-type": "text/plain" } });
  },
};
"""
MODULE = """(module (memory (export "memory") 1) (data (i32.const 64) "hello")
  (func (export "handle") (result i32) (i32.const 5)))"""


class MissingWorkerdError(Exception):
    """It cannot be had here; says why."""


def binary() -> Path:
    """Workerd's executable, installed at the first use. Raises MissingWorkerdError."""
    folder = build.cache() / "tools" / f"workerd-{VERSION}"
    found = folder / "node_modules/@cloudflare/workerd-linux-64/bin/workerd"
    if found.exists():
        return found
    if shutil.which("npm") is None:
        raise MissingWorkerdError("npm is not installed")
    folder.mkdir(parents=True, exist_ok=True)
    command = [
        "npm",
        "install",
        "--no-audit",
        "--no-fund",
        "--ignore-scripts",
        "--prefix",
        folder,
        f"workerd@{VERSION}",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode or not found.exists():
        raise MissingWorkerdError(f"npm could not install workerd {VERSION}: {done.stderr.strip()[-200:]}")
    return found


@contextmanager
def workerd() -> Iterator[tuple[int, int]]:
    """A running workerd: its process id and its port."""
    (port,) = free_ports(1)
    with tempfile.TemporaryDirectory(prefix="edgesim-workerd-") as name:
        folder = Path(name)
        (folder / "config.capnp").write_text(CONFIG.replace("{port}", str(port)))
        (folder / "worker.js").write_text(WORKER)
        (folder / "hello.wasm").write_bytes(wat2wasm(MODULE))
        process = subprocess.Popen([binary(), "serve", folder / "config.capnp"])
        try:
            _wait(port, process)
            yield process.pid, port
        finally:
            process.terminate()
            process.wait()


def _wait(port: int, process: subprocess.Popen[bytes]) -> None:
    """Until it listens."""
    deadline_s = time.monotonic() + 20
    while time.monotonic() < deadline_s:
        if process.poll() is not None:
            raise RuntimeError(f"workerd ended with code {process.returncode}")
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise RuntimeError("workerd did not listen within 20 s")
