"""`edgesim load`: check scenarios, and run them against the edge."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from edgesim.cli._options import api_client, endpoint_options, json_option, running_edge
from edgesim.cli._output import echo_json, is_terminal, many, note
from edgesim.cli._report_file import REPORT, check_report, html_option, write_report

if TYPE_CHECKING:
    from edgesim.cli._live_facts import LiveFacts
    from edgesim.live.api_client import ApiClient
    from edgesim.live.load.run import Progress
    from edgesim.live.load.sender import Server
    from edgesim.results.collect import Results
    from edgesim.scenario.spec import Scenario

OUT: Final = Path("out/summary.json")


@click.group(name="load")
def command() -> None:
    """Send requests from many places, break things meanwhile, and judge what happened."""


@command.command()
@click.argument("file")
@json_option
def validate(file: str, as_json: bool) -> None:
    """Check the scenario FILE, and list every mistake with its line. Exit code 2 when there is one."""
    from edgesim.config.scenario import find_scenario, load_scenario
    from edgesim.scenario.rates import expected

    path = find_scenario(file)
    scenario = load_scenario(path)
    begun = expected(scenario)
    requests = begun * scenario.requests_per_arrival
    metros = len({c.metro.id for p in scenario.populations for c in p.clients})
    facts = {
        "file": str(path),
        "name": scenario.name,
        "duration_s": scenario.load.duration_s,
        "arrivals": round(begun),
        "requests": round(requests),
        "metros": metros,
        "timeline": [{"at_s": e.at_s, "label": e.label} for e in scenario.timeline],
        "thresholds": [t.text for t in scenario.thresholds],
    }
    if as_json:
        echo_json("scenario.v1", facts)
        return
    sessions = f" in {many(round(begun), 'session')}" if scenario.sessions else ""
    click.echo(
        f"{path}: ok. {scenario.name} sends about {many(round(requests), 'request')}{sessions} in {scenario.load.duration_s:g} s from "
        f"{many(metros, 'metro')}, with {many(len(scenario.timeline), 'event')} and "
        f"{many(len(scenario.thresholds), 'threshold')}"
    )


@command.command()
@click.argument("file")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), default=OUT, show_default=True, help="Summary.")
@html_option
@click.option(
    "--prometheus", type=click.IntRange(0, 65535), help="Serve the run's metrics for Prometheus on this port."
)
@click.option("--workers", type=click.IntRange(1, 64), default=1, show_default=True, help="Processes that share the requests.")  # fmt: skip
@click.option("--front-door", help="URL of the front door, when there is no state directory.")
@endpoint_options
@json_option
def run(
    file: str,
    *,
    out: Path,
    html: Path | None,
    prometheus: int | None,
    workers: int,
    front_door: str | None,
    as_json: bool,
    **edge: Any,
) -> int:
    """Run the scenario FILE and write its summary.

    Scenarios that ship with edgesim go by name: demo, smoke, flash-crowd, … (docs/scenarios.md has them all).

    Exit code 0 when all thresholds hold, 99 when one does not, 98 when the run is not valid (the generator lagged, or an
    event of the timeline failed), 130 when it was interrupted.
    """
    import asyncio

    from edgesim.cli._documents import check_writable, write_document
    from edgesim.cli._live_facts import LiveFacts
    from edgesim.cli._load_screen import report
    from edgesim.config.scenario import find_scenario, load_scenario
    from edgesim.results.summary import SCHEMA, summarise

    path = find_scenario(file)
    scenario = load_scenario(path)
    check_writable(out, "summary")
    if html is not None:
        check_report(html)
    server = _server(scenario, front_door, edge["state"])
    facts = LiveFacts(edge["state"])
    results = asyncio.run(_run(path, scenario, server, edge, facts, prometheus=prometheus, workers=workers))
    document = summarise(results, facts.collected())
    write_document(out, SCHEMA, document, "summary")
    if html is not None:
        write_report(html, {"schema": f"edgesim.{SCHEMA}", **document})
    if as_json:
        echo_json(SCHEMA, document)
    else:
        report(document)
        note(f"summary: {out}")
        if html is not None:
            note(f"report: {html}")
    code = document["exit_code"]
    assert isinstance(code, int)
    return code


@command.command(name="report")
@click.argument("summary", type=click.Path(path_type=Path))
@click.option("--out", "-o", "out", type=click.Path(dir_okay=False, path_type=Path), default=REPORT, show_default=True, help="The HTML file.")  # fmt: skip
def report_command(summary: Path, out: Path) -> None:
    """Make the HTML report of a run from its SUMMARY, live or simulated: one file that needs nothing else."""
    from edgesim.cli._documents import read_document
    from edgesim.results.summary import SCHEMA

    document = read_document(summary, SCHEMA, what="a summary", made_by="edgesim load run SCENARIO")
    check_report(out, "--out")
    write_report(out, document)
    click.echo(str(out))


def _server(scenario: Scenario, front_door: str | None, state: Path | None) -> Server:
    """Where the requests go."""
    from edgesim.live.load.sender import Server

    target = scenario.target
    if target.url:
        return Server.from_url(target.url, target.host)
    url = front_door or running_edge(state).front_door
    return Server.from_url(url, target.host or f"{target.app}.localhost")


async def _run(
    path: Path,
    scenario: Scenario,
    server: Server,
    edge: dict[str, Any],
    facts: LiveFacts,
    *,
    prometheus: int | None,
    workers: int,
) -> Results:
    """Run with the screen that fits, until the end or Ctrl-C."""
    import asyncio
    import contextlib
    import signal

    from edgesim.cli._load_screen import LiveScreen, PlainScreen
    from edgesim.live.load.metrics import RunMetrics, serving
    from edgesim.live.load.run import run_load
    from edgesim.live.load.timeline import ControlledEdge

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for sig in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(sig, stop.set)
    async with contextlib.AsyncExitStack() as stack:
        controlled = None
        if scenario.target.app or scenario.timeline:
            client = await stack.enter_async_context(api_client(**edge))
            await _preflight(client, scenario, facts)
            controlled = ControlledEdge(client, app=scenario.target.app)
        screen: LiveScreen | PlainScreen = LiveScreen(scenario) if is_terminal(sys.stderr) else PlainScreen(scenario)
        metrics = RunMetrics(scenario)
        if prometheus is not None:
            note(f"metrics of this run: {await stack.enter_async_context(serving(metrics, prometheus))}")
        stack.enter_context(screen)

        def on_progress(progress: Progress) -> None:
            metrics.progress(progress)
            screen.progress(progress)

        return await run_load(
            path,
            scenario,
            server,
            edge=controlled,
            regions=facts.regions,
            stop=stop,
            on_progress=on_progress,
            on_mark=screen.mark,
            workers=workers,
        )


async def _preflight(client: ApiClient, scenario: Scenario, facts: LiveFacts) -> None:
    """Refuse a run that could only fail: an app that is not deployed, a PoP, host or region that does not exist.

    Raises:
        UsageError: naming what is missing.
    """
    from edgesim.cli._scenario_names import check_names
    from edgesim.errors import UsageError

    rows = await client.pops()
    facts.see_pops(rows)
    known = {kind: {str(row[kind]) for row in rows if row.get(kind)} for kind in ("pop", "host", "region")}
    check_names(scenario, known, "this edge")
    app = scenario.target.app
    apps = {name for row in rows for name in row.get("apps") or {}}
    if app and app not in apps:
        # PoPs that have not reported yet do not list it, so the control plane is asked too.
        status = await client.status()
        if app not in json_names(status.get("apps")):
            raise UsageError(f"the app '{app}' is not deployed", help="deploy it first: `edgesim deploy PATH`")


def json_names(apps: Any) -> set[str]:
    """The names in a list of apps, whether it is a mapping by name or a list of objects."""
    if isinstance(apps, dict):
        return set(apps)
    items = apps if isinstance(apps, list) else []
    return {str(item.get("app") or item.get("name")) for item in items if isinstance(item, dict)}
