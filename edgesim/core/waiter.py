"""A promise without an event loop: one value that any number of flows may wait for.

Rules: it is resolved once; parked flows are woken in the order in which they parked; waking is the world's business (a
parked callback must only queue its flow, never run it). Waiting itself is `World.wait`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class TimedOut:
    """What a wait returns when its deadline came first. A class, so that `isinstance` narrows the type."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "TIMED_OUT"


TIMED_OUT: Final = TimedOut()


class Waiter(Generic[T]):
    """A value that will be there later. `value` may be read only when `done`."""

    __slots__ = ("done", "parked", "value")

    value: T

    def __init__(self) -> None:
        self.done = False
        self.parked: list[Callable[[], None]] = []
        """What to call, in order, when the value is there; worlds append and remove."""

    def resolve(self, value: T) -> None:
        """Set the value and wake who waits. The second and later calls change nothing."""
        if self.done:
            return
        self.done = True
        self.value = value
        parked, self.parked = self.parked, []
        for wake in parked:
            wake()
