"""`edgesim top`, headless: rows, order, filter, detail, and a control plane that goes away."""

import sys
import time

import pytest
from textual.widgets import DataTable, Static

from edgesim.cli._top_app import COLUMNS, TopApp
from edgesim.cli._top_data import Top
from edgesim.cli._top_detail import PopScreen
from edgesim.cli.main import run
from edgesim.errors import ControlPlaneError
from edgesim.observe.histogram import Histogram

SIZE = (150, 40)


class Edge:
    """Answers of `/v1/pops`: each time more requests, the PoPs' speed by their number."""

    def __init__(self, pops=330):
        self.pops, self.asked = pops, 0
        self.problem = None

    async def ask(self):
        """One answer."""
        if self.problem:
            raise self.problem
        self.asked += 1
        return [self.row(number) for number in range(self.pops)]

    def row(self, number):
        """One PoP; the first of them is down."""
        histogram = Histogram()
        requests = 10 * self.asked * (number % 7) if number else 0
        histogram.counts[10 + number % 30] = requests
        latency = {"count": 3, "p50_s": 0.02, "p99_s": 0.03}
        return {
            "pop": f"pop{number}", "city": f"City {number}", "country": "DE", "region": ("weur", "apac", "enam")[number % 3],
            "host": f"host{number % 4}", "state": "ready" if number else "down", "apps": {"hello": 2}, "requests": requests,
            "errors": 0, "cold": self.asked * (number % 5), "duration_histogram": histogram.to_json(), "queued": number % 3,
            "busy": number % 8, "slots": 16, "warm": 1, "loaded_bytes": number << 20, "outcomes": {"ok": requests},
            "parts": {"queue": latency}, "cpu": {"hello": latency}, "duration": latency, "evictions": {"instance idle": 7},
            "cold_starts": [{"role": "trigger", "total": latency, "phases": {"fetch": latency, "load": latency}}],
        }  # fmt: skip


class Clock:
    """Seconds since the epoch that pass when a test wants it."""

    def __init__(self, monkeypatch):
        self.now = 1_000.0
        monkeypatch.setattr("edgesim.cli._top_app.time.time", lambda: self.now)


@pytest.fixture
def clock(monkeypatch):
    """The application's clock."""
    return Clock(monkeypatch)


def app_of(edge, **options):
    """The application on a fake edge; it asks only when a test tells it to."""
    return TopApp(edge.ask, Top(window_s=10), interval_s=3600, **options)


async def second_answer(app, clock, pilot):
    """Two seconds later."""
    clock.now += 2.0
    await app.refresh_pops()
    await pilot.pause()


def column(app, key):
    """The cells of a column as they are shown, from above."""
    table = app.query_one("#pops", DataTable)
    return [cell.plain for cell in table.get_column(key)] if table.row_count else []


def shown(app, key="pop"):
    """The cells of a column in the order of the screen."""
    table = app.query_one("#pops", DataTable)
    return [table.get_row_at(n)[[c.key for c in COLUMNS].index(key)].plain for n in range(table.row_count)]


async def test_the_slowest_are_above(clock):
    """330 PoPs by p99 of the last seconds; those without a figure below; the totals in the head."""
    app = app_of(Edge())
    async with app.run_test(size=SIZE) as pilot:
        await second_answer(app, clock, pilot)
        pops, p99 = shown(app), [pop.p99_s for pop in app.listed()]
        head = str(app.query_one("#head", Static).render())

    figures = [value for value in p99 if value is not None]
    assert len(pops) == 330
    assert figures == sorted(figures, reverse=True)
    assert None not in p99[: len(figures)]
    assert pops == [pop.pop for pop in app.listed()]
    assert "329/330 PoPs ready" in head
    assert "req/s" in head


async def test_330_rows_stay_fast(clock):
    """An answer in which every row changes is shown in a fraction of the interval between two."""
    app = app_of(Edge())
    async with app.run_test(size=SIZE) as pilot:
        await second_answer(app, clock, pilot)
        took = []
        for _ in range(3):
            clock.now += 2.0
            began = time.thread_time()
            await app.refresh_pops()
            await pilot.pause()
            took.append(time.thread_time() - began)

    assert min(took) < 0.5, took


@pytest.mark.parametrize(
    ("keys", "key", "order"),
    [
        ("r", "rate", lambda p: -p.rate),
        ("m", "memory", lambda p: -p.loaded_bytes),
        ("c", "cold", lambda p: -p.cold),
        ("u", "queue", lambda p: -p.queued),
        ("b", "busy", lambda p: -p.busy),
        ("mm", "memory", lambda p: p.loaded_bytes),
        ("mi", "memory", lambda p: p.loaded_bytes),
    ],
)
async def test_keys_sort(clock, keys, key, order):
    """A letter sorts by its column, numbers downwards; again, or i, turns it round; the header says so."""
    app = app_of(Edge(40))
    async with app.run_test(size=SIZE) as pilot:
        await second_answer(app, clock, pilot)
        await pilot.press(*keys)
        values = [order(pop) for pop in app.listed()]
        labels = {k.value: c.label.plain for k, c in app.query_one("#pops", DataTable).columns.items()}
        pops = shown(app)

    assert values == sorted(values)
    assert pops == [pop.pop for pop in app.listed()]
    assert ("\N{UPWARDS ARROW}" if len(keys) > 1 else "\N{DOWNWARDS ARROW}") in labels[key]


async def test_a_click_on_a_header_sorts(clock):
    """By the column that was clicked, then the other way."""
    app = app_of(Edge(20))
    async with app.run_test(size=SIZE) as pilot:
        await second_answer(app, clock, pilot)
        await pilot.click("#pops", offset=(3, 0))
        first = shown(app)
        await pilot.click("#pops", offset=(3, 0))
        second = shown(app)

    assert first == sorted(first)
    assert second == sorted(second, reverse=True)


async def test_text_filters(clock):
    """/ opens the filter, words narrow while they are typed, Enter keeps it, Escape shows all; the keys of it sort nothing."""
    app = app_of(Edge(30))
    async with app.run_test(size=SIZE) as pilot:
        await second_answer(app, clock, pilot)
        await pilot.press("slash", *"weur host1")
        some = shown(app)
        await pilot.press("enter")
        kept, focused = shown(app), app.focused
        head = str(app.query_one("#head", Static).render())
        await pilot.press("escape")
        everything = shown(app)

    assert sorted(some) == sorted(f"pop{n}" for n in range(30) if n % 3 == 0 and n % 4 == 1)
    assert kept == some
    assert isinstance(focused, DataTable)
    assert "filter: weur host1 (2 of 30) · sorted by p99" in head
    assert len(everything) == 30


async def test_a_filter_to_begin_with(clock):
    """`--filter apac` shows these from the start."""
    app = app_of(Edge(30), text="apac")
    async with app.run_test(size=SIZE) as pilot:
        await second_answer(app, clock, pilot)
        regions = shown(app, "region")

    assert set(regions) == {"apac"}


async def test_a_pop_in_detail(clock):
    """Enter opens the PoP under the cursor: cold starts by phase, parts, versions, events; Escape goes back."""
    app = app_of(Edge(8))
    async with app.run_test(size=SIZE) as pilot:
        await second_answer(app, clock, pilot)
        await pilot.press("n", "down", "down", "enter")
        screen = app.screen
        await second_answer(app, clock, pilot)
        svg = app.export_screenshot()
        await pilot.press("slash", "m", "space")  # belong to the table, and do nothing here
        await pilot.press("escape")
        back = app.screen

    assert app._sort == "pop"
    assert isinstance(screen, PopScreen)
    assert not isinstance(back, PopScreen)
    for text in ("pop2", "City", "fetch", "load", "queue", "hello", "@2", "cold", "starts", "instance", "whole"):
        assert text in svg


async def test_a_control_plane_that_goes_away_is_said(clock):
    """The rows stay, the head says it, and when it is back all goes on."""
    edge = Edge(10)
    app = app_of(edge)
    async with app.run_test(size=SIZE) as pilot:
        await second_answer(app, clock, pilot)
        edge.problem = ControlPlaneError("the control plane cannot be reached: Connection refused")
        await second_answer(app, clock, pilot)
        away, rows = str(app.query_one("#head", Static).render()), len(shown(app))
        edge.problem = None
        await second_answer(app, clock, pilot)
        back = str(app.query_one("#head", Static).render())

    assert "the control plane is away: the control plane cannot be reached: Connection refused" in away
    assert rows == 10
    assert "away" not in back


async def test_space_pauses_and_q_quits(clock):
    """No questions while it is paused; q ends with success."""
    edge = Edge(5)
    app = app_of(edge)
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press("space")
        asked = edge.asked
        await second_answer(app, clock, pilot)
        paused = edge.asked
        await pilot.press("space", "q")

    assert (asked, paused) == (1, 1)
    assert app.return_code == 0


async def test_the_cursor_follows_its_pop(clock):
    """Rows that change places take the cursor along; at the top it stays at the top."""
    app = app_of(Edge(20))
    async with app.run_test(size=SIZE) as pilot:
        await second_answer(app, clock, pilot)
        await pilot.press("down", "down")
        before = app._cursor_pop()
        app.top.pops.reverse()
        app._sort = "memory"
        app._show_rows()
        after = app._cursor_pop()

    assert before == after


def test_without_a_terminal_it_says_what_to_use(tmp_path, capsys):
    """Exit code 2, naming commands that work in pipes."""
    code = run(["top", "--endpoint", "http://127.0.0.1:9"])

    assert code == 2
    assert "edgesim status --watch" in capsys.readouterr().err


def test_without_textual_it_says_how_to_install_it(monkeypatch, capsys):
    """The extra is named; no traceback."""
    monkeypatch.setitem(sys.modules, "textual", None)
    monkeypatch.setitem(sys.modules, "textual.app", None)
    monkeypatch.delitem(sys.modules, "edgesim.cli._top_app", raising=False)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    code = run(["top", "--endpoint", "http://127.0.0.1:9"])

    assert code == 2
    assert "pip install 'edgesim[tui]'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("width", "there", "missing"), [(80, "busy", "memory"), (100, "memory", "region"), (150, "city", "")]
)
async def test_narrow_terminals_have_fewer_columns(clock, width, there, missing):
    """What matters most stays, the head has two lines, and a wider window brings the others back."""
    app = app_of(Edge(20))
    async with app.run_test(size=(width, 24)) as pilot:
        await second_answer(app, clock, pilot)
        keys = {column.value for column in app.query_one("#pops", DataTable).columns}
        lines = str(app.query_one("#head", Static).render()).splitlines()
        await pilot.resize_terminal(160, 24)
        await pilot.pause()
        wide = len(app.query_one("#pops", DataTable).columns)
        rows = app.query_one("#pops", DataTable).row_count

    assert there in keys
    assert missing not in keys
    assert [len(line) <= width - 2 for line in lines] == [True, True]
    assert (wide, rows) == (len(COLUMNS), 20)
