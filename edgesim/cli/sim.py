"""`edgesim sim`: scenarios on the virtual clock."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from edgesim.cli._options import json_option
from edgesim.cli._output import echo_json, is_terminal, many, ms, note, print_table
from edgesim.cli._report_file import check_report, html_option, write_report

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgesim.cli._sim_world import SimulatedWorld
    from edgesim.results.collect import Results
    from edgesim.scenario.spec import Scenario
    from edgesim.scenario.timeline import Mark

OUT: Final = Path("out/sim-summary.json")


@click.group(name="sim")
def command() -> None:
    """Run scenarios in the simulator: the same files, summaries and tables as `load run`, without the waiting."""


@command.command()
@click.argument("file")
@click.option("--topology", type=click.Path(path_type=Path), envvar="EDGESIM_TOPOLOGY", show_envvar=True,
              help="File that describes the world.  [default: ./topology.yaml, else the one with 20 PoPs that ships]")  # fmt: skip
@click.option(
    "--processes",
    type=click.IntRange(1, 64),
    default=3,
    show_default=True,
    help="PoP host processes, as of `edgesim up`.",
)
@click.option("--app", "app_path", type=click.Path(path_type=Path), metavar="PATH",
              help="The app that runs at the beginning.  [default: the folder of its name in workers/]")  # fmt: skip
@click.option(
    "--prefetch/--no-prefetch", default=True, show_default=True, help="Whether it is loaded before the first request."
)
@click.option("--profile", "profiles", type=click.Path(path_type=Path), multiple=True, metavar="FILE",
              help="What workers cost, from `edgesim profile`; may be repeated.  [default: one that ships]")  # fmt: skip
@click.option("--ideal", is_flag=True, help="Leave out what the edge's own processes on one machine take.")
@click.option("--seed", type=click.IntRange(0, 2**63 - 1), help="Another seed than the scenario's.")
@click.option("--replications", type=click.IntRange(1, 1000), default=1, show_default=True,
              help="Run it so many times with seeds of their own, and give means with 95 % confidence intervals.")  # fmt: skip
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), default=OUT, show_default=True, help="Summary.")
@html_option
@json_option
def run(
    file: str, *, out: Path, html: Path | None, as_json: bool, seed: int | None, replications: int, **world: Any
) -> int:
    """Simulate the scenario FILE and write its summary.

    The same topology, scenario, seed and profile give the same summary, byte for byte. Exit codes are those of `load run`.
    """
    from dataclasses import replace

    from edgesim.cli._documents import check_writable, write_document
    from edgesim.cli._load_screen import report
    from edgesim.cli._sim_world import prepare
    from edgesim.config.scenario import find_scenario, load_scenario
    from edgesim.results.replications import replicated, seeds
    from edgesim.results.summary import SCHEMA, summarise

    path = find_scenario(file)
    scenario = load_scenario(path)
    if seed is not None:
        scenario = replace(scenario, load=replace(scenario.load, seed=seed))
    check_writable(out, "summary")
    if html is not None:
        check_report(html)
    simulated = prepare(scenario, path, **world)
    documents: list[dict[str, Any]] = []
    for each in seeds(scenario.load.seed, replications):
        again = replace(scenario, load=replace(scenario.load, seed=each))
        documents.append(summarise(_run(simulated, again, quiet=bool(documents)), simulated.facts(each)))
    document = documents[0]
    if replications > 1:
        document["replications"] = replicated(documents)
    write_document(out, SCHEMA, document, "summary")
    if html is not None:
        write_report(html, {"schema": f"edgesim.{SCHEMA}", **document})
    if as_json:
        echo_json(SCHEMA, document)
    else:
        report(document)
        if replications > 1:
            show_replications(document["replications"])
        note(simulated.says())
        note(f"summary: {out}" + (f", report: {html}" if html is not None else ""))
    return max(int(each["exit_code"]) for each in documents)


def _run(simulated: SimulatedWorld, scenario: Scenario, *, quiet: bool) -> Results:
    """Run once, with a word about how it goes on stderr."""
    import time

    began_s = time.perf_counter()
    load = scenario.load
    if quiet:
        return simulated.run(scenario)
    note(f"{scenario.name}: {many(len(load.phases), 'phase')}, {load.duration_s:g} s of virtual time, seed {load.seed}")
    results = simulated.run(scenario, on_progress=_progress(load.duration_s), on_mark=_mark(scenario))
    took_s = time.perf_counter() - began_s
    requests = sum(cell.requests for cell in results.cells.values())
    note(f"simulated in {took_s:.1f} s: {requests / max(took_s, 1e-9):,.0f} requests/s")
    return results


def show_replications(replications: dict[str, Any]) -> None:
    """Print what several runs come to."""
    rows = []
    for figure in replications["figures"]:
        show = _SHOWN[figure["unit"]]
        half = figure["half_width"]
        rows.append((figure["figure"], show(figure["mean"]), "-" if half is None else f"± {show(half)}"))
    print_table(
        (f"{replications['count']} replications", "mean", "95 % confidence"), rows, right=("mean", "95 % confidence")
    )
    click.echo()


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value * 100:.3f} %"


def _plain(value: float | None) -> str:
    return "-" if value is None else f"{value:,.1f}"


_SHOWN: Final = {"s": ms, "share": _share, "per_s": _plain, "count": _plain}


def _progress(duration_s: float) -> Callable[[float, int], None]:
    """A line in place where somebody watches."""
    if not is_terminal(sys.stderr):
        return lambda _at_s, _sent: None

    def show(at_s: float, sent: int) -> None:
        click.echo(f"\r\x1b[K{at_s:5.0f}/{duration_s:g} s  {sent:,} sent", nl=False, err=True)
        if at_s >= duration_s:
            click.echo("\r\x1b[K", nl=False, err=True)

    return show


def _mark(scenario: Scenario) -> Callable[[Mark], None]:
    from edgesim.cli._load_screen import mark_line

    clear = "\r\x1b[K" if is_terminal(sys.stderr) else ""
    return lambda mark: note(clear + mark_line(scenario, mark))
