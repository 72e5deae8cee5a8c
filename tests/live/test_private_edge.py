"""An edge for a measurement is ended, whenever the measurement is."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from edgesim.live import private_edge


async def test_one_that_is_interrupted_while_it_starts_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is let start, since what starts cannot be found yet, and then told to end."""
    calls: list[str] = []
    starting, may_start = asyncio.Event(), asyncio.Event()

    async def edgesim(*arguments: str, timeout_s: float) -> None:
        assert timeout_s > 0
        if arguments[0] == "up":
            starting.set()
            await may_start.wait()
        calls.append(arguments[0])

    async def measure() -> None:
        async with private_edge.private_edge():
            pytest.fail("it was never ready")

    monkeypatch.setattr(private_edge, "_edgesim", edgesim)
    measuring = asyncio.create_task(measure())
    await starting.wait()

    measuring.cancel()
    await asyncio.sleep(0)
    may_start.set()
    with contextlib.suppress(asyncio.CancelledError):
        await measuring

    assert measuring.cancelled()
    assert calls == ["up", "down"]
