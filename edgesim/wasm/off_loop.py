"""Runs a piece of a guest on a thread of the pool, and never leaves it running behind.

What such a piece is, and when it belongs there, `execution.py` and `proxy/steps.py` decide.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import ThreadPoolExecutor

T = TypeVar("T")
_PAUSE_S: Final = 0.0005


async def run_on(pool: ThreadPoolExecutor, step: Callable[[], T], cancel: Callable[[], None] | None = None) -> T:
    """The step's result. When cancelled, it returns only after the step has ended; `cancel` is to make that soon."""
    job = pool.submit(step)
    try:
        return await asyncio.wrap_future(job)
    except asyncio.CancelledError:
        if not job.cancel():
            if cancel is not None:
                cancel()
            while not job.done():
                await _uncancelled_pause()
        raise


async def _uncancelled_pause() -> None:
    """Let the loop run for a moment, also when the task is being cancelled again."""
    try:
        await asyncio.sleep(_PAUSE_S)
    except asyncio.CancelledError:
        return
