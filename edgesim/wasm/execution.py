"""Runs one guest on a wasmtime fiber: polls it, waits for it, limits it, and unwinds it.

The first slices are polled inline on the event loop, because a thread hop costs more than a small guest. A guest that needs
more CPU goes on in slices of one tick on a small thread pool, and a guest that waits costs no thread at all. Whatever ends
the run, the order is the same: no poll runs any more, the future is deleted (which unwinds the fiber), the store is freed.
A store is never used twice.
"""

from __future__ import annotations

import asyncio
from ctypes import addressof, c_uint8, c_uint64, c_void_p
from functools import partial
from time import perf_counter, thread_time
from typing import TYPE_CHECKING, Any, Final, Protocol

from edgesim.core.waiter import Waiter
from edgesim.errors import GuestCost, GuestCpuError, GuestError, GuestMemoryError, GuestTrapError, GuestWallError
from edgesim.wasm import raw
from edgesim.wasm.faults import as_guest_error
from edgesim.wasm.guest import Exited, GuestResponse, Input, Log, Output, Suspend

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import ThreadPoolExecutor

    from edgesim.model.worker import Limits
    from edgesim.wasm.engine import Ticker
    from edgesim.wasm.guest import Grants, GuestRequest
    from edgesim.wasm.keeping import KeptInstance

INLINE_CPU_S: Final = 0.002
"""CPU time that a guest may use on the event loop's thread before its slices move to the pool."""
NESTED_INLINE_CPU_S: Final = 0.010
"""CPU time for one call that the host makes into a guest from a host function (an allocation, mostly) on the loop's thread."""
COPY_S: Final = 100e-9
"""CPU time per byte that crosses the component C API, which is not the guest's fault and not counted against its limit.
Measured 40 to 80 ns (1 MB echoed: 80 ms); decision 3 of the design does away with it."""

LIVE: Final[dict[int, Guest]] = {}
"""Store context to its guest: how a C callback finds whom it serves."""
_SUSPENDED: Final[dict[int, tuple[Guest, Suspend, Callable[[Any], None]]]] = {}
"""Guest number to the host call it waits in, and how to hand its result to the guest."""


class Guest:
    """One store and everything that belongs to it. Subclasses add what their ABI's host functions need."""

    __slots__ = (
        "at_end",
        "context",
        "copied_bytes",
        "cpu_limit_s",
        "cpu_s",
        "error",
        "error_out",
        "grants",
        "input",
        "limits",
        "log",
        "nested",
        "on_loop",
        "output",
        "request",
        "sent_requests",
        "slice_began_s",
        "start_cpu_s",
        "store",
        "suspended",
        "trap_out",
    )

    def __init__(self, engine: int, request: GuestRequest, limits: Limits, grants: Grants) -> None:
        self.log = Log(limits.log_bytes)
        self.error: BaseException | None = None
        """The first exception of a host function; it is what ended the guest, whatever the engine says."""
        self.at_end: list[Callable[[], None]] = []
        """Called on the loop when the guest, or its request, has ended: what it has open outside is closed."""
        self.begin(request, limits, grants)
        self.cpu_limit_s = limits.startup_ms / 1000.0
        """Of the phase under way: the start, then the request."""
        self.start_cpu_s: float | None = None
        """CPU time of the start, when it is over."""
        self.slice_began_s = 0.0
        """Of the slice under way, on its thread's CPU clock."""
        self.nested = 0
        """More than 0 while a host function calls into the guest. Python frames are on the fiber then, so it must not be
        suspended: it goes on at the end of a tick, and is ended at its limit. A run without a fiber sets it for good."""
        self.suspended: Suspend | None = None
        self.error_out = c_void_p()
        self.trap_out = c_void_p()
        self.store = raw.store_new(engine, None, None)
        self.context: int = raw.store_context(self.store)
        raw.store_limiter(
            self.store, limits.memory_bytes, limits.table_elements, limits.instances, limits.tables, limits.memories
        )
        raw.set_epoch_deadline(self.context, 1)
        raw.epoch_callback(self.store, _TICK_ADDRESS, None, None)
        LIVE[self.context] = self

    def begin(self, request: GuestRequest, limits: Limits, grants: Grants) -> None:
        """Turn to a request: the first one, or another one of an instance that lives on. It goes on with its log's object."""
        self.request = request
        self.grants = grants
        self.limits = limits
        self.sent_requests = 0
        """Requests that the guest has sent so far."""
        self.input = Input(request.body, limits.body_bytes)
        self.output = Output(limits.response_bytes)
        self.log.clear()
        self.copied_bytes = 0
        """Bytes that the component C API has carried in and out, at the host's expense (`COPY_S`)."""
        self.cpu_s = 0.0
        """CPU time of the slices that are over."""
        self.on_loop = True
        """Whether the slice under way runs on the event loop's thread."""
        self.start_cpu_s = 0.0

    def end(self) -> None:
        """The request is over: close what is open outside for it. Idempotent."""
        self.input.close()
        at_end, self.at_end = self.at_end, []
        for close in at_end:
            close()

    def suspend(self, call: Suspend, deliver: Callable[[Any], None], continuation_out: int) -> None:
        """Leave a host call unfinished. `deliver` writes its result when the wait is over, on the fiber."""
        self.suspended = call
        _SUSPENDED[self.context] = (self, call, deliver)
        slots = (c_void_p * 3).from_address(continuation_out)
        slots[0], slots[1], slots[2] = _CONTINUE_ADDRESS, self.context, None

    def check(self) -> None:
        """Raise what ended the last future: a host function's exception, a trap or an engine error."""
        error, trap = self.error_out.value, self.trap_out.value
        if not error and not trap:
            return
        self.error_out.value = self.trap_out.value = None
        cause = raw.take_error(error) if error else raw.take_trap(trap or 0)
        if isinstance(self.error, Exited):
            if self.error.code and not self.output.status:
                raise GuestTrapError(
                    f"the worker exited with code {self.error.code} before it answered{self.log.tail()}"
                )
            return
        if self.error is not None:
            raise self.error from cause
        raise cause

    @property
    def spent_s(self) -> float:
        """CPU time that counts against the limit, the slice under way included. On the guest's thread only."""
        return self.counted_s + thread_time() - self.slice_began_s

    @property
    def counted_s(self) -> float:
        """CPU time of the slices that are over and of the phase under way."""
        return self.cpu_s - (self.start_cpu_s or 0.0) - self.copied_bytes * COPY_S

    def started(self, limits: Limits) -> None:
        """The instance is there: from now on the CPU time is the request's."""
        self.start_cpu_s = self.cpu_s
        self.cpu_limit_s = limits.cpu_ms / 1000.0

    def cpu_error(self) -> GuestCpuError:
        """The guest has used its CPU time."""
        if self.start_cpu_s is None:
            what, key, remedy = " to start", "startup_ms", "make its start cheaper"
        else:
            what, key, remedy = "", "cpu_ms", "make it do less per request"
        return GuestCpuError(
            f"the worker used more than its limit of {self.cpu_limit_s * 1000.0:g} ms CPU time{what}",
            help=f"{remedy}, or raise {key} in its manifest",
        )

    def memory_bytes(self) -> int:
        """Size of the linear memory, where the ABI shows it."""
        return 0

    def close(self) -> None:
        """Free the store. No future of it may be left. Idempotent."""
        if self.store:
            LIVE.pop(self.context, None)
            _SUSPENDED.pop(self.context, None)
            raw.store_delete(self.store)
            self.store = None
            self.end()


@raw.CONTINUATION  # type: ignore[untyped-decorator]
def _continue(context: int) -> bool:
    """Polled by wasmtime until True: delivers the result of a host call that had to wait."""
    guest, call, deliver = _SUSPENDED[context]
    if not call.done:
        return False
    del _SUSPENDED[context]
    try:
        deliver(call)
    except BaseException as exc:  # noqa: BLE001 - nothing may pass through C; it is raised by Guest.check
        guest.error = guest.error or exc
    return True


@raw.CONTINUATION  # type: ignore[untyped-decorator]
def _ready(_context: int) -> bool:
    """The continuation of a host call that did not have to wait."""
    return True


@raw.EPOCH_CALLBACK  # type: ignore[untyped-decorator]
def _tick(context: int, _data: int, ticks_out: int, kind_out: int) -> int:
    """A tick is over: yield, or while the fiber must not be suspended, go on until the limit."""
    guest = LIVE[context]
    c_uint64.from_address(ticks_out).value = 1
    c_uint8.from_address(kind_out).value = _GO_ON if guest.nested else _YIELD
    if guest.nested:
        over = guest.spent_s > guest.cpu_limit_s
        if over or (guest.on_loop and thread_time() - guest.slice_began_s > NESTED_INLINE_CPU_S):
            guest.error = guest.error or guest.cpu_error()
            error: int = raw.error_new(b"CPU limit")
            return error
    return 0


_GO_ON: Final = 0
_YIELD: Final = 1
_TICK_ADDRESS: Final = raw.address(_tick)
_CONTINUE_ADDRESS: Final = raw.address(_continue)
_READY_ADDRESS: Final = raw.address(_ready)


def finish_at_once(continuation_out: int) -> None:
    """Tell wasmtime that an async host function has its result already. An unset continuation would abort the process."""
    slots = (c_void_p * 3).from_address(continuation_out)
    slots[0], slots[1], slots[2] = _READY_ADDRESS, None, None


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
        """The guest has returned: complete the response. Raises GuestOutputError when there is none."""
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
        "_future",
        "_guest",
        "_heavy",
        "_kept",
        "_limits",
        "_loop",
        "_pool",
        "_ticker",
        "_wall_s",
        "_why",
    )

    def __init__(
        self, call: Call, limits: Limits, ticker: Ticker, pool: ThreadPoolExecutor, kept: KeptInstance | None = None
    ) -> None:
        self._call = call
        self._kept = kept
        self._guest = call.guest
        self._limits = limits
        self._ticker = ticker
        self._pool = pool
        self._loop = asyncio.get_running_loop()
        self._future: int | None = None
        self._heavy = False
        now = self._loop.time()
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
            await self._instantiate()
            instantiated = perf_counter()
            self._future = self._call.call()
            ended = await self._drive(until_head=True)
            if ended:
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
            response.body = output.take_all()
            self._keep()
            self._stop()
        else:
            response.ended = Waiter()
            task = self._loop.create_task(self._finish(), name="wasm-guest")
            task.add_done_callback(
                partial(self._finished, response, response.ended)
            )  # runs also if it is cancelled before it starts
            response.body = GuestBody(output, task)
        return response

    async def prepare(self) -> None:
        """Make the instance, and leave it in `kept`. Raises GuestError."""
        self._ticker.enter()
        try:
            await self._instantiate()
            self._keep()
        except Exception as exc:  # noqa: BLE001 - as in `run`
            error = as_guest_error(exc, self._guest, self._limits)
            raise error from exc.__cause__ if error is exc else exc
        finally:
            self._stop()

    async def _instantiate(self) -> None:
        self._future = self._call.instantiate()
        if self._future is not None:
            await self._drive(until_head=False)
            self._guest.started(self._limits)

    def _keep(self) -> None:
        """After a run that went well: let the instance live on, where that is wanted."""
        if self._kept is not None and self._guest.error is None:
            self._kept.put(self._call.leave())

    async def _finish(self) -> None:
        """The rest of a run whose head is out: errors go to the reader of the body."""
        try:
            await self._drive(until_head=False)
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
            done = await self._poll_on_pool() if self._heavy else self._poll()
            if done:
                raw.future_delete(self._future)
                self._future = None
                guest.check()
                return True
            guest.output.wake()
            if guest.counted_s > guest.cpu_limit_s:
                raise guest.cpu_error()
            if guest.memory_bytes() > self._limits.memory_bytes:  # several memories, each of them within the limit
                raise GuestMemoryError(
                    f"the worker's memories are larger than its limit of {self._limits.memory_bytes >> 20} MiB together",
                    help="use less memory per request, or raise memory in its manifest",
                )
            if self._loop.time() >= self._wall_s:
                raise self._too_long()
            if guest.suspended is None and guest.cpu_s > INLINE_CPU_S:
                self._heavy = True
                guest.on_loop = False

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
        begin = guest.slice_began_s = thread_time()
        done: bool = raw.future_poll(self._future)
        guest.cpu_s += thread_time() - begin
        return done

    async def _poll_on_pool(self) -> bool:
        """One slice on a thread of the pool. Never leaves a poll running behind."""
        job = self._pool.submit(self._poll)
        try:
            return await asyncio.wrap_future(job)
        except asyncio.CancelledError:
            if not job.cancel():
                while not job.done():  # at most one tick
                    await _uncancelled_pause()
            raise

    def _too_long(self) -> GuestWallError:
        return GuestWallError(
            f"the worker was still running at {self._why}", help="make it answer sooner, or raise wall in its manifest"
        )

    def _stop(self) -> None:
        """Unwind the fiber and free the store. No poll may be running."""
        if self._future is not None:
            raw.future_delete(self._future)
            self._future = None
        self._call.close()
        self._ticker.leave()


async def _uncancelled_pause() -> None:
    """Let the loop run for a moment, also when the task is being cancelled again."""
    try:
        await asyncio.sleep(0.0005)
    except asyncio.CancelledError:
        return


class GuestBody:
    """The body of a guest that still runs: a `model.http.Body` that stops the guest when it is closed."""

    __slots__ = ("_output", "_task")

    def __init__(self, output: Output, task: asyncio.Task[None]) -> None:
        self._output = output
        self._task = task

    async def next(self) -> bytes | None:
        """The next chunk of at most 64 KiB; None at the end. Raises the GuestError that ended the guest."""
        return await self._output.next()

    def close(self) -> None:
        """Stop the guest if it still runs. `GuestResponse.ended` says when it has stopped."""
        self._task.cancel()


def out(pointer: c_void_p) -> int:
    """The address of an out-parameter."""
    return addressof(pointer)
