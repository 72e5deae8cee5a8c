"""Waiting for the first of several conditions, on the event loop, for `poll_oneoff` and `wasi:io/poll`."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence


async def wait_any(conditions: Sequence[Callable[[], Awaitable[None]]], due_s: float | None) -> None:
    """Return when one condition has come true or `time.monotonic()` has reached `due_s` (None: no timer).

    Conditions must stand being cancelled, and are told nothing: the caller looks again who is ready.
    """
    delay_s = None if due_s is None else max(0.0, due_s - time.monotonic())
    if not conditions:
        await asyncio.sleep(3600.0 if delay_s is None else delay_s)
        return
    if len(conditions) == 1 and delay_s is None:
        await conditions[0]()
        return
    tasks = [asyncio.ensure_future(condition()) for condition in conditions]
    try:
        await asyncio.wait(tasks, timeout=delay_s, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
