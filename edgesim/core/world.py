"""The port between the flows and what carries them out: asyncio and wasmtime (`live`), or a heap (`sim`).

Flows are `async def` functions that await only these methods; they import no asyncio and read no clock. Awaitable methods
may suspend; the others never do. Rules that keep the worlds equal to the bit (docs/adr/0001, tests/parity):

- an `await` whose time is zero or whose deadline has passed does not suspend;
- a value that arrives in the same instant as its timeout wins;
- wake-ups are queued first in, first out, never run inline;
- external events (arrivals, kills, disconnects, deploys) of an instant come before everything else of that instant;
- one random stream per request, a fork for background work.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Coroutine

    from edgesim.core.filters import Filtering
    from edgesim.core.instances import Instance
    from edgesim.core.pop import Pop, Worker
    from edgesim.core.request import Request, Response
    from edgesim.core.waiter import TimedOut, Waiter
    from edgesim.model.events import Event
    from edgesim.model.ids import PhaseName, PopId

T = TypeVar("T")


class World(Protocol):
    """What a flow may ask for."""

    tells_requests: bool
    """Whether anybody reads what is told of single requests (`RequestServed`, `RequestRouted`); else it is not made."""

    def now(self) -> float:
        """Seconds on the world's clock; never goes back."""
        ...

    def sleep(self, seconds: float) -> Awaitable[None]:
        """Let time pass; at once when `seconds` is not positive."""
        ...

    def wait(self, waiter: Waiter[T], deadline_s: float) -> Awaitable[T | TimedOut]:
        """The waiter's value, or TIMED_OUT when the deadline comes first."""
        ...

    def forward(self, pop: PopId, request: Request) -> Awaitable[Response]:
        """Have a PoP serve the request. Raises PopUnreachableError before the first byte of a response only."""
        ...

    def fetch_bundle(self, pop: Pop, worker: Worker) -> Awaitable[PhaseName]:
        """Bring the worker's file to the PoP's disk: `fetch`, or `shared` when the process had it. Raises StartError."""
        ...

    def load_worker(self, pop: Pop, worker: Worker) -> Awaitable[tuple[tuple[PhaseName, float], ...]]:
        """Bring the worker into memory: its phases (`compile`, `load` or `shared`) in seconds. Raises StartError."""
        ...

    def unload_worker(self, pop: Pop, worker: Worker) -> None:
        """Give the worker's memory back."""
        ...

    def run_worker(self, pop: Pop, worker: Worker, request: Request, instance: Instance | None) -> Awaitable[Response]:
        """Run the guest. Raises GuestError or DeadlineExceededError, which end its instance.

        Returns when the guest has ended or its response can be sent on; in the second case `Response.ended` is set.
        On cancellation it suspends until the guest has really stopped, so that its slot can be given away.

        Args:
            pop: where.
            worker: what; it is loaded.
            request: for whom.
            instance: None for a fresh instance that is thrown away afterwards. Else the one to serve in. One without a
                handle is new: the world makes it, and leaves it in `handle`, with its `bytes`, if `again` says that it may
                serve again and the guest can. A guest that fails after its response was returned sets `broken` before
                `Response.ended` is resolved.
        """
        ...

    def make_instance(self, pop: Pop, worker: Worker, instance: Instance) -> Awaitable[None]:
        """Make an instance ahead of its first request, into `handle` and `bytes`. Raises GuestError.

        `handle` stays None where the world cannot keep instances.
        """
        ...

    def drop_instance(self, pop: Pop, worker: Worker, instance: Instance) -> None:
        """Free what is in the instance's handle, if anything is, and empty it. No request is in it."""
        ...

    def filter_request(self, pop: Pop, worker: Worker, request: Request, filtering: Filtering) -> Awaitable[None]:
        """Pass a request through a loaded filter, which changes `request` or sets `filtering.answer`.

        Raises GuestError or DeadlineExceededError; `request` is as it was then. The filter keeps its state in
        `filtering.handle` until `end_filter`.
        """
        ...

    def filter_response(
        self, pop: Pop, worker: Worker, request: Request, response: Response, filtering: Filtering
    ) -> Awaitable[None]:
        """Pass the response through a filter that has seen its request: status, fields and body of `response` change.

        Raises GuestError or DeadlineExceededError. Sets `filtering.streams` when it goes on with the body.
        """
        ...

    def end_filter(self, worker: Worker, filtering: Filtering) -> None:
        """The filter is through with this request. Idempotent."""
        ...

    def fetch_origin(self, pop: Pop, request: Request) -> Awaitable[Response]:
        """Have the PoP's origin answer. Raises OriginError or DeadlineExceededError."""
        ...

    def reply(self, request: Request, response: Response) -> Awaitable[None]:
        """Send the response to the client, its body with back-pressure, and close the body."""
        ...

    def spawn(self, flow: Coroutine[Any, Any, None], name: str) -> None:
        """Start a flow of its own. It ends with the world at the latest."""
        ...

    def publish(self, event: Event) -> None:
        """Tell metrics, bus and log what happened."""
        ...
