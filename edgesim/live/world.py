"""The live world: the World protocol on asyncio. What it carries out is given to it: transport, guests, origin, reply.

There is no trampoline: a flow's `await w.wait(...)` is an asyncio await, so cancellation and tracebacks are asyncio's own.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from edgesim.core.waiter import TIMED_OUT, TimedOut, Waiter

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from edgesim.core.filters import Filtering
    from edgesim.core.instances import Instance
    from edgesim.core.pop import Pop, Worker
    from edgesim.core.request import Request, Response
    from edgesim.model.events import Event
    from edgesim.model.ids import PhaseName, PopId

T = TypeVar("T")


class Guests(Protocol):
    """Where workers are fetched to, loaded and run (`live/guests.py`)."""

    def fetch_bundle(self, pop: Pop, worker: Worker) -> Awaitable[PhaseName]: ...  # noqa: D102 - as in World
    def load_worker(self, pop: Pop, worker: Worker) -> Awaitable[tuple[tuple[PhaseName, float], ...]]: ...  # noqa: D102
    def unload_worker(self, pop: Pop, worker: Worker) -> None: ...  # noqa: D102
    def run_worker(  # noqa: D102
        self, pop: Pop, worker: Worker, request: Request, instance: Instance | None
    ) -> Awaitable[Response]: ...
    def make_instance(self, pop: Pop, worker: Worker, instance: Instance) -> Awaitable[None]: ...  # noqa: D102
    def drop_instance(self, pop: Pop, worker: Worker, instance: Instance) -> None: ...  # noqa: D102
    def filter_request(  # noqa: D102
        self, pop: Pop, worker: Worker, request: Request, filtering: Filtering
    ) -> Awaitable[None]: ...
    def filter_response(  # noqa: D102
        self, pop: Pop, worker: Worker, request: Request, response: Response, filtering: Filtering
    ) -> Awaitable[None]: ...
    def end_filter(self, worker: Worker, filtering: Filtering) -> None: ...  # noqa: D102


class Origins(Protocol):
    """What answers when no route does (`live/origin.py`)."""

    def fetch_origin(self, pop: Pop, request: Request) -> Awaitable[Response]: ...  # noqa: D102 - as in World


class Transport(Protocol):
    """The way from the front door to a PoP (`live/transport.py`)."""

    def forward(self, pop: PopId, request: Request) -> Awaitable[Response]: ...  # noqa: D102 - as in World


class Replies(Protocol):
    """The way from the front door to the client (`live/front_door.py`)."""

    def reply(self, request: Request, response: Response) -> Awaitable[None]: ...  # noqa: D102 - as in World


class LiveWorld:
    """One process's world. A part that the process does not have (a front door runs no guests) is None."""

    tells_requests = True
    forward: Callable[[PopId, Request], Awaitable[Response]]
    fetch_bundle: Callable[[Pop, Worker], Awaitable[PhaseName]]
    load_worker: Callable[[Pop, Worker], Awaitable[tuple[tuple[PhaseName, float], ...]]]
    unload_worker: Callable[[Pop, Worker], None]
    run_worker: Callable[[Pop, Worker, Request, Instance | None], Awaitable[Response]]
    make_instance: Callable[[Pop, Worker, Instance], Awaitable[None]]
    drop_instance: Callable[[Pop, Worker, Instance], None]
    filter_request: Callable[[Pop, Worker, Request, Filtering], Awaitable[None]]
    filter_response: Callable[[Pop, Worker, Request, Response, Filtering], Awaitable[None]]
    end_filter: Callable[[Worker, Filtering], None]
    fetch_origin: Callable[[Pop, Request], Awaitable[Response]]
    reply: Callable[[Request, Response], Awaitable[None]]

    def __init__(self, publish: Callable[[Event], None], *, clock: Callable[[], float] | None = None) -> None:
        """Make the world of the running loop.

        Args:
            publish: where events go.
            clock: seconds on the loop's time base; the loop's own clock when None. Processes pass `time.monotonic`, since
                uvloop's clock stands still within an iteration and counts whole milliseconds.
        """
        self._loop = asyncio.get_running_loop()
        self.now = clock or self._loop.time
        self.publish = publish
        self._tasks: set[asyncio.Task[None]] = set()

    def equip(
        self,
        *,
        transport: Transport | None = None,
        guests: Guests | None = None,
        origins: Origins | None = None,
        replies: Replies | None = None,
    ) -> None:
        """Give the world its parts; their methods become the world's own, without a call in between."""
        if transport is not None:
            self.forward = transport.forward
        if guests is not None:
            self.fetch_bundle = guests.fetch_bundle
            self.load_worker = guests.load_worker
            self.unload_worker = guests.unload_worker
            self.run_worker = guests.run_worker
            self.make_instance = guests.make_instance
            self.drop_instance = guests.drop_instance
            self.filter_request = guests.filter_request
            self.filter_response = guests.filter_response
            self.end_filter = guests.end_filter
        if origins is not None:
            self.fetch_origin = origins.fetch_origin
        if replies is not None:
            self.reply = replies.reply

    async def sleep(self, seconds: float) -> None:
        """Let time pass."""
        if seconds > 0.0:
            await asyncio.sleep(seconds)

    async def wait(self, waiter: Waiter[T], deadline_s: float) -> T | TimedOut:
        """The value or TIMED_OUT. Not `asyncio.timeout`, which cancels the task and blurs a client's going with a deadline."""
        already = waiter.done  # a name of its own, or mypy takes `waiter.done` for False ever after
        if already:
            return waiter.value
        if deadline_s <= self.now():
            return TIMED_OUT
        woken: asyncio.Future[bool] = self._loop.create_future()

        def wake(by_value: bool = True) -> None:  # noqa: FBT001, FBT002 - call_at passes positions
            if not woken.done():
                woken.set_result(by_value)

        waiter.parked.append(wake)
        timer = self._loop.call_at(deadline_s, wake, False)
        try:
            if not await woken and waiter.done:
                await asyncio.sleep(0)  # its value came in this very instant: it wins, and queues behind
        finally:
            timer.cancel()
            if not waiter.done:
                waiter.parked.remove(wake)  # a cancelled flow must not stay parked
        return waiter.value if waiter.done else TIMED_OUT

    def spawn(self, flow: Coroutine[Any, Any, None], name: str) -> None:
        """Start a task; the loop keeps only weak references, so the world holds it."""
        task = self._loop.create_task(flow, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._loop.call_exception_handler(
                {"message": f"background flow {task.get_name()} failed", "exception": error, "task": task}
            )

    async def close(self) -> None:
        """Cancel the background flows, those too that they start while they end, and wait until all have ended."""
        while self._tasks:
            tasks = list(self._tasks)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
