"""Whether a worker's guests begin on the event loop's thread, or on the pool at once.

A slice on the loop's thread can take a whole tick, in which nobody else is served. That is worth it for guests that end long
before, since a thread hop costs more than they do; a worker whose guests did not is on probation. It does not schedule
anything itself: that is `execution.py`'s business.
"""

from __future__ import annotations

from typing import Final

INLINE_CPU_S: Final = 0.002
"""CPU time that a guest may use on the event loop's thread before its slices move to the pool."""
PROBATION_RUNS: Final = 32
"""Runs under INLINE_CPU_S in a row, on the pool, after which a worker's guests begin on the loop again."""


class Pace:
    """What is known about the CPU time of one worker's guests."""

    __slots__ = ("_probation",)

    def __init__(self) -> None:
        self._probation = 0

    @property
    def heavy(self) -> bool:
        """Whether the next guest must not begin on the loop's thread."""
        return self._probation > 0

    def ran(self, cpu_s: float) -> None:
        """A guest has ended, or was ended, after that much CPU time, its start included."""
        if cpu_s > INLINE_CPU_S:
            self._probation = PROBATION_RUNS
        elif self._probation:
            self._probation -= 1
