"""What a routing policy is. One file per policy; its file name is its name in YAML, and it defines a class `Policy`."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgesim.model.geo import Place
    from edgesim.model.ids import PopId
    from edgesim.model.topology import PopSpec


class RoutingPolicy(Protocol):
    """Ranks PoPs for a client. A policy is a frozen dataclass whose fields are its parameters in `routing.params`.

    It sees places only: which PoPs are alive is the front door's business, which skips the ones that are out.
    """

    name: ClassVar[str]

    def rank(self, client: Place, pops: Sequence[PopSpec]) -> tuple[PopId, ...]:
        """All of `pops`, best first. The same arguments give the same answer, in whatever order the PoPs come."""
        ...
