"""Instances that serve more than one request: how long each lives, and which of a worker's are free.

Values and bookkeeping only. Who makes, drops and evicts them is `core/keeper.py`; what an instance is made of is the
world's. The terms are wasmtime's and Spin's (`model/worker.py`, Reuse).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgesim.model.stream import Stream
    from edgesim.model.worker import Reuse


class Instance:
    """One instance of a worker on a PoP."""

    __slots__ = (
        "active",
        "broken",
        "bytes",
        "charged",
        "handle",
        "idle_since_s",
        "idle_timeout_s",
        "max_active",
        "max_uses",
        "uses",
    )

    def __init__(self, instance_bytes: int) -> None:
        self.handle: Any = None
        """What the world has made; None before, and where the world cannot keep it."""
        self.uses = 0
        """Requests that it was given."""
        self.max_uses = 0
        """Requests that it may be given; drawn with the first, as the other two limits."""
        self.active = 0
        """Requests that it serves now."""
        self.max_active = 1
        self.idle_timeout_s = 0.0
        self.idle_since_s = 0.0
        """When its last request ended."""
        self.broken = False
        """It trapped, was stopped or ran into a limit: it never serves again."""
        self.bytes = instance_bytes
        """What it takes in memory, as far as the world knows."""
        self.charged = 0
        """What the PoP's budget counts for it."""

    def draw(self, reuse: Reuse, stream: Stream) -> None:
        """Draw its limits from its first request's stream. A range of one value draws nothing."""
        self.max_uses = _whole(reuse.max_instance_reuse_count, stream)
        self.max_active = _whole(reuse.max_instance_concurrent_reuse_count, stream)
        low, high = reuse.idle_instance_timeout_s
        self.idle_timeout_s = low if low == high else low + (high - low) * stream.uniform()

    @property
    def again(self) -> bool:
        """Whether it may be given another request, now or later."""
        return self.uses < self.max_uses and not self.broken

    @property
    def free(self) -> bool:
        """Whether it can take a request beside those that it serves."""
        return self.active < self.max_active and self.handle is not None and self.again

    @property
    def expires_s(self) -> float:
        """When it has been idle for too long."""
        return self.idle_since_s + self.idle_timeout_s


def _whole(bounds: tuple[int, int], stream: Stream) -> int:
    low, high = bounds
    return low if low == high else low + int((high - low + 1) * stream.uniform())


class Instances:
    """The instances of one worker that may serve again."""

    __slots__ = ("idle", "shared")

    def __init__(self) -> None:
        self.idle: list[Instance] = []
        """Those that serve nobody, the one that became idle last at the end: it is taken first, so that the others time out."""
        self.shared: dict[Instance, None] = {}
        """Those that serve somebody and may serve others beside, in the order in which they were made."""

    def join(self) -> Instance | None:
        """An instance that runs and has room for another request; None when there is none."""
        return next((instance for instance in self.shared if instance.free), None)

    def free_bytes(self) -> int:
        """What the budget would get back if all idle ones went."""
        return sum(instance.charged for instance in self.idle)
