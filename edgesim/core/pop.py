"""A PoP's state: its pool, the apps it serves, and where each of its workers stands.

A worker (one component of one release on one PoP) is `absent`, on `disk`, `loaded` or `warm`. PoPs of one process share code
and files through their world, but each has states of its own, so that its cold starts are its own (docs/cold-starts.md).
The flows that move workers between states are in `core/serve.py`, `core/rollout.py` and `core/keeper.py`.
"""

from __future__ import annotations

from enum import IntEnum
from math import inf
from typing import TYPE_CHECKING, Any, Final

from edgesim.core.instances import Instances
from edgesim.core.pool import Pool
from edgesim.core.waiter import Waiter
from edgesim.policies.eviction import lru
from edgesim.policies.scaling import on_demand

if TYPE_CHECKING:
    from edgesim.core.desired import DesiredDocument
    from edgesim.errors import EdgesimError
    from edgesim.model.events import PopReported
    from edgesim.model.ids import AppName, Digest
    from edgesim.model.topology import PopSpec
    from edgesim.model.worker import Component, Release
    from edgesim.policies.eviction._base import EvictionPolicy
    from edgesim.policies.scaling._base import ScalingPolicy


PATHS_MAX: Final = 1024


class Stage(IntEnum):
    """Where a worker is on a PoP."""

    ABSENT = 0
    DISK = 1
    LOADED = 2
    WARM = 3
    """Loaded, with an instance that stands ready. Only `Worker.standing` says so; `Worker.stage` stays LOADED."""


class Tender:
    """The flow that looks after a worker between requests (`core/keeper.py`)."""

    __slots__ = ("due_s", "poke")

    def __init__(self) -> None:
        self.due_s = -inf
        """When it looks next; in the past while it is at work."""
        self.poke: Waiter[None] = Waiter()
        """Resolved to make it look now."""


class Worker:
    """One component of one release on one PoP."""

    __slots__ = (
        "component",
        "handle",
        "instance_bytes",
        "instances",
        "loaded_bytes",
        "once",
        "phases",
        "ready",
        "release",
        "requests",
        "retired",
        "reuse",
        "stage",
        "starting",
        "tender",
        "used_s",
        "users",
        "watched",
    )

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
        """What its module takes in memory; the world says so when it loads it."""
        self.instance_bytes = 0
        """What a new instance takes, in the same way; 0 where instances are not counted."""
        self.reuse = component.reuse
        """How long instances live. A world that loads a worker whose guests cannot do so much lowers it."""
        self.used_s = 0.0
        """When a request last used it, on the world's clock."""
        self.users = 0
        """Requests that hold it now."""
        self.requests = 0
        """Requests since it was loaded."""
        self.instances = Instances()
        self.retired = False
        """Its release has been replaced: it goes with its last user."""
        self.once = False
        """Whether each instance serves one request and none stands ready, so that there is nothing to look for."""
        self.watched = False
        """Whether `core/keeper.py` has anything to do for it."""
        self.ready = 0
        """Instances to keep ready while it is loaded: the scaling policy's number, where its guests can be kept at all."""
        self.tender: Tender | None = None

    @property
    def standing(self) -> Stage:
        """Where it stands, told apart by whether an instance is ready."""
        return Stage.WARM if self.instances.idle and self.stage is Stage.LOADED else self.stage

    def untend(self) -> None:
        """End the flow that looks after it, if there is one."""
        tender, self.tender = self.tender, None
        if tender is not None:
            tender.poke.resolve(None)


class Serving:
    """A release on a PoP, with its workers by component id."""

    __slots__ = ("_by_path", "filters", "pending", "release", "workers")

    def __init__(self, release: Release, disk: set[Digest]) -> None:
        self.release = release
        self.pending = release.prefetch
        """Whether its workers have still to be started before it counts as ready."""
        self._by_path: dict[str, Worker | None] = {}
        self.workers = {
            c.id: Worker(release, c, Stage.DISK if c.digest in disk else Stage.ABSENT) for c in release.components
        }
        self.filters = tuple(self.workers[name] for name in release.filters)
        """What every request passes, in this order."""

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
        "eviction",
        "incarnation",
        "memory_bytes",
        "pool",
        "reported",
        "retired",
        "scaling",
        "spec",
        "warm",
    )

    def __init__(
        self, spec: PopSpec, *, scaling: ScalingPolicy | None = None, eviction: EvictionPolicy | None = None
    ) -> None:
        """Make a PoP.

        Args:
            spec: what the operator says about it.
            scaling: the policy that `spec.scaling` names; on-demand when None.
            eviction: the policy that `spec.eviction` names; LRU when None.
        """
        self.spec = spec
        self.scaling = scaling or on_demand.Policy()
        self.eviction = eviction or lru.Policy()
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
        """What its loaded workers and their instances take."""
        self.warm = 0
        """Instances that stand ready."""
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
        self.warm = 0
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
