"""What transport and origins share as HTTP clients: bodies in and out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import aiohttp

from edgesim.model.http import HOP_BY_HOP

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from edgesim.errors import EdgesimError
    from edgesim.model.http import Body, Headers


def fields_of(answer: aiohttp.ClientResponse) -> Headers:
    """The answer's end-to-end header fields, names in lowercase."""
    return tuple((name, value) for key, value in answer.headers.items() if (name := key.lower()) not in HOP_BY_HOP)


async def chunks(body: Body) -> AsyncIterator[bytes]:
    """A body as aiohttp's client sends it."""
    while (chunk := await body.next()) is not None:
        yield chunk


class AnswerBody:
    """The body of an answer that is still coming, as a pulled stream."""

    __slots__ = ("_answer", "_broken")

    def __init__(self, answer: aiohttp.ClientResponse, broken: Callable[[], EdgesimError]) -> None:
        self._answer = answer
        self._broken = broken

    async def next(self) -> bytes | None:
        """The next chunk. Raises what `broken` makes when the sender fails midway."""
        try:
            return await self._answer.content.readany() or None
        except (aiohttp.ClientError, OSError) as exc:
            raise self._broken() from exc

    def close(self) -> None:
        """Give the connection back when the body was read to its end, else drop it."""
        if self._answer.content.at_eof():
            self._answer.release()
        else:
            self._answer.close()
