"""`origin`: an origin refuses connections, answers with a status, or takes longer, for a time."""

from __future__ import annotations

from dataclasses import dataclass

from edgesim.scenario.steps import BreakOrigin, Duration, check_for, seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Have an origin fail; exactly one of `refuse`, `status` and `latency`."""

    for_: Duration
    """How long."""
    name: str = ""
    """Name of an origin in the topology; every origin when it is not given."""
    refuse: bool = False
    """Connections are refused."""
    status: int = 0
    """It answers everything with this status, such as 503."""
    latency: Duration = 0.0
    """It takes so much longer."""

    def __post_init__(self) -> None:
        check_for(self.for_)
        if bool(self.refuse) + bool(self.status) + bool(self.latency) != 1:
            raise ValueError(
                "exactly one of `refuse`, `status` and `latency` is needed; write for example {status: 503, for: 10s}"
            )
        if self.status and not 200 <= self.status <= 599:
            raise ValueError("`status` must be from 200 to 599; write for example 503")

    def action(self) -> BreakOrigin:
        """Break it."""
        return BreakOrigin(
            origin=self.name, for_s=self.for_, refuse=self.refuse, status=self.status, delay_s=self.latency
        )

    def __str__(self) -> str:
        how = "refuses" if self.refuse else f"answers {self.status}" if self.status else f"+{seconds(self.latency)}"
        return f"{self.name or 'every origin'} {how} for {seconds(self.for_)}"
