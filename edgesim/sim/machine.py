"""The edge's own share of a request's time, as far as it was measured: parsing, wake-ups, the hop between processes.

The front door and each PoP host are one event loop each, which does one thing at a time: a request waits until the loop is
through with those before it, for as long as the profile says that one takes (CPU time, measured). On top comes what a request
took on an edge that was idle otherwise. What other programs do to the machine is not modelled.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgesim.sim.costs import BITS, MASK, table

if TYPE_CHECKING:
    from collections.abc import Iterable

    from edgesim.model.ids import HostId
    from edgesim.results.profile import EdgeProfile


class Machine:
    """The event loops of an edge, each with the time at which it is through with its work."""

    __slots__ = ("_connect", "_door_free_s", "_door_s", "_free_s", "_host_s", "_outside", "_overhead")

    def __init__(self, profile: EdgeProfile, hosts: Iterable[HostId]) -> None:
        self._overhead = table(profile.overhead)
        self._outside = table(profile.outside)
        self._connect = table(profile.connect)
        self._door_s = profile.door_cpu_s
        self._host_s = profile.host_cpu_s
        self._door_free_s = 0.0
        self._free_s = dict.fromkeys(hosts, 0.0)

    def delay_s(self, host: HostId, now_s: float, bits: int) -> float:
        """What the edge adds to a request that comes now: waiting for its loops, and their own work.

        Args:
            host: the PoP host that serves it.
            now_s: now; calls come in order of time.
            bits: random bits, of which the lowest 11 draw.
        """
        begin_s = max(now_s, self._door_free_s)
        self._door_free_s = there_s = begin_s + self._door_s
        served_s = max(there_s, self._free_s[host])
        self._free_s[host] = served_s + self._host_s
        return (begin_s - now_s) + (served_s - there_s) + self._overhead[bits & MASK]

    def outside_s(self, bits: int, *, opened: bool) -> float:
        """How much later than the front door's answer its client has it; more when it had to open a connection first.

        Args:
            bits: random bits, of which the lowest 22 draw.
            opened: whether the request opened its connection.
        """
        outside_s = self._outside[bits & MASK]
        return outside_s + self._connect[bits >> BITS & MASK] if opened else outside_s
