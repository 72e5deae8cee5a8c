"""`edgesim down`: stops the edge of a state directory, also one whose supervisor hangs or has died."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path  # noqa: TC003 - click shows the type
from typing import TYPE_CHECKING

import click

from edgesim.cli._options import json_option, run_async, state_option
from edgesim.cli._output import echo_json

if TYPE_CHECKING:
    from edgesim.live.state import RunRecord

_POLL_S = 0.05
_DRAIN_S = 30.0


@click.command()
@state_option
@json_option
def command(state: Path | None, as_json: bool) -> None:
    """Stop the edge: requests in flight end, then every process does."""
    from edgesim.live.state import find_state_dir, read_run, remove_run

    state_dir = find_state_dir(state)
    record = read_run(state_dir)
    began = time.monotonic()
    stopped = record is not None and record.alive
    if record is not None:
        _stop(record)
        remove_run(state_dir)
    if as_json:
        echo_json("down.v1", {"state": str(state_dir), "stopped": stopped, "duration_s": time.monotonic() - began})
    elif stopped:
        click.echo(f"stopped in {time.monotonic() - began:.1f} s")
    else:
        click.echo(f"no edge is running from {state_dir}")


def _stop(record: RunRecord) -> None:
    """Ask the supervisor to drain; end by force what is left after the grace."""
    from edgesim.errors import EdgesimError
    from edgesim.live.supervisor_link import SupervisorClient

    if record.alive:
        try:
            run_async(SupervisorClient(record.ports.supervisor, record.supervisor_token).stop())
        except EdgesimError:  # it does not listen any more, or not yet
            _kill(record.pid, signal.SIGTERM)
        end = time.monotonic() + _DRAIN_S
        while record.alive and time.monotonic() < end:
            time.sleep(_POLL_S)
        if record.alive:
            _kill(record.pid, signal.SIGKILL)
    for child in record.children:
        if child.alive:
            _kill(child.pid, signal.SIGKILL)


def _kill(pid: int, sig: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, sig)
