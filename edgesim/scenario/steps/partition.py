"""`partition`: PoPs are cut off from clients, from their origins, or from the control plane and its bus, for a time."""

from __future__ import annotations

from dataclasses import dataclass

from edgesim.scenario.steps import BreakLink, Duration, Peer, check_link, seconds, where


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Cut the links of a PoP, of a region's PoPs, or of every PoP."""

    for_: Duration
    """How long."""
    from_: Peer
    """The other end: `clients`, `origin` or `control-plane`."""
    pop: str = ""
    """Id of a PoP: `gru1`."""
    region: str = ""
    """Name of a region of the topology."""

    def __post_init__(self) -> None:
        check_link(self.pop, self.region, self.for_)

    def action(self) -> BreakLink:
        """Cut them."""
        return BreakLink(pop=self.pop, region=self.region, peer=self.from_, for_s=self.for_, cut=True)

    def __str__(self) -> str:
        return f"{where(self.pop, self.region)} from {self.from_} for {seconds(self.for_)}"
