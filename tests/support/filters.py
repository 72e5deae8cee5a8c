"""Proxy-Wasm guests for tests: WAT around one callback, the sample filters, and a plugin to run them in."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import wasmtime

from edgesim.config.resources import resource_path
from edgesim.model.http import BytesBody
from edgesim.model.worker import Component, Limits
from edgesim.wasm.guest import Grants, GuestRequest
from edgesim.wasm.outbound import OutboundError, OutboundResponse
from edgesim.wasm.proxy.module import TABLE  # complete there: it imports every family
from edgesim.wasm.proxy.plugin import Plugin, PluginSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from edgesim.model.http import Body, Headers
    from edgesim.wasm.runtime import Runtime

GENEROUS = Limits(cpu_ms=5_000, startup_ms=5_000, wall_s=20)
TYPES = {"i": "i32", "I": "i64"}


def wat(
    body: str, *imports: str, memory: str = '(memory (export "memory") 2)', allocator: str = "", raw: str = ""
) -> bytes:
    """A filter of ABI 0.2.1 with these host functions as `$name`, and an allocator that never frees from 64 KiB on."""
    head = "".join(
        f'(import "env" "{name}" (func ${name} (param {" ".join(TYPES[p] for p in TABLE[name].params)}) (result i32)))'
        if TABLE[name].params
        else f'(import "env" "{name}" (func ${name} (result i32)))'
        for name in imports
    )
    allocator = (
        allocator
        or """
        (global $next (mut i32) (i32.const 65536))
        (func (export "proxy_on_memory_allocate") (param i32) (result i32)
          (global.get $next)
          (global.set $next (i32.add (global.get $next) (i32.and (i32.add (local.get 0) (i32.const 7)) (i32.const -8)))))
    """
    )
    return bytes(
        wasmtime.wat2wasm(
            f'(module {raw} {head} {memory} {allocator} (func (export "proxy_abi_version_0_2_1")) {body})'
        )
    )


def sample(name: str) -> bytes:
    """A filter of `workers/`."""
    return resource_path(
        {"auth": "workers/filter-auth/auth.wasm", "headers": "workers/filter-headers/headers.wasm"}[name]
    ).read_bytes()


def filter_request(
    target: str = "/",
    *,
    method: str = "GET",
    headers: Headers = (),
    body: Body | bytes | None = None,
    deadline_s: float = 30.0,
) -> GuestRequest:
    """A request that is due in `deadline_s` seconds."""
    return GuestRequest(
        method=method,
        target=target,
        headers=(("host", "hello.localhost"), *headers),
        body=BytesBody(body) if isinstance(body, bytes) else body,
        authority="hello.localhost",
        scheme="http",
        client_address="240.1.2.3",
        deadline_s=asyncio.get_running_loop().time() + deadline_s,
    )


@asynccontextmanager
async def plugin_of(
    runtime: Runtime, folder: Path, data: bytes, *, name: str = "guest", limits: Limits = GENEROUS, configuration: bytes = b"",
    outbound: Any = None, fail_open: bool = False, identity: tuple[tuple[bytes, bytes], ...] = (), start: bool = True,
) -> AsyncIterator[Plugin]:  # fmt: skip
    """A filter on a PoP, started; closed at the end."""
    path = folder / f"{hash(data) & 0xFFFFFFFF:08x}.wasm"
    path.write_bytes(data)
    found = await runtime.inspect(path)
    assert found.abi == "proxy-wasm"
    loaded = await runtime.load(
        path, Component(id=name, digest=found.digest, size_bytes=found.size_bytes, abi=found.abi)
    )
    settings = PluginSettings(
        name=name, limits=limits, grants=Grants(outbound=outbound), configuration=configuration, fail_open=fail_open,
        identity=identity,
    )  # fmt: skip
    plugin = Plugin(loaded, settings, runtime.ticker, runtime.pool)
    try:
        if start:
            await plugin.start()
        yield plugin
    finally:
        plugin.close()
        runtime.release(loaded)


@dataclass
class Network:
    """A way out that answers from a table of authorities; what is not in it is refused."""

    answers: dict[str, tuple[int, Headers, bytes]] = field(default_factory=dict)
    seen: list[Any] = field(default_factory=list)
    gate: asyncio.Event | None = None

    async def open(self, request: Any, hops: Any) -> OutboundResponse:
        """The answer of `request.authority`."""
        self.seen.append(request)
        if self.gate is not None:
            await self.gate.wait()
        if request.authority not in self.answers:
            raise OutboundError("HTTP-request-denied")
        status, headers, body = self.answers[request.authority]
        return OutboundResponse(status=status, headers=headers, body=BytesBody(body))


async def read_all(body: Any) -> bytes:
    """Every byte of a body."""
    if isinstance(body, bytes):
        return body
    parts = []
    while (chunk := await body.next()) is not None:
        parts.append(chunk)
    return b"".join(parts)
