"""How commands print: results to stdout, progress and everything for people's eyes only to stderr.

Colour and live views only where they help: NO_COLOR, CI, TERM=dumb and output that is not a terminal turn them off.
"""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any, Literal, TextIO

import click

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.console import Console
    from rich.table import Table

_WIDTH_PIPED = 4096


def is_terminal(stream: TextIO) -> bool:
    """Whether somebody watches this stream in a terminal that can move its cursor."""
    return stream.isatty() and os.environ.get("TERM") != "dumb" and not os.environ.get("CI")


def use_color(stream: TextIO) -> bool:
    """Whether to colour what is printed there (https://no-color.org)."""
    return stream.isatty() and os.environ.get("TERM") != "dumb" and not os.environ.get("NO_COLOR")


def hang_up() -> None:
    """The reader of our stdout has gone: send the rest nowhere, so that the interpreter's last flush does not complain."""
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, sys.stdout.fileno())
    os.close(devnull)


def console(stream: TextIO | None = None) -> Console:
    """A rich console on the stream (stdout by default); wide when it is piped, so that nothing is cut."""
    from rich.console import Console

    stream = stream or sys.stdout
    width = None if stream.isatty() else _WIDTH_PIPED
    return Console(file=stream, width=width, no_color=not use_color(stream), highlight=False, soft_wrap=False)


def echo_json(schema: str, document: dict[str, Any]) -> None:
    """Print one JSON document; `schema` names its shape and version."""
    click.echo(json.dumps({"schema": f"edgesim.{schema}", **document}, indent=2, ensure_ascii=False))


def many(n: int, noun: str, plural: str = "") -> str:
    """A number with its noun: `1 PoP`, `2 PoPs`; `plural` where an s does not do."""
    return f"{n:,} {noun if n == 1 else plural or noun + 's'}"


def note(text: str, **style: Any) -> None:
    """A line for people, on stderr."""
    click.echo(click.style(text, **style) if style else text, err=True, color=use_color(sys.stderr))


def print_table(
    columns: Sequence[str], rows: Iterable[Sequence[str]], *, right: Iterable[str] = (), flexible: str = ""
) -> None:
    """Print rows under their headings on stdout.

    Args:
        columns: the headings.
        rows: cells as rich markup.
        right: columns that are aligned right (numbers).
        flexible: the column that is broken into lines where the terminal is narrow; the others are never.
    """
    table = make_table(columns, right=right, flexible=flexible)
    for row in rows:
        table.add_row(*row)
    show_table(table)


def show_table(table: Table) -> None:
    """Print a rich table on stdout; without trailing blanks when it is piped."""
    out = console()
    if sys.stdout.isatty():
        out.print(table)
        return
    with out.capture() as capture:
        out.print(table)
    click.echo("\n".join(line.rstrip() for line in capture.get().splitlines()))


def make_table(columns: Sequence[str], *, right: Iterable[str] = (), flexible: str = "") -> Table:
    """An empty rich table in the style of all our tables."""
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold", pad_edge=False)
    numbers = set(right)
    for column in columns:
        justify: Literal["left", "right"] = "right" if column in numbers else "left"
        table.add_column(column, justify=justify, no_wrap=column != flexible, overflow="fold")
    return table


def ms(seconds: float | None) -> str:
    """A duration in milliseconds with three significant digits, in seconds from 10 s on; a dash when there is none."""
    if seconds is None:
        return "-"
    if seconds >= 10:
        return f"{seconds:,.1f} s"
    value = seconds * 1e3
    digits = 2 if value < 10 else 1 if value < 100 else 0
    return f"{value:.{digits}f} ms"


def count(value: float | None) -> str:
    """A whole number with thousands separated; a dash when there is none."""
    return "-" if value is None else f"{value:,.0f}"


def printable(text: str) -> str:
    """A text from a file, a client or a worker without what could move the cursor."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
