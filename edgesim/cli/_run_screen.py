"""How `edgesim run` shows requests as they end, and what they cost in all."""

from __future__ import annotations

import json
import shutil
import sys
from typing import TYPE_CHECKING, Any

import click

from edgesim.cli._inspect_screen import footnotes, say, size, verdict_document, verdict_lines
from edgesim.cli._output import count, ms, print_table, printable, use_color
from edgesim.model.profiles import judge_all

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgesim.live.tally import Served, Tally

_LINE = "{:<6} {:<7} {:>9} {:>9} {:>9} {:>9} {:>9}  {}"
_TARGET_MAX = 200
_LOG_LINES_MAX = 50


class RunScreen:
    """A line per request on stdout, workers' logs on stderr; with `as_json` a JSON document per line, and no logs."""

    def __init__(self, *, as_json: bool) -> None:
        self._json = as_json
        self._headed = False
        self.components = 1
        """With more than one, lines name theirs."""

    def request(self, served: Served) -> None:
        """Show one request."""
        if self._json:
            click.echo(json.dumps({"schema": "edgesim.run.request.v1", **served_document(served)}, ensure_ascii=False))
            return
        if not self._headed:
            self._headed = True
            titles = ("status", "method", "wall", "cpu", "start", "memory", "out", "path")
            click.echo(click.style(_LINE.format(*titles), bold=True), color=use_color(sys.stdout))
        show_log(served)
        cost = (ms(served.cpu_s), ms(served.start_cpu_s), size(served.memory_bytes) if served.memory_bytes else "-")
        where = printable(served.target[:_TARGET_MAX])
        if self.components > 1 and served.component:
            where += f"  ({served.component})"
        line = _LINE.format(
            served.status,
            printable(served.method[:7]),
            ms(served.wall_s),
            *(cost if served.ran else ("-", "-", "-")),
            size(served.response_bytes),
            where,
        )
        if sys.stdout.isatty() and len(line) > (width := shutil.get_terminal_size().columns):
            line = line[: width - 1] + "…"
        good = served.status < 400 and not served.error
        click.echo(line if good else click.style(line, fg="red"), color=use_color(sys.stdout))
        if served.error:
            say((f"       {printable(served.error)}", {}))

    def summary(self, tallies: Sequence[Tally], seconds: float) -> None:
        """Show what all requests cost, and where that would have been too much."""
        if self._json:
            document = {
                "schema": "edgesim.run.summary.v1",
                "seconds": seconds,
                "components": [tally_document(tally) for tally in tallies],
            }
            click.echo(json.dumps(document, ensure_ascii=False))
            return
        total = sum(tally.requests for tally in tallies)
        failed = sum(tally.failed for tally in tallies)
        click.echo()
        click.echo(
            f"{count(total)} request{'s' * (total != 1)} in {seconds:.1f} s since it was loaded, {count(failed)} failed"
        )
        if total:
            show_tallies(tallies)
        for tally in tallies:
            subject = "this worker" if len(tallies) == 1 else tally.component
            say(*verdict_lines(judge_all(tally.usage()), subject))
        notes = dict.fromkeys(footnote[0] for tally in tallies for footnote in footnotes(judge_all(tally.usage())))
        say(*((text, {"dim": True}) for text in notes))


def show_log(served: Served) -> None:
    """What the worker wrote, on stderr."""
    lines = served.log.splitlines()
    for line in lines[:_LOG_LINES_MAX]:
        click.echo(click.style(f"       | {printable(line)}", dim=True), err=True, color=use_color(sys.stderr))
    if len(lines) > _LOG_LINES_MAX:
        click.echo(f"       | and {len(lines) - _LOG_LINES_MAX} more lines", err=True)


def show_tallies(tallies: Sequence[Tally]) -> None:
    """A row per component: medians and maxima."""
    columns = ["component", "requests", "cpu p50", "max", "start max", "wall p50", "max", "memory", "sent"]
    rows = [
        [
            tally.component,
            count(tally.requests),
            ms(tally.cpu_p50_s),
            ms(tally.cpu_max_s),
            ms(tally.start_cpu_max_s),
            ms(tally.wall_p50_s),
            ms(tally.wall_max_s),
            size(tally.memory_max_bytes) if tally.memory_max_bytes else "-",
            count(tally.subrequests_max),
        ]
        for tally in tallies
    ]
    print_table(columns, rows, right=columns[1:], flexible="component")


def served_document(served: Served) -> dict[str, Any]:
    """One request as JSON-able values; times in seconds."""
    return {
        "component": served.component or None,
        "method": served.method,
        "target": served.target,
        "status": served.status,
        "wall_s": served.wall_s,
        "instantiate_s": served.instantiate_s if served.ran else None,
        "cpu_s": served.cpu_s if served.ran else None,
        "start_cpu_s": served.start_cpu_s if served.ran else None,
        "memory_bytes": served.memory_bytes or None,
        "subrequests": served.subrequests,
        "request_bytes": served.body_bytes,
        "response_bytes": served.response_bytes,
        "error": served.error or None,
        "help": served.help or None,
        "log": served.log,
    }


def tally_document(tally: Tally) -> dict[str, Any]:
    """One component's sum as JSON-able values; times in seconds."""
    return {
        "component": tally.component,
        "requests": tally.requests,
        "failed": tally.failed,
        "cpu_s": {"p50": tally.cpu_p50_s, "max": tally.cpu_max_s},
        "start_cpu_s": {"max": tally.start_cpu_max_s},
        "wall_s": {"p50": tally.wall_p50_s, "max": tally.wall_max_s},
        "memory_bytes": {"max": tally.memory_max_bytes or None},
        "subrequests": {"max": tally.subrequests_max},
        "profiles": [verdict_document(verdict) for verdict in judge_all(tally.usage())],
    }
