"""An edge of one's own for a measurement: started from a temporary state directory on free ports, ended when it is over."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from edgesim.errors import ProcessError
from edgesim.live.state import RunRecord, require_run

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

START_S: Final = 90.0
"""Longest time until it is ready."""
STOP_S: Final = 30.0
_PORTS: Final = ("--port", "--api-port", "--broker-port")


@contextlib.asynccontextmanager
async def private_edge(*flags: str) -> AsyncIterator[RunRecord]:
    """An edge that is ready, for as long as the block lasts.

    Args:
        flags: of `edgesim up`, such as `--topology`.

    Raises:
        ProcessError: it did not start, with what it said.
    """
    with tempfile.TemporaryDirectory(prefix="edgesim-profile-") as folder:
        state = Path(folder) / "state"
        ports = [part for flag, port in zip(_PORTS, _free_ports(), strict=True) for part in (flag, str(port))]
        up = asyncio.ensure_future(_edgesim("up", "--detach", "--state", str(state), *ports, *flags, timeout_s=START_S))
        try:
            # Who is interrupted meanwhile must not leave it behind: it is let start, and then ended.
            await asyncio.shield(up)
            yield require_run(state)
        finally:
            await asyncio.wait([up])
            if up.exception() is None:
                await _edgesim("down", "--state", str(state), timeout_s=STOP_S)


async def _edgesim(*arguments: str, timeout_s: float) -> None:
    """Run one command to its end. Raises ProcessError with what it printed when it fails."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("EDGESIM_")}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "edgesim", *arguments),
        env={**environment, "NO_COLOR": "1"},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,  # Ctrl-C is for us, who then end it in order
    )
    try:
        _, said = await asyncio.wait_for(process.communicate(), timeout_s)
    except TimeoutError as exc:
        process.kill()
        await process.wait()
        raise ProcessError(f"`edgesim {arguments[0]}` did not end within {timeout_s:g} s") from exc
    if process.returncode:
        what = said.decode(errors="replace").strip()[-1000:]
        raise ProcessError(f"`edgesim {arguments[0]}` failed (exit code {process.returncode}): {what}")


def _free_ports() -> list[int]:
    """A free port for each flag; somebody else may take one before the edge does, which then says so."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in _PORTS]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in sockets]
