"""Least recently used first: the module that nobody has asked for longest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgesim.policies.eviction._base import R


@dataclass(frozen=True, slots=True)
class Policy:
    """By the time of the last request."""

    name: ClassVar[str] = "lru"

    def order(self, residents: Sequence[R]) -> list[R]:
        """Longest unused first."""
        return sorted(residents, key=lambda it: it.used_s)
