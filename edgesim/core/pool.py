"""A PoP's pool of slots: how many guests run at once, and who waits for the next free slot.

Rules: first in, first out; a full queue refuses at once; a lease is the only way to hold a slot, and closing it is sync,
idempotent and the only clean-up. The pool knows no clock: waiting is `World.wait` on the lease's waiter.
"""

from __future__ import annotations

from edgesim.core.waiter import Waiter


class Lease:
    """One slot, held or waited for."""

    __slots__ = ("_open", "pool", "waiter")

    def __init__(self, pool: Pool, waiter: Waiter[None] | None) -> None:
        self._open = True
        self.pool = pool
        """Whose slot it is; a PoP has another pool in its next life."""
        self.waiter = waiter
        """None for a slot granted at once; else it is resolved when the slot is granted."""

    def close(self) -> None:
        """Give the slot, or the place in the queue, back."""
        if not self._open:
            return
        self._open = False
        pool = self.pool
        if not pool._queue:  # noqa: SLF001 - lease and pool are one thing in two classes
            pool.busy -= 1
        elif self.waiter is not None and not self.waiter.done:
            del pool._queue[self]  # noqa: SLF001
        else:
            pool._hand_over()  # noqa: SLF001


class Pool:
    """`slots` leases at once, and at most `queue` that wait."""

    __slots__ = ("_queue", "busy", "queue", "slots")

    def __init__(self, slots: int, queue: int) -> None:
        assert slots > 0
        assert queue >= 0
        self.slots = slots
        self.queue = queue
        self.busy = 0
        """Slots that are held now."""
        self._queue: dict[Lease, None] = {}

    @property
    def queued(self) -> int:
        """Leases that wait for a slot now."""
        return len(self._queue)

    def acquire(self) -> Lease | None:
        """A lease: granted, or with a waiter to wait for. None when the queue is full."""
        if self.busy < self.slots:
            self.busy += 1
            return Lease(self, None)
        if len(self._queue) >= self.queue:
            return None
        lease = Lease(self, Waiter())
        self._queue[lease] = None
        return lease

    def _hand_over(self) -> None:
        """Give a freed slot to who waits longest."""
        lease = next(iter(self._queue))
        del self._queue[lease]
        assert lease.waiter is not None
        lease.waiter.resolve(None)
