"""Types of the component model as values: what the wiring reads from a binary, and what the canonical ABI is compiled from.

Source: component-model repository, design/mvp/Binary.md and CanonicalABI.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

PrimName: TypeAlias = Literal[
    "bool", "s8", "u8", "s16", "u16", "s32", "u32", "s64", "u64", "f32", "f64", "char", "string"
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Prim:
    """A primitive type, or a string."""

    name: PrimName


@dataclass(frozen=True, slots=True)
class List:
    """`list<element>`."""

    element: ValType


@dataclass(frozen=True, slots=True)
class Record:
    """Named fields."""

    fields: tuple[tuple[str, ValType], ...]


@dataclass(frozen=True, slots=True)
class Tuple:
    """Unnamed fields."""

    elements: tuple[ValType, ...]


@dataclass(frozen=True, slots=True)
class Variant:
    """Named cases, each with or without a payload."""

    cases: tuple[tuple[str, ValType | None], ...]


@dataclass(frozen=True, slots=True)
class Enum:
    """Named cases without payloads."""

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Flags:
    """Named bits, at most 32."""

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Option:
    """Nothing or a value."""

    payload: ValType


@dataclass(frozen=True, slots=True)
class Result:
    """`result<ok, err>`, either of which may be absent."""

    ok: ValType | None
    err: ValType | None


@dataclass(frozen=True, slots=True)
class Own:
    """A handle that owns; `resource` indexes `Plan.resources`."""

    resource: int


@dataclass(frozen=True, slots=True)
class Borrow:
    """A handle that is lent for a call."""

    resource: int


@dataclass(frozen=True, slots=True)
class Stream:
    """`stream<element>` of WASI 0.3."""

    element: ValType | None


@dataclass(frozen=True, slots=True)
class Future:
    """`future<element>` of WASI 0.3."""

    element: ValType | None


ValType: TypeAlias = (
    Prim | List | Record | Tuple | Variant | Enum | Flags | Option | Result | Own | Borrow | Stream | Future
)


@dataclass(frozen=True, slots=True)
class FuncType:
    """A component function."""

    params: tuple[tuple[str, ValType], ...]
    result: ValType | None
    is_async: bool = False
