"""Waitables of the async canonical ABI, the sets that a guest waits for, and subtasks. Streams are in `async_channel.py`.

A waitable makes progress when it is polled: on the guest's thread, or on the event loop while the guest does not run. What lies
on the host's side is asked then, as with `wasi:io/poll`, so nothing of the host ever writes into a guest that runs.

Source: component-model repository, design/mvp/CanonicalABI.md ("Waitable State", "Subtask State").
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from edgesim.errors import GuestTrapError
from edgesim.wasm.host.waits import wait_any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from edgesim.wasm.flat.handles import HandleTable
    from edgesim.wasm.guest import Suspend

ASYNC: Final = -1
"""Stands for a resource type in the handle tables, which waitables and sets share with resources."""
SUBTASK, STREAM_READ, STREAM_WRITE, FUTURE_READ, FUTURE_WRITE = range(1, 6)
"""Event codes; 0 is none."""
COMPLETED, DROPPED, CANCELLED = range(3)
"""How a copy ended."""
BLOCKED: Final = 0xFFFF_FFFF
STARTED, RETURNED, CANCELLED_BEFORE_RETURNED = 1, 2, 4
"""States of a subtask."""
Event: TypeAlias = tuple[int, int, int]
"""Code, and the two numbers that come with it."""


class Waitable:
    """Something that an event may come from."""

    __slots__ = ("index", "joined")

    def __init__(self) -> None:
        self.index = 0
        """In its handle table."""
        self.joined: WaitableSet | None = None

    def join(self, target: WaitableSet | None) -> None:
        """Move to a set, or out of any."""
        if self.joined is not None:
            self.joined.members.remove(self)
        self.joined = target
        if target is not None:
            target.members.append(self)

    def poll(self) -> Event | None:
        """The event, once it is there. May write to the guest's memory."""
        raise NotImplementedError

    def condition(self) -> Callable[[], Awaitable[None]] | None:
        """What to wait for, on the loop, before `poll` is worth it; None when only the guest itself can bring it about."""
        raise NotImplementedError


class WaitableSet:
    """What a guest waits for together."""

    __slots__ = ("members",)

    def __init__(self) -> None:
        self.members: list[Waitable] = []

    def poll(self) -> Event | None:
        """The next event. Who had one goes to the end, so that nobody starves."""
        for member in self.members:
            event = member.poll()
            if event is not None:
                self.members.remove(member)
                self.members.append(member)
                return event
        return None

    async def wait(self) -> None:
        """Wait, on the loop, until `poll` may have something; for ever when nothing can come."""
        found = [member.condition() for member in self.members]
        await wait_any([condition for condition in found if condition is not None], None)


# -- subtasks -----------------------------------------------------------------------------------------------------------


class Subtask(Waitable):
    """A call of a host function that the guest does not wait for."""

    __slots__ = ("_call", "_deliver", "_task", "resolved")

    def __init__(self, call: Suspend, deliver: Callable[[Suspend], None]) -> None:
        super().__init__()
        self._call = call
        self._deliver = deliver
        self._task: asyncio.Task[None] | None = None
        self.resolved = False
        """Whether the guest has been told how it ended."""

    def begin(self) -> None:
        """Start, on the loop. Idempotent."""
        if self._task is None and not self.resolved:
            self._task = asyncio.get_running_loop().create_task(self._run(), name="wasm-guest-subtask")

    async def _run(self) -> None:
        call = self._call
        try:
            call.value = await call.start()
        except Exception as exc:  # noqa: BLE001 - it belongs to the host function, which decides when it is polled
            call.error = exc
        finally:
            call.done = True

    def poll(self) -> Event | None:
        """Its result goes to the guest's memory."""
        if self.resolved or not self._call.done:
            return None
        self._deliver(self._call)
        self.resolved = True
        return SUBTASK, self.index, RETURNED

    def condition(self) -> Callable[[], Awaitable[None]] | None:
        """Its end."""
        return None if self.resolved else self._ended

    async def _ended(self) -> None:
        self.begin()
        assert self._task is not None
        await asyncio.wait([self._task])

    def cancel(self) -> int:
        """Give it up; its state."""
        if self.resolved:
            raise GuestTrapError("the worker cancelled a subtask that has ended")
        if self.poll() is not None:
            return RETURNED
        self.resolved = True
        self.stop()
        return CANCELLED_BEFORE_RETURNED

    def stop(self) -> None:
        """End its work, from any thread."""
        task = self._task
        if task is not None and not task.done() and not task.get_loop().is_closed():
            task.get_loop().call_soon_threadsafe(task.cancel)


# -- in handle tables ---------------------------------------------------------------------------------------------------


def find(table: HandleTable, number: int, kind: type[Any], what: str) -> Any:
    """What a handle of this kind stands for. Raises GuestTrapError."""
    entries = table.entries
    found = entries[number] if number < len(entries) else None
    if found is None or not isinstance(found.rep, kind):
        raise GuestTrapError(f"the worker passed {number} as a {what}, but it is none")
    return found.rep


def put(table: HandleTable, waitable: Waitable) -> int:
    """A new handle."""
    waitable.index = number = table.put(ASYNC, waitable)
    return number
