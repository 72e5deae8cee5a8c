"""`drain`: new requests go elsewhere, a PoP ends what it has, and stays alive."""

from __future__ import annotations

from dataclasses import dataclass

from edgesim.scenario.steps import Steer


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Take one PoP out of service."""

    pop: str
    """Id of a PoP: `gru1`."""

    def __post_init__(self) -> None:
        if not self.pop:
            raise ValueError("`pop` is empty; write for example {pop: gru1}")

    def action(self) -> Steer:
        """Take it out."""
        return Steer(pop=self.pop, verb="drain")

    def __str__(self) -> str:
        return f"pop {self.pop}"
