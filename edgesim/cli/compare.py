"""`edgesim compare`: two summaries of one scenario side by side, such as a live run and a simulated one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgesim.cli._options import json_option
from edgesim.cli._output import console, count, echo_json, ms, note, print_table
from edgesim.errors import UsageError

if TYPE_CHECKING:
    from edgesim.results.compare import Comparison, Row

_BEYOND = 99
_PERCENT = click.FloatRange(0, 1000)


@click.command()
@click.argument("first", type=click.Path(path_type=Path))
@click.argument("second", type=click.Path(path_type=Path))
@click.option(
    "--p50", type=_PERCENT, default=5.0, show_default=True, help="Tolerance of the median response time, in percent."
)
@click.option("--p99", type=_PERCENT, default=15.0, show_default=True, help="Of its 99th percentile, in percent.")
@click.option(
    "--cold-starts", type=_PERCENT, default=5.0, show_default=True, help="Of the number of cold starts, in percent."
)
@click.option(
    "--error-rate", type=_PERCENT, default=0.5, show_default=True, help="Of the error rate, in percentage points."
)
@click.option("--strict", is_flag=True, help="Exit with code 99 when a figure is beyond its tolerance.")
@click.option("--parts/--no-parts", default=True, show_default=True, help="Show phases and PoPs too.")
@json_option
def command(first: Path, second: Path, *, strict: bool, parts: bool, as_json: bool, **percent: float) -> int:
    """Compare the summaries FIRST and SECOND of one scenario, of `load run` or `sim run`.

    Differences are the second's from the first, in percent of the first. A figure with a tolerance is judged.
    """
    from edgesim.cli._documents import read_document
    from edgesim.results.compare import SCHEMA, Tolerances, compare
    from edgesim.results.summary import SCHEMA as SUMMARY

    made_by = "edgesim sim run SCENARIO --out FILE"
    documents = [read_document(file, SUMMARY, what="a summary of a run", made_by=made_by) for file in (first, second)]
    allowed = Tolerances(**{name: value / 100 for name, value in percent.items()})
    try:
        comparison = compare(documents[0], documents[1], allowed)
    except ValueError as exc:
        raise UsageError(
            f"these summaries cannot be compared: {exc}",
            where=f"{first} and {second}",
            help="compare two runs of one scenario",
        ) from exc
    except (KeyError, TypeError, AttributeError) as exc:
        raise UsageError(
            f"one of the summaries is damaged: {type(exc).__name__}: {exc}", where=f"{first} or {second}",
            help="run the scenario again",
        ) from exc  # fmt: skip
    if as_json:
        runs = {
            key: {"file": str(file), "world": document["run"]["world"], "scenario": document["scenario"]}
            for key, file, document in zip(("first", "second"), (first, second), documents, strict=True)
        }
        echo_json(SCHEMA, {**runs, **comparison.to_json()})
    else:
        _show(comparison, _titles(documents), parts=parts)
    return _BEYOND if strict and not comparison.ok else 0


def _titles(documents: list[dict[str, Any]]) -> tuple[str, str]:
    """What to call the runs: by their worlds, numbered when both are of one."""
    worlds = [str(document["run"]["world"]) for document in documents]
    if worlds[0] == worlds[1]:
        return f"first ({worlds[0]})", f"second ({worlds[1]})"
    return worlds[0], worlds[1]


def _show(comparison: Comparison, titles: tuple[str, str], *, parts: bool) -> None:
    numbers = (*titles, "difference", "tolerance")
    rows = [
        (
            row.figure,
            _value(row.first, row.unit),
            _value(row.second, row.unit),
            _difference(row),
            _tolerance(row),
            _verdict(row),
        )
        for row in comparison.rows
    ]
    print_table(("figure", *numbers, "verdict"), rows, right=numbers)
    for what in ("phase", "PoP") if parts else ():
        click.echo()
        columns = ("requests", "p50", "p50 differs", "p99", "p99 differs")
        print_table(
            (what, *columns),
            [(name, *_part(found)) for kind, name, found in comparison.parts if kind == what],
            right=columns,
        )
    click.echo()
    for text in comparison.notes:
        note(text)
    out = console()
    if comparison.ok:
        out.print("[green]within the tolerances[/]")
    else:
        beyond = ", ".join(row.figure for row in comparison.rows if row.ok is False)
        out.print(f"[red]beyond the tolerances[/]: {beyond}")


def _part(rows: tuple[Row, ...]) -> tuple[str, ...]:
    by_name = {row.figure: row for row in rows}
    requests, p50, p99 = by_name["requests"], by_name["p50"], by_name["p99"]
    return (
        f"{count(requests.first)} / {count(requests.second)}",
        f"{ms(p50.first)} / {ms(p50.second)}",
        _difference(p50),
        f"{ms(p99.first)} / {ms(p99.second)}",
        _difference(p99),
    )


def _value(value: float | None, unit: str) -> str:
    if value is None:
        return "-"
    match unit:
        case "s":
            return ms(value)
        case "share":
            return f"{value * 100:.3f} %"
        case "per_s":
            return f"{value:,.1f}/s"
        case _:
            return count(value)


def _difference(row: Row) -> str:
    value = row.difference
    if value is None:
        return "-"
    return f"{value * 100:+.2f} pp" if row.kind == "absolute" else f"{value * 100:+.1f} %"


def _tolerance(row: Row) -> str:
    if row.tolerance is None:
        return ""
    return f"± {row.tolerance * 100:g} {'pp' if row.kind == 'absolute' else '%'}"


def _verdict(row: Row) -> str:
    if row.ok is None:
        return ""
    return "[green]ok[/]" if row.ok else "[red]BEYOND[/]"
