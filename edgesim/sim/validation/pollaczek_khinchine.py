"""M/D/1 and M/G/1: the mean wait depends on the services' first two moments only.

The Pollaczek-Khinchine mean-value formula, as in Kleinrock, Queueing Systems, volume 1, 1975, §5.6.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgesim.sim.validation.verdict import Claim, Result, statistical

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgesim.sim.validation.station import Means, Queue


def mean_wait_s(queue: Queue) -> float:
    """Wq = λ E[S²] / (2 (1 - ρ)), where E[S²] = (1 + scv) E[S]²."""
    mean_s = queue.service.mean_s
    return queue.rate * (1.0 + queue.service.scv) * mean_s * mean_s / (2.0 * (1.0 - queue.load))


def wait(queue: Queue, runs: Sequence[Means], allowed: float) -> Result:
    """The mean time in the queue."""
    service = queue.service
    spread = f", scv = {service.scv:g}" if service.scv else ""
    claim = Claim(
        id=f"{queue.name.replace('/', '').lower()}.wait.{queue.load:g}",
        text=f"{queue.label}{spread}: Wq = λ E[S²] / (2 (1 - ρ))",
        source="Pollaczek, Khinchine",
        unit="s",
    )
    return statistical(claim, mean_wait_s(queue), [run.wait_s for run in runs], allowed=allowed)
