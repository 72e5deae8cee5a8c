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
