"""What workers cost, as measured: the document `edgesim.profile.v1` that `edgesim profile` writes and the simulator draws from.

Distributions are histograms (`durations.py`), so that a profile is small and two of them merge. How they are measured is
`edgesim/live/profiling.py`; how they are drawn from, `edgesim/sim/costs.py`. A profile knows nothing of a scenario: it is
never fitted to a run that it is compared with.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from edgesim.results.durations import Durations

if TYPE_CHECKING:
    from collections.abc import Mapping

SCHEMA: Final = "profile.v1"
PHASES: Final = ("fetch", "compile", "load", "shared", "warm_up", "instantiate", "init", "first_call")
"""What a worker's cold start is measured in, in the order of docs/cold-starts.md."""
RUNS: Final = ("instantiate", "init", "execute")
"""What a request's time in a worker is measured in."""
DOCUMENT_BYTES_MAX: Final = 16 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerProfile:
    """One component on one machine. Times are seconds."""

    id: str
    digest: str
    """sha256 of the component's file, lowercase hex: by it the simulator finds the profile of what a release runs."""
    abi: str
    size_bytes: int
    cold: Mapping[str, Durations]
    """Phases of cold starts that a request has triggered, by `PHASES`; one that did not occur is absent."""
    fresh: Mapping[str, Durations]
    """Requests in an instance of their own, without the first of a cold start, by `RUNS`."""
    reused: Mapping[str, Durations] = field(default_factory=dict)
    """Requests in an instance that had served before; empty for workers that are not reused."""
    loaded_bytes: int = 0
    """What the module takes of a PoP's memory budget."""
    instance_bytes: int = 0
    """What an instance takes of it; 0 where instances are not counted."""

    def to_json(self) -> dict[str, Any]:
        """As JSON-able values."""
        return {
            "id": self.id,
            "digest": self.digest,
            "abi": self.abi,
            "size_bytes": self.size_bytes,
            "cold": _parts_to_json(self.cold),
            "fresh": _parts_to_json(self.fresh),
            "reused": _parts_to_json(self.reused),
            "loaded_bytes": self.loaded_bytes,
            "instance_bytes": self.instance_bytes,
        }

    @classmethod
    def from_json(cls, state: Mapping[str, Any]) -> WorkerProfile:
        """What `to_json` wrote. Raises ValueError, KeyError or TypeError when it is something else."""
        return cls(
            id=str(state["id"]),
            digest=str(state["digest"]),
            abi=str(state["abi"]),
            size_bytes=int(state["size_bytes"]),
            cold=_parts_from_json(state["cold"], PHASES),
            fresh=_parts_from_json(state["fresh"], RUNS),
            reused=_parts_from_json(state["reused"], RUNS),
            loaded_bytes=int(state["loaded_bytes"]),
            instance_bytes=int(state["instance_bytes"]),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeProfile:
    """What the edge itself adds to a request: parsing, its event loops' wake-ups, the hop between processes."""

    overhead: Durations
    """At the front door, from a request's head to its answer: what neither network nor worker nor origin account for."""
    outside: Durations
    """Between client and front door: the client's response time on an open connection, less the front door's."""
    connect: Durations
    """Time to open a client connection."""
    door_cpu_s: float
    """CPU time of the front door per request: how long it is busy with one, since its loop does one thing at a time."""
    host_cpu_s: float
    """The same for the PoP host, its guest included."""
    start_host_s: float
    """From the command to restart a PoP host until its PoPs serve again."""
    deploy_s: float = 0.0
    """From the command to deploy until the first document is on its way: upload, inspection, compilation, database."""
    distribute_s: float = 0.002
    """From the control plane to a PoP, over the broker: median."""

    def to_json(self) -> dict[str, Any]:
        """As JSON-able values."""
        return {
            "overhead": self.overhead.to_json(),
            "outside": self.outside.to_json(),
            "connect": self.connect.to_json(),
            "door_cpu_s": self.door_cpu_s,
            "host_cpu_s": self.host_cpu_s,
            "start_host_s": self.start_host_s,
            "deploy_s": self.deploy_s,
            "distribute_s": self.distribute_s,
        }

    @classmethod
    def from_json(cls, state: Mapping[str, Any]) -> EdgeProfile:
        """What `to_json` wrote. Raises ValueError, KeyError or TypeError when it is something else."""
        return cls(
            overhead=Durations.from_json(state["overhead"]),
            outside=Durations.from_json(state["outside"]),
            connect=Durations.from_json(state["connect"]),
            door_cpu_s=float(state["door_cpu_s"]),
            host_cpu_s=float(state["host_cpu_s"]),
            start_host_s=float(state["start_host_s"]),
            deploy_s=float(state["deploy_s"]),
            distribute_s=float(state["distribute_s"]),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """Workers measured together, on one machine, on one day."""

    name: str
    measured_at: str
    """RFC 3339, UTC."""
    machine: Mapping[str, str]
    """`cpu`, `cores`, `system`."""
    versions: Mapping[str, str]
    """`edgesim`, `python`, `wasmtime`."""
    workers: tuple[WorkerProfile, ...]
    edge: EdgeProfile | None = None
    """None: the edge's own time is left out."""

    def worker(self, digest: str) -> WorkerProfile | None:
        """The profile of the component with this digest, or None."""
        return next((worker for worker in self.workers if worker.digest == digest), None)

    def to_json(self) -> dict[str, Any]:
        """The document, without its `schema` key."""
        return {
            "name": self.name,
            "measured_at": self.measured_at,
            "machine": dict(self.machine),
            "versions": dict(self.versions),
            "workers": [worker.to_json() for worker in self.workers],
            "edge": None if self.edge is None else self.edge.to_json(),
        }

    @classmethod
    def from_json(cls, state: Mapping[str, Any]) -> Profile:
        """What `to_json` wrote. Raises ValueError, KeyError or TypeError when it is something else."""
        workers = tuple(WorkerProfile.from_json(worker) for worker in state["workers"])
        if not workers:
            raise ValueError("a profile has at least one worker")
        return cls(
            name=str(state["name"]),
            measured_at=str(state["measured_at"]),
            machine={str(k): str(v) for k, v in state["machine"].items()},
            versions={str(k): str(v) for k, v in state["versions"].items()},
            workers=workers,
            edge=None if state["edge"] is None else EdgeProfile.from_json(state["edge"]),
        )


def _parts_to_json(parts: Mapping[str, Durations]) -> dict[str, Any]:
    return {name: durations.to_json() for name, durations in parts.items()}


def _parts_from_json(state: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Durations]:
    unknown = set(state) - set(names)
    if unknown:
        raise ValueError(f"no such part of a worker's time: {', '.join(sorted(unknown))}")
    return {name: Durations.from_json(state[name]) for name in names if name in state}
