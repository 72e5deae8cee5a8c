"""A request body that can be sent a second time, as long as little of it has been read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from edgesim.model.http import Body, Headers

REPLAY_BYTES_MAX: Final = 64 * 1024
"""What is kept of a request body for failover (docs/architecture.md, death)."""


class ReplayBody:
    """Passes a body through and remembers its first 64 KiB. After more than that it can no longer be rewound."""

    __slots__ = ("_at", "_kept", "_lost", "_source", "_total")

    def __init__(self, source: Body) -> None:
        self._source = source
        self._kept: list[bytes] = []
        self._total = 0
        self._at = 0
        self._lost = False

    async def next(self) -> bytes | None:
        """The next chunk: a remembered one first, then from the source."""
        if self._at < len(self._kept):
            self._at += 1
            return self._kept[self._at - 1]
        chunk = await self._source.next()
        if chunk is None:
            return None
        self._total += len(chunk)
        if self._total > REPLAY_BYTES_MAX:
            self._lost = True
            self._kept.clear()
            self._at = 0
        else:
            self._kept.append(chunk)
            self._at += 1
        return chunk

    def trailers(self) -> Headers:
        """The source's."""
        return self._source.trailers()

    def rewind(self) -> bool:
        """Start again from the beginning; False when that is no longer possible."""
        self._at = 0
        return not self._lost

    def close(self) -> None:
        """Nothing: a PoP that is done with the body must not end the client's stream; the front door does."""
