"""Guests for tests: WAT from tests/guests, the sample workers, and requests to send to them."""

from __future__ import annotations

import asyncio
import hashlib
import importlib.util
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wasmtime import wat2wasm

from edgesim.config.resources import resource_path
from edgesim.model.ids import Digest
from edgesim.model.worker import Component, Limits
from edgesim.wasm.guest import GuestRequest

if TYPE_CHECKING:
    from edgesim.model.http import Body, Headers
    from edgesim.model.worker import Abi
    from edgesim.wasm.guest import GuestResponse
    from edgesim.wasm.runtime import LoadedWorker, Runtime

GUESTS = Path(__file__).parents[1] / "guests"
GENEROUS = Limits(cpu_ms=20_000, wall_s=30)
"""Limits that a busy test machine does not reach by itself."""


@cache
def build_script() -> Any:
    """`workers/build.py` as a module."""
    spec = importlib.util.spec_from_file_location("workers_build", resource_path("workers/build.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@cache
def hostile(abi: Abi, name: str) -> bytes:
    """A guest of tests/guests as a Wasm binary."""
    core = bytes(wat2wasm((GUESTS / abi.replace("-", "_") / f"{name}.wat").read_text()))
    return core if abi == "wagi" else build_script().componentize(core)


def hello(abi: Abi) -> bytes:
    """The sample worker of an ABI."""
    return resource_path("workers/hello-wagi/hello.wasm" if abi == "wagi" else "workers/hello/hello.wasm").read_bytes()


def request(
    target: str = "/",
    *,
    method: str = "GET",
    headers: Headers = (),
    body: Body | None = None,
    deadline_s: float = 30.0,
) -> GuestRequest:
    """A request that is due in `deadline_s` seconds."""
    return GuestRequest(
        method=method,
        target=target,
        headers=(("host", "hello.localhost:8080"), *headers),
        body=body,
        authority="hello.localhost:8080",
        scheme="http",
        client_address="240.1.2.3",
        deadline_s=asyncio.get_running_loop().time() + deadline_s,
    )


async def load(runtime: Runtime, folder: Path, data: bytes) -> LoadedWorker:
    """Inspect and load a Wasm binary. What this artefact cache has seen is not compiled again: that takes half a second."""
    digest = hashlib.sha256(data).hexdigest()
    path = folder / f"{digest[:8]}.wasm"
    path.write_bytes(data)
    known = await asyncio.to_thread(runtime._compiler.find, digest)
    abi = known.facts.abi if known is not None else (await runtime.inspect(path)).abi
    component = Component(id="test", digest=Digest(digest), size_bytes=len(data), abi=abi)
    return await runtime.load(path, component)


async def read_all(response: GuestResponse) -> bytes:
    """The whole body, and the guest's end."""
    if isinstance(response.body, bytes):
        return response.body
    parts = []
    while (chunk := await response.body.next()) is not None:
        parts.append(chunk)
    return b"".join(parts)


@dataclass
class Slow:
    """A request body that gives `chunks` and then never goes on."""

    chunks: list[bytes]
    asked: int = 0
    closed: bool = False

    async def next(self) -> bytes | None:
        """The next chunk, or nothing for ever."""
        self.asked += 1
        if self.chunks:
            return self.chunks.pop(0)
        await asyncio.get_running_loop().create_future()
        return None

    def trailers(self):
        """None."""
        return ()

    def close(self) -> None:
        """Remember it."""
        self.closed = True


async def ended(response: GuestResponse) -> None:
    """Wait until a guest that was handed over has really ended."""
    if response.ended is None or response.ended.done:
        return
    event = asyncio.Event()
    response.ended.parked.append(event.set)
    await event.wait()
