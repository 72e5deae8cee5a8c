"""One run of a flat component: how its instance is made, taken up again, left to later runs, or freed. For both previews."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

from edgesim.wasm.flat.guest import FlatGuest
from edgesim.wasm.guest_store import instantiate

if TYPE_CHECKING:
    from edgesim.model.worker import Limits
    from edgesim.wasm.flat.link import LinkedPlan
    from edgesim.wasm.guest import Grants, GuestRequest

G = TypeVar("G", bound=FlatGuest)


class FlatCall(Generic[G]):
    """What an `execution.Call` has beside calling the guest: subclasses add `call` and `finish`."""

    __slots__ = ("_instance", "_pre", "guest")

    kind: Any
    """The class of its guests, G."""

    def __init__(
        self, linked: LinkedPlan, request: GuestRequest, limits: Limits, grants: Grants, instance: G | None
    ) -> None:
        """A guest of its own, or `instance`, which has served before."""
        if instance is None:
            instance = self.kind(linked, request, limits, grants)
        else:
            instance.begin(request, limits, grants)
        assert instance is not None
        self._pre = linked.pre
        self._instance: G | None = instance
        self.guest: G = instance

    def instantiate(self) -> int | None:
        """The future that makes the instance; None when it is there already."""
        return None if self.guest.made else instantiate(self._pre, self.guest)

    def leave(self) -> G | None:
        """The guest, which can serve again."""
        instance, self._instance = self._instance, None
        return instance

    def close(self) -> None:
        """Free the store, unless it lives on."""
        if self._instance is None:
            self.guest.end()
        else:
            self._instance.close()
