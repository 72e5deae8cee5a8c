"""One request that has ended, as a world reports it to `Results.add`. No I/O; where the values come from is the world's."""

from __future__ import annotations

from typing import Final, NamedTuple

COLD_PHASES: Final = ("start", "fetch", "compile", "load", "shared", "instantiate", "init", "first_call")
"""What cold starts are spent on, in the order of docs/cold-starts.md; `start` is all until the worker was loaded."""
COLD_STARTS: Final = frozenset({"absent", "disk"})
ROLES: Final = ("trigger", "waiter")


class Attribution(NamedTuple):
    """Where an answer comes from, as far as it tells; empty and None where it doesn't."""

    pop: str
    start: str
    """`absent`, `disk`, `fresh` or `reused`."""
    role: str
    """`trigger` or `waiter`, for cold starts."""
    network_s: float | None
    """Modelled time on the network, as it would be at `--time-scale 1`."""
    phases: tuple[tuple[str, float], ...] = ()
    """What a cold start was spent on: `COLD_PHASES` with seconds."""
    edge_s: float | None = None
    """What the edge itself took: all that neither network nor worker nor origin account for (`core/front_door.py`)."""


NOBODY: Final = Attribution("", "", "", None)
"""No answer, or one that says nothing about itself."""


class Answered(NamedTuple):
    """What became of one request. A NamedTuple, since the simulator makes tens of thousands a second."""

    outcome: str
    """`ok`, or why it failed: a check (`status`, `header`, `body`), or what the connection did (`timeout`, `broken`, …)."""
    response_s: float
    """From the intended send time to the complete answer, or to the timeout."""
    about: Attribution = NOBODY
    status: int = 0
    """0 when there is no complete answer."""
    body_bytes: int = 0
    lag_s: float = 0.0
    """How late it was sent, by the generator's own fault; always 0 when time is simulated."""
    connect_s: float | None = None
    """Time to open the connection, when this request opened one."""
    retried: bool = False
    """Whether it found its kept-alive connection closed and used another."""
    sent_segment: int = 0
    """`len(results.marks)` when it was sent."""
