"""Writes docs/reference/cli.md from the commands themselves: `python -m edgesim.cli._reference > docs/reference/cli.md`.

A test compares the file with what this module writes, so the page cannot go stale.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

import click

from edgesim.cli.main import cli
from edgesim.errors import EdgesimError

if TYPE_CHECKING:
    from collections.abc import Iterator

_WIDTH: Final = 100
_INTRODUCTION: Final = """\
# The edgesim command

<!-- Written by `python -m edgesim.cli._reference`; edit the commands in edgesim/cli, not this page. -->

Results go to stdout, everything for people's eyes only (progress, explanations, errors) to stderr. `--json` prints one
JSON document with a `schema` key, also for an error. Colour and live views appear in a terminal only; `NO_COLOR` turns
colour off, `CI` live views. A flag wins over its environment variable, and that over a file.

A command finds the edge through its state directory: `--state`, else `EDGESIM_STATE`, else the nearest `.edgesim/` in the
working directory or above it.

## Exit codes

| code | meaning |
|---|---|
| 0 | done |
| 1 | failed |
| 2 | the command line or a file is wrong; nothing has been changed |
| 3 | the edge cannot be reached |
| 4 | a rollout failed |
| 98 | a load run proves nothing: the generator lagged |
| 99 | a load run missed a threshold |
| 130 | interrupted |

## Error codes

| code | exit | HTTP | meaning |
|---|---|---|---|
"""


def reference() -> str:
    """The whole page."""
    return _INTRODUCTION + "".join(_errors(EdgesimError)) + "\n## Commands\n" + "".join(_commands(cli, "edgesim"))


def _errors(root: type[EdgesimError]) -> Iterator[str]:
    for kind in sorted(_classes(root), key=lambda kind: kind.code):
        meaning = " ".join((kind.__doc__ or "").split("\n\n")[0].split())
        yield f"| {kind.code} | {kind.exit_code} | {kind.status} | {meaning} |\n"


def _classes(root: type[EdgesimError]) -> Iterator[type[EdgesimError]]:
    yield root
    for child in root.__subclasses__():
        if child.__module__ == root.__module__:
            yield from _classes(child)


def _commands(command: click.Command, path: str, parent: click.Context | None = None) -> Iterator[str]:
    settings = command.context_settings if parent is None else {}
    ctx = click.Context(command, info_name=path.rpartition(" ")[2], parent=parent, terminal_width=_WIDTH, **settings)
    if not isinstance(command, click.Group) or parent is not None:
        yield f"\n### {path}\n\n```\n{command.get_help(ctx).rstrip()}\n```\n"
    if isinstance(command, click.Group):
        for name in command.list_commands(ctx):
            child = command.get_command(ctx, name)
            if child is not None and not child.hidden:
                yield from _commands(child, f"{path} {name}", ctx)


if __name__ == "__main__":
    sys.stdout.write(reference())
