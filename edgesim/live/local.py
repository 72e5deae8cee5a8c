"""PoPs in this process: serve a request in the caller's task, and kill a PoP under the requests it has in flight.

In flight is a request until its last byte: a kill also breaks answers whose body is still being streamed.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from edgesim.core.memory import unload
from edgesim.core.serve import serve_at_pop
from edgesim.errors import EdgesimError, PopUnreachableError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgesim.core.pop import Pop
    from edgesim.core.request import Request, Response
    from edgesim.core.world import World
    from edgesim.model.http import Body, Headers
    from edgesim.model.ids import PopId


class _Visit:
    """One request at a PoP: the task that carries it, and whether a kill has struck it."""

    __slots__ = ("killed", "task")

    def __init__(self, task: asyncio.Task[object]) -> None:
        self.task = task
        self.killed = False


class _Streamed:
    """The body of an answer that is still coming; it breaks when its PoP is killed."""

    __slots__ = ("_body", "_killed", "_pop", "_streams")

    def __init__(self, body: Body, pop: PopId, streams: dict[_Streamed, None]) -> None:
        self._body = body
        self._pop = pop
        self._killed = False
        self._streams = streams
        streams[self] = None

    async def next(self) -> bytes | None:
        """The next chunk. Raises PopUnreachableError once the PoP has been killed."""
        if self._killed:
            raise self._broken()
        try:
            chunk = await self._body.next()
        except EdgesimError as exc:
            if self._killed:
                raise self._broken() from exc
            raise
        if self._killed:  # what a stopped guest left is not its answer
            raise self._broken()
        return chunk

    def trailers(self) -> Headers:
        """The sender's."""
        return self._body.trailers()

    def close(self) -> None:
        """Stop the sender."""
        self._streams.pop(self, None)
        self._body.close()

    def kill(self) -> None:
        """Break the connection under its reader."""
        self._killed = True
        self.close()

    def _broken(self) -> PopUnreachableError:
        return PopUnreachableError(f"{self._pop} broke the connection in the middle of its response")


class LocalPops:
    """The in-process transport, and the truth about who is alive."""

    def __init__(self, w: World, pops: Mapping[PopId, Pop]) -> None:
        self._w = w
        self.pops = pops
        self._visits: dict[PopId, dict[_Visit, None]] = {pop: {} for pop in pops}
        self._streams: dict[PopId, dict[_Streamed, None]] = {pop: {} for pop in pops}

    async def forward(self, pop: PopId, request: Request) -> Response:
        """Serve at the PoP.

        Raises:
            PopUnreachableError: it is dead, or was killed before its response.
        """
        target = self.pops.get(pop)
        if target is None or not target.alive:
            raise PopUnreachableError(f"{pop} refused the connection")
        task = asyncio.current_task()
        assert task is not None
        visit = _Visit(task)
        visits = self._visits[pop]
        visits[visit] = None
        cancels = task.cancelling()
        try:
            response = await serve_at_pop(self._w, target, request)
        except asyncio.CancelledError:
            # As asyncio.timeout does: our own cancel becomes an error, a client's goes on as what it is.
            if visit.killed and task.uncancel() <= cancels:
                raise PopUnreachableError(f"{pop} broke the connection") from None
            raise
        finally:
            del visits[visit]
        if not isinstance(response.body, bytes):
            response.body = _Streamed(response.body, pop, self._streams[pop])
        return response

    def kill(self, pop: PopId) -> None:
        """The PoP dies: its requests in flight break, its memory is lost, its beats stop. Nobody is told."""
        target = self.pops[pop]
        if not target.alive:
            return
        for visit in list(self._visits[pop]):
            visit.killed = True
            visit.task.cancel()
        for worker in target.loaded():
            unload(self._w, target, worker)
        target.kill()
        for stream in list(self._streams[pop]):  # after its life has ended: nothing of them is told
            stream.kill()
