"""One process of the load generator, from outside: JSON lines to it and from it (`edgesim/live/load/__main__.py`)."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from typing import TYPE_CHECKING, Any, Final, Self

from edgesim.errors import ProcessError

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import AsyncIterator

RESULT_BYTES_MAX: Final = 64 << 20
"""Longest line that a generator may write: its result."""
STOP_GRACE_S: Final = 10.0
_TAIL_BYTES: Final = 4096


class Worker:
    """A generator's process. `close` must be called."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._stderr = asyncio.create_task(self._tail())

    @classmethod
    async def start(cls) -> Self:
        """Start the process; it waits for its job."""
        return cls(
            await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-m", "edgesim.live.load"),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                start_new_session=True,
                limit=RESULT_BYTES_MAX,
            )
        )

    async def say(self, document: dict[str, Any]) -> None:
        """One line to it; nothing happens when it is gone, `messages` finds out why."""
        assert self._process.stdin is not None
        with contextlib.suppress(ConnectionError):
            self._process.stdin.write(json.dumps(document).encode() + b"\n")
            await self._process.stdin.drain()

    async def messages(self) -> AsyncIterator[dict[str, Any]]:
        """What it says. Raises ProcessError when it ends, which whoever has its result does not wait for."""
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            yield json.loads(line)
        code = await self._process.wait()
        tail = (await self._stderr).decode(errors="replace").strip()
        raise ProcessError(
            f"the load generator ended without a result (exit code {code}){': ' + tail[-500:] if tail else ''}",
            help="run the scenario again; when it happens again, please report it",
        )

    async def close(self) -> None:
        """End it."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            await asyncio.wait_for(self._process.wait(), STOP_GRACE_S)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
        await self._stderr

    async def _tail(self) -> bytes:
        """Read all of its stderr and keep the end."""
        assert self._process.stderr is not None
        tail = b""
        while chunk := await self._process.stderr.read(_TAIL_BYTES):
            tail = (tail + chunk)[-_TAIL_BYTES:]
        return tail
