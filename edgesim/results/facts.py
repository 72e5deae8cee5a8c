"""What a summary says about the circumstances of a run, which the measurements don't know: world, command, PoPs' places."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgesim.model.geo import LatLon

World = Literal["live", "simulated"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PopPlace:
    """Where a PoP is."""

    pop: str
    city: str
    country: str
    region: str
    at: LatLon


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFacts:
    """The circumstances of one run."""

    world: World = "live"
    command: str = ""
    """The command line that began it."""
    started_at: str = ""
    """RFC 3339, UTC; empty when time is simulated, since such runs repeat to the byte."""
    time_scale: float | None = None
    """How much of the modelled network time really passes (`edgesim up --time-scale`); None where nobody knows."""
    versions: Mapping[str, str] = field(default_factory=dict)
    """Of what matters beside edgesim itself: `python`, `wasmtime`, `platform`, …"""
    pops: tuple[PopPlace, ...] = ()
    """Every PoP of the topology, also those that served nothing."""
    profile: Mapping[str, object] | None = None
    """For simulated runs: the profile of the workers' costs, by its name, date and source."""
