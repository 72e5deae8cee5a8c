"""Templates in requests: `/asset/{{ zipf(500, 1.1) }}` as a value, drawn from a stream of the request's own.

| call | gives |
|---|---|
| `int(a, b)` | a whole number from a to b, both included, evenly |
| `zipf(n, s)` | a rank from 1 to n; rank k is drawn in proportion to 1/k^s (Zipf's law, as of web objects: Breslau et al., 1999) |
| `uuid()` | a version 4 UUID (RFC 9562 §5.4) |
| `number()` | the number of the arrival, from 0 |
| `feeder.field` | the field of the feeder's row for this arrival |

Rendering is pure: the same stream and row give the same text, live and simulated.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from edgesim.model.stream import Stream

ZIPF_MAX: Final = 1_000_000
"""Most ranks of a Zipf distribution: its table takes 8 bytes each."""
EXPRESSIONS_MAX: Final = 50

Name = Literal["int", "zipf", "uuid", "number", "feeder"]

_BRACES: Final = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)
_CALL: Final = re.compile(r"([a-z]+)\(([^()]*)\)")
_FIELD: Final = re.compile(r"([A-Za-z_][A-Za-z0-9_-]*)\.([A-Za-z_][A-Za-z0-9_-]*)")
_KNOWN: Final = "write int(1, 100), zipf(500, 1.1), uuid(), number() or a feeder's field such as users.name"


@dataclass(frozen=True, slots=True)
class Call:
    """An expression between braces."""

    name: Name
    low: int = 0
    """First argument of `int`; the number of ranks of `zipf`."""
    high: int = 0
    exponent: float = 0.0
    feeder: str = ""
    field: str = ""

    @property
    def is_number(self) -> bool:
        """Whether it gives a number, which JSON writes without quotes."""
        return self.name in {"int", "zipf", "number"}


Part: TypeAlias = str | Call
Rows: TypeAlias = "Callable[[str], Mapping[str, str]]"
"""Gives the row of a feeder for the arrival at hand."""


@dataclass(frozen=True, slots=True)
class Template:
    """Text with expressions."""

    parts: tuple[Part, ...]

    @property
    def calls(self) -> tuple[Call, ...]:
        """The expressions, in their order."""
        return tuple(part for part in self.parts if isinstance(part, Call))

    def render(self, draw: Stream, number: int, rows: Rows, escape: Callable[[str], str]) -> str:
        """The text for one request.

        Args:
            draw: the request's stream; every expression draws from it in turn.
            number: the number of the arrival.
            rows: the feeders' rows.
            escape: makes a feeder's value fit for where the text goes.
        """
        return "".join(
            part if isinstance(part, str) else _value(part, draw, number, rows, escape) for part in self.parts
        )


def parse(text: str) -> Template:
    """The template in a text; one part without expressions.

    Raises:
        ValueError: an expression is wrong; the message ends with `; ` and a hint.
    """
    parts: list[Part] = []
    end = 0
    for match in _BRACES.finditer(text):
        parts += [text[end : match.start()]] if match.start() > end else []
        parts.append(_call(match[1].strip()))
        end = match.end()
    rest = text[end:]
    if "{{" in rest:
        raise ValueError(f"'{rest[rest.index('{{') :][:40]}' is not closed; {_KNOWN}")
    if sum(isinstance(part, Call) for part in parts) > EXPRESSIONS_MAX:
        raise ValueError(f"more than {EXPRESSIONS_MAX} expressions in one text; use fewer")
    return Template((*parts, rest) if rest or not parts else tuple(parts))


def _call(text: str) -> Call:
    if field := _FIELD.fullmatch(text):
        return Call("feeder", feeder=field[1], field=field[2])
    match = _CALL.fullmatch(text)
    if match is None or match[1] not in {"int", "zipf", "uuid", "number"}:
        raise ValueError(f"'{text[:40]}' is not an expression; {_KNOWN}")
    name = match[1]
    arguments = [part.strip() for part in match[2].split(",")] if match[2].strip() else []
    try:
        found = _call_of(name, arguments)
    except (ValueError, IndexError):
        found = None
    if found is None:
        forms = {
            "int": "int(a, b) takes two whole numbers, the smaller first",
            "zipf": f"zipf(n, s) takes 1 to {ZIPF_MAX:,} ranks and an exponent from 0 to 10",
        }
        raise ValueError(f"'{text[:40]}' has the wrong arguments; {forms.get(name, f'{name}() takes nothing')}")
    return found


def _call_of(name: str, arguments: list[str]) -> Call | None:
    """The call, or None when its arguments are out of bounds. Raises ValueError or IndexError when they are no numbers."""
    if name == "int":
        low, high = map(int, arguments)
        return Call("int", low, high) if -(1 << 53) <= low <= high <= 1 << 53 else None
    if name == "zipf":
        ranks, exponent = int(arguments[0]), float(arguments[1])
        fits = len(arguments) == 2 and 1 <= ranks <= ZIPF_MAX and 0 <= exponent <= 10
        return Call("zipf", ranks, exponent=exponent) if fits else None
    if arguments:
        return None
    return Call("uuid") if name == "uuid" else Call("number")


def _value(call: Call, draw: Stream, number: int, rows: Rows, escape: Callable[[str], str]) -> str:
    match call.name:
        case "int":
            return str(call.low + int(draw.uniform() * (call.high - call.low + 1)))
        case "zipf":
            return str(bisect_left(_ranks(call.low, call.exponent), draw.uniform()) + 1)
        case "uuid":
            return _uuid(draw.bits(), draw.bits())
        case "number":
            return str(number)
        case "feeder":
            return escape(rows(call.feeder)[call.field])


@lru_cache(maxsize=16)
def _ranks(ranks: int, exponent: float) -> tuple[float, ...]:
    """The cumulative distribution of a Zipf law; its last value is 1 or beyond any draw."""
    edges = list(accumulate(k**-exponent for k in range(1, ranks + 1)))
    total = edges[-1]
    edges = [edge / total for edge in edges]
    edges[-1] = 1.0
    return tuple(edges)


def _uuid(high: int, low: int) -> str:
    """Version 4 and variant 10 (RFC 9562 §4), the rest random."""
    high = high & ~0xF000 | 0x4000
    low = low & ~(3 << 62) | 2 << 62
    text = f"{high:016x}{low:016x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
