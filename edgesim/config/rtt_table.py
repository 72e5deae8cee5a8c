"""A table of measured round trips between places, from a CSV file.

Columns `src_lat`, `src_lon`, `dst_lat`, `dst_lon` in degrees, and `rtt_ms` or `rtt_p95_ms`; others are ignored.
"""

from __future__ import annotations

import csv
from io import StringIO
from math import inf, isfinite
from typing import TYPE_CHECKING, Final

from edgesim.config.yaml_source import clip
from edgesim.errors import ConfigError, Problem, UsageError
from edgesim.model.geo import LatLon

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_PLACES: Final = ("src_lat", "src_lon", "dst_lat", "dst_lon")
_TIMES: Final = ("rtt_ms", "rtt_p95_ms")
_ROWS_MAX: Final = 1_000_000
_BYTES_MAX: Final = 256 << 20
_PROBLEMS_MAX: Final = 20


def load_rtt_table(path: Path) -> list[tuple[LatLon, LatLon, float]]:
    """Pairs of places with the round trip between them in seconds.

    Raises:
        UsageError: the file cannot be read.
        ConfigError: it is no such table; every mistake with its line, up to a bound.
    """
    try:
        with path.open("rb") as source:  # a device has no size: what is read is counted
            content = source.read(_BYTES_MAX + 1)
        if len(content) > _BYTES_MAX:
            raise UsageError(
                f"the table {path} is larger than {_BYTES_MAX >> 20} MiB", help="leave out some of its rows"
            )
        text = content.decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as exc:
        reason = (exc.strerror if isinstance(exc, OSError) else "") or "it is no text in UTF-8"
        raise UsageError(f"cannot read the table {path}: {reason}", help="name a CSV file in UTF-8") from exc
    reader = csv.DictReader(StringIO(text))
    names = reader.fieldnames or []
    time = next((name for name in _TIMES if name in names), "")
    missing = [name for name in _PLACES if name not in names] + ([] if time else [" or ".join(_TIMES)])
    if missing:
        hint = f"its columns are {clip(', '.join(names), 200)}" if names else ""
        raise ConfigError([_problem(path, 1, "", f"no column {', '.join(missing)}", hint)])
    table: list[tuple[LatLon, LatLon, float]] = []
    problems: list[Problem] = []
    for number, row in enumerate(reader):
        if number >= _ROWS_MAX:
            problems.append(_problem(path, reader.line_num, "", f"more than {_ROWS_MAX:,} rows"))
        else:
            bad = [
                name
                for name, limit in zip((*_PLACES, time), (90, 180, 90, 180, inf), strict=True)
                if _off(row[name], limit)
            ]
            problems += [
                _problem(path, reader.line_num, name, f"{name} is no number in its range: {row[name]!r}")
                for name in bad
            ]
        if len(problems) >= _PROBLEMS_MAX:
            break
        if not problems:
            a, b, c, d, ms = (float(row[name]) for name in (*_PLACES, time))
            table.append((LatLon(a, b), LatLon(c, d), ms / 1e3))
    if not table and not problems:
        problems.append(_problem(path, 1, "", "the table has no rows"))
    if problems:
        raise ConfigError(problems)
    return table


def _off(cell: Sequence[str] | str | None, limit: float) -> bool:
    """Whether a cell is no number within ±limit; a time, whose limit is infinite, has to be positive."""
    try:
        value = float(cell) if isinstance(cell, str) else inf
    except ValueError:
        return True
    return not isfinite(value) or abs(value) > limit or (limit == inf and value <= 0.0)


def _problem(path: Path, line: int, field: str, message: str, hint: str = "") -> Problem:
    return Problem(file=str(path), line=line, col=1, field=field, message=message, help=hint)
