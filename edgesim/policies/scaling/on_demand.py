"""Instances are made when requests need them, and a module stays in memory until something else needs the room.

The default, and what a fresh instance per request costs without any tuning.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class Policy:
    """Nothing ahead of time, nothing taken away."""

    name: ClassVar[str] = "on-demand"

    @property
    def ready(self) -> int:
        """None."""
        return 0

    @property
    def unload_after_s(self) -> float:
        """Never."""
        return inf
