"""An instance between two requests. Who decides that it lives on is `core/instances.py`; a run that goes wrong never leaves one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgesim.wasm.abi import Linked
    from edgesim.wasm.guest_store import Guest


class KeptInstance:
    """Room for one instance. Empty while it serves, after a run that went wrong, and for an ABI that cannot serve again."""

    __slots__ = ("_instance", "_linked")

    def __init__(self) -> None:
        self._linked: Linked | None = None
        self._instance: Any = None

    def __bool__(self) -> bool:
        return self._instance is not None

    def take(self, newest: Linked) -> tuple[Linked, Any]:
        """What the next run is made of: the instance and the code that it was made of, or `newest` and None."""
        instance, self._instance = self._instance, None
        if instance is None or self._linked is None:
            self._linked = newest
        return self._linked, instance

    def put(self, instance: Any) -> None:
        """An instance that may serve again; None for one that may not."""
        self._instance = instance

    @property
    def guest(self) -> Guest | None:
        """The guest that waits here."""
        return None if self._instance is None else self._instance.guest

    def memory_bytes(self) -> int:
        """Linear memory of the instance, where the ABI shows it."""
        guest = self.guest
        return 0 if guest is None else guest.memory_bytes()

    def close(self) -> None:
        """Free the instance. Idempotent."""
        instance, self._instance = self._instance, None
        if instance is not None:
            instance.close()
