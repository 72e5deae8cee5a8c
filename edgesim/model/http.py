"""HTTP as values: header lists and body streams. No parsing, no sockets."""

from __future__ import annotations

from typing import Final, Protocol, TypeAlias

Headers: TypeAlias = tuple[tuple[str, str], ...]
"""Header fields in their order, names in lowercase, values as received."""

HOP_BY_HOP = frozenset(
    {"connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te", "transfer-encoding", "upgrade"}
)  # fmt: skip
"""Fields that end at each hop (RFC 9110 §7.6.1)."""


BODILESS: Final = frozenset({204, 205, 304})
"""Statuses without content (RFC 9110 §15.3.5, §15.3.6, §15.4.5)."""


class Body(Protocol):
    """A stream of bytes that is pulled: the next chunk is produced only when it is asked for (back-pressure)."""

    async def next(self) -> bytes | None:
        """The next chunk, never empty; None at the end. Raises an EdgesimError when the sender fails."""
        ...

    def trailers(self) -> Headers:
        """The trailer fields (RFC 9110 §6.5), names in lowercase: complete once `next` has given None."""
        ...

    def close(self) -> None:
        """Stop the sender. Idempotent, never suspends; must be called also after the end."""
        ...


class BytesBody:
    """A body that is already in memory."""

    __slots__ = ("_data", "_trailers")

    def __init__(self, data: bytes, trailers: Headers = ()) -> None:
        self._data: bytes | None = data or None
        self._trailers = trailers

    async def next(self) -> bytes | None:
        """The whole body at once, then None."""
        data, self._data = self._data, None
        return data

    def trailers(self) -> Headers:
        """Known from the beginning."""
        return self._trailers

    def close(self) -> None:
        """Forget the rest."""
        self._data = None


def header(headers: Headers, name: str) -> str | None:
    """The first value of the field `name` (lowercase), or None."""
    for key, value in headers:
        if key == name:
            return value
    return None
