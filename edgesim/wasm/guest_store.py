"""A guest's store: its limits, its streams, how it is suspended and resumed, and what ended it.

Host functions find their guest by the store's context (`LIVE`). When a guest runs, and how often, is `execution.py`'s business.
"""

from __future__ import annotations

from ctypes import addressof, c_uint8, c_uint64, c_void_p, memmove
from time import thread_time
from typing import TYPE_CHECKING, Any, Final, Protocol

from edgesim.errors import GuestCpuError, GuestTrapError
from edgesim.wasm import raw
from edgesim.wasm.guest import Exited, Input, Log, Output, Suspend

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgesim.model.worker import Limits
    from edgesim.wasm.guest import Grants, GuestRequest

NESTED_INLINE_CPU_S: Final = 0.025
"""CPU time of a slice on the loop's thread that the host's own calls into the guest (allocations, mostly) draw out."""
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
        "resume",
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
        self.resume: Callable[[], int | None] | None = None
        """Of guests that are called several times for one request: gives the next future, or None when `suspended` says what to
        wait for first, or else the request is done. On the loop, while the guest does not run."""
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


class CoreGuest(Protocol):
    """A guest that is one instance of a core module."""

    context: Any
    error_out: c_void_p
    instance: Any
    trap_out: c_void_p


def instantiate(pre: int | None, guest: CoreGuest) -> int:
    """The future that makes the instance of a guest, from a `wasmtime_instance_pre_t *`."""
    future: int = raw.instance_pre_instantiate(
        pre, guest.context, addressof(guest.instance), addressof(guest.trap_out), addressof(guest.error_out)
    )
    return future


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
            guest.error = guest.error or (guest.cpu_error() if over else _stuck())
            error: int = raw.error_new(b"CPU limit")
            return error
    return 0


def _stuck() -> GuestCpuError:
    return GuestCpuError(
        f"the worker's allocator, or another function that the host calls, took more than {NESTED_INLINE_CPU_S * 1e3:g} ms CPU time",
        help="look at its cabi_realloc",
    )


_GO_ON: Final = 0
_YIELD: Final = 1
_TICK_ADDRESS: Final = raw.address(_tick)
_CONTINUE_ADDRESS: Final = raw.address(_continue)


_READY_CONTINUATION: Final = (c_void_p * 3)(raw.address(_ready), None, None)
_READY_AT: Final = addressof(_READY_CONTINUATION)


def finish_at_once(continuation_out: int) -> None:
    """Tell wasmtime that an async host function has its result already. An unset continuation would abort the process."""
    memmove(continuation_out, _READY_AT, 24)
