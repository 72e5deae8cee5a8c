"""What processes counted that have ended since: so that a PoP host that died and came back has one history, not two.

A holder gives it each snapshot that it gets; what a process counted after its last one is lost with the process. Prometheus
does the same with its own scrapes. Not for gauges: what a dead process held is not held any more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgesim.observe.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterable
    from collections.abc import Set as AbstractSet


class History:
    """The latest store of each process, and the sum of those that were replaced by a new life of the same process.

    Args:
        max_processes: how many processes are told apart; the oldest beyond that count as ended.
    """

    def __init__(self, *, max_processes: int = 256) -> None:
        self._max_processes = max_processes
        self._ended = Store()
        self._latest: dict[str, tuple[str, Store]] = {}
        self._gone: dict[tuple[str, str], None] = {}
        """Lives that are in `_ended`, in the order in which they ended."""

    def update(self, process: str, boot: str, store: Store) -> None:
        """Take a process's snapshot, which must not change any more.

        Another `boot` than last time says that the process has been started anew. An answer of a former life that comes
        late is dropped, since that life has been counted.
        """
        if (process, boot) in self._gone:
            return
        before = self._latest.pop(process, None)
        if before is not None and before[0] != boot:
            self._retire(process, *before)
        self._latest[process] = (boot, store)
        while len(self._latest) > self._max_processes:
            oldest = next(iter(self._latest))
            self._retire(oldest, *self._latest.pop(oldest))

    def parts(self, *, alive: AbstractSet[str]) -> tuple[tuple[Store, bool], ...]:
        """What `total` adds up, for callers that do so in another thread: stores, and whether their gauges count."""
        latest = ((store, process in alive) for process, (_, store) in self._latest.items())
        return ((self._ended, False), *latest)

    def total(self, *, alive: AbstractSet[str]) -> Store:
        """The sum of everything, with the gauges of the processes in `alive` only."""
        return added(self.parts(alive=alive))

    def _retire(self, process: str, boot: str, store: Store) -> None:
        self._gone[process, boot] = None
        if len(self._gone) > 4 * self._max_processes:
            del self._gone[next(iter(self._gone))]
        # A new store each time: the old one may be in the hands of who called `parts`.
        self._ended = added(((self._ended, False), (store, False)))


def added(parts: Iterable[tuple[Store, bool]]) -> Store:
    """The sum of stores, each with or without its gauges."""
    total = Store()
    for store, gauges in parts:
        total.merge(store, gauges=gauges)
    return total
