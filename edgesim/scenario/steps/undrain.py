"""`undrain`: put a drained PoP back into service."""

from __future__ import annotations

from dataclasses import dataclass

from edgesim.scenario.steps import Steer


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Put one drained PoP back."""

    pop: str
    """Id of a PoP: `gru1`."""

    def __post_init__(self) -> None:
        if not self.pop:
            raise ValueError("`pop` is empty; write for example {pop: gru1}")

    def action(self) -> Steer:
        """Put it back."""
        return Steer(pop=self.pop, verb="undrain")

    def __str__(self) -> str:
        return f"pop {self.pop}"
