"""What happens in the edge, as values in the past tense. Worlds carry them to metrics, the bus and the log."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgesim.model.ids import AppName, HostId, Outcome, PhaseName, PopId, Role, Start


@dataclass(slots=True)  # two of these per request: frozen triples their cost, and so do keywords, so flows use neither
class RequestServed:
    """A PoP has dealt with a request (also with an error of its own)."""

    pop: PopId
    app: AppName
    version: int
    """The version that answered, or failed to; 0 when the app is not there."""
    outcome: Outcome
    start: Start
    role: Role
    status: int
    network_s: float
    """Modelled network time between client and PoP (both ways, with handshakes), unscaled."""
    queue_s: float
    start_s: float
    execute_s: float
    """Instantiation and the guest's run."""
    origin_s: float
    duration_s: float
    """Time at the PoP, measured: from arrival there to its answer."""
    instantiate_s: float = 0.0
    """The part of `execute_s` that made the instance; 0 for one that was reused or stood ready."""
    init_s: float = 0.0
    """The part of `execute_s` that was the guest's own initialisation."""
    cpu_s: float = 0.0
    """CPU time of the guest, its start included, until its head was out; 0 where it is not measured."""
    memory_bytes: int = 0
    """Linear memory of the guest then; 0 where it is not seen."""
    subrequests: int = 0
    """Requests that the guest had sent by then."""


@dataclass(slots=True)  # as RequestServed
class RequestRouted:
    """The front door has finished a request."""

    pop: PopId
    """The PoP that answered; empty when none did."""
    app: AppName
    outcome: Outcome
    status: int
    reason: Literal["first", "skipped", "failover", "none"]
    """`first`: the best-ranked PoP; `skipped`: better ones were out; `failover`: one failed during the request."""
    failed: tuple[PopId, ...]
    """PoPs that failed during the request, in order."""
    network_s: float
    duration_s: float
    metro: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ColdStarted:
    """A worker went from `absent` or `disk` to its first response (or to `loaded`, when a deploy caused it)."""

    pop: PopId
    app: AppName
    version: int
    start: Start
    role: Role
    cause: Literal["request", "deploy"]
    phases: tuple[tuple[PhaseName, float], ...]
    """Phase and the seconds this PoP really waited for it."""
    total_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Evicted:
    """A PoP has taken something out of memory that could have served on."""

    pop: PopId
    app: AppName
    version: int
    what: Literal["instance", "module"]
    why: Literal["idle", "memory"]
    """`idle`: its timeout, or the scaling policy's; `memory`: something else needed the room."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PopReported:
    """A PoP's reported state for the control plane: what it runs, and what failed."""

    pop: PopId
    epoch: int
    gen: int
    state: Literal["pending", "downloading", "compiling", "ready", "failed"]
    apps: Mapping[AppName, int]
    """App to the version that this PoP serves now."""
    why: str = ""
    distribute_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PopHealth:
    """One PoP in a health batch."""

    pop: PopId
    state: Literal["starting", "ready", "draining"]
    busy: int
    queued: int
    loaded_bytes: int
    """What its memory budget counts: loaded modules and instances."""
    warm: int = 0
    """Instances that stand ready for a request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthReported:
    """A PoP host's beat: every PoP that is alive in it. A killed PoP is simply not there."""

    host: HostId
    boot: str
    pops: tuple[PopHealth, ...]


Event: TypeAlias = RequestServed | RequestRouted | ColdStarted | Evicted | PopReported | HealthReported
