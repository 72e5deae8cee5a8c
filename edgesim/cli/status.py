"""`edgesim status`: what runs, where, and in which state."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click

from edgesim.cli._options import json_option, run_async, running_edge, state_option
from edgesim.cli._output import echo_json, note, print_table
from edgesim.errors import EdgesimError

if TYPE_CHECKING:
    from pathlib import Path

    from edgesim.live.state import RunRecord


@click.command()
@state_option
@json_option
def command(state: Path | None, as_json: bool) -> None:
    """Show the processes of the edge, its URLs and its apps. Exit code 3 when none runs."""
    from edgesim.live.state import find_state_dir

    record = running_edge(state)
    control, problem = run_async(_ask(record))
    if as_json:
        document = record.model_dump(mode="json", exclude={"token", "supervisor_token"})
        echo_json(
            "status.v1", {"state": str(find_state_dir(state)), **document, "control": control, "problem": problem}
        )
        return
    up_for = _duration(time.time() - record.started_at)
    word = "ready" if record.ready else "starting"
    click.echo(f"{record.world}  edgesim {record.version}, {word}, up for {up_for} (pid {record.pid})")
    click.echo(f"  front door  {record.front_door}")
    click.echo(f"  API         {record.endpoint}")
    for name, app in sorted((control.get("apps") or {}).items()):
        click.echo(f"  app         {_app(name, app, record)}")
    click.echo()
    print_table(
        ("process", "state", "pid", "restarts", "PoPs", "where"),
        (
            (
                c.name,
                c.state,
                str(c.pid or "-"),
                str(c.restarts),
                str(len(c.pops) or "-"),
                " ".join(dict.fromkeys(c.urls.values())),
            )
            for c in record.children
        ),
        right=("pid", "restarts", "PoPs"),
        flexible="where",
    )
    if problem:
        note(f"warning: {problem}", fg="yellow")


async def _ask(record: RunRecord) -> tuple[dict[str, Any], str]:
    """The control plane's status, and why it could not be had; requests are served without it."""
    from edgesim.live.api_client import ApiClient

    try:
        async with ApiClient(record.endpoint, record.token, timeout_s=5) as api:
            return await api.status(), ""
    except EdgesimError as exc:
        return {}, exc.message


def _app(name: str, app: Any, record: RunRecord) -> str:
    version = app.get("version") if isinstance(app, dict) else app
    return f"{name}@{version}  http://{name}.localhost:{record.ports.front_door}/"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"
