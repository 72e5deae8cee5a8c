"""`edgesim validate`: the simulator against queueing theory, and the network model against measured round trips."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from edgesim.cli._options import json_option
from edgesim.cli._output import count, echo_json, ms, note, print_table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edgesim.sim.validation.suite import Suite
    from edgesim.sim.validation.verdict import Result

_SEED_MAX: Final = (1 << 63) - 1
_TEST_TABLE: Final = "rtt_azure.csv"


@click.command(name="validate")
@click.option("--seed", type=click.IntRange(0, _SEED_MAX), default=1, show_default=True, help="Of all random numbers.")
@click.option("--quick", is_flag=True, help="Fewer and shorter runs, no heavy loads, wider tolerances: about 20 s.")
@click.option(
    "--jobs", type=click.IntRange(1, 64), help="Processes that simulate at the same time.  [default: one for each core]"
)
@click.option(
    "--rtt-table",
    type=click.Path(dir_okay=False, path_type=Path),
    help="CSV file of measured round trips: src_lat, src_lon, dst_lat, dst_lon, rtt_ms.  "
    "[default: rtt_azure.csv in the folder EDGESIM_TEST_DATA]",
)
@json_option
def command(seed: int, quick: bool, jobs: int | None, rtt_table: Path | None, as_json: bool) -> int:
    """Check the simulator against results that are known. Exit code 1 when a claim fails.

    The queues run on the kernel, the pool and the request path that simulations use. docs/validation.md says how to read
    the table.
    """
    from edgesim.sim.validation.suite import suite

    table = _table_file(rtt_table)
    measured = _read(table) if table else []  # before the long part: a mistake in the file is told at once
    chosen = suite(quick=quick)
    jobs = min(jobs or _cores(), chosen.replications)
    note(
        f"{count(chosen.customers)} customers in {chosen.replications} replications of {len(chosen.rows)} queues, "
        f"on {jobs} {'process' if jobs == 1 else 'processes'}"
    )
    results: list[Result] = []
    for result in _results(chosen, seed, jobs, measured, table):
        results.append(result)
        note(f"{'holds' if result.ok else 'FAILS':5}  {result.claim.text}", **({} if result.ok else {"fg": "red"}))
    skipped = _skipped(table)
    if as_json:
        echo_json("validate.v1", _document(seed, chosen, quick, results, skipped))
    else:
        _show(results, skipped)
    return 0 if all(result.ok for result in results) else 1


def _table_file(named: Path | None) -> Path | None:
    """The table that was named, else the one among the test data, if there is one."""
    folder = os.environ.get("EDGESIM_TEST_DATA")
    there = Path(folder) / _TEST_TABLE if folder else None
    return named or (there if there is not None and there.is_file() else None)


def _read(table: Path) -> list[Any]:
    from edgesim.config.rtt_table import load_rtt_table
    from edgesim.sim.validation.rtt import MeasuredRtt

    return [MeasuredRtt(*row) for row in load_rtt_table(table)]


def _cores() -> int:
    return len(os.sched_getaffinity(0))


def _results(chosen: Suite, seed: int, jobs: int, measured: list[Any], table: Path | None) -> Iterator[Result]:
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    from edgesim.config.catalogue import load_hub_graph
    from edgesim.sim.validation.rtt import agreement
    from edgesim.sim.validation.suite import run

    if jobs == 1:
        yield from run(chosen, seed)
    else:
        with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
            try:
                yield from run(chosen, seed, pool.map)
            finally:
                pool.shutdown(cancel_futures=True)
    if table is not None:
        yield from agreement(load_hub_graph(), measured, table.name)


def _skipped(table: Path | None) -> list[dict[str, str]]:
    """What theory could say more, and why it is not asked."""
    skipped = [
        {
            "id": "che",
            "claim": "hit ratio of an LRU cache: Che's approximation",
            "source": "Che, Tung, Wang 2002",
            "reason": "there is no cache",
        }
    ]
    if table is None:
        skipped.append(
            {
                "id": "rtt",
                "claim": "round trips of the model against measured ones",
                "source": "a table of yours",
                "reason": "no --rtt-table",
            }
        )
    return skipped


def _document(
    seed: int, chosen: Suite, quick: bool, results: list[Result], skipped: list[dict[str, str]]
) -> dict[str, Any]:
    return {
        "seed": seed,
        "quick": quick,
        "replications": chosen.replications,
        "customers": chosen.customers,
        "verdict": "ok" if all(result.ok for result in results) else "failed",
        "claims": [
            {
                "id": result.claim.id,
                "claim": result.claim.text,
                "source": result.claim.source,
                "unit": result.claim.unit,
                "expected": result.expected,
                "got": result.got,
                "relative": result.relative,
                "standard_error": result.error,
                "z": result.z,
                "tolerance": result.tolerance,
                "verdict": "holds" if result.ok else "fails",
            }
            for result in results
        ],
        "skipped": skipped,
    }


def _show(results: list[Result], skipped: list[dict[str, str]]) -> None:
    rows = [
        (
            result.claim.text,
            result.claim.source,
            _value(result.expected, result.claim.unit),
            _value(result.got, result.claim.unit),
            "-" if result.z is None or result.relative is None else f"{result.relative:+.2%}",
            "-" if result.z is None else f"{result.z:+.2f}",
            result.tolerance,
            "holds" if result.ok else "[bold red]FAILS[/]",
        )
        for result in results
    ]
    rows += [(s["claim"], s["source"], "-", "-", "-", "-", s["reason"], "skipped") for s in skipped]
    columns = ("CLAIM", "SOURCE", "EXPECTED", "GOT", "OFF", "Z", "TOLERANCE", "VERDICT")
    print_table(columns, rows, right=columns[2:6], flexible="CLAIM")
    failed = sum(not result.ok for result in results)
    click.echo(f"\n{len(results) - failed} of {len(results)} claims hold, {len(skipped)} skipped")


def _value(value: float, unit: str) -> str:
    if unit == "s":
        return ms(value) if value else "0"
    return f"{value:.2%}" if unit == "share" else f"{value:.4g}"
