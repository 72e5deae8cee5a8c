"""A worker that nobody asks for leaves memory: the price is a start from disk for whoever comes next.

What FaaS platforms do with a fixed keep-alive (Shahrad et al., "Serverless in the Wild", USENIX ATC 2020, section 5: 10 and
20 minutes are usual).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class Policy:
    """Back to disk after `after_s` without a request."""

    name: ClassVar[str] = "scale-to-zero"

    after_s: float = field(default=600.0, metadata={"ge": 0.001, "le": 86_400.0})

    def __post_init__(self) -> None:
        assert 0.0 < self.after_s < inf

    @property
    def ready(self) -> int:
        """None."""
        return 0

    @property
    def unload_after_s(self) -> float:
        """The keep-alive."""
        return self.after_s
