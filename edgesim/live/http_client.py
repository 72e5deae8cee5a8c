"""What transport and origins share as HTTP clients: bodies in and out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import aiohttp

from edgesim.errors import EdgesimError
from edgesim.live import answers
from edgesim.live.trailers import TrailedPayload

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterator, Callable

    from aiohttp.streams import StreamReader

    from edgesim.model.http import Body, Headers


def fields_of(answer: aiohttp.ClientResponse) -> Headers:
    """The answer's end-to-end header fields, names in lowercase."""
    return answers.fields_of(answer.headers)


async def next_chunk(answer: aiohttp.ClientResponse) -> bytes | None:
    """The next bytes of an answer's body; None at its end.

    A chunk size that is none makes aiohttp 3.14 close the connection, and whoever reads the body waits for ever: here they
    hear of it.

    Raises:
        aiohttp.ClientError, OSError: the sender failed midway.
    """
    content, connection = answer.content, answer.connection
    if content.exception() is not None and (rest := _unread(content)):
        return rest
    closed = None if connection is None or connection.protocol is None else connection.protocol.closed

    def broken(_closed: asyncio.Future[None]) -> None:
        if not content.is_eof() and content.exception() is None:
            content.set_exception(aiohttp.ClientPayloadError("the connection ended within the body"))

    if closed is not None:
        closed.remove_done_callback(_heard)
        closed.add_done_callback(_heard)  # one for all requests of a connection, so that no error stays unheard
        closed.add_done_callback(broken)
    try:
        return await content.readany() or None
    except RuntimeError as exc:  # the connection was closed before anybody read
        raise aiohttp.ClientPayloadError("the connection ended within the body") from exc
    finally:
        if closed is not None:
            closed.remove_done_callback(broken)


def _unread(content: StreamReader) -> bytes:
    """What has arrived of a body before its sender failed; aiohttp's reader would raise before giving it."""
    rest: bytes = content._read_nowait(-1) if getattr(content, "_buffer", None) else b""  # noqa: SLF001 - no public way
    return rest


def _heard(closed: asyncio.Future[None]) -> None:
    """Take the error of a closed connection: readers have their own."""
    if not closed.cancelled():
        closed.exception()


class Upload:
    """A request's body as aiohttp's client sends it; `answer` is set once the head of the answer is there."""

    __slots__ = ("_body", "answer")

    def __init__(self, body: Body) -> None:
        self._body = body
        self.answer: aiohttp.ClientResponse | None = None

    def payload(self) -> TrailedPayload:
        """For aiohttp's `data`."""
        return TrailedPayload(self._chunks(), self._body)

    async def _chunks(self) -> AsyncIterator[bytes]:
        """The body. If it fails while the answer is coming, the connection ends: else both sides wait for each other."""
        try:
            while (chunk := await self._body.next()) is not None:
                yield chunk
        except EdgesimError:
            if self.answer is not None:
                self.answer.close()
            raise


class AnswerBody:
    """The body of an answer that is still coming, as a pulled stream."""

    __slots__ = ("_answer", "_broken")

    def __init__(self, answer: aiohttp.ClientResponse, broken: Callable[[], EdgesimError]) -> None:
        self._answer = answer
        self._broken = broken

    async def next(self) -> bytes | None:
        """The next chunk. Raises what `broken` makes when the sender fails midway."""
        try:
            return await next_chunk(self._answer)
        except (aiohttp.ClientError, OSError) as exc:
            raise self._broken() from exc

    def trailers(self) -> Headers:
        """What came after it, from connections that keep that."""
        return self._answer.trailers() if isinstance(self._answer, answers.TrailedAnswer) else ()

    def close(self) -> None:
        """Give the connection back when the body was read to its end, else drop it."""
        if self._answer.content.at_eof():
            self._answer.release()
        else:
            self._answer.close()
