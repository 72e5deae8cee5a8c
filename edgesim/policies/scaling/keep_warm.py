"""A number of instances of each loaded worker stand ready, so that a request finds one already made.

As AWS Lambda's provisioned concurrency and Knative's minScale, per PoP. It saves `instantiate`; it costs their memory, and
with one request per instance it costs as many instantiations, only ahead of time.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class Policy:
    """`count` instances ready, beside those that run."""

    name: ClassVar[str] = "keep-warm"

    count: int = field(default=1, metadata={"ge": 1, "le": 1024})

    def __post_init__(self) -> None:
        assert self.count > 0

    @property
    def ready(self) -> int:
        """The count."""
        return self.count

    @property
    def unload_after_s(self) -> float:
        """Never."""
        return inf
