"""`loss`: packets between PoPs and clients or origins are lost and sent again, for a time."""

from __future__ import annotations

from dataclasses import dataclass

from edgesim.scenario.steps import BreakLink, Duration, Peer, Share, check_link, seconds, where


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Lose packets of a PoP, of a region's PoPs, or of every PoP. TCP sends them again, so this costs time."""

    for_: Duration
    """How long."""
    share: Share
    """Share of packets that are lost, each way."""
    from_: Peer = "clients"
    """The other end: `clients` or `origin`."""
    pop: str = ""
    """Id of a PoP: `gru1`."""
    region: str = ""
    """Name of a region of the topology."""

    def __post_init__(self) -> None:
        check_link(self.pop, self.region, self.for_)
        if not 0 < self.share < 1:
            raise ValueError("`share` must lie between 0% and 100%; write for example 5%, or use `partition`")
        if self.from_ == "control-plane":
            raise ValueError("the bus keeps one TCP connection open, which loss only slows; use `latency` instead")

    def action(self) -> BreakLink:
        """Lose them."""
        return BreakLink(pop=self.pop, region=self.region, peer=self.from_, for_s=self.for_, loss=self.share)

    def __str__(self) -> str:
        return f"{where(self.pop, self.region)} from {self.from_} {self.share * 100:.3g}% for {seconds(self.for_)}"
