"""`latency`: the way between PoPs and clients, origins or the control plane takes longer, for a time."""

from __future__ import annotations

from dataclasses import dataclass

from edgesim.scenario.steps import BreakLink, Duration, Peer, check_link, seconds, where


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Add to the round trip of the links of a PoP, of a region's PoPs, or of every PoP."""

    for_: Duration
    """How long."""
    add: Duration = 0.0
    """More round trip, as at `--time-scale 1`."""
    jitter: Duration = 0.0
    """Up to so much more, drawn evenly for each exchange."""
    from_: Peer = "clients"
    """The other end: `clients`, `origin` or `control-plane`."""
    pop: str = ""
    """Id of a PoP: `gru1`."""
    region: str = ""
    """Name of a region of the topology."""

    def __post_init__(self) -> None:
        check_link(self.pop, self.region, self.for_)
        if not (self.add or self.jitter):
            raise ValueError("`add` or `jitter` is needed; write for example {add: 80ms, jitter: 20ms, for: 15s}")

    def action(self) -> BreakLink:
        """Slow them down."""
        return BreakLink(
            pop=self.pop, region=self.region, peer=self.from_, for_s=self.for_, add_s=self.add, jitter_s=self.jitter
        )

    def __str__(self) -> str:
        more = f"+{seconds(self.add)}" + (f" to +{seconds(self.add + self.jitter)}" if self.jitter else "")
        return f"{where(self.pop, self.region)} from {self.from_} {more} for {seconds(self.for_)}"
