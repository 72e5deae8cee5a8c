"""Durations, sizes and shares as people write them in YAML: `500ms`, `512MiB`, `20%`.

Each is a pydantic type (`Seconds`, `Bytes`, `Share`) and a function. The functions raise `PydanticCustomError`, a
`ValueError`, whose context carries `help` with the expected form.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING, Annotated, Final

from pydantic import BeforeValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from edgesim.config.yaml_source import clip

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_SECONDS: Final = 366 * 86_400.0
MAX_SIZE: Final = 1 << 50

_NUMBER = r"([0-9]{1,15}(?:\.[0-9]{1,9})?)"
_DURATION = re.compile(_NUMBER + r" ?(us|ms|s|m|h|d)")
_SIZE = re.compile(_NUMBER + r" ?(B|KiB|MiB|GiB|TiB|kB|MB|GB|TB)")
_PERCENT = re.compile(_NUMBER + r" ?%")
_SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_BYTES = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}
_BYTES |= {"kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}

_DURATION_HELP = "a duration looks like 500ms, 30s, 2m or 1h; a bare number is seconds"
_SIZE_HELP = "a size looks like 512KiB, 64MiB or 4GiB; a bare number is bytes"
_SHARE_HELP = "a share looks like 20% or 0.2, from 0% to 100%"


def parse_duration(value: object) -> float:
    """Seconds of `500ms`, `30s`, `2m`, `1h`, `1d` or a number of seconds; at most a year.

    Raises:
        ValueError: it is not a duration.
    """
    seconds = _number(value)
    if seconds is None and isinstance(value, str) and (match := _DURATION.fullmatch(value.strip())):
        # Milliseconds are divided, so that 500ms is the float nearest to half a second.
        number, unit = float(match[1]), match[2]
        seconds = number / 1e3 if unit == "ms" else number / 1e6 if unit == "us" else number * _SECONDS[unit]
    if seconds is None:
        raise _error("duration", value, _DURATION_HELP)
    if not 0 <= seconds <= MAX_SECONDS:
        raise _error("duration", value, "a duration lies between 0 and a year")
    return seconds


def parse_size(value: object) -> int:
    """Bytes of `512MiB`, `4GiB`, `10MB` or a whole number of bytes.

    Raises:
        ValueError: it is not a size.
    """
    size: float | None = None
    if isinstance(value, int) and not isinstance(value, bool):
        size = value
    elif isinstance(value, str) and (match := _SIZE.fullmatch(value.strip())):
        size = float(match[1]) * _BYTES[match[2]]
    if size is None:
        raise _error("size", value, _SIZE_HELP)
    if not 0 <= size <= MAX_SIZE:
        raise _error("size", value, "a size lies between 0 and 1024TiB")
    return int(size)


def parse_share(value: object) -> float:
    """A share in 0 to 1 of `20%` or `0.2`.

    Raises:
        ValueError: it is not a share.
    """
    share = _number(value)
    if share is None and isinstance(value, str) and (match := _PERCENT.fullmatch(value.strip())):
        share = float(match[1]) / 100
    if share is None or not 0 <= share <= 1:
        raise _error("share", value, _SHARE_HELP)
    return share


def show_duration(seconds: float) -> str:
    """A duration as people write it: 0.05 is `50ms`, 600 is `10m`."""
    if 0 < seconds < 1:
        return f"{seconds * 1e3:g}ms"
    for unit in ("h", "m"):
        if seconds >= _SECONDS[unit] and seconds % _SECONDS[unit] == 0:
            return f"{seconds / _SECONDS[unit]:g}{unit}"
    return f"{seconds:g}s"


def show_size(size: float) -> str:
    """A size as people write it: 65536 is `64KiB`."""
    for unit in ("TiB", "GiB", "MiB", "KiB"):
        if size >= _BYTES[unit] and size % _BYTES[unit] == 0:
            return f"{size / _BYTES[unit]:g}{unit}"
    return f"{size:g}B"


@dataclass(frozen=True, slots=True)
class Form:
    """The expected form of a value, for messages; stands in a field's `Annotated`. Pydantic takes no notice of it."""

    text: str
    """`a number of degrees`; the bounds of the field are added to it."""
    show: Callable[[float], str] = "{:g}".format
    """A bound as people write it."""


def _number(value: object) -> float | None:
    if isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value):
        return float(value)
    return None


def _error(kind: str, value: object, help: str) -> PydanticCustomError:  # noqa: A002 - the CLI's word
    shown = "nothing" if value is None else f"'{clip(value)}'"
    return PydanticCustomError(
        "edgesim_unit",
        "{shown} is not a {kind}",
        {"shown": shown, "kind": kind, "help": help},
    )


def _schema(pattern: re.Pattern[str]) -> WithJsonSchema:
    return WithJsonSchema(
        {"anyOf": [{"type": "number", "minimum": 0}, {"type": "string", "pattern": f"^{pattern.pattern}$"}]}
    )


Seconds = Annotated[float, BeforeValidator(parse_duration), _schema(_DURATION), Form("a duration", show_duration)]
"""A duration in a file; the value is in seconds."""
Bytes = Annotated[int, BeforeValidator(parse_size), _schema(_SIZE), Form("a size", show_size)]
"""A size in a file; the value is in bytes."""
Share = Annotated[float, BeforeValidator(parse_share), _schema(_PERCENT)]
"""A share in a file; the value lies between 0 and 1."""
