"""A PoP's state: its pool, the apps it serves, and where each of its workers stands.

A worker (one component of one release on one PoP) is `absent`, on `disk` or `loaded`. PoPs of one process share code and
files through their world, but each has states of its own, so that its cold starts are its own (docs/cold-starts.md).
The flows that move workers between states are in `core/serve.py` and `core/rollout.py`.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Any, Final

from edgesim.core.pool import Pool

if TYPE_CHECKING:
    from edgesim.core.desired import DesiredDocument
    from edgesim.core.waiter import Waiter
    from edgesim.errors import EdgesimError
    from edgesim.model.events import PopReported
    from edgesim.model.ids import AppName, Digest
    from edgesim.model.topology import PopSpec
    from edgesim.model.worker import Component, Release


PATHS_MAX: Final = 1024


class Stage(IntEnum):
    """Where a worker is on a PoP."""

    ABSENT = 0
    DISK = 1
    LOADED = 2


class Worker:
    """One component of one release on one PoP."""

    __slots__ = ("component", "handle", "loaded_bytes", "phases", "release", "stage", "starting", "used_s", "users")

    def __init__(self, release: Release, component: Component, stage: Stage) -> None:
        self.release = release
        self.component = component
        self.stage = stage
        self.starting: Waiter[EdgesimError | None] | None = None
        """While a start is under way: resolved with None, or with why it failed."""
        self.phases: list[tuple[Any, float]] = []
        """Phases of the last start, in seconds."""
        self.handle: Any = None
        """The world's loaded module."""
        self.loaded_bytes = 0
        self.used_s = 0.0
        """When a request last used it, on the world's clock."""
        self.users = 0
        """Requests that hold it now."""


class Serving:
    """A release on a PoP, with its workers by component id."""

    __slots__ = ("_by_path", "pending", "release", "workers")

    def __init__(self, release: Release, disk: set[Digest]) -> None:
        self.release = release
        self.pending = release.prefetch
        """Whether its workers have still to be started before it counts as ready."""
        self._by_path: dict[str, Worker | None] = {}
        self.workers = {
            c.id: Worker(release, c, Stage.DISK if c.digest in disk else Stage.ABSENT) for c in release.components
        }

    def worker(self, path: str) -> Worker | None:
        """The worker that serves `path` (without query), or None; remembered for a bounded number of paths."""
        try:
            return self._by_path[path]
        except KeyError:
            component = self.release.route(path)
            worker = None if component is None else self.workers[component.id]
            if len(self._by_path) >= PATHS_MAX:
                self._by_path.clear()
            self._by_path[path] = worker
            return worker


class Pop:
    """One PoP. `alive` is the truth about it; what others believe is in their health tables."""

    __slots__ = (
        "alive",
        "apps",
        "disk",
        "document",
        "draining",
        "incarnation",
        "memory_bytes",
        "pool",
        "reported",
        "retired",
        "spec",
    )

    def __init__(self, spec: PopSpec) -> None:
        self.spec = spec
        self.alive = True
        self.draining = False
        self.incarnation = 0
        """Counts restarts: flows of an earlier life must not touch this one."""
        self.pool = Pool(spec.slots, spec.queue)
        self.apps: dict[AppName, Serving] = {}
        """What requests are served from now."""
        self.document: DesiredDocument | None = None
        """The newest desired document that this life has seen."""
        self.reported: PopReported | None = None
        """The last report of this life."""
        self.disk: set[Digest] = set()
        """Components this PoP has fetched; survives a kill."""
        self.memory_bytes = 0
        """What its loaded workers take."""
        self.retired: list[Worker] = []
        """Workers of replaced releases that still have users, or are still being started."""

    @property
    def ready(self) -> bool:
        """Whether it has a desired state to serve from."""
        return self.alive and self.document is not None

    def kill(self) -> None:
        """Lose everything in memory. Who interrupts the requests in flight is the world."""
        self.alive = False
        self.incarnation += 1
        self.pool = Pool(self.spec.slots, self.spec.queue)
        self.apps = {}
        self.retired = []
        self.memory_bytes = 0
        self.document = None
        self.reported = None

    def restart(self) -> None:
        """Begin a new life with what is on disk."""
        self.alive = True
        self.draining = False

    def loaded(self) -> list[Worker]:
        """Its loaded workers, those of replaced releases too."""
        serving = [w for s in self.apps.values() for w in s.workers.values() if w.stage is Stage.LOADED]
        return serving + [w for w in self.retired if w.stage is Stage.LOADED]
