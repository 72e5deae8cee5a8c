"""What a PoP counts of an answer that streams: how its body ended, once, when it has."""

from __future__ import annotations

import pytest

from edgesim.core.tail import WatchedBody
from edgesim.errors import GuestTrapError
from edgesim.model.http import BytesBody
from tests.support.request_path import CountedBody


async def read(body, times=None):
    """Read so many chunks, or all."""
    while times != 0 and await body.next() is not None:
        times = None if times is None else times - 1


async def test_how_a_body_ends():
    """Well, midway, not wanted (HEAD), or with its sender's error; told at its close and only once."""
    error, ends = GuestTrapError("unreachable"), []
    for body, times in ((CountedBody(2), None), (CountedBody(2), 1), (CountedBody(2), 0)):
        watched = WatchedBody(body, ends.append)
        await read(watched, times)
        watched.close()
        watched.close()
    broken = WatchedBody(CountedBody(1, error=error), ends.append)
    with pytest.raises(GuestTrapError):
        await read(broken)
    broken.close()

    assert ends == ["whole", "left", "whole", error]


async def test_trailers_pass():
    """They are the sender's."""
    assert WatchedBody(BytesBody(b"", (("x", "1"),)), print).trailers() == (("x", "1"),)
