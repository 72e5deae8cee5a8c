"""What `edgesim load run` shows: progress on stderr while it runs, tables on stdout at its end."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final

import click

from edgesim.cli._output import console, count, many, ms, note, print_table

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from rich.live import Live

    from edgesim.live.load.run import Progress
    from edgesim.scenario.spec import Scenario
    from edgesim.scenario.timeline import Mark

PLAIN_EVERY_S: Final = 5.0
_FIGURES: Final = ("requests", "failed", "p50", "p95", "p99", "network p50")
_COLORS: Final = {"passed": "green", "failed": "red", "inconclusive": "yellow", "interrupted": "yellow"}
_ORIGINS_SHOWN: Final = 12


class PlainScreen:
    """Progress as lines, one each few seconds."""

    def __init__(self, scenario: Scenario) -> None:
        self._scenario = scenario
        self._next_s = 0.0

    def __enter__(self) -> Self:
        """Say what begins."""
        load = self._scenario.load
        note(f"{self._scenario.name}: {many(len(load.phases), 'phase')}, {load.duration_s:g} s, seed {load.seed}")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing is left open."""

    def progress(self, progress: Progress) -> None:
        """Twice a second."""
        if progress.t_s >= self._next_s:
            self._next_s = progress.t_s + PLAIN_EVERY_S
            note(progress_line(self._scenario, progress))

    def mark(self, mark: Mark) -> None:
        """An event begins or ends."""
        note(mark_line(self._scenario, mark))


class LiveScreen:
    """Progress in place, events above it."""

    def __init__(self, scenario: Scenario) -> None:
        self._scenario = scenario
        self._live: Live | None = None

    def __enter__(self) -> Self:
        """Take the last line of the terminal."""
        from rich.live import Live

        self._live = Live(f"{self._scenario.name}: starting", console=console(sys.stderr), transient=True)
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give it back."""
        if self._live is not None:
            self._live.stop()

    def progress(self, progress: Progress) -> None:
        """Twice a second."""
        from rich.text import Text

        if self._live is not None:
            self._live.update(Text(progress_line(self._scenario, progress)))

    def mark(self, mark: Mark) -> None:
        """An event begins or ends."""
        from rich.text import Text

        if self._live is not None:
            self._live.console.print(Text(mark_line(self._scenario, mark)))


def progress_line(scenario: Scenario, progress: Progress) -> str:
    """How the run goes."""
    load = scenario.load
    dropped = f" · {progress.dropped} dropped" if progress.dropped else ""
    return (
        f"{max(0.0, progress.t_s):5.1f}/{load.duration_s:g} s  {load.phases[progress.phase].name}: "
        f"{progress.sent:,} sent · {progress.in_flight} open · {progress.failed} failed{dropped} · "
        f"p50 {ms(progress.p50_s)} · p99 {ms(progress.p99_s)} · lag p99 {ms(progress.lag_p99_s)}"
    )


def mark_line(scenario: Scenario, mark: Mark) -> str:
    """An event of the timeline."""
    how = "…" if mark.edge == "begin" else f"failed: {mark.error}" if mark.error else "done"
    return f"{mark.at_s:5.1f} s  {scenario.timeline[mark.entry].label} {how}"


def report(document: dict[str, Any]) -> None:
    """Print the summary for people, on stdout."""
    for title, key, name in (
        ("phase", "phases", "name"),
        ("population", "populations", "name"),
        ("request", "requests", "name"),
        ("PoP", "pops", "pop"),
    ):
        rows = [(str(row[name]) or "(none)", *_figures(row)) for row in document[key]]
        if key == "phases":
            rows.append(("all recorded", *_figures(document["totals"])))
        print_table((title, *_FIGURES), rows, right=_FIGURES)
        click.echo()
    _cold_starts(document)
    for incident in document["incidents"]:
        _incident(incident)
    _generator(document)
    _thresholds(document)


def _figures(row: dict[str, Any]) -> tuple[str, ...]:
    response = row["response"]
    return (
        count(row["requests"]),
        count(row["failed"]),
        ms(response["p50_s"]),
        ms(response["p95_s"]),
        ms(response["p99_s"]),
        ms(row["network"]["p50_s"]),
    )


def _cold_starts(document: dict[str, Any]) -> None:
    """How workers were started, and what cold starts were spent on; nothing when there were none."""
    if not document["cold_starts"]:
        return
    rows = [
        (row["role"], row["phase"], count(row["count"]), ms(row["p50_s"]), ms(row["p99_s"]))
        for row in document["cold_starts"]
    ]
    print_table(("cold starts", "phase", "count", "p50", "p99"), rows, right=("count", "p50", "p99"))
    click.echo("starts: " + ", ".join(f"{count(n)} {name}" for name, n in document["starts"].items()))
    click.echo()


def _incident(incident: dict[str, Any]) -> None:
    """Who was served from where: only the places that one of the windows changed, or where something failed."""
    end = "not ended" if incident["end_s"] is None else f"until {incident['end_s']:.1f} s"
    click.echo(f"{incident['label']} at {incident['begin_s']:.1f} s, {end}")
    windows = incident["windows"]
    for name, window in windows.items():
        if window["requests"]:
            failed = f", {window['failed']} failed" if window["failed"] else ""
            click.echo(f"  {name.replace('_', ' '):<10} {window['requests']:,} requests{failed}")
    places: dict[tuple[str, str], dict[str, dict[str, Any]]] = {}
    for name, window in windows.items():
        for origin in window["origins"]:
            places.setdefault((origin["population"], origin["metro"]), {})[name] = origin
    moved = [(place, seen) for place, seen in sorted(places.items()) if _moved(seen)]
    if moved:
        print_table(
            ("  metro", *(name.replace("_", " ") for name in windows)),
            [
                (f"  {place[1]}", *(_served(seen.get(name)) for name in windows))
                for place, seen in moved[:_ORIGINS_SHOWN]
            ],
        )
    if len(moved) > _ORIGINS_SHOWN:
        click.echo(f"  and {len(moved) - _ORIGINS_SHOWN} more metros; the summary has all")
    click.echo()


def _moved(seen: dict[str, dict[str, Any]]) -> bool:
    """Whether a place was served from somewhere else during the incident, or had failures."""
    served = [set(seen[name]["pops"]) for name in ("before", "during", "after") if name in seen]
    return len({frozenset(pops) for pops in served}) > 1 or any(origin["failed"] for origin in seen.values())


def _served(origin: dict[str, Any] | None) -> str:
    if origin is None:
        return "-"
    pops = " ".join(f"{pop or '(none)'}:{n}" for pop, n in origin["pops"].items())
    return pops + (f" ({origin['failed']} failed)" if origin["failed"] else "")


def _generator(document: dict[str, Any]) -> None:
    totals, generator = document["totals"], document["generator"]
    rate = totals["rate_per_s"]
    click.echo(
        f"{count(totals['requests'])} requests recorded at {rate or 0:.1f}/s, {count(totals['failed'])} failed, "
        f"{generator['dropped']} dropped, {generator['retried']} on a new connection; "
        f"generator lag p50 {ms(generator['lag']['p50_s'])}, p99 {ms(generator['lag']['p99_s'])}"
    )
    bad = {name: n for name, n in totals["outcomes"].items() if name != "ok"}
    if bad:
        click.echo("failures: " + ", ".join(f"{n} {name}" for name, n in bad.items()))


def _thresholds(document: dict[str, Any]) -> None:
    out = console()
    for verdict in document["thresholds"]:
        sign = "[green]ok  [/]" if verdict["ok"] else "[red]MISS[/]"
        kind = " (validity)" if verdict["kind"] == "validity" else ""
        out.print(f"{sign} {_markup(verdict['check'])}{kind}: {_measured(verdict)}")
    for failure in document["timeline_failures"]:
        out.print(f"[red]MISS[/] timeline: {_markup(failure)}")
    _left(document)
    if document["aborted"]:
        out.print(f"ended early at {document['elapsed_s']:.1f} s: {_markup(document['aborted'])}")
    conclusion = document["conclusion"]
    out.print(f"[{_COLORS[conclusion]}]{conclusion}[/]")


def _left(document: dict[str, Any]) -> None:
    """What is left to do at a live edge, and what a simulated one could not show."""
    for unchecked in document["unchecked"]:
        note(f"not checked, since it was simulated: {unchecked}")
    if document["run"]["world"] != "live":
        return
    for name in document["left_down"]:
        kind, ident = name.split(" ")
        note(f"{name} is still down; bring it back with `edgesim {kind}s restart {ident}`")
    for pop in document["left_drained"]:
        note(f"pop {pop} is still drained; put it back with `edgesim pops undrain {pop}`")


def _measured(verdict: dict[str, Any]) -> str:
    value = verdict["measured"]
    if value is None:
        return "nothing was measured"
    match verdict["unit"]:
        case "s":
            return ms(value)
        case "share":
            return f"{value * 100:.2f} %"
        case "per_s":
            return f"{value:.1f}/s"
        case _:
            return count(value)


def _markup(text: str) -> str:
    from rich.markup import escape

    return escape(text)
