"""The plan of a flat component: everything that linking needs besides the merged core module. Travels as JSON in its artefact.

Conventions of the merged module: it imports functions only, all from the module `h`, named by their index in
`Plan.trampolines` (`"0"`, `"1"`, …); it exports every memory, realloc, post-return, destructor and lifted function that the
plan names, under the names that the plan uses.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from edgesim.wasm.flat import plan_json, types
from edgesim.wasm.flat.types import FuncType

Encoding: TypeAlias = Literal["utf8", "utf16", "latin1+utf16"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Canonical options of one lifted or lowered function."""

    instance: int
    """The component instance (0 is the outermost) whose handle table and may-leave/may-enter flags are used."""
    memory: str | None = None
    """Export of the merged module; None when the function needs no memory."""
    realloc: str | None = None
    post_return: str | None = None
    encoding: Encoding = "utf8"
    is_async: bool = False
    callback: str | None = None
    """WASI 0.3 only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostFunction:
    """What a lowered function calls when it is the host's."""

    interface: str
    """With its version, as imported."""
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Lower:
    """A core function that calls a component function: the host's, or `Plan.lifted[callee]` of another component instance."""

    callee: HostFunction | int
    type: FuncType
    options: Options


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceOp:
    """`resource.new`, `resource.rep` or `resource.drop`."""

    op: Literal["new", "rep", "drop"]
    resource: int
    instance: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Builtin:
    """A built-in of WASI 0.3's async canonical ABI, by its name in Binary.md, with its immediates."""

    name: str
    options: Options
    types: tuple[object, ...] = ()


Trampoline: TypeAlias = Lower | ResourceOp | Builtin


@dataclass(frozen=True, slots=True, kw_only=True)
class Lifted:
    """A component function that the guest defines."""

    function: str
    """Export of the merged module."""
    type: FuncType
    options: Options


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """A resource type: the host's (`interface` and `name` say which) or a guest's."""

    name: str
    interface: str | None = None
    """With its version, as imported; None for a guest's own."""
    instance: int = 0
    """Of a guest's own: the component instance that defines it."""
    destructor: str | None = None
    """Of a guest's own: export of the merged module that takes the rep."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """See the module."""

    trampolines: tuple[Trampoline, ...]
    lifted: tuple[Lifted, ...]
    resources: tuple[Resource, ...]
    exports: tuple[tuple[str, tuple[tuple[str, int], ...]], ...]
    """Exported interface (with version) to its functions: name and index in `lifted`. Bare functions are under `""`."""
    instances: int
    """How many component instances there are."""

    def to_json(self) -> str:
        """The plan as text; see `plan_json.py`."""
        return plan_json.dumps(self)

    @classmethod
    def from_json(cls, text: str) -> Plan:
        """The plan that `to_json` wrote. Raises ValueError for any other text."""
        plan = plan_json.loads(text, _CLASSES)
        if not isinstance(plan, cls):
            raise ValueError("this is not the JSON of a plan")  # noqa: TRY004 - the text is wrong, not the caller
        return plan


_CLASSES: Final = {
    of.__name__: of
    for of in (
        Plan, Options, HostFunction, Lower, ResourceOp, Builtin, Lifted, Resource,
        FuncType, types.Prim, types.List, types.Record, types.Tuple, types.Variant, types.Enum, types.Flags,
        types.Option, types.Result, types.Own, types.Borrow, types.Stream, types.Future,
    )
}  # fmt: skip
