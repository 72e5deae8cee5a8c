"""One PoP in `edgesim top`: trends, cold starts by phase, parts of the time, apps and versions, the latest events."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, ClassVar

from rich.columns import Columns
from rich.console import Group
from rich.table import Table
from rich.text import Text
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.screen import Screen
from textual.widgets import Footer, Sparkline, Static

from edgesim.cli._output import count, ms, printable

if TYPE_CHECKING:
    from textual.app import ComposeResult

    from edgesim.cli._top_data import Top

_EVENTS_SHOWN = 14


class PopScreen(Screen[None]):
    """The screen; closed by Escape."""

    CSS = """
    PopScreen #title { padding: 0 1; background: $panel; height: 2; }
    PopScreen .trend { width: 1fr; padding: 0 1; height: 4; }
    PopScreen .trend Sparkline { height: 2; }
    PopScreen #trends { height: 5; padding-top: 1; }
    PopScreen #body { padding: 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "app.pop_screen", "back"),
        Binding("backspace,left", "app.pop_screen", "back", show=False),
        Binding("q", "app.quit", "quit"),
    ]

    def __init__(self, top: Top, pop: str) -> None:
        super().__init__()
        self._top, self._pop = top, pop

    def compose(self) -> ComposeResult:
        """Title, two trends, tables."""
        yield Static(id="title")
        with Horizontal(id="trends"):
            for name in ("rate", "p99"):
                with Vertical(classes="trend"):
                    yield Static(id=f"{name}-now")
                    yield Sparkline([], id=name)
        with VerticalScroll(id="body"):
            yield Static(id="tables")
        yield Footer()

    def on_mount(self) -> None:
        """Show what is known."""
        self.show()

    def show(self) -> None:
        """Show the latest answer; called whenever there is one."""
        row = self._top.row(self._pop)
        now = next((pop for pop in self._top.pops if pop.pop == self._pop), None)
        title = self.query_one("#title", Static)
        if row is None or now is None:
            title.update(Text(f"{self._pop} is not part of this edge any more", style="red"))
            return
        place = ", ".join(filter(None, (now.city, now.country, now.region)))
        line = Text(now.pop, style="bold")
        line.append(f"  {printable(place)} · {now.state} on {now.host or '-'}\n", style="not bold")
        line.append(
            f"busy {now.busy}/{now.slots or '-'} · queue {now.queued} · warm {row.get('warm', '-')} · "
            f"{now.loaded_bytes / (1 << 20):.1f} MiB loaded · {printable(now.apps) or 'no apps'}",
            style="dim not bold",
        )
        title.update(line)
        rates, p99_s = self._top.trend(self._pop)
        self.query_one("#rate", Sparkline).data = rates
        self.query_one("#p99", Sparkline).data = p99_s
        self.query_one("#rate-now", Static).update(f"requests/s  {rates[-1]:.1f}" if rates else "requests/s  -")
        self.query_one("#p99-now", Static).update(f"p99  {ms(now.p99_s)}")
        tables = (cold_starts(row), parts(row), requests(row), self._events())
        self.query_one("#tables", Static).update(Columns([Group(table, Text()) for table in tables], padding=(0, 3)))

    def _events(self) -> Table:
        table = _table("last events", "", numbers=())
        events = self._top.events(self._pop)[:_EVENTS_SHOWN]
        for event in events:
            table.add_row(time.strftime("%H:%M:%S", time.localtime(event.at_s)), printable(event.text))
        if not events:
            table.add_row("none since", "this began")
        return table


def cold_starts(row: dict[str, Any]) -> Table:
    """Cold starts since the PoP's process began, by role and phase."""
    table = _table("cold starts", numbers=("count", "p50", "p99"))
    for entry in row.get("cold_starts") or ():
        table.add_row(Text(entry["role"], style="bold"), *_latency(entry["total"]))
        for phase, latency in entry["phases"].items():
            table.add_row(f"  {printable(phase)}", *_latency(latency))
    if not table.row_count:
        table.add_row("none", "", "", "")
    return table


def parts(row: dict[str, Any]) -> Table:
    """Parts of the requests' time, and CPU time by app."""
    table = _table("part of the time", numbers=("count", "p50", "p99"))
    if row.get("duration"):
        table.add_row(Text("whole request", style="bold"), *_latency(row["duration"]))
    for part, latency in (row.get("parts") or {}).items():
        table.add_row(f"  {printable(part)}", *_latency(latency))
    for app, latency in (row.get("cpu") or {}).items():
        table.add_row(f"CPU of {printable(app)}", *_latency(latency))
    return table


def requests(row: dict[str, Any]) -> Table:
    """Requests by outcome and start, apps and versions, evictions."""
    table = _table("requests", numbers=("count",))
    for title, key in (("outcome", "outcomes"), ("start", "starts"), ("evicted", "evictions")):
        for name, number in sorted((row.get(key) or {}).items()):
            table.add_row(f"{title} {printable(name)}", count(number))
    desired, running = row.get("desired") or {}, row.get("apps") or {}
    for app in sorted({*desired, *running}):
        shown = f"@{running[app]}" if app in running else "-"
        wanted = f" (wanted @{desired[app]})" if app in desired and desired[app] != running.get(app) else ""
        table.add_row(f"app {printable(app)}", shown + wanted)
    return table


def _latency(latency: dict[str, Any]) -> tuple[str, str, str]:
    return count(latency.get("count")), ms(latency.get("p50_s")), ms(latency.get("p99_s"))


def _table(*texts: str, numbers: tuple[str, ...]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    for text in texts:
        table.add_column(text, no_wrap=True)
    for number in numbers:
        table.add_column(number, justify="right", no_wrap=True)
    return table
