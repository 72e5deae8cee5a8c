"""Runs one guest on a wasmtime fiber: polls it, waits for it, limits it, and unwinds it.

The first slices are polled inline on the event loop, because a thread hop costs more than a small guest. A guest that needs
more CPU goes on in slices of one tick on a small thread pool, where later guests of its worker begin (`pace.py`), and a guest
that waits costs no thread at all. Whatever ends
the run, the order is the same: no poll runs any more, the future is deleted (which unwinds the fiber), the store is freed.
A store is never used twice.
"""

from __future__ import annotations

import asyncio
from ctypes import addressof, c_void_p
from functools import partial
from time import monotonic, perf_counter, thread_time
from typing import TYPE_CHECKING, Any, Protocol

from edgesim.core.waiter import Waiter
from edgesim.errors import GuestCost, GuestError, GuestMemoryError, GuestWallError
from edgesim.wasm import raw
from edgesim.wasm.faults import as_guest_error
from edgesim.wasm.guest import GuestResponse, Output, Suspend
from edgesim.wasm.off_loop import run_on
from edgesim.wasm.pace import INLINE_CPU_S

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

    from edgesim.model.http import Headers
    from edgesim.model.worker import Limits
    from edgesim.wasm.engine import Ticker
    from edgesim.wasm.guest_store import Guest
    from edgesim.wasm.keeping import KeptInstance
    from edgesim.wasm.pace import Pace


class Call(Protocol):
    """What an ABI does around a run. Each future is a `wasmtime_call_future_t *`."""

    guest: Guest

    def instantiate(self) -> int | None:
        """The future that makes the instance; None when it is there already."""
        ...

    def call(self) -> int:
        """The future that runs the guest, after the instance is there."""
        ...

    def finish(self) -> None:
        """The guest has returned: complete the response, which can run more of it (its post-return). Raises GuestOutputError when there is none."""
        ...

    def leave(self) -> Any:
        """The run is over and went well: its instance, for a later `Linked.start`, or None if it cannot serve again.

        An instance has `guest`, and `close()`, which frees it. `close` of this call must then leave it alone.
        """
        ...

    def close(self) -> None:
        """Free what was made for the run, the store last."""
        ...


class Execution:
    """One run of one guest."""

    __slots__ = (
        "_call",
        "_clock_s",
        "_future",
        "_guest",
        "_heavy",
        "_kept",
        "_limits",
        "_pace",
        "_pool",
        "_ticker",
        "_wall_s",
        "_why",
    )

    def __init__(
        self,
        call: Call,
        limits: Limits,
        ticker: Ticker,
        pool: ThreadPoolExecutor,
        *,
        pace: Pace,
        kept: KeptInstance | None = None,
    ) -> None:
        self._call = call
        self._kept = kept
        self._guest = call.guest
        self._limits = limits
        self._ticker = ticker
        self._pool = pool
        self._future: int | None = None
        self._clock_s = 0.0
        """The thread's CPU clock, where a slice has ended just now and the next follows it: to read it takes a microsecond."""
        self._pace = pace
        self._heavy = pace.heavy
        self._guest.on_loop = not self._heavy
        now = monotonic()
        deadline_s = call.guest.request.deadline_s
        if now + limits.wall_s <= deadline_s:
            self._wall_s, self._why = now + limits.wall_s, f"its limit of {limits.wall_s:g} s wall-clock time"
        else:
            self._wall_s, self._why = deadline_s, "the request's deadline"

    async def run(self) -> GuestResponse:
        """Run until the guest has ended, or has sent its head and waits. Raises GuestError, or what the client's body raised.

        When cancelled, it returns to the canceller only after the guest has stopped.
        """
        self._ticker.enter()
        try:
            begin = perf_counter()
            if not self._instantiate():
                await self._drive(until_head=False)
            self._guest.started(self._limits)
            instantiated = perf_counter()
            self._future = self._call.call()
            ended = self._first_slice() and self._is_over()
            if not ended:
                ended = await self._drive(until_head=True)
            if ended and self._heavy:
                await run_on(self._pool, self._call.finish)
            elif ended:
                self._call.finish()
        except Exception as exc:  # noqa: BLE001 - mapped once, here
            error = as_guest_error(exc, self._guest, self._limits)  # looks at the memory: before the store is freed
            if isinstance(error, GuestError):
                error.cost = self._cost()
            self._stop()
            raise error from exc.__cause__ if error is exc else exc
        except BaseException:
            self._stop()
            raise
        output = self._guest.output
        response = GuestResponse(
            status=output.status,
            headers=output.headers,
            body=b"",
            instantiate_s=instantiated - begin,
            init_s=0.0,
            execute_s=perf_counter() - instantiated,
            cpu_s=self._guest.cpu_s,
            start_cpu_s=self._guest.start_cpu_s or 0.0,
            memory_bytes=self._guest.memory_bytes(),
            subrequests=self._guest.sent_requests,
            log=self._guest.log.text if self._guest.log else "",
        )
        if ended:
            response.body = output.whole_body()
            if self._kept is not None:
                self._keep()
            self._stop()
        else:
            response.ended = Waiter()
            task = asyncio.create_task(self._finish(), name="wasm-guest")
            task.add_done_callback(
                partial(self._finished, response, response.ended)
            )  # runs also if it is cancelled before it starts
            response.body = GuestBody(output, task)
        return response

    async def prepare(self) -> None:
        """Make the instance, and leave it in `kept`. Raises GuestError."""
        self._ticker.enter()
        try:
            if not self._instantiate():
                await self._drive(until_head=False)
            self._guest.started(self._limits)
            self._keep()
        except Exception as exc:  # noqa: BLE001 - as in `run`
            error = as_guest_error(exc, self._guest, self._limits)
            raise error from exc.__cause__ if error is exc else exc
        finally:
            self._stop()

    def _instantiate(self) -> bool:
        """Begin to make the instance. Whether it is there already; if not, it is driven on."""
        self._future = self._call.instantiate()
        return self._future is None or self._first_slice()

    def _first_slice(self) -> bool:
        """Run the first slice of a future, on the loop's thread. Mostly it is the last one too, and the future is done."""
        if self._heavy:
            return False
        if self._poll():
            self._end_future()
            return True
        self._between_slices()
        return False

    def _keep(self) -> None:
        """After a run that went well: let the instance live on, where that is wanted."""
        if self._kept is not None and self._guest.error is None:
            self._kept.put(self._call.leave())

    async def _finish(self) -> None:
        """The rest of a run whose head is out: errors go to the reader of the body."""
        try:
            await self._drive(until_head=False)
            if self._heavy:
                await run_on(self._pool, self._call.finish)
            else:
                self._call.finish()
            self._keep()
        except Exception as exc:  # noqa: BLE001 - mapped once, here, for whoever reads the body
            self._guest.output.error = as_guest_error(exc, self._guest, self._limits)

    def _finished(self, response: GuestResponse, ended: Waiter[None], _task: asyncio.Task[None]) -> None:
        """The task of `_finish` is over: nothing of the guest runs any more."""
        cost = self._cost()
        response.cpu_s, response.memory_bytes = cost.cpu_s, cost.memory_bytes
        response.subrequests, response.log = cost.subrequests, cost.log
        self._stop()
        self._guest.output.end()
        ended.resolve(None)

    def _cost(self) -> GuestCost:
        """What the guest has used so far. Its store must still be there."""
        guest = self._guest
        return GuestCost(
            cpu_s=guest.cpu_s,
            start_cpu_s=guest.cpu_s if guest.start_cpu_s is None else guest.start_cpu_s,
            memory_bytes=guest.memory_bytes(),
            subrequests=guest.sent_requests,
            log=guest.log.text,
        )

    async def _drive(self, *, until_head: bool) -> bool:
        """Poll the future until it is done (True), or until the head is out and the guest waits (False)."""
        guest = self._guest
        while True:
            call = guest.suspended
            if call is not None:
                if until_head and guest.output.status:
                    return False
                guest.suspended = None
                await self._wait(call)
            if self._future is None and not self._resume():
                if guest.suspended is None:
                    return True
                self._check_limits()
                continue
            self._clock_s = 0.0
            done = await run_on(self._pool, self._poll) if self._heavy else self._poll()
            if done:
                self._end_future()
                if self._is_over():
                    return True
            self._between_slices()

    def _end_future(self) -> None:
        """A future is done. Raises what ended it."""
        raw.future_delete(self._future)
        self._future = None
        self._guest.check()

    def _is_over(self) -> bool:
        """A future has ended well: whether the run has, too."""
        guest = self._guest
        return guest.resume is None or guest.error is not None  # or it has exited

    def _between_slices(self) -> None:
        """Tell the reader, look at the limits, and decide where the next slice runs. Raises GuestError."""
        guest = self._guest
        guest.output.wake()
        self._check_limits()
        if guest.suspended is None and guest.cpu_s > INLINE_CPU_S:
            self._heavy = True
            guest.on_loop = False

    def _resume(self) -> bool:
        """Call a guest again that runs in several calls. False: it has to wait first if it is suspended, else it is done."""
        resume = self._guest.resume
        self._future = None if resume is None else resume()
        self._guest.on_loop = not self._heavy
        return self._future is not None

    def _check_limits(self) -> None:
        """Between two slices. Raises GuestError."""
        guest = self._guest
        if guest.counted_s > guest.cpu_limit_s:
            raise guest.cpu_error()
        if guest.memory_bytes() > self._limits.memory_bytes:  # several memories, each of them within the limit
            raise GuestMemoryError(
                f"the worker's memories are larger than its limit of {self._limits.memory_bytes >> 20} MiB together",
                help="use less memory per request, or raise memory in its manifest",
            )
        if monotonic() >= self._wall_s:
            raise self._too_long()

    async def _wait(self, call: Suspend) -> None:
        """Do what a host call waits for, within the wall-clock limit."""
        try:
            async with asyncio.timeout_at(self._wall_s) as timer:
                call.value = await call.start()
        except TimeoutError as exc:
            if timer.expired():
                raise self._too_long() from None
            call.error = exc
        except Exception as exc:  # noqa: BLE001 - it belongs to the host call, which decides on the fiber
            call.error = exc
        call.done = True

    def _poll(self) -> bool:
        """One slice: until the guest ends, waits, or its tick is over."""
        guest = self._guest
        begin = guest.slice_began_s = self._clock_s or thread_time()
        done: bool = raw.future_poll(self._future)
        self._clock_s = thread_time()
        guest.cpu_s += self._clock_s - begin
        return done

    def _too_long(self) -> GuestWallError:
        return GuestWallError(
            f"the worker was still running at {self._why}", help="make it answer sooner, or raise wall in its manifest"
        )

    def _stop(self) -> None:
        """Unwind the fiber and free the store. No poll may be running."""
        if self._future is not None:
            raw.future_delete(self._future)
            self._future = None
        self._pace.ran(self._guest.cpu_s)
        self._call.close()
        self._ticker.leave()


class GuestBody:
    """The body of a guest that still runs: a `model.http.Body` that stops the guest when it is closed."""

    __slots__ = ("_output", "_task")

    def __init__(self, output: Output, task: asyncio.Task[None]) -> None:
        self._output = output
        self._task = task

    async def next(self) -> bytes | None:
        """The next chunk of at most 64 KiB; None at the end. Raises the GuestError that ended the guest."""
        return await self._output.next()

    def trailers(self) -> Headers:
        """What the guest has finished its body with."""
        return self._output.trailers()

    def close(self) -> None:
        """Stop the guest if it still runs. `GuestResponse.ended` says when it has stopped."""
        self._task.cancel()


def out(pointer: c_void_p) -> int:
    """The address of an out-parameter."""
    return addressof(pointer)
