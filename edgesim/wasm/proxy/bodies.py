"""Bodies around a filter: a response that passes it as it is read, and a request that has been read already."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgesim.model.http import Body, Headers
    from edgesim.wasm.proxy.run import FilterRun


class FilteredBody:
    """A response body that passes a filter as it is read."""

    __slots__ = ("_ended", "_run", "_source")

    def __init__(self, run: FilterRun, source: Body) -> None:
        self._run = run
        self._source = source
        self._ended = False

    def of(self, run: FilterRun) -> bool:
        """Whether it is this run's."""
        return self._run is run

    async def next(self) -> bytes | None:
        """The next chunk that the filter lets through; None at the end. Raises GuestError, or what the sender raised."""
        while not self._ended:
            chunk = await self._source.next()
            self._ended = chunk is None
            trailers = self._source.trailers() if self._ended else ()
            if trailers:
                passed = await self._run.pass_trailers(trailers)
            else:
                passed = await self._run.pass_chunk(chunk or b"", end=self._ended)
            if passed:
                return passed
        self._run.close()
        return None

    def trailers(self) -> Headers:
        """The sender's, as the filter has left them."""
        return self._run.response_trailers if self._ended else ()

    def close(self) -> None:
        """Stop the sender and the filter."""
        self._ended = True
        self._source.close()
        self._run.close()


class Again:
    """A body of which a part has been read: that part, then the rest."""

    __slots__ = ("_read", "_rest")

    def __init__(self, read: list[bytes], rest: Body) -> None:
        self._read = list(read)
        self._rest = rest

    async def next(self) -> bytes | None:
        """The next chunk."""
        return self._read.pop(0) if self._read else await self._rest.next()

    def trailers(self) -> Headers:
        """The sender's."""
        return self._rest.trailers()

    def close(self) -> None:
        """Stop the sender."""
        self._read.clear()
        self._rest.close()
