"""M/M/1, M/M/c and M/G/c/c: exponential services, and the loss system, which does not care about them.

Formulas of A. K. Erlang, "Solution of some problems in the theory of probabilities of significance in automatic telephone
exchanges", 1917, as in Kleinrock, Queueing Systems, volume 1, 1975, §3.2 (M/M/1), §3.5 (C formula) and §3.6 (B formula).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgesim.sim.validation.verdict import Claim, Result, statistical

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgesim.sim.validation.station import Means, Queue


def erlang_b(slots: int, offered: float) -> float:
    """Share that a loss system refuses: B₀ = 1, Bₖ = a Bₖ₋₁ / (k + a Bₖ₋₁), where a = λ E[S]."""
    share = 1.0
    for k in range(1, slots + 1):
        share = offered * share / (k + offered * share)
    return share


def erlang_c(slots: int, offered: float) -> float:
    """Share that has to wait: C = B / (1 - ρ (1 - B)), where ρ = a / c."""
    blocked = erlang_b(slots, offered)
    return blocked / (1.0 - offered / slots * (1.0 - blocked))


def mean_wait_s(queue: Queue) -> float:
    """Wq = C / (c μ - λ); for one slot C = ρ."""
    offered = queue.load * queue.slots
    return erlang_c(queue.slots, offered) * queue.service.mean_s / (queue.slots - offered)


def wait(queue: Queue, runs: Sequence[Means], allowed: float) -> Result:
    """The mean time in the queue."""
    one = queue.slots == 1
    claim = Claim(
        id=f"mm{queue.slots}.wait.{queue.load:g}",
        text=f"{queue.label}: Wq = " + ("ρ / (μ - λ)" if one else "C(c, a) / (c μ - λ)"),
        source=f"Kleinrock 1975, §3.{2 if one else 5}",
        unit="s",
    )
    return statistical(claim, mean_wait_s(queue), [run.wait_s for run in runs], allowed=allowed)


def waiting_share(queue: Queue, runs: Sequence[Means], allowed: float) -> Result:
    """The share that has to wait at all."""
    claim = Claim(
        id=f"mm{queue.slots}.waits.{queue.load:g}",
        text=f"{queue.label}: share that waits C = B / (1 - ρ (1 - B))",
        source="Erlang 1917",
        unit="share",
    )
    expected = erlang_c(queue.slots, queue.load * queue.slots)
    return statistical(claim, expected, [run.waited for run in runs], allowed=allowed)


def refused_share(queue: Queue, runs: Sequence[Means], allowed: float) -> Result:
    """The share that a full pool without a queue refuses."""
    claim = Claim(
        id=f"loss{queue.slots}.refused.{queue.load:g}",
        text=f"{queue.label}: share refused B(c, a)",
        source="Erlang 1917",
        unit="share",
    )
    expected = erlang_b(queue.slots, queue.load * queue.slots)
    return statistical(claim, expected, [run.refused for run in runs], allowed=allowed)
