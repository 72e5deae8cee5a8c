"""The simulated world's scheduler: coroutines on a heap of (time, sequence number).

It knows two effects that a flow can yield: a `float` (sleep that many seconds) and a `(waiter, deadline)` pair. Ties are
first in, first out. External events (arrivals, kills, disconnects) of an instant run before everything else of it, and
what they set going runs next, so that an asyncio loop on virtual time does the same in the same order (tests/parity).
Randomness, costs and what the edge does are elsewhere: `sim/world.py`.
"""

from __future__ import annotations

import types
from collections import deque
from heapq import heappop, heappush, heappushpop
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

from edgesim.core.waiter import TIMED_OUT, TimedOut, Waiter

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator, Iterator

T = TypeVar("T")

Effect: TypeAlias = "float | tuple[Waiter[Any], float]"

_EXTERNAL: Final = -(1 << 62)
"""Sequence numbers of external events start here: before all others of their instant."""
_CONSEQUENCE: Final = -(1 << 61)
"""Sequence numbers of what external events set going: after them, before the rest."""


class Cancelled(BaseException):
    """Thrown into a flow whose client has gone. Flows see it only in `finally`, as asyncio's CancelledError."""


class _Throw:
    """A heap value that is thrown into its flow instead of sent."""

    __slots__ = ("error",)

    def __init__(self, error: BaseException) -> None:
        self.error = error


class _Timeout:
    """The heap value of a wait's deadline."""

    __slots__ = ("waiter",)

    def __init__(self, waiter: Waiter[Any]) -> None:
        self.waiter = waiter


class _Feed:
    """A source of external events, one at a time: each first asks the iterator for the next one."""

    __slots__ = ("_action", "_arrivals", "_kernel")

    def __init__(self, kernel: Kernel, arrivals: Iterator[tuple[float, Callable[[], object]]]) -> None:
        self._kernel = kernel
        self._arrivals = arrivals
        self._action: Callable[[], object]

    def next(self) -> None:
        """Have the next event happen at its time, if there is one."""
        for time_s, action in self._arrivals:
            self._action = action
            self._kernel.at(time_s, self)
            return

    def __call__(self) -> None:
        due = self._action
        for time_s, action in self._arrivals:  # as `next`, written out
            self._action = action
            self._kernel.at(time_s, self)
            break
        due()


class Flow:
    """A running coroutine. Of its heap entries only the one whose number is `expects` is alive."""

    __slots__ = ("cancelled", "coro", "expects", "name", "send")

    def __init__(self, coro: Coroutine[Any, Any, Any], name: str) -> None:
        self.coro = coro
        self.send = coro.send  # looked up once, called at each step
        self.name = name
        self.expects = 0
        self.cancelled = False

    def waits_at(self) -> str:
        """Where the flow is suspended, outermost frame first: `front_door:88 > serve_at_pop:41`."""
        places: list[str] = []
        coro: Any = self.coro
        while coro is not None:
            frame = getattr(coro, "cr_frame", None) or getattr(coro, "gi_frame", None)
            if frame is None:
                break
            places.append(f"{frame.f_code.co_qualname}:{frame.f_lineno}")
            coro = getattr(coro, "cr_await", None) or getattr(coro, "gi_yieldfrom", None)
        return " > ".join(places)


@types.coroutine
def sleep(seconds: float) -> Generator[Effect, None, None]:
    """Suspend the flow; at once when `seconds` is not positive."""
    if seconds > 0.0:
        yield seconds


@types.coroutine
def wait(waiter: Waiter[T], deadline_s: float) -> Generator[Effect, Any, T | TimedOut]:
    """Suspend the flow until the waiter has its value or the deadline comes."""
    return (yield (waiter, deadline_s))  # type: ignore[no-any-return]


class Kernel:
    """A heap of flows and a virtual clock, in seconds from 0."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.current: Flow | None = None
        """The flow that runs now; None between flows."""
        self.events = 0
        """Entries that were carried out; for reports."""
        self._heap: list[tuple[float, int, Any, Any]] = []
        self._seq = 0
        self._consequences = _CONSEQUENCE
        self._externals = _EXTERNAL
        self._in_external = False
        self._consequent: deque[tuple[float, int, Any, Any]] = deque()
        """What external events of this instant set going, in order; beside the heap, since its place is known."""
        self._flows: set[Flow] = set()

    # -- what the world calls -----------------------------------------------------------------------------------------

    def spawn(self, coro: Coroutine[Any, Any, Any], name: str) -> Flow:
        """Start a flow at the current instant, after what is already due."""
        flow = Flow(coro, name)
        self._flows.add(flow)
        if self._in_external:  # as `_push`, written out for arrivals
            self._consequences = flow.expects = seq = self._consequences + 1
            self._consequent.append((self.now_s, seq, flow, None))
        else:
            self._push(self.now_s, flow, None)
        return flow

    def at(self, time_s: float, action: Callable[[], object]) -> None:
        """Run `action` as an external event. Among those of one instant, in the order of these calls."""
        self._externals = seq = self._externals + 1
        now_s = self.now_s
        heappush(self._heap, (time_s if time_s > now_s else now_s, seq, None, action))  # noqa: FURB136 - max() is a call

    def feed(self, arrivals: Iterator[tuple[float, Callable[[], object]]]) -> None:
        """Run each `(time, action)` of a sorted, possibly endless iterator as an external event; one is held at a time."""
        _Feed(self, arrivals).next()

    def interrupt(self, flow: Flow, error: BaseException) -> None:
        """Throw `error` into a suspended flow, at this instant. A flow whose client has gone is left alone."""
        if flow.cancelled or flow not in self._flows:
            return
        flow.cancelled = isinstance(error, Cancelled)
        self._push(self.now_s, flow, _Throw(error))

    # -- the loop -----------------------------------------------------------------------------------------------------

    def run(self, until_s: float = float("inf")) -> None:  # noqa: C901, PLR0912, PLR0915 - hot loop: a call costs 60 ns
        """Carry out all entries up to and including `until_s`.

        Raises:
            TypeError: a flow awaited something that is not of this kernel; the message names it.
        """
        heap, consequent, flows, events = self._heap, self._consequent, self._flows, 0
        later: tuple[float, int, Any, Any] | None = None
        """When the flow that ran last goes on: pushed with the next pop in one step."""
        while True:
            if consequent and not (heap and heap[0][1] < _CONSEQUENCE and heap[0][0] <= self.now_s):
                if later is not None:
                    heappush(heap, later)
                    later = None
                entry = consequent.popleft()
            elif later is not None:
                entry = heappushpop(heap, later)
                later = None
            elif heap:
                entry = heappop(heap)
            else:
                break
            time_s, seq, flow, value = entry
            if time_s > until_s:
                heappush(heap, entry)
                break
            self.now_s = time_s
            if flow is None:
                self._in_external = True
                try:
                    value()
                finally:
                    self._in_external = False
                continue
            if flow.expects != seq:
                continue  # a timer whose wait has ended otherwise
            events += 1
            self.current = flow
            try:
                if value is None:  # the usual case: a sleep is over
                    effect = flow.send(None)
                elif value.__class__ is _Timeout:
                    if value.waiter.done:  # its value came in this very instant: it wins, and queues behind
                        self._push(time_s, flow, value.waiter.value)
                        continue
                    effect = flow.send(TIMED_OUT)
                elif value.__class__ is _Throw:
                    effect = flow.coro.throw(value.error)
                else:
                    effect = flow.send(value)
            except (StopIteration, Cancelled):
                flows.discard(flow)
                flow.expects = 0
                continue
            except BaseException:
                flows.discard(flow)
                flow.expects = 0
                raise
            if effect.__class__ is float:
                self._seq = flow.expects = seq = self._seq + 1
                later = (time_s + effect, seq, flow, None)
            else:
                self._park(flow, effect)
        self.current = None
        self.events += events

    def _park(self, flow: Flow, effect: Any) -> None:
        if not (isinstance(effect, tuple) and isinstance(effect[0], Waiter)):
            raise TypeError(
                f"flow {flow.name} awaited {effect!r}, which the simulator cannot carry out: {flow.waits_at()}"
            )
        waiter, deadline_s = effect
        self._seq = seq = self._seq + 1
        flow.expects = seq

        def wake() -> None:
            # A timeout that is due now notices the value by itself; an external event comes before any timeout.
            if flow.expects == seq and (deadline_s > self.now_s or self._in_external):
                self._push(self.now_s, flow, waiter.value)

        waiter.parked.append(wake)
        if deadline_s != float("inf"):
            heappush(self._heap, (max(deadline_s, self.now_s), seq, flow, _Timeout(waiter)))

    def _push(self, time_s: float, flow: Flow, value: Any) -> None:
        if self._in_external:
            self._consequences = flow.expects = self._consequences + 1
            self._consequent.append((time_s, flow.expects, flow, value))
        else:
            self._seq = flow.expects = self._seq + 1
            heappush(self._heap, (time_s, flow.expects, flow, value))

    def waiting(self) -> list[str]:
        """Who waits on what: one line per live flow, for a report of a stuck simulation."""
        return sorted(f"{flow.name}: {flow.waits_at()}" for flow in self._flows)

    def close(self) -> None:
        """Close what still waits, so that every `finally` runs now and not at garbage collection."""
        for flow in sorted(self._flows, key=lambda f: f.expects):
            flow.coro.close()
        self._flows.clear()
        self._heap.clear()
        self._consequent.clear()
