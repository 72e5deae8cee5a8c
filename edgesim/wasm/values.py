"""What component-model values look like to host functions, whichever floor carries them (`component.py`, `flat/`).

Integers, floats, str, bytes (`list<u8>`), list, tuple, dict (record), set (flags), `Var` (variant), str (enum), None or the
value (option), the value or `Err` (result), `Ok` around a value of either where the bare one would be ambiguous (an option in
an option, a result in a result), and for resources the host's own object.
"""

from __future__ import annotations

from typing import Any, NamedTuple


class Err(Exception):  # noqa: N818 - it is a value as often as it is raised
    """The err arm of a `result`, returned or raised by a host function."""

    def __init__(self, value: Any = None) -> None:
        super().__init__(value)
        self.value = value


class Ok(NamedTuple):
    """The ok arm of a `result`, or the some arm of an `option`, where the bare value would be ambiguous."""

    value: Any = None


class Var(NamedTuple):
    """A case of a `variant`."""

    tag: str
    value: Any = None


class Nesting(NamedTuple):
    """What the Python values of a type can be, which decides what must be wrapped in `Ok`."""

    none: bool = False
    err: bool = False
    ok: bool = False
    wraps: bool = False
    """Whether this option's some, or this result's ok, comes wrapped. Who gives a value may always wrap an ok."""


def nesting(kind: Any) -> Nesting:
    """Of a type of either floor: an option has `payload`, a result has `ok`, and nothing else nests."""
    if hasattr(kind, "payload"):
        inner = nesting(kind.payload)
        return Nesting(True, inner.err and not inner.none, inner.none or inner.ok, inner.none)
    if hasattr(kind, "ok"):
        inner = Nesting(none=True) if kind.ok is None else nesting(kind.ok)
        wraps = inner.err or inner.ok
        return Nesting(inner.none and not wraps, True, wraps, wraps)
    return Nesting()
