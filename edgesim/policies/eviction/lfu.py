"""Least frequently used first: the module with the fewest requests since it was loaded, then the longest unused.

Counts begin anew with each load, so a module that was once popular does not stay for ever.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgesim.policies.eviction._base import R


@dataclass(frozen=True, slots=True)
class Policy:
    """By the number of requests."""

    name: ClassVar[str] = "lfu"

    def order(self, residents: Sequence[R]) -> list[R]:
        """Fewest requests first."""
        return sorted(residents, key=lambda it: (it.requests, it.used_s))
