"""Frozen dataclasses as JSON, each distinct value written once and referred to by its number: types share most of their parts.

The document is a list of nodes, `[class, field, ...]`, the root last. In a field a scalar stands for itself, a list for a tuple
and `{"node": n}` for an earlier node.
"""

from __future__ import annotations

import json
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


def dumps(root: object) -> str:
    """The document for a dataclass whose fields are scalars, tuples and dataclasses."""
    nodes: list[list[Any]] = []
    numbers: dict[str, int] = {}
    known: dict[int, int] = {}

    def field(value: Any) -> Any:
        if is_dataclass(value):
            return {"node": node(value)}
        return [field(item) for item in value] if isinstance(value, tuple) else value

    def node(value: Any) -> int:
        if id(value) not in known:
            written = [type(value).__name__, *(field(getattr(value, f.name)) for f in fields(value))]
            key = json.dumps(written)
            if key not in numbers:
                numbers[key] = len(nodes)
                nodes.append(written)
            known[id(value)] = numbers[key]
        return known[id(value)]

    node(root)
    return json.dumps(nodes, separators=(",", ":"))


def loads(text: str, classes: Mapping[str, type]) -> Any:
    """The root that `dumps` wrote. Raises ValueError for any other text."""
    made: list[Any] = []

    def field(value: Any) -> Any:
        if isinstance(value, dict):
            return made[value["node"]]
        return tuple(field(item) for item in value) if isinstance(value, list) else value

    try:
        for name, *values in json.loads(text):
            of = classes[name]
            made.append(of(**{f.name: field(v) for f, v in zip(fields(of), values, strict=True)}))
        return made[-1]
    except (ValueError, TypeError, LookupError, RecursionError) as exc:
        raise ValueError("this is not the JSON of a plan") from exc
