"""Errors as JSON and back, so that a mistake found in one process is shown by another exactly as it was raised.

The document is `{"code", "message", "where"?, "help"?, "problems"?}`. It never carries a traceback.
"""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import Any, Final

from edgesim.errors import ConfigError, EdgesimError, Problem

_PROBLEMS_MAX: Final = 1000
_TEXT_FIELDS: Final = frozenset({"file", "field", "message", "help", "source"})


def error_to_dict(error: EdgesimError) -> dict[str, Any]:
    """The error as a JSON object."""
    document: dict[str, Any] = {"code": error.code, "message": error.message}
    if error.where:
        document["where"] = error.where
    if error.help:
        document["help"] = error.help
    if isinstance(error, ConfigError):
        document["problems"] = [asdict(problem) for problem in error.problems]
    return document


def error_from_dict(document: object) -> EdgesimError:
    """The error that `error_to_dict` was given; a plain EdgesimError when its code or shape is not known here."""
    if not isinstance(document, dict):
        return EdgesimError(str(document))
    message = str(document.get("message") or "unknown error")
    where, help_text = str(document.get("where") or ""), str(document.get("help") or "")
    code = str(document.get("code") or EdgesimError.code)
    kind = _by_code(EdgesimError).get(code)
    if kind is not None and issubclass(kind, ConfigError):
        problems = _problems(document.get("problems"))
        return kind(problems or [Problem(file=where, line=0, col=0, field="", message=message, help=help_text)])
    if kind is None:
        kind, message = EdgesimError, f"{message} ({code})"
    return kind(message, where=where, help=help_text)


def _by_code(root: type[EdgesimError]) -> dict[str, type[EdgesimError]]:
    """Every class of the tree by its own code."""
    classes = {root.code: root}
    for child in root.__subclasses__():
        classes |= {code: kind for code, kind in _by_code(child).items() if code not in classes}
    return classes


def _problems(items: object) -> list[Problem]:
    """The well-formed problems among `items`."""
    problems = []
    names = {f.name for f in fields(Problem)}
    for item in items[:_PROBLEMS_MAX] if isinstance(items, list) else ():
        if isinstance(item, dict):
            values: dict[str, Any] = {name: str(item.get(name) or "") for name in names & _TEXT_FIELDS}
            values |= {name: n if isinstance(n := item.get(name), int) else 0 for name in ("line", "col")}
            problems.append(Problem(**values))
    return problems
