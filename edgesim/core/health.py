"""Which PoPs the front door believes to be alive.

A PoP is out after `missed_beats` missed beats, or at once when a connection to it fails, until its next beat. Beats travel
over the broker: while the broker is away their absence proves nothing, so the table is paused: PoPs keep the state they
had, and only failed connections take one out, for the length of the missed beats. Pure: time is an argument.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable

    from edgesim.model.ids import PopId
    from edgesim.model.topology import HealthSpec

PopState = Literal["up", "down", "draining", "starting"]

_NEVER: Final = float("-inf")
RESUME_GRACE_S: Final = 10.0
"""After the broker is back: PoP hosts reconnect with up to 5 s of back-off and then beat at once."""


class _Entry:
    __slots__ = ("beat_s", "failed_s", "state")

    def __init__(self) -> None:
        self.beat_s = _NEVER
        self.failed_s = _NEVER
        self.state: PopState = "starting"


class HealthTable:
    """The last word of every PoP, and what follows from it now."""

    def __init__(self, pops: Iterable[PopId], spec: HealthSpec) -> None:
        self._window_s = spec.interval_s * spec.missed_beats
        self._entries = {pop: _Entry() for pop in pops}
        self._paused_s: float | None = None
        self._learning_until_s = _NEVER

    def begin(self, now_s: float) -> None:
        """A front door starts: until every PoP could have beaten, one that was not heard of counts as up.

        Else those whose beats come first would take everybody's requests. A dead one costs its first request a failover.
        """
        self._learning_until_s = now_s + self._window_s

    def beat(self, pop: PopId, state: Literal["starting", "ready", "draining"], now_s: float) -> None:
        """A beat of `pop` has arrived. PoPs that are not in the topology are ignored."""
        entry = self._entries.get(pop)
        if entry is None:
            return
        # It may have been sent before a failure, which the next request finds out. It also ends a grace after `resume`.
        entry.beat_s = now_s
        entry.state = "up" if state == "ready" else state
        if now_s > entry.failed_s:
            entry.failed_s = _NEVER

    def fail(self, pop: PopId, now_s: float) -> None:
        """A connection to `pop` has failed."""
        entry = self._entries.get(pop)
        if entry is not None:
            entry.failed_s = now_s

    def pause(self, now_s: float) -> None:
        """The broker is away: beats cannot arrive."""
        if self._paused_s is None:
            self._paused_s = now_s

    def resume(self, now_s: float) -> None:
        """The broker is back: who was up has a grace period to beat again."""
        if self._paused_s is None:
            return
        for entry in self._entries.values():
            if self._paused_s - entry.beat_s <= self._window_s:
                entry.beat_s = now_s + RESUME_GRACE_S - self._window_s
        self._paused_s = None

    def state(self, pop: PopId, now_s: float) -> PopState:
        """`up`, `down`, `draining`, or `starting` for a PoP that has not beaten yet or has no state to serve from."""
        entry = self._entries.get(pop)
        if entry is None:
            return "down"
        if entry.failed_s > _NEVER and (self._paused_s is None or now_s - entry.failed_s < self._window_s):
            return "down"
        if entry.beat_s == _NEVER:
            return "up" if now_s < self._learning_until_s else "starting"
        seen_s = now_s if self._paused_s is None else self._paused_s
        return entry.state if seen_s - entry.beat_s <= self._window_s else "down"

    def is_up(self, pop: PopId, now_s: float) -> bool:
        """Whether requests should go to `pop`: `state(...) == "up"`, with a short cut for the usual case."""
        entry = self._entries.get(pop)
        if entry is not None and entry.state == "up" and entry.failed_s == _NEVER and self._paused_s is None:
            return now_s - entry.beat_s <= self._window_s
        return self.state(pop, now_s) == "up"
