"""The way of a request through its app's filters: forwards before worker or origin, backwards with the response.

Each filter sees what the one before it has made of the request. A filter that answers itself ends the way in; the response
then passes the filters in front of it, last one first. A filter that fails ends the request, unless its manifest says
`fail_open`: then the request goes on as if it were not there. The route is looked up after the filters.

What it does not do: run filters (`World.filter_request`), start them (`core/serve.py` hands that in).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgesim.errors import GuestError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from edgesim.core.pop import Pop, Worker
    from edgesim.core.request import Request, Response
    from edgesim.core.world import World


@dataclass(slots=True)
class Filtering:
    """One request in one filter."""

    answer: Response | None = None
    """What the filter has answered itself."""
    handle: Any = None
    """The world's own."""
    streams: bool = False
    """Whether it goes on with the response's body, and ends with it."""


async def through_filters(
    w: World,
    pop: Pop,
    request: Request,
    filters: Sequence[Worker],
    *,
    hold: Callable[[Worker], Awaitable[None]],
    let_go: Callable[[Worker], None],
    serve: Callable[[], Awaitable[Response]],
) -> Response:
    """The response to a request behind filters.

    Args:
        w: the world.
        pop: where.
        request: its method, target, fields and body are the filters' during this call, and its own again afterwards.
        filters: in the manifest's order.
        hold: has a filter loaded and keeps it so.
        let_go: the opposite.
        serve: has worker or origin answer what the filters have made of the request.

    Raises:
        GuestError: a filter has failed, or the worker.
        EdgesimError: as `serve`.
    """
    original = request.method, request.target, request.headers, request.body
    passage = _Passage(w, pop, request)
    try:
        response = await passage.inwards(filters, hold)
        if response is None:
            response = await serve()
        await passage.outwards(response)
        return response
    finally:
        request.method, request.target, request.headers, request.body = original
        passage.end(let_go)


class _Passage:
    """One request on its way, with the filters that it has passed."""

    __slots__ = ("_held", "_passed", "_pop", "_request", "_spent_s", "_unsent", "_w", "_whole")

    def __init__(self, w: World, pop: Pop, request: Request) -> None:
        self._w = w
        self._pop = pop
        self._request = request
        self._held: list[Worker] = []
        self._passed: list[tuple[Worker, Filtering]] = []
        self._unsent: Response | None = None
        """What has to be closed if it does not come through."""
        self._whole = False
        self._spent_s = 0.0

    async def inwards(self, filters: Sequence[Worker], hold: Callable[[Worker], Awaitable[None]]) -> Response | None:
        """Pass the request through every filter, up to one that answers itself."""
        w = self._w
        for worker in filters:
            self._held.append(worker)
            await hold(worker)
            began_s = w.now()
            filtering = await self._enter(worker)
            self._spent_s += w.now() - began_s
            if filtering is None:
                continue
            if filtering.answer is not None:
                w.end_filter(worker, filtering)
                response = filtering.answer
                response.pop, response.version = self._pop.spec.id, worker.release.version
                return response
            self._passed.append((worker, filtering))
        return None

    async def _enter(self, worker: Worker) -> Filtering | None:
        """Pass the request through one filter; None when it has failed and that does not matter."""
        filtering, passed = Filtering(), False
        try:
            await self._w.filter_request(self._pop, worker, self._request, filtering)
            passed = True
        except GuestError:
            if not worker.component.fail_open:
                raise
            return None
        finally:
            if not passed:
                self._w.end_filter(worker, filtering)
        return filtering

    async def outwards(self, response: Response) -> None:
        """Pass the response back through the filters that have seen the request."""
        self._unsent = response
        began_s = self._w.now()
        for worker, filtering in reversed(self._passed):
            try:
                await self._w.filter_response(self._pop, worker, self._request, response, filtering)
            except GuestError:
                if not worker.component.fail_open:
                    raise
        response.timings.filter_s = self._spent_s + self._w.now() - began_s
        self._whole = True

    def end(self, let_go: Callable[[Worker], None]) -> None:
        """The filters are through with this request, save those that go on with its body."""
        for worker, filtering in self._passed:
            if not (self._whole and filtering.streams):
                self._w.end_filter(worker, filtering)
        for worker in self._held:
            let_go(worker)
        unsent = self._unsent
        if not self._whole and unsent is not None and not isinstance(unsent.body, bytes):
            unsent.body.close()
