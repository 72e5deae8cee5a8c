"""Rows of data for a scenario's templates: from CSV, from JSON, or written into the scenario itself."""

from __future__ import annotations

import csv
import json
from io import StringIO
from math import isfinite
from typing import TYPE_CHECKING, Any, Final

from edgesim.config.yaml_source import clip
from edgesim.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from edgesim.config.scenario_requests import FeederFile

BYTES_MAX: Final = 16 << 20
ROWS_MAX: Final = 100_000


def read_rows(file: FeederFile, folder: Path) -> tuple[dict[str, str], ...]:
    """The feeder's rows, at least one, all with the same fields.

    Args:
        file: the feeder as written.
        folder: where its paths begin.

    Raises:
        UsageError: a file cannot be read, or does not hold rows.
    """
    if file.csv:
        rows: Any = _csv(_text(folder, file.csv), file.csv)
    elif file.json_file:
        try:
            rows = json.loads(_text(folder, file.json_file))
        except (ValueError, RecursionError) as exc:
            raise UsageError(f"'{clip(file.json_file)}' is not JSON", help="write an array of objects") from exc
    else:
        rows = file.rows
    return _checked(rows)


def _csv(text: str, name: str) -> list[dict[str, str]]:
    """Rows by the fields that the first line names; empty lines are none."""
    hint = "the first line names the fields, and every other line has as many, quoted as in RFC 4180"
    reader = csv.reader(StringIO(text, newline=""), strict=True)
    try:
        fields = next(reader, [])
        if len(set(fields)) < len(fields):
            raise UsageError(f"'{clip(name)}' names a field twice", help=hint)
        rows = []
        for cells in reader:
            if cells and len(cells) != len(fields):
                told = f"line {reader.line_num} of '{clip(name)}' has {len(cells)} values, not {len(fields)}"
                raise UsageError(told, help=hint)
            if cells:
                rows.append(dict(zip(fields, cells, strict=True)))
    except csv.Error as exc:
        raise UsageError(f"line {reader.line_num} of '{clip(name)}' is not CSV: {exc}", help=hint) from exc
    return rows


def _text(folder: Path, name: str) -> str:
    try:
        with (folder / name).open("rb") as source:  # a device has no size: what is read is counted
            content = source.read(BYTES_MAX + 1)
        if len(content) > BYTES_MAX:
            raise UsageError(f"'{clip(name)}' is larger than {BYTES_MAX >> 20} MiB", help="use fewer rows")
        return content.decode("utf-8-sig")
    except OSError as exc:
        hint = "paths are relative to the scenario's file"
        raise UsageError(f"cannot read '{clip(name)}': {exc.strerror}", help=hint) from exc
    except UnicodeDecodeError as exc:
        raise UsageError(f"'{clip(name)}' is not UTF-8", help="save it as UTF-8") from exc


def _checked(rows: Any) -> tuple[dict[str, str], ...]:
    hint = "the first line of CSV names the fields; JSON is an array of objects with texts and numbers"
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) and row for row in rows):
        raise UsageError("there are no rows", help=hint)
    if len(rows) > ROWS_MAX:
        raise UsageError(f"there are {len(rows)} rows; the limit is {ROWS_MAX}", help="use fewer")
    fields = set(rows[0])
    out = []
    for number, row in enumerate(rows, 1):
        if set(row) != fields:
            raise UsageError(f"row {number} has other fields than the first", help=hint)
        if not all(_is_plain(value) for value in row.values()):
            raise UsageError(f"row {number} has a value that is no text or number", help=hint)
        out.append({str(name): _value(value) for name, value in row.items()})
    if any(ord(c) < 32 or ord(c) == 127 for row in out for value in row.values() for c in value):
        raise UsageError("a value has a line break or another control character", help="remove it")
    return tuple(out)


def _is_plain(value: Any) -> bool:
    """Whether it is a text, a truth value, or a number that JSON can hold: Python's parser also takes NaN and 1e999."""
    return isinstance(value, str | int) or (isinstance(value, float) and isfinite(value))


def _value(value: Any) -> str:
    return ("true" if value else "false") if isinstance(value, bool) else str(value)
