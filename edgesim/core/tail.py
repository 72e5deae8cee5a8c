"""The end of an answer whose body is still made when its head goes out: how it ended is known, and told, only then."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

from edgesim.errors import EdgesimError

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgesim.model.http import Body, Headers


End: TypeAlias = EdgesimError | Literal["whole", "left"]
"""What the sender has raised, that it was read to its end, or that its reader left midway."""


class WatchedBody:
    """A body that tells, once, how it ended; one that nobody wanted (HEAD) ended well."""

    __slots__ = ("_body", "_end", "_tell")

    def __init__(self, body: Body, tell: Callable[[End], None]) -> None:
        self._body = body
        self._tell: Callable[[End], None] | None = tell
        self._end: End = "whole"

    async def next(self) -> bytes | None:
        """The next chunk. Raises what the sender raises."""
        self._end = "left"
        try:
            chunk = await self._body.next()
        except EdgesimError as error:
            self._end = error
            raise
        if chunk is None:
            self._end = "whole"
        return chunk

    def trailers(self) -> Headers:
        """The sender's."""
        return self._body.trailers()

    def close(self) -> None:
        """Stop the sender, and tell."""
        tell, self._tell = self._tell, None
        self._body.close()
        if tell is not None:
            tell(self._end)
