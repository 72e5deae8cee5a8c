"""Guest ABIs, one file each: which files speak it, how they are linked, how one request is served.

A file here defines `ABI`, an instance of a class that fits `GuestAbi`; its name is the file's, with dashes.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from edgesim.model.worker import Abi, Limits
    from edgesim.wasm.execution import Call
    from edgesim.wasm.flat.plan import Plan
    from edgesim.wasm.guest import Grants, GuestRequest


class Linked(Protocol):
    """A worker in memory, ready to serve."""

    def start(self, request: GuestRequest, limits: Limits, grants: Grants, instance: Any = None) -> Call:
        """A run of one request in a new store, or in an `instance` that a former run has left. Nothing runs yet."""
        ...


class GuestAbi(Protocol):
    """One way in which guests and edgesim talk."""

    name: Abi
    binary: Literal["module", "component"]
    expected: str
    """What a file must export, for people."""

    def detect(self, engine: Any, compiled: Any) -> bool:
        """Whether the exports are those of this ABI."""
        ...

    def check(self, engine: Any, compiled: Any) -> None:
        """Look at everything else. Raises BundleError, which names what cannot be served."""
        ...

    def link(self, engine: Any, compiled: Any) -> Linked:
        """Connect the host functions. Milliseconds; runs on a thread."""
        ...

    def link_flat(self, engine: Any, module: Any, plan: Plan) -> Linked:
        """The same for a component as one core module. Only ABIs of components are asked."""
        ...


@cache
def abis() -> dict[Abi, GuestAbi]:
    """Every ABI by name."""
    found = [import_module(f"{__name__}.{module.name}").ABI for module in iter_modules(__path__)]
    return {abi.name: abi for abi in found}
