"""The screen of `edgesim top`: every PoP as a row, sorted and filtered. What the rows say is computed in `_top_data.py`."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final, cast

from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.coordinate import Coordinate
from textual.widgets import DataTable, Footer, Input, Static

from edgesim.cli._output import count, ms, printable
from edgesim.cli._top_detail import PopScreen
from edgesim.errors import EdgesimError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from textual.events import Resize

    from edgesim.cli._top_data import PopNow, Top

    Ask = Callable[[], Awaitable[list[dict[str, Any]]]]

STATE_COLORS: Final = {"ready": "green", "down": "red", "killed": "red"}
_SLOW_S: Final = ((0.25, "red"), (0.1, "yellow"))
"""p99 from which it is coloured; the number is there all the same."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the table."""

    key: str
    title: str
    letter: str
    """The key that sorts by it; empty when only a click does."""
    width: int
    """In cells; negative for numbers, which stand at the right. Fixed, because the table would measure all cells anew."""
    cell: Callable[[PopNow], Text]
    order: Callable[[PopNow], Any]
    """What is compared; None sorts last, whichever way."""
    fits: int = 0
    """Texts are given their own length up to this."""
    least: int = 0
    """Left out of terminals narrower than this."""

    @property
    def number(self) -> bool:
        """Whether it holds numbers: those are sorted downwards first."""
        return self.width < 0

    def width_for(self, pops: Iterable[PopNow]) -> int:
        """How wide it is with these rows."""
        longest = max((len(self.cell(pop)) for pop in pops), default=0) if self.fits else 0
        return max(abs(self.width), min(longest + 1, self.fits))


def _number(text: str, style: str = "") -> Text:
    return Text(text, style=style, justify="right")


def _p99(pop: PopNow) -> Text:
    style = next((color for least, color in _SLOW_S if (pop.p99_s or 0.0) >= least), "")
    return _number(ms(pop.p99_s), style)


def _rate(value: float | None) -> str:
    return "-" if value is None else f"{value:,.{1 if value < 100 else 0}f}"


def _text(name: str) -> Callable[[PopNow], Text]:
    return lambda pop: Text(printable(str(getattr(pop, name))))


COLUMNS: Final = (
    Column("pop", "PoP", "n", 8, _text("pop"), lambda p: p.pop, fits=24),
    Column("city", "city", "", 8, _text("city"), lambda p: p.city, fits=24, least=132),
    Column("region", "region", "g", 8, _text("region"), lambda p: p.region, fits=16, least=108),
    Column("state", "state", "t", 8, lambda p: Text(p.state, STATE_COLORS.get(p.state, "yellow")), lambda p: p.state),
    Column("p99", "p99", "p", -9, _p99, lambda p: p.p99_s),
    Column("p50", "p50", "", -9, lambda p: _number(ms(p.p50_s)), lambda p: p.p50_s, least=96),
    Column("rate", "req/s", "r", -8, lambda p: _number(_rate(p.rate)), lambda p: p.rate),
    Column("failed", "failed/s", "f", -10,
           lambda p: _number(_rate(p.failed_rate), "red" if p.failed_rate else ""), lambda p: p.failed_rate, least=120),
    Column("cold", "cold", "c", -7, lambda p: _number(count(p.cold), "cyan" if p.cold else "dim"), lambda p: p.cold),
    Column("queue", "queue", "u", -7, lambda p: _number(count(p.queued), "yellow" if p.queued else "dim"), lambda p: p.queued),
    Column("busy", "busy", "b", -8, lambda p: _number(f"{p.busy}/{p.slots}" if p.slots else "-"), lambda p: p.busy / max(p.slots, 1)),
    Column("memory", "memory", "m", -11, lambda p: _number(f"{p.loaded_bytes / (1 << 20):.1f} MiB"), lambda p: p.loaded_bytes, least=84),
    Column("apps", "apps", "", 8, _text("apps"), lambda p: p.apps, fits=40),
)  # fmt: skip
_BY_KEY: Final = {column.key: column for column in COLUMNS}


class TopApp(App[None]):
    """The application.

    Args:
        ask: the rows of `/v1/pops`; an EdgesimError is shown, and what was there stays.
        top: where the figures are computed.
        interval_s: seconds between two answers.
        text: a filter to begin with.
    """

    TITLE = "edgesim top"
    ENABLE_COMMAND_PALETTE = False
    CSS = """
    #head { height: 2; padding: 0 1; background: $panel; }
    #head.away { background: $error 30%; }
    #filter { border: none; height: 1; padding: 0 1; background: $boost; }
    DataTable { height: 1fr; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "quit", "quit"),
        Binding("slash", "filter", "filter", key_display="/"),
        Binding("escape", "clear_filter", "all PoPs"),
        *(
            Binding(
                column.letter,
                f"sort('{column.key}')",
                column.title,
                show=column.key in {"p99", "rate", "cold", "queue", "memory"},
            )
            for column in COLUMNS
            if column.letter
        ),
        Binding("i", "invert", "invert"),
        Binding("space", "pause", "pause"),
    ]

    def __init__(self, ask: Ask, top: Top, *, interval_s: float = 2.0, text: str = "") -> None:
        super().__init__()
        self._ask, self.top, self._interval_s = ask, top, interval_s
        self._words = text.lower().split()
        self._first_text = text
        self._sort, self._down = "p99", True
        self._columns: list[Column] = []
        self._width = 0
        self._shown: dict[str, tuple[Text, ...]] = {}
        """Cells as they stand in the table, by PoP."""
        self._problem = ""
        self._paused = False

    # -- building and asking ----------------------------------------------------------------------------------------

    def compose(self) -> ComposeResult:
        """A line of totals, the table, the filter, the keys."""
        yield Static(id="head")
        yield DataTable(id="pops", cursor_type="row", zebra_stripes=False)
        yield Input(value=self._first_text, placeholder="text, city, region, host, state or app", id="filter")
        yield Footer()

    async def on_mount(self) -> None:
        """Ask at once, then again and again."""
        self._width = self.size.width
        self._lay_out()
        self._close_filter()
        await self.refresh_pops()
        self.set_interval(self._interval_s, self.refresh_pops)

    def on_resize(self, event: Resize) -> None:
        """Other columns may fit now."""
        self._width = event.size.width  # `size` still says what it was
        if self._columns != self._fitting():
            self._lay_out()
            self._show_rows()
        self._show_head()

    def _fitting(self) -> list[Column]:
        return [column for column in COLUMNS if column.least <= self._width]

    def _lay_out(self) -> None:
        """Begin the table anew, with the columns that fit."""
        self._columns = self._fitting()
        self._table.clear(columns=True)
        self._shown = {}
        for column in self._columns:
            self._table.add_column(self._title(column), key=column.key, width=abs(column.width))

    async def refresh_pops(self) -> None:
        """Ask, and show the answer; a control plane that is away is said, not raised."""
        if self._paused:
            return
        try:
            rows = await self._ask()
        except EdgesimError as exc:
            self._problem = exc.message
        else:
            self._problem = ""
            self.top.update(rows, time.time())
            self._show_rows()
        self._show_head()
        if isinstance(self.screen, PopScreen):
            self.screen.show()

    # -- showing ----------------------------------------------------------------------------------------------------

    @property
    def _table(self) -> DataTable[Text]:
        return cast("DataTable[Text]", self.screen_stack[0].query_one("#pops", DataTable))

    def listed(self) -> list[PopNow]:
        """The PoPs that the filter lets through, in their order."""
        column = _BY_KEY[self._sort]
        pops = [pop for pop in self.top.pops if all(word in pop.search_text for word in self._words)]
        known = [pop for pop in pops if column.order(pop) is not None]
        unknown = [pop for pop in pops if column.order(pop) is None]
        known.sort(key=lambda pop: pop.pop)
        known.sort(key=column.order, reverse=self._down)
        return known + sorted(unknown, key=lambda pop: pop.pop)

    def _show_rows(self) -> None:
        """Change the cells that changed, then put the rows into order; the cursor stays on its PoP, or at the top."""
        table, pops = self._table, self.listed()
        at, follows = self._cursor_pop(), table.cursor_row > 0
        if self._shown.keys() != {pop.pop for pop in pops}:
            table.clear()
            self._shown = {}
            for column, drawn in zip(self._columns, table.ordered_columns, strict=True):
                drawn.width = column.width_for(pops)
        for pop in pops:
            cells = tuple(column.cell(pop) for column in self._columns)
            before = self._shown.get(pop.pop)
            if before is None:
                table.add_row(*cells, key=pop.pop)
            else:
                for column, old, new in zip(self._columns, before, cells, strict=True):
                    if old != new or old.style != new.style:
                        table.update_cell(pop.pop, column.key, new)
            self._shown[pop.pop] = cells
        order = {pop.pop: rank for rank, pop in enumerate(pops)}
        table.sort("pop", key=lambda cell: order[cell.plain])
        if at in order:
            table.move_cursor(row=order[at] if follows else 0, scroll=False)

    def _show_head(self) -> None:
        totals, head = self.top.totals, self.screen_stack[0].query_one("#head", Static)
        head.set_class(bool(self._problem), "away")
        figures = [
            ("" if totals.ready == totals.pops else "yellow", f"{totals.ready}/{totals.pops} PoPs ready"), ("", f"{_rate(totals.rate)} req/s"),
            ("red" if totals.failed_rate else "", f"{_rate(totals.failed_rate)} failed/s"),
            ("", f"p99 {ms(totals.p99_s)}"), ("", f"p50 {ms(totals.p50_s)}"), ("", f"{count(totals.cold)} cold"),
        ]  # fmt: skip
        wide = self._width >= 100
        line = Text("edgesim top  " if wide else "", style="bold")
        for style, text in figures if wide else figures[:4]:
            line.append(f" {text} ", style=f"not bold {style}".strip())
        line.append("\n")
        if self._problem:
            line.append(f"the control plane is away: {printable(self._problem)}; last known figures", style="bold")
        else:
            way = "down" if self._down else "up"
            parts = [f"sorted by {_BY_KEY[self._sort].title} ({way})", f"every {self._interval_s:g} s"]
            if self._words:
                parts.insert(0, f"filter: {printable(' '.join(self._words))} ({len(self._shown)} of {totals.pops})")
            line.append(" · ".join([*parts, *(["PAUSED"] if self._paused else [])]), style="dim not bold")
        head.update(line)

    def _title(self, column: Column) -> Text:
        mark = (" \N{DOWNWARDS ARROW}" if self._down else " \N{UPWARDS ARROW}") if column.key == self._sort else "  "
        return Text(column.title + mark, justify="right" if column.number else "left")

    def _cursor_pop(self) -> str:
        table = self._table
        if not table.row_count:
            return ""
        return str(table.coordinate_to_cell_key(Coordinate(table.cursor_row, 0)).row_key.value)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002
        """What is about the table needs the table; no filter, nothing to clear."""
        if action in {"sort", "invert", "filter", "clear_filter", "pause"} and len(self.screen_stack) > 1:
            return False
        return action != "clear_filter" or bool(self._words) or self.query_one("#filter", Input).display

    # -- what people do ---------------------------------------------------------------------------------------------

    def action_sort(self, key: str) -> None:
        """Sort by a column; by the same again, the other way."""
        column = _BY_KEY[key]
        self._down = not self._down if key == self._sort else column.number
        self._sort = key
        for each, header in zip(self._columns, self._table.ordered_columns, strict=True):
            header.label = self._title(each)
        self._show_rows()
        self._show_head()
        self._table.move_cursor(row=0)
        self._table.refresh()

    def action_invert(self) -> None:
        """The other way."""
        self.action_sort(self._sort)

    def on_data_table_header_selected(self, event: DataTable.HeaderSelected) -> None:
        """A click on a header sorts by its column."""
        self.action_sort(str(event.column_key.value))

    async def on_data_table_row_selected(self, event: DataTable.RowSelected) -> None:
        """Enter or a click on a row: the PoP in detail."""
        if event.row_key.value and self.top.row(event.row_key.value):
            await self.push_screen(PopScreen(self.top, event.row_key.value))

    def action_filter(self) -> None:
        """Type a filter."""
        box = self.query_one("#filter", Input)
        box.display = True  # not by a class: what is not displayed yet cannot be focused
        box.focus()
        self.refresh_bindings()

    def action_clear_filter(self) -> None:
        """Show all PoPs."""
        self.query_one("#filter", Input).value = ""
        self._close_filter()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Filter while it is typed."""
        self._words = event.value.lower().split()
        self._show_rows()
        self._show_head()
        self.refresh_bindings()

    def on_input_submitted(self) -> None:
        """Keep the filter and go back to the table."""
        self._close_filter()

    def _close_filter(self) -> None:
        self.query_one("#filter", Input).display = False
        self.refresh_bindings()
        self._table.focus()

    def action_pause(self) -> None:
        """Stop asking, or go on."""
        self._paused = not self._paused
        self._show_head()
