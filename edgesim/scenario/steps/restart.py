"""`restart`: bring a killed PoP or PoP host back."""

from __future__ import annotations

from dataclasses import dataclass

from edgesim.scenario.steps import Power, exactly_one


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Restart one PoP, or one PoP host with every PoP in it."""

    pop: str = ""
    """Id of a PoP: `gru1`."""
    host: str = ""
    """Name of a PoP host: `host1`."""

    def __post_init__(self) -> None:
        exactly_one(self.pop, self.host)

    def action(self) -> Power:
        """Switch it on."""
        return Power(kind="pop" if self.pop else "host", id=self.pop or self.host, verb="restart")

    def __str__(self) -> str:
        return f"pop {self.pop}" if self.pop else f"host {self.host}"
