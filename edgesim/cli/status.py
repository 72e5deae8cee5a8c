"""`edgesim status`: what runs, where, and in which state; once, or until Ctrl-C."""

from __future__ import annotations

import asyncio
import sys
import time
from typing import TYPE_CHECKING, Any, Protocol

import click

from edgesim.cli._options import json_option, run_async, running_edge, state_option
from edgesim.cli._output import echo_json, is_terminal, note, show_table
from edgesim.cli._status_screen import LineScreen, LiveScreen, Look, head_lines, processes_table
from edgesim.errors import EdgesimError

if TYPE_CHECKING:
    from pathlib import Path

    from edgesim.live.state import RunRecord


@click.command()
@click.option("--watch", "-w", is_flag=True, help="Look again and again, until Ctrl-C.")
@click.option(
    "--interval", type=click.FloatRange(0.2, 3600), default=2.0, show_default=True, help="Seconds between looks."
)
@state_option
@json_option
def command(state: Path | None, *, watch: bool, interval: float, as_json: bool) -> None:
    """Show the processes of the edge, its URLs and its apps. Exit code 3 when none runs.

    With --watch it goes on when the control plane or the whole edge goes away, says so, and shows when it is back. With
    --json besides, each look is one line.
    """
    running_edge(state)  # Nothing to watch is a mistake; an edge that goes away later is news.
    if watch:
        screen = LineScreen(as_json=as_json) if as_json or not is_terminal(sys.stdout) else LiveScreen(interval)
        with screen:
            run_async(_until_stopped(state, interval, screen))
        return
    look = run_async(look_at(state))
    if as_json:
        echo_json("status.v1", look.to_json())
        return
    for text in head_lines(look):
        click.echo(text)
    if look.record is not None:
        click.echo()
        show_table(processes_table(look.record))
        if look.problem:
            note(f"warning: {look.problem}", fg="yellow")


class Screen(Protocol):
    """Where looks are shown."""

    def show(self, look: Look) -> None:
        """Show one."""
        ...


async def watch_edge(state: Path | None, interval_s: float, screen: Screen, stop: asyncio.Event) -> None:
    """Show the edge every `interval_s` seconds until `stop` is set."""
    while not stop.is_set():
        screen.show(await look_at(state))
        try:
            await asyncio.wait_for(stop.wait(), interval_s)
        except TimeoutError:
            continue


async def _until_stopped(state: Path | None, interval_s: float, screen: Screen) -> None:
    """Watch until Ctrl-C, which is how a watch ends and no failure."""
    import signal

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for sig in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(sig, stop.set)
    await watch_edge(state, interval_s, screen, stop)


async def look_at(state: Path | None) -> Look:
    """The edge as it is now; what cannot be found out is the look's `problem`."""
    from edgesim.live.state import find_state_dir

    where, now = str(find_state_dir(state)), time.time()
    try:
        record = running_edge(state)
    except EdgesimError as exc:
        return Look(state=where, at_s=now, record=None, problem=exc.message)
    control, problem = await _ask(record)
    return Look(state=where, at_s=now, record=record, control=control, problem=problem)


async def _ask(record: RunRecord) -> tuple[dict[str, Any], str]:
    """The control plane's status, and why it could not be had; requests are served without it."""
    from edgesim.live.api_client import ApiClient

    try:
        async with ApiClient(record.endpoint, record.token, timeout_s=5) as api:
            return await api.status(), ""
    except EdgesimError as exc:
        return {}, exc.message
