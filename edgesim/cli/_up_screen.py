"""What `edgesim up` shows while the edge runs: a live table in a terminal, plain lines elsewhere."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from edgesim import __version__
from edgesim.cli._output import hang_up, use_color
from edgesim.cli._pops import PopsTable
from edgesim.config.resources import resource_path
from edgesim.errors import EdgesimError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

    from rich.live import Live
    from rich.table import Table

    from edgesim.config.settings import UpSettings
    from edgesim.live.child import Notice, NoticeKind
    from edgesim.live.state import RunRecord
    from edgesim.model.topology import Topology

_REFRESH_S: Final = 1.0
_COLORS: Final[dict[NoticeKind, str]] = {
    "ready": "green", "died": "red", "killed": "red", "restarting": "yellow", "starting": "bright_black",
    "stopping": "yellow", "stopped": "yellow", "info": "yellow",
}  # fmt: skip


def ready_lines(record: RunRecord, world: Topology, took_s: float, *, detached: bool = False) -> Iterator[str]:
    """What is ready, where, and what to do next."""
    port = record.ports.front_door
    hosts = sum(c.role == "pop-host" for c in record.children)
    where = "one process" if record.processes == 1 else f"{hosts} host{'s' * (hosts != 1)}"
    pops = f"{len(world.pops)} PoP{'s' * (len(world.pops) != 1)}"
    yield f"ready in {took_s:.1f} s: {world.name}, {pops} in {where}"
    yield f"  front door  {record.front_door}  (apps: http://<app>.localhost:{port}/)"
    yield f"  API         {record.endpoint}"
    yield f"  next        edgesim deploy {_sample()}"
    yield "              edgesim curl --from Tokyo http://hello.localhost/"
    yield f"  stop        {'edgesim down' if detached else 'Ctrl-C'}"


def _sample() -> str:
    """Where the sample worker is: beside the user in a checkout, else in the installed package."""
    here = Path("workers/hello")
    return str(here if here.is_dir() else resource_path("workers/hello"))


class PlainScreen:
    """Lines as things happen."""

    def __init__(self, settings: UpSettings, world: Topology) -> None:
        self._settings = settings
        self._world = world
        self._began = time.monotonic()
        self._headed = False
        self._hung_up = False
        self.on_hang_up: Callable[[], None] = lambda: None
        """Called once when the reader of our output has gone."""

    def __enter__(self) -> None:
        """Nothing is shown before something happens: an edge that cannot start shows its error alone."""

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing is left to close."""

    def notice(self, notice: Notice) -> None:
        """Show something that happened."""
        if not self._headed:
            self._headed = True
            self._print(f"edgesim {__version__}  {self._settings.topology}")
            self._print(f"state in {self._settings.state_dir}")
        at = click.style(time.strftime("%H:%M:%S"), fg="bright_black")
        self._print(f"{at}  {notice.name:<11} {click.style(notice.text, fg=_COLORS[notice.kind])}")

    async def watch(self, record: RunRecord, current: Callable[[], RunRecord]) -> None:  # noqa: ARG002
        """Called once when the edge is ready; runs until it is cancelled."""
        for line in ready_lines(record, self._world, time.monotonic() - self._began):
            self._print(line)

    def _print(self, line: str) -> None:
        if self._hung_up:
            return
        try:
            click.echo(line, color=use_color(sys.stdout))
            sys.stdout.flush()
        except BrokenPipeError:  # `edgesim up | head`: nobody is there any more
            self._hung_up = True
            hang_up()
            self.on_hang_up()


class LiveScreen(PlainScreen):
    """A table of all PoPs that is refreshed every second; what happens scrolls by above it."""

    def __init__(self, settings: UpSettings, world: Topology) -> None:
        super().__init__(settings, world)
        self._live: Live | None = None

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the last table on the screen."""
        self._end_live()

    def notice(self, notice: Notice) -> None:
        """Show something that happened."""
        if notice.kind == "stopping":
            self._end_live()
        super().notice(notice)

    def _print(self, line: str) -> None:
        if self._live is None:
            super()._print(line)
            return
        from rich.text import Text

        self._live.console.print(Text.from_ansi(line))  # above the table, which rich draws again

    async def watch(self, record: RunRecord, current: Callable[[], RunRecord]) -> None:
        """Refresh the table until cancelled."""
        from rich.console import Console
        from rich.live import Live

        from edgesim.live.api_client import ApiClient

        await super().watch(record, current)
        self._print("")
        screen = Console(file=sys.stdout, no_color=not use_color(sys.stdout), highlight=False)
        async with ApiClient(record.endpoint, record.token) as api:
            self._live = Live(console=screen, auto_refresh=False, vertical_overflow="crop")
            self._live.start()
            while self._live is not None:
                try:
                    rows = await api.pops()
                    note = ""
                except EdgesimError as exc:
                    rows, note = [], exc.message
                if self._live is not None:
                    table = pops_table(
                        rows, self._world, current(), width=screen.width, room=max(3, screen.height - 3), note=note
                    )
                    self._live.update(table, refresh=True)
                await asyncio.sleep(_REFRESH_S)

    def _end_live(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None


def pops_table(
    rows: list[dict[str, Any]], world: Topology, record: RunRecord, *, width: int, room: int, note: str
) -> Table:
    """All PoPs with what they do; at most `room` rows, the busiest when there are more."""
    pops = PopsTable(width)
    hosts = {pop: child for child in record.children for pop in child.pops}
    figures = {str(row.get("pop")): row for row in rows}
    busiest = sorted(world.pops, key=lambda p: -(figures.get(p.id, {}).get("requests") or 0))
    shown = {p.id for p in busiest[:room]}
    for spec in world.pops:
        if spec.id in shown:
            host = hosts.get(spec.id)
            known = {"host": host.name, "state": host.state} if host else {}
            place = {"pop": spec.id, "city": spec.city, "region": spec.region}
            pops.add({**known, **place, **figures.get(spec.id, {})})
    if len(shown) < len(world.pops):
        pops.table.add_row("…", f"and {len(world.pops) - len(shown)} more: edgesim pops list")
    if note:
        pops.table.add_row("!", note)
    return pops.table
