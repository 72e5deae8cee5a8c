"""JSON documents that commands write and read: summaries and profiles, each with its `schema` key."""

from __future__ import annotations

import json
from stat import S_ISREG
from typing import TYPE_CHECKING, Any, Final

from edgesim.errors import StorageError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from edgesim.results.profile import Profile

BYTES_MAX: Final = 256 << 20
"""The largest document that is read: far above what a run of 10,000 PoPs writes."""


def check_writable(out: Path, what: str, option: str = "--out") -> None:
    """Find out before the work that its result can be written, where `option` says. Raises StorageError."""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        temporary = _temporary(out)
        temporary.touch()
        temporary.unlink()
    except OSError as exc:
        raise StorageError(
            f"cannot write the {what}: {exc.strerror}", where=str(out), help=f"name another file with {option}"
        ) from exc


def write_document(out: Path, schema: str, document: dict[str, Any], what: str) -> None:
    """Write one with its `schema` key. Raises StorageError."""
    replace_file(
        out, f"{json.dumps({'schema': f'edgesim.{schema}', **document}, indent=2, ensure_ascii=False)}\n", what
    )


def replace_file(out: Path, text: str, what: str) -> None:
    """Write a file in one step, so that nobody reads half of it. Raises StorageError."""
    temporary = _temporary(out)
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(out)
    except OSError as exc:
        raise StorageError(
            f"cannot write the {what}: {exc.strerror}", where=str(out), help="free some disk space"
        ) from exc


def read_document(path: Path, schema: str, *, what: str, made_by: str) -> dict[str, Any]:
    """The document in a file.

    Args:
        path: the file.
        schema: the schema that it must have, `run-summary.v1`.
        what: what it is called in messages, `a summary`.
        made_by: the command that writes one, for the hint.

    Raises:
        UsageError: it cannot be read, is no JSON, or is something else.
    """
    hint = f"write one with `{made_by}`"
    try:
        status = path.stat()
        if not S_ISREG(status.st_mode):
            raise UsageError(f"this is no file, so not {what}", where=str(path), help=hint)
        if status.st_size > BYTES_MAX:
            raise UsageError(f"this file is larger than {BYTES_MAX >> 20} MiB", where=str(path), help=hint)
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as exc:
        raise UsageError(f"cannot read {what}: {exc.strerror}", where=str(path), help=hint) from exc
    except (ValueError, RecursionError) as exc:
        raise UsageError(f"this is no JSON, so not {what}", where=str(path), help=hint) from exc
    found = document.get("schema") if isinstance(document, dict) else None
    if found != f"edgesim.{schema}":
        told = f"its schema is {str(found)[:60]!r}" if found else "it has no schema key"
        raise UsageError(f"this is not {what}: {told}, not 'edgesim.{schema}'", where=str(path), help=hint)
    assert isinstance(document, dict)
    return document


def read_profile(path: Path) -> Profile:
    """The profile in a file. Raises UsageError."""
    from edgesim.results.profile import SCHEMA, Profile

    made_by = "edgesim profile WORKER -o profile.json"
    document = read_document(path, SCHEMA, what="a profile", made_by=made_by)
    try:
        return Profile.from_json(document)
    except (ValueError, KeyError, TypeError, AttributeError) as exc:
        raise UsageError(
            f"this profile is damaged: {type(exc).__name__}: {exc}", where=str(path), help=f"measure again: `{made_by}`"
        ) from exc


def _temporary(out: Path) -> Path:
    """Where a document is written before it takes the place of an older one."""
    return out.with_name(f".{out.name}.tmp")
