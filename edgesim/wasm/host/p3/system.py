"""wasi:clocks, wasi:random and wasi:cli of WASI 0.3."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Final

from edgesim.wasm.flat.async_channel import Channel, HostFuture
from edgesim.wasm.guest import CHUNK_BYTES, Input, Suspend
from edgesim.wasm.host import cli, clocks, random
from edgesim.wasm.linking import HostTable

if TYPE_CHECKING:
    from edgesim.wasm.flat.async_guest import AsyncGuest
    from edgesim.wasm.guest import Log

TABLE: Final = HostTable()
_MONOTONIC, _SYSTEM = "wasi:clocks/monotonic-clock", "wasi:clocks/system-clock"
_ENVIRONMENT, _EXIT = "wasi:cli/environment", "wasi:cli/exit"
_RESOLUTION_NS: Final = 1000

TABLE.add(_MONOTONIC, "now")(clocks.now)
TABLE.add("wasi:random/random", "get-random-bytes")(random.random_bytes)
TABLE.add("wasi:random/insecure", "get-insecure-random-bytes")(random.random_bytes)
TABLE.add("wasi:random/random", "get-random-u64")(random.random_u64)
TABLE.add("wasi:random/insecure", "get-insecure-random-u64")(random.random_u64)
TABLE.add("wasi:random/insecure-seed", "get-insecure-seed")(random.insecure_seed)
TABLE.add(_ENVIRONMENT, "get-environment")(cli.get_environment)
TABLE.add(_ENVIRONMENT, "get-arguments")(cli.nothing)
TABLE.add(_ENVIRONMENT, "get-initial-cwd")(cli.none)
TABLE.add("wasi:cli/terminal-stdin", "get-terminal-stdin")(cli.none)
TABLE.add("wasi:cli/terminal-stdout", "get-terminal-stdout")(cli.none)
TABLE.add("wasi:cli/terminal-stderr", "get-terminal-stderr")(cli.none)
TABLE.add(_EXIT, "exit")(cli.exit_)
TABLE.add(_EXIT, "exit-with-code")(cli.exit_with_code)


@TABLE.add(_MONOTONIC, "get-resolution")
@TABLE.add(_SYSTEM, "get-resolution")
def resolution(_guest: AsyncGuest) -> int:
    """Nanoseconds."""
    return _RESOLUTION_NS


@TABLE.add(_SYSTEM, "now")
def system_now(_guest: AsyncGuest) -> dict[str, int]:
    """Time since 1970."""
    seconds, nanoseconds = divmod(time.time_ns(), 1_000_000_000)
    return {"seconds": seconds, "nanoseconds": nanoseconds}


@TABLE.add(_MONOTONIC, "wait-until", waits=True)
def wait_until(_guest: AsyncGuest, when_ns: int) -> Suspend | None:
    """Return at a time of this clock."""
    due_s = when_ns / 1e9
    if due_s <= time.monotonic():
        return None
    return Suspend(lambda: asyncio.sleep(max(0.0, due_s - time.monotonic())), lambda _: None)


@TABLE.add(_MONOTONIC, "wait-for", waits=True)
def wait_for(guest: AsyncGuest, duration_ns: int) -> Suspend | None:
    """Return after a while."""
    waits: Suspend | None = wait_until(guest, time.monotonic_ns() + duration_ns)
    return waits


class _LogSink:
    """The log of a worker, which never blocks."""

    __slots__ = ("_log", "_written")

    room = CHUNK_BYTES
    closed = False

    def __init__(self, log: Log, written: HostFuture) -> None:
        self._log = log
        self._written = written

    def write(self, data: bytes) -> None:
        """Append to the log."""
        self._log.write(data)

    async def wait_room(self) -> None:
        """There always is."""

    def finish(self) -> None:
        """The guest has written everything."""
        self._written.set(None)

    def flush(self) -> None:
        """Nobody waits."""


@TABLE.add("wasi:cli/stdout", "write-via-stream")
@TABLE.add("wasi:cli/stderr", "write-via-stream")
def write_log(guest: AsyncGuest, data: Channel) -> Channel:
    """What is written goes to the worker's log; a future of the end."""
    written = HostFuture()
    guest.connect(data, _LogSink(guest.log, written))
    return Channel(written)


@TABLE.add("wasi:cli/stdin", "read-via-stream")
def read_nothing(_guest: AsyncGuest) -> tuple[Any, ...]:
    """An empty stream: the request's body comes through wasi:http."""
    ended = HostFuture()
    ended.set(None)
    return Channel(Input(None, 0)), Channel(ended)
