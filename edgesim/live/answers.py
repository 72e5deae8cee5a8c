"""aiohttp's client with what it leaves out of answers: trailers, and the informational ones before the answer itself.

For sessions made with `connector=complete(TCPConnector(…))` and one of the two classes of answers here.
"""

from __future__ import annotations

from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import aiohttp
from aiohttp.client_proto import ResponseHandler

from edgesim.live.trailers import Tail
from edgesim.model.http import HOP_BY_HOP

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiohttp.connector import Connection

    from edgesim.model.http import Headers

_NOT_PASSED_ON: Final = (100, 101)
"""100 answers what this hop has asked (RFC 9110 §15.2); 101 is nothing that anybody asks here."""

informed: ContextVar[Callable[[int, Headers], None] | None] = ContextVar("informed", default=None)
"""Who hears of informational answers to the requests of this task, in sessions of RelayedAnswer."""


def fields_of(headers: Any) -> Headers:
    """End-to-end header fields of what aiohttp has parsed, names in lowercase."""
    return tuple((name, value) for key, value in headers.items() if (name := key.lower()) not in HOP_BY_HOP)


class _Protocol(ResponseHandler):
    """A connection that keeps the end of chunked answers, and tells of informational ones."""

    tail: Tail | None = None
    inform: Callable[[int, Headers], None] | None = None

    def feed_data(self, data: Any, size: int = 0) -> None:
        """The head of an answer is there."""
        message, payload = data
        if message.code >= 200:
            self.tail = Tail(payload) if message.chunked else None
        elif self.inform is not None and message.code not in _NOT_PASSED_ON:
            self.inform(message.code, fields_of(message.headers))
        super().feed_data(data, size)

    def data_received(self, data: bytes) -> None:
        """More of the answer."""
        super().data_received(data)
        if self.tail is not None:
            self.tail.add(data)


class TrailedAnswer(aiohttp.ClientResponse):
    """An answer whose trailers can be read."""

    _tail: Tail | None = None

    async def start(self, connection: Connection) -> aiohttp.ClientResponse:
        """Wait for the head."""
        protocol = connection.protocol
        if not isinstance(protocol, _Protocol):
            return await super().start(connection)
        protocol.tail, protocol.inform = None, self._listener()
        answer = await super().start(connection)
        self._tail = protocol.tail
        return answer

    def _listener(self) -> Callable[[int, Headers], None] | None:
        """Who hears of informational answers."""
        return None

    def trailers(self) -> Headers:
        """The trailer fields, names in lowercase; none before the end of the body."""
        return () if self._tail is None else self._tail.fields


class RelayedAnswer(TrailedAnswer):
    """An answer that is passed on, with what comes before and after it."""

    def _listener(self) -> Callable[[int, Headers], None] | None:
        return informed.get()


def complete(connector: aiohttp.TCPConnector) -> aiohttp.TCPConnector:
    """Have a connector make such connections."""
    connector._factory = partial(_Protocol, loop=connector._loop)  # type: ignore[assignment]  # noqa: SLF001 - no public way
    return connector
