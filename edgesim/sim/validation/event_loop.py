"""The edge's event loops as queues: what a simulated request waits for at the front door (`sim/machine.py`).

A loop is busy for the same time with each request, so it is an M/D/1 queue, and Pollaczek and Khinchine's formula holds. A
PoP host behind it that needs no longer makes nobody wait: requests come from the front door at least so far apart.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgesim.model.ids import HostId
from edgesim.results.durations import Durations
from edgesim.results.profile import EdgeProfile
from edgesim.sim.machine import Machine
from edgesim.sim.validation import pollaczek_khinchine
from edgesim.sim.validation.station import WARM_UP, Means, Queue, arrivals
from edgesim.sim.validation.verdict import Claim, Result, statistical

if TYPE_CHECKING:
    from collections.abc import Sequence


def means(queue: Queue, seed: int) -> Means:
    """One replication: the wait is what the loops add to an edge that takes no other time."""
    loop_s = queue.service.mean_s
    profile = EdgeProfile(
        overhead=Durations(),
        outside=Durations(),
        connect=Durations(),
        door_cpu_s=loop_s,
        host_cpu_s=loop_s,
        start_host_s=0.0,
    )
    host = HostId("host1")
    machine = Machine(profile, (host,))
    waits_s = [machine.delay_s(host, at_s, 0) for at_s in arrivals(queue, seed)]
    counted = waits_s[int(len(waits_s) * WARM_UP) :]
    return Means(sum(counted) / len(counted), sum(wait_s > 0.0 for wait_s in counted) / len(counted), 0.0)


def wait(queue: Queue, runs: Sequence[Means], allowed: float) -> Result:
    """The mean wait at both loops together."""
    claim = Claim(
        id=f"loop.wait.{queue.load:g}",
        text=f"event loops, {queue.label}: Wq = λ E[S²] / (2 (1 - ρ))",
        source="Pollaczek, Khinchine",
        unit="s",
    )
    return statistical(claim, pollaczek_khinchine.mean_wait_s(queue), [run.wait_s for run in runs], allowed=allowed)
