"""What the processes of the edge say about themselves, as the control plane last heard it. Nothing of it is stored.

Rules: a message counts only when its content fits its topic and it is news (`BootOrder`), so duplicates, reordering and the
will of an earlier life change nothing. A PoP that is missing from its host's beat is down; a host whose will came, or whose
beats stay out, is down. Malformed messages raise InputError, which the bus logs and counts.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, Literal

from edgesim.config.messages import decode_health, decode_presence, decode_reported
from edgesim.core.desired import BootOrder
from edgesim.errors import InputError
from edgesim.model.ids import HostId, PopId

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from edgesim.config.messages import PopBeat, Presence
    from edgesim.model.events import PopReported
    from edgesim.model.topology import HealthSpec

HostState = Literal["unknown", "up", "stale", "down"]
"""`stale`: connected as far as the broker knows, but its beats stay out (frozen, or overloaded)."""
PopState = Literal["unknown", "starting", "ready", "draining", "down"]
_PROCESSES_MAX: Final = 1024


class Observed:
    """Reports, beats and presences by sender."""

    def __init__(
        self,
        assignment: Mapping[PopId, HostId],
        health: HealthSpec,
        *,
        on_report: Callable[[PopReported], None],
        on_change: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start with nothing heard.

        Args:
            assignment: which host speaks for which PoP; others are not believed.
            health: interval and number of missed beats after which a host is stale.
            on_report: called with each report that is news.
            on_change: called when anything that a rollout depends on has changed.
            clock: monotonic seconds.
        """
        self.reports: dict[PopId, PopReported] = {}
        self.presences: dict[str, Presence] = {}
        self._assignment = assignment
        self._stale_s = health.interval_s * health.missed_beats
        self._on_report, self._on_change, self._clock = on_report, on_change, clock
        self._order = BootOrder()
        self._presence_numbers = 0
        self._hosts = frozenset(assignment.values())
        self._beats: dict[HostId, dict[str, PopBeat]] = {}
        self._beat_at_s: dict[HostId, float] = {}

    # -- messages -----------------------------------------------------------------------------------------------------

    def take_report(self, topic: str, payload: bytes) -> None:
        """`es1/r/<host>/<pop>`. Raises InputError."""
        if not payload:
            return  # The retained report of a PoP that moved has been cleared.
        message = decode_reported(payload)
        if topic != f"es1/r/{message.host}/{message.pop}":
            raise InputError(f"a report of {message.pop} on {message.host} under a foreign topic", where=topic)
        pop = PopId(message.pop)
        if self._assignment.get(pop) != message.host or not self._order.accept(topic, message.boot, message.seq):
            return
        event = message.event()
        self.reports[pop] = event
        self._on_report(event)
        self._on_change()

    def take_health(self, topic: str, payload: bytes) -> None:
        """`es1/h/<host>`. Raises InputError."""
        message = decode_health(payload)
        if topic != f"es1/h/{message.host}":
            raise InputError(f"a beat of {message.host} under a foreign topic", where=topic)
        host = HostId(message.host)
        if host not in self._hosts or not self._order.accept(topic, message.boot, message.seq):
            return
        self._beats[host] = {beat.pop: beat for beat in message.pops}
        self._beat_at_s[host] = self._clock()

    def take_presence(self, topic: str, payload: bytes) -> None:
        """`es1/p/<process>`, also as a will. Raises InputError."""
        if not payload:
            return
        message = decode_presence(payload)
        if topic != f"es1/p/{message.process}":
            raise InputError(f"the presence of {message.process} under a foreign topic", where=topic)
        if message.process not in self.presences and len(self.presences) >= _PROCESSES_MAX:
            raise InputError(f"more than {_PROCESSES_MAX} processes", where=topic)
        self._presence_numbers += 1
        if not self._order.accept(topic, message.boot, self._presence_numbers):
            return  # The will of an earlier life.
        self.presences[message.process] = message
        self._on_change()

    # -- views --------------------------------------------------------------------------------------------------------

    def connected(self, host: HostId) -> bool:
        """Whether the host's presence says that it is there."""
        presence = self.presences.get(host)
        return presence is not None and presence.up

    def host_state(self, host: HostId) -> HostState:
        """The host as a whole."""
        presence = self.presences.get(host)
        if presence is None:
            return "unknown"
        if not presence.up:
            return "down"
        beat_at_s = self._beat_at_s.get(host)
        fresh = beat_at_s is not None and self._clock() - beat_at_s <= self._stale_s
        return "up" if fresh else "stale"

    def beat(self, pop: PopId) -> PopBeat | None:
        """What the PoP's host said about it in its last beat; None when that is stale or the PoP is not in it."""
        host = self._assignment[pop]
        return self._beats.get(host, {}).get(pop) if self.host_state(host) == "up" else None

    def pop_state(self, pop: PopId) -> PopState:
        """The PoP as far as it is known."""
        if self.host_state(self._assignment[pop]) == "unknown":
            return "unknown"
        beat = self.beat(pop)
        return beat.state if beat is not None else "down"
