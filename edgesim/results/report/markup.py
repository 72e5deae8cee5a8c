"""HTML in Python, so that what comes from users cannot become markup: text is escaped unless it is `Html` already."""

from __future__ import annotations

import json
from html import escape
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

_VOID: Final = frozenset({"meta", "br", "input"})


class Html(str):
    """Text that is markup: made by `tag`, or ours."""

    __slots__ = ()


def tag(name: str, /, *children: str | None, **attributes: str | float | bool | None) -> Html:
    """An element. Children are escaped unless they are `Html`; None leaves out a child or an attribute.

    Attributes are written with hyphens for underscores; one named `class_` is `class`. True writes the bare name.
    """
    written = "".join(
        f" {key.rstrip('_').replace('_', '-')}" + ("" if value is True else f'="{escape(str(value))}"')
        for key, value in attributes.items()
        if value is not None and value is not False
    )
    if name in _VOID:
        return Html(f"<{name}{written}>")
    return Html(f"<{name}{written}>{join(children)}</{name}>")


def join(parts: Iterable[str | None]) -> Html:
    """Parts one after the other, escaped unless they are `Html`."""
    return Html("".join(p if isinstance(p, Html) else escape(p) for p in parts if p is not None))


def script_json(value: Any) -> Html:
    """A value as JSON that cannot end the script element it stands in, nor begin a comment there."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Html(text)
