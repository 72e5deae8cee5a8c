"""What an eviction policy is. One file per policy; its file name, with dashes, is its name in YAML, and it defines a class `Policy`."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Sequence


class Resident(Protocol):
    """What a policy may know of a loaded module that nobody uses now."""

    @property
    def used_s(self) -> float:
        """When a request last used it, on the world's clock."""
        ...

    @property
    def requests(self) -> int:
        """Requests that it has had since it was loaded."""
        ...

    @property
    def loaded_bytes(self) -> int:
        """What it takes in memory, without its instances."""
        ...


R = TypeVar("R", bound=Resident)


class EvictionPolicy(Protocol):
    """Orders modules. A policy is a frozen dataclass whose fields are its parameters."""

    name: ClassVar[str]

    def order(self, residents: Sequence[R]) -> list[R]:
        """All of `residents`, the first to go first. Equals stay in the order given, which is the same in every run."""
        ...
