"""A guest of WASI 0.3: the task that it runs, and what goes on beside it.

An async export with a callback runs as a series of calls. Each returns what it waits for, and `AsyncGuest` waits for that
outside the guest: no fiber is suspended meanwhile. Source: CanonicalABI.md ("canon lift").
"""

from __future__ import annotations

import asyncio
import struct
from ctypes import addressof, c_char
from functools import partial
from time import thread_time
from typing import TYPE_CHECKING, Any, Final

from edgesim.errors import GuestMemoryError, GuestOutputError, GuestTrapError
from edgesim.wasm import raw
from edgesim.wasm.flat.async_state import STARTED, Subtask, WaitableSet, find, put
from edgesim.wasm.flat.guest import FlatGuest
from edgesim.wasm.guest import Suspend

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from edgesim.model.worker import Limits
    from edgesim.wasm.flat.async_channel import Channel, Sink
    from edgesim.wasm.flat.async_state import Event
    from edgesim.wasm.flat.link import LinkedPlan
    from edgesim.wasm.flat.memory import Context
    from edgesim.wasm.flat.plan import Lifted
    from edgesim.wasm.guest import Grants, GuestRequest

_MAX_TASKS: Final = 1024
"""Host functions under way, and bodies that the host passes on, of one guest: each is a task of the event loop."""
_EXIT, _YIELD, _WAIT = range(3)
"""What a callback returns, in its low four bits."""
_NO_EVENT: Final = (0, 0, 0)
_THREE: Final = struct.Struct("<B7xI20xB7xI20xB7xI20x")  # three wasmtime_val_t: i32 is kind 0
_ONE: Final = struct.Struct("<B7xI20x")
_RESULT: Final = struct.Struct("<8xI20x")


class AsyncGuest(FlatGuest):
    """See the module."""

    __slots__ = (
        "_args", "_background", "_next", "_pumps", "_result", "_subtasks", "_task", "_waited", "locals", "on_return", "returned",
    )  # fmt: skip

    def __init__(self, linked: LinkedPlan, request: GuestRequest, limits: Limits, grants: Grants) -> None:
        self._args: Any = None
        self._result = (c_char * raw.VAL_BYTES)()
        self._task: Lifted | None = None
        self.on_return: Callable[[Any], None] = lambda _value: None
        super().__init__(linked, request, limits, grants)

    def begin(self, request: GuestRequest, limits: Limits, grants: Grants) -> None:
        """Turn to another request of an instance that lives on."""
        super().begin(request, limits, grants)
        self.locals: dict[tuple[int, int], int] = {}
        """What context.set has kept, by component instance and slot."""
        self.returned = False
        """Whether the task has called task.return."""
        self._subtasks: list[Subtask] = []
        self._background: list[Callable[[], Coroutine[Any, Any, None]]] = []
        """Pumps to start when the guest waits."""
        self._pumps: list[asyncio.Task[None]] = []
        self._next: Event | None = None
        """For the callback, after the wait under way."""
        self._waited: Suspend | None = None

    # -- the task -----------------------------------------------------------------------------------------------------

    def start_task(self, lifted: Lifted, argument: int, on_return: Callable[[Any], None]) -> int:
        """The future that calls an async export with one core argument. `resume` goes on after it."""
        self._task = lifted
        self.on_return = on_return
        self.entered[lifted.options.instance] = True
        self.resume = self._resume
        return self._call(lifted.function, _ONE.pack(0, argument), 1)

    def _call(self, name: str, args: bytes, count: int) -> int:
        function = self.named(name)
        self._args = (c_char * len(args)).from_buffer_copy(args)
        future: int = raw.func_call(
            self.context, addressof(function.of), addressof(self._args), count, addressof(self._result), 1,
            addressof(self.trap_out), addressof(self.error_out),
        )  # fmt: skip
        return future

    def _resume(self) -> int | None:
        """The guest has returned: the future of its next call. None: wait first if `suspended` is set, else it has ended."""
        begin = self.slice_began_s = thread_time()
        self.on_loop = True
        waited, self._waited = self._waited, None
        try:
            if waited is not None:
                waited.result()
            event, self._next = self._next, None
            return self._call_back(event) if event is not None else self._after(_RESULT.unpack(self._result)[0])
        finally:
            self.cpu_s += thread_time() - begin

    def _after(self, packed: int) -> int | None:
        task, code = self._task, packed & 15
        assert task is not None
        if code == _EXIT:
            return self._leave(task)
        if code == _YIELD:
            self._next = _NO_EVENT
            self._pause(lambda: asyncio.sleep(0))
            return None
        if code != _WAIT:
            raise GuestTrapError(f"the worker's callback returned the unknown code {code}")
        waits: WaitableSet = find(self.tables[task.options.instance], packed >> 4, WaitableSet, "waitable set")
        event = waits.poll()
        if event is not None:
            return self._call_back(event)
        self._pause(waits.wait)
        return None

    def _call_back(self, event: Event) -> int:
        assert self._task is not None
        assert self._task.options.callback is not None
        first, second, third = event
        return self._call(self._task.options.callback, _THREE.pack(0, first, 0, second, 0, third), 3)

    def _leave(self, task: Lifted) -> int | None:
        """The task is over, except for what the host passes on for it."""
        if not self.returned:
            raise GuestOutputError(
                f"the worker ended without a response{self.log.tail()}", help="return one from `handle` (task.return)"
            )
        for pump in self._pumps:
            if pump.done():
                pump.result()
        self._pumps = [pump for pump in self._pumps if not pump.done()]
        if self._background or self._pumps:
            self._pause(self._drain)
            return None
        self.entered[task.options.instance] = False
        self.resume = None
        return None

    def task_return(self, value: Any) -> None:
        """The guest has its result. Raises GuestTrapError the second time."""
        if self.returned or self._task is None:
            raise GuestTrapError("the worker called task.return " + ("twice" if self.returned else "outside of a task"))
        self.returned = True
        self.on_return(value)

    # -- beside the task ----------------------------------------------------------------------------------------------

    def subtask(self, cx: Context, call: Suspend, deliver: Callable[[Suspend], None]) -> int:
        """Go on without the result of a host function; the packed state of the new subtask."""
        task = Subtask(call, deliver)
        number = put(cx.handles, task)
        if len(self._subtasks) >= _MAX_TASKS:
            self._subtasks = [known for known in self._subtasks if not known.resolved]
        self._close_at_end()
        self._subtasks.append(task)
        return STARTED | number << 4

    def connect(self, channel: Channel, sink: Sink) -> None:
        """Give what comes out of a channel to the host."""
        pump = channel.connect(sink)
        if pump is not None:
            if len(self._background) + len(self._pumps) >= _MAX_TASKS:
                raise GuestMemoryError(f"the worker made the host pass on more than {_MAX_TASKS} streams and futures")
            self._close_at_end()
            self._background.append(pump)

    def suspend(self, call: Suspend, deliver: Callable[[Any], None], continuation_out: int) -> None:
        """Leave a host call unfinished; see `Guest.suspend`."""
        call.start = partial(self._attend, call.start)
        super().suspend(call, deliver, continuation_out)

    def _pause(self, condition: Callable[[], Awaitable[Any]]) -> None:
        """Wait before the next call of the callback."""
        self.suspended = self._waited = Suspend(partial(self._attend, condition), lambda _: None)

    async def _attend(self, wait: Callable[[], Awaitable[Any]]) -> Any:
        """Begin what was left for the loop, then wait."""
        background, self._background = self._background, []
        for pump in background:
            self._start(pump())
        for subtask in self._subtasks:
            subtask.begin()
        return await wait()

    def _close_at_end(self) -> None:
        if not self._subtasks and not self._pumps and not self._background:
            self.at_end.append(self._stop)

    def _start(self, pump: Coroutine[Any, Any, None]) -> None:
        """Begin to pass something on. `_leave` raises what went wrong, unless the guest has ended otherwise."""
        task = asyncio.get_running_loop().create_task(pump, name="wasm-guest-pump")
        task.add_done_callback(lambda task: task.cancelled() or task.exception())
        self._pumps.append(task)

    async def _drain(self) -> None:
        if self._pumps:
            await asyncio.wait(self._pumps, return_when=asyncio.FIRST_EXCEPTION)

    def _stop(self) -> None:
        """The request is over, well or not. On the loop."""
        for subtask in self._subtasks:
            subtask.stop()
        for pump in self._pumps:
            pump.cancel()
