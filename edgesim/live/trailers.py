"""Trailer fields of HTTP/1.1 messages (RFC 9110 §6.5, RFC 9112 §7.1.2): read beside aiohttp's parser, written around its writer.

aiohttp 3.14 has no trailers in either direction. Its parser reads them and drops them, so what has arrived of a chunked message
is kept here, as much of its end as trailers may take, and looked at when the body is over. Its writer ends every chunked
body itself, so it is told that the body is not chunked any more and given the trailer section as plain bytes.

Trailers are sent wherever a body is chunked, whether or not the client says `TE: trailers`: who cannot use them has to
skip them (RFC 9112 §7.1.2), and a field that the recipient needs does not belong into a trailer anyway. A message with a
`content-length` has no place for them, and they are dropped, as an intermediary may.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from aiohttp.payload import AsyncIterablePayload

if TYPE_CHECKING:
    from collections.abc import AsyncIterable

    from aiohttp.abc import AbstractStreamWriter
    from aiohttp.streams import StreamReader
    from multidict import CIMultiDict

    from edgesim.model.http import Body, Headers

SECTION_BYTES_MAX: Final = 16 * 1024
"""Of a trailer section with the last chunk before it; a longer one is dropped."""
_LAST_CHUNK: Final = re.compile(rb"0+[ \t]*(;.*)?")
_NAME: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_CONTROL: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
NEVER: Final = frozenset(
    {
        "age", "authorization", "cache-control", "connection", "content-encoding", "content-length", "content-range",
        "content-type", "cookie", "date", "expect", "expires", "host", "keep-alive", "location", "max-forwards", "pragma",
        "proxy-authenticate", "proxy-authorization", "proxy-connection", "range", "retry-after", "set-cookie", "te", "trailer",
        "transfer-encoding", "upgrade", "vary", "via", "warning", "www-authenticate",
    }
)  # fmt: skip
"""What decides about framing, routing, authentication, caching, or how the content is read, must not come after it
(RFC 9110 §6.5.1; the list is that of RFC 7230 §4.1.2, which was still explicit)."""


def sendable(fields: Headers) -> Headers:
    """Those that may be trailers, names in lowercase."""
    return tuple(
        (name, value)
        for name, value in fields
        if name not in NEVER and not name.startswith("x-edge") and _NAME.fullmatch(name) and not _CONTROL.search(value)
    )


def announce(headers: CIMultiDict[str], body: Body) -> None:
    """Name the trailers in the head (RFC 9110 §6.6.2), unless the sender has; those of a body that is still made are not known."""
    names = dict.fromkeys(name for name, _ in sendable(body.trailers()))
    if names and "trailer" not in headers:
        headers["trailer"] = ", ".join(names)


async def write_trailers(writer: AbstractStreamWriter, body: Body) -> None:
    """End a chunked body with its trailers, if it has any. The writer's own `write_eof` then adds nothing to it any more."""
    fields = sendable(body.trailers())
    if fields:
        lines = "".join(f"{name}: {value}\r\n" for name, value in fields)
        writer.chunked = False  # type: ignore[attr-defined]  # what follows is the chunked coding's own end
        await writer.write(f"0\r\n{lines}\r\n".encode(errors="surrogateescape"))


class Tail:
    """The last bytes of a chunked message that is being received."""

    __slots__ = ("_bytes", "_ended", "fields", "stream")

    def __init__(self, stream: StreamReader) -> None:
        self.stream = stream
        """The message's body."""
        self.fields: Headers = ()
        """The trailer fields, names in lowercase, once the parser has seen the end."""
        self._bytes = b""
        self._ended = False

    def add(self, data: bytes) -> bool:
        """More of the message as it came, its head included, after it was parsed. Whether this was its end."""
        if self._ended:
            return False
        self._bytes = (self._bytes + data)[-SECTION_BYTES_MAX:]
        self._ended = self.stream.is_eof()
        if self._ended:
            self.fields, self._bytes = _section(self._bytes), b""
        return self._ended


def _section(data: bytes) -> Headers:
    """The trailer section that `data` ends with. None where another message follows: a client that does not wait for answers."""
    if not data.endswith((b"\r\n\r\n", b"\n\n")):
        return ()
    found: list[tuple[str, str]] = []
    for line in reversed(data.rstrip(b"\r\n").split(b"\n")):
        text = line.rstrip(b"\r")
        if _LAST_CHUNK.fullmatch(text):
            return tuple(reversed(found))
        name, colon, value = text.decode(errors="surrogateescape").partition(":")
        if not (colon and _NAME.fullmatch(name)):
            break
        found.append((name.lower(), value.strip(" \t")))
    return ()


class TrailedPayload(AsyncIterablePayload):
    """A request's body that streams, and the trailers that are known at its end."""

    def __init__(self, chunks: AsyncIterable[bytes], body: Body) -> None:
        super().__init__(chunks)
        self._body = body

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:
        """Send it."""
        await super().write_with_length(writer, content_length)
        if writer.chunked:  # type: ignore[attr-defined]
            await write_trailers(writer, self._body)
