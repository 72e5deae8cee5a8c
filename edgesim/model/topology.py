"""The world as values: PoPs, regions, origins, network and routing settings. Loading is `config/topology.py`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgesim.model.geo import LatLon
    from edgesim.model.ids import PopId


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicySpec:
    """A policy by name, with its parameters by field name (durations in seconds)."""

    policy: str
    params: tuple[tuple[str, object], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PopSpec:
    """One PoP as the operator describes it."""

    id: PopId
    city: str
    country: str
    """ISO 3166-1 alpha-2."""
    at: LatLon
    region: str
    profile: str
    """Name of the hardware profile that the numbers below come from."""
    slots: int
    """Guests that run at the same time."""
    queue: int
    """Requests that may wait for a slot; one more is refused."""
    queue_timeout_s: float
    """How long a request may wait for a slot."""
    memory_bytes: int
    """Budget for loaded modules and for instances; beyond it idle instances go first, then modules that nobody uses."""
    origin: str
    scaling: PolicySpec = field(default_factory=lambda: PolicySpec(policy="on-demand"))
    """How many instances are kept ready, and when modules leave memory."""
    eviction: PolicySpec = field(default_factory=lambda: PolicySpec(policy="lru"))
    """Which module makes room for another one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OriginSpec:
    """Where requests go that no route of an app serves."""

    name: str
    kind: Literal["builtin", "url"]
    at: LatLon
    url: str = ""
    """`http://host:port` for kind `url`."""
    latency_s: float = 0.02
    """Service time of the built-in demo origin."""
    capacity: int = 64
    """Requests that the built-in demo origin serves at the same time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthSpec:
    """When a PoP counts as out."""

    interval_s: float = 0.5
    missed_beats: int = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrySpec:
    """How a request may be tried again at another PoP. Budget as in Envoy's retry budget: share of active requests."""

    attempts: int = 2
    """Attempts in all, the first one included."""
    budget: float = 0.2
    min_concurrency: int = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutingSpec:
    """The routing policy by name, with its parameters, health and retry rules."""

    policy: str = "proximity"
    params: Mapping[str, object] = field(default_factory=dict)
    health: HealthSpec = field(default_factory=HealthSpec)
    retry: RetrySpec = field(default_factory=RetrySpec)


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkSpec:
    """The model of the network between clients, PoPs and origins."""

    model: str = "hub-graph"
    time_scale: float = 1.0
    """How much of a modelled delay is really waited for: 1 real time, 0 none."""
    access_mix: str = "by-country"


@dataclass(frozen=True, slots=True, kw_only=True)
class Topology:
    """A whole world."""

    name: str
    pops: tuple[PopSpec, ...]
    regions: Mapping[str, tuple[PopId, ...]]
    origins: Mapping[str, OriginSpec]
    network: NetworkSpec
    routing: RoutingSpec

    def pop(self, pop_id: str) -> PopSpec | None:
        """The PoP with this id, or None."""
        return next((p for p in self.pops if p.id == pop_id), None)
