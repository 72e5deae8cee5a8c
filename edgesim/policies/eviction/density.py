"""Fewest requests per byte first: a large module must earn its room, since many small ones would fit there.

The value of GreedyDual-Size-Frequency (Cherkasova, HP Labs HPL-98-69) with equal costs and without its ageing: counts begin
anew with each load instead.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgesim.policies.eviction._base import R


@dataclass(frozen=True, slots=True)
class Policy:
    """By requests per byte."""

    name: ClassVar[str] = "density"

    def order(self, residents: Sequence[R]) -> list[R]:
        """Fewest requests per byte first, then the longest unused."""
        return sorted(residents, key=lambda it: (it.requests / max(1, it.loaded_bytes), it.used_s))
