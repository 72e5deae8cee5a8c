"""How errors look: what, where, what next, with a stable code; as text on stderr or as one JSON document on stdout.

    error[E0101]: unknown key arivalRate
      --> scenarios/demo.yaml:21:7
       |
    21 |       arivalRate: 50
       |       ^
      = help: did you mean arrivalRate?

A user's mistake never shows a traceback. One of ours goes to a log file, and is named as ours.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgesim.cli._output import use_color
from edgesim.errors import ConfigError, EdgesimError, Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

_SOURCE_WIDTH_MAX = 160
INTERRUPTED = 130


def show_error(error: EdgesimError, *, as_json: bool) -> None:
    """Print the error: JSON on stdout, else text on stderr."""
    if as_json:
        click.echo(json.dumps(_document(error), indent=2, ensure_ascii=False))
    else:
        click.echo("\n".join(_text(error)), err=True, color=use_color(sys.stderr))


def internal_error(exc: BaseException, *, debug: bool) -> EdgesimError:
    """Our own mistake as an error that can be shown; the traceback goes to a file, or to stderr for `--debug`."""
    if debug:
        traceback.print_exception(exc)
    text = "".join(traceback.format_exception(exc))
    fd, path = tempfile.mkstemp(prefix="edgesim-crash-", suffix=".log", dir=_crash_dir())
    with os.fdopen(fd, "w") as file:
        file.write(f"edgesim {' '.join(sys.argv[1:])}\n\n{text}")
    summary = " ".join(str(exc).split())[:200]
    return EdgesimError(
        f"internal error: {type(exc).__name__}{': ' + summary if summary else ''}",
        where=path,
        help="this is a bug of edgesim; please report it with that file",
    )


def _crash_dir() -> str | None:
    """The logs folder of the state directory where there is one, else None (the system's temporary folder)."""
    from edgesim.live.state import find_state_dir

    logs = find_state_dir() / "logs"
    return str(logs) if logs.is_dir() and os.access(logs, os.W_OK) else None


def _document(error: EdgesimError) -> dict[str, object]:
    from edgesim.live.error_json import error_to_dict

    return {"schema": "edgesim.error.v1", "error": error_to_dict(error) | {"exit_code": error.exit_code}}


def _text(error: EdgesimError) -> Iterator[str]:
    if not isinstance(error, ConfigError):
        yield _headline(error.code, error.message)
        if error.where:
            yield _arrow(error.where)
        yield from _help(error.help)
        return
    for i, problem in enumerate(error.problems):
        if i:
            yield ""
        yield from _problem(error.code, problem)
    if len(error.problems) > 1:
        yield ""
        yield click.style(f"{len(error.problems)} problems", bold=True)


def _problem(code: str, problem: Problem) -> Iterator[str]:
    field = f"{problem.field}: " if problem.field and not problem.message.startswith(problem.field) else ""
    yield _headline(code, field + problem.message)
    if problem.file:
        yield _arrow(f"{problem.file}:{problem.line}:{problem.col}" if problem.line else problem.file)
    if problem.source and problem.line:
        source, column = problem.source.replace("\t", " "), max(problem.col, 1) - 1
        if column >= _SOURCE_WIDTH_MAX:  # a very long line: show the part around the caret
            source, column = "…" + source[column - 20 :], 21
        source = source if len(source) <= _SOURCE_WIDTH_MAX else source[:_SOURCE_WIDTH_MAX] + "…"
        number = str(problem.line)
        gutter = " " * len(number)
        bar = click.style("|", fg="blue")
        yield f"{gutter} {bar}"
        yield f"{click.style(number, fg='blue')} {bar} {source}"
        yield f"{gutter} {bar} {' ' * column}{click.style('^', fg='red', bold=True)}"
    yield from _help(problem.help)


def _headline(code: str, message: str) -> str:
    return f"{click.style(f'error[{code}]', fg='red', bold=True)}: {_printable(message)}"


def _arrow(where: str) -> str:
    return f"  {click.style('-->', fg='blue')} {_printable(_relative(where))}"


def _help(text: str) -> Iterator[str]:
    if text:
        yield f"  {click.style('=', fg='blue')} {click.style('help', bold=True)}: {_printable(text)}"


def _relative(where: str) -> str:
    """A path below the working directory without it."""
    try:
        return where.replace(f"{Path.cwd()}/", "", 1) if where.startswith("/") else where
    except OSError:  # the working directory is gone
        return where


def _printable(text: str) -> str:
    """The text without control characters, which a file or a server could smuggle into the terminal."""
    return "".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in text)
