"""Index spaces of one component instance or instance type, and types looked up in them.

Types come out with resources as numbers of `Plan.resources`: a component that is instantiated twice has its types evaluated
twice, with different resources. Shared parts of types stay shared objects; how large a type is, all parts counted, is limited.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from edgesim.wasm.flat import Unsupported, syntax, types
from edgesim.wasm.flat.types import FuncType, Prim

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edgesim.wasm.flat.types import ValType

MAX_TYPE_PARTS: Final = 10_000
"""Parts of one type, a shared part counted wherever it is used. wasi:http's largest function type has about 400."""
_MAX_TYPE_DEPTH: Final = 100
_MAX_PARTS: Final = 1_000_000
"""Parts of all types, counted each time that a definition is evaluated. Guests have about 2,000."""
_MAX_FLAGS: Final = 32


@dataclass(frozen=True, slots=True)
class ResourceType:
    """A resource, by its number."""

    number: int


@dataclass(frozen=True, slots=True)
class InstanceType:
    """An instance type with the scope that its outer aliases mean. Evaluated anew for each import: resources are fresh."""

    decls: tuple[syntax.Decl, ...]
    scope: Scope


class Scope:
    """The index spaces. `parent` is the enclosing component's or type's scope."""

    __slots__ = ("instance", "parent", "spaces")

    def __init__(self, parent: Scope | None, instance: int) -> None:
        self.parent = parent
        self.instance = instance
        """Number of the component instance."""
        self.spaces: dict[int, list[Any]] = {sort: [] for sort in syntax.SORTS}

    def add(self, sort: int, item: Any) -> None:
        """Define the next index of that sort."""
        self.spaces[sort].append(item)

    def get(self, sort: int, index: int) -> Any:
        """What an index means."""
        space = self.spaces[sort]
        if index >= len(space):
            raise Unsupported(f"an index of sort {sort:#x} that is not defined, {index}")
        return space[index]

    def outer(self, alias: syntax.OuterAlias) -> Any:
        """What an outer alias means."""
        scope: Scope | None = self
        for _ in range(alias.depth):
            scope = scope.parent if scope else None
        if scope is None:
            raise Unsupported("an alias beyond the outermost component")
        return scope.get(alias.sort, alias.index)


class TypeTable:
    """Evaluates type definitions and keeps account of their sizes."""

    def __init__(self) -> None:
        self._parts = 0
        self._sizes: dict[int, tuple[int, int, object]] = {}
        """By identity: parts, depth, and the type itself, which keeps its identity from being used again."""

    def value(self, scope: Scope, ref: syntax.Ref) -> ValType:
        """The value type that a use means."""
        if isinstance(ref, Prim):
            return ref
        found = scope.get(syntax.TYPE, ref)
        if not isinstance(found, _VALUE_TYPES):
            raise Unsupported("a type that is used as a value's but is none")
        return found

    def optional(self, scope: Scope, ref: syntax.Ref | None) -> ValType | None:
        """The value type that a use means, if there is one."""
        return None if ref is None else self.value(scope, ref)

    def function(self, scope: Scope, index: int) -> FuncType:
        """The function type at an index."""
        found = scope.get(syntax.TYPE, index)
        if not isinstance(found, FuncType):
            raise Unsupported("a type that is used as a function's but is none")
        return found

    def resource(self, scope: Scope, index: int) -> int:
        """The number of the resource at an index of the type space."""
        found = scope.get(syntax.TYPE, index)
        if not isinstance(found, ResourceType):
            raise Unsupported("a type that is used as a resource but is none")
        return found.number

    def define(self, scope: Scope, written: syntax.Compound | syntax.Func) -> ValType | FuncType:
        """Evaluate a definition."""
        self._parts += len(written.params if isinstance(written, syntax.Func) else written.parts or written.labels)
        if self._parts > _MAX_PARTS:
            raise Unsupported(f"types of more than {_MAX_PARTS:,} parts")
        if isinstance(written, syntax.Func):
            params = tuple((name, self.value(scope, ref)) for name, ref in written.params)
            result = self.optional(scope, written.result)
            parts = [of for _, of in params]
            function = FuncType(params, result, written.is_async)
            self._weigh(function, [*parts, result])
            return function
        if written.form in _HANDLES:
            (ref,) = written.parts
            if not isinstance(ref, int):
                raise Unsupported("a handle to what is no resource")
            return _HANDLES[written.form](self.resource(scope, ref))
        parts_of = tuple(self.optional(scope, ref) for ref in written.parts)
        if written.form == "flags" and len(written.labels) > _MAX_FLAGS:
            raise Unsupported(f"more than {_MAX_FLAGS} flags")
        made = _COMPOUNDS[written.form](written.labels, parts_of)
        self._weigh(made, parts_of or written.labels)
        return made

    def _weigh(self, made: object, parts: Sequence[object]) -> None:
        sizes = [self._sizes.get(id(part), (1, 0, None)) for part in parts]
        size, depth = 1 + sum(s[0] for s in sizes), 1 + max((s[1] for s in sizes), default=0)
        if size > MAX_TYPE_PARTS or depth > _MAX_TYPE_DEPTH:
            raise Unsupported("a type that is too large")
        self._sizes[id(made)] = (size, depth, made)


_VALUE_TYPES: Final = (
    types.Prim, types.List, types.Record, types.Tuple, types.Variant, types.Enum, types.Flags, types.Option,
    types.Result, types.Own, types.Borrow, types.Stream, types.Future,
)  # fmt: skip
_HANDLES: Final[dict[str, Callable[[int], ValType]]] = {"own": types.Own, "borrow": types.Borrow}
_COMPOUNDS: Final[dict[str, Callable[[tuple[str, ...], tuple[Any, ...]], ValType]]] = {
    "record": lambda labels, parts: types.Record(tuple(zip(labels, parts, strict=True))),
    "variant": lambda labels, parts: types.Variant(tuple(zip(labels, parts, strict=True))),
    "tuple": lambda _, parts: types.Tuple(parts),
    "list": lambda _, parts: types.List(*parts),
    "flags": lambda labels, _: types.Flags(labels),
    "enum": lambda labels, _: types.Enum(labels),
    "option": lambda _, parts: types.Option(*parts),
    "result": lambda _, parts: types.Result(*parts),
    "stream": lambda _, parts: types.Stream(*parts),
    "future": lambda _, parts: types.Future(*parts),
}
