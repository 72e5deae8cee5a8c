"""An asyncio loop on virtual time whose timers fire in creation order: what makes the live world comparable to the kernel.

Stock asyncio orders timers by time alone, so ties come in the heap's order; and it adds up select's timeouts, which rounds.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import math
import selectors


class _Selector(selectors.SelectSelector):
    """Never waits: it sets the clock to the next timer instead."""

    loop: VirtualLoop

    def select(self, timeout=None):
        loop = self.loop
        if timeout and loop._scheduled:
            loop.now_s = max(loop.now_s, loop._scheduled[0]._when)
            # Zero would make the loop spin for ever: it fires timers strictly below now + resolution.
            loop._clock_resolution = math.ulp(loop.now_s)
        return []


class _FifoTimer(asyncio.TimerHandle):
    __slots__ = ("seq",)

    def __lt__(self, other):
        return (self._when, self.seq) < (other._when, other.seq)


class VirtualLoop(asyncio.SelectorEventLoop):
    """`time()` is virtual, in seconds from 0."""

    def __init__(self):
        selector = _Selector()
        super().__init__(selector)
        selector.loop = self
        self.now_s = 0.0
        self._numbers = itertools.count()
        self._clock_resolution = math.ulp(0.0)

    def time(self):
        """Virtual seconds."""
        return self.now_s

    def call_at(self, when, callback, *args, context=None):
        """As asyncio's, first in first out among equal times."""
        timer = _FifoTimer(when, callback, args, self, context)
        timer.seq = next(self._numbers)
        heapq.heappush(self._scheduled, timer)
        timer._scheduled = True
        return timer
