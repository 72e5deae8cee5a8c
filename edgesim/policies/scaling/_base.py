"""What a scaling policy is. One file per policy; its file name, with dashes, is its name in YAML, and it defines a class `Policy`.

A policy only says what it wants; `core/keeper.py` carries it out within the PoP's memory.
"""

from __future__ import annotations

from typing import ClassVar, Protocol


class ScalingPolicy(Protocol):
    """A frozen dataclass whose fields are its parameters; bounds stand in a field's metadata as `ge` and `le`.

    A field `after_s` is written `after: 30s` in YAML.
    """

    name: ClassVar[str]

    @property
    def ready(self) -> int:
        """Instances of each loaded worker that are kept ready, beside those that run. Idle timeouts spare them."""
        ...

    @property
    def unload_after_s(self) -> float:
        """Seconds without a request after which a worker's module leaves memory for the disk; infinite for never."""
        ...
