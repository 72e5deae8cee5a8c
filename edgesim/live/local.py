"""PoPs in this process: serve a request in the caller's task, and kill a PoP under the requests it has in flight."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from edgesim.core.serve import serve_at_pop, unload
from edgesim.errors import PopUnreachableError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgesim.core.pop import Pop
    from edgesim.core.request import Request, Response
    from edgesim.core.world import World
    from edgesim.model.ids import PopId


class _Visit:
    """One request at a PoP: the task that carries it, and whether a kill has struck it."""

    __slots__ = ("killed", "task")

    def __init__(self, task: asyncio.Task[object]) -> None:
        self.task = task
        self.killed = False


class LocalPops:
    """The in-process transport, and the truth about who is alive."""

    def __init__(self, w: World, pops: Mapping[PopId, Pop]) -> None:
        self._w = w
        self.pops = pops
        self._visits: dict[PopId, dict[_Visit, None]] = {pop: {} for pop in pops}

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
            return await serve_at_pop(self._w, target, request)
        except asyncio.CancelledError:
            # As asyncio.timeout does: our own cancel becomes an error, a client's goes on as what it is.
            if visit.killed and task.uncancel() <= cancels:
                raise PopUnreachableError(f"{pop} broke the connection") from None
            raise
        finally:
            del visits[visit]

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
