"""Options that several commands share, and finding the edge that a command is about."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from edgesim.live.api_client import ApiClient
    from edgesim.live.state import RunRecord

F = TypeVar("F", bound="Callable[..., Any]")
T = TypeVar("T")

state_option = click.option(
    "--state",
    type=click.Path(file_okay=False, path_type=Path),
    help="State directory of the edge.  [env: EDGESIM_STATE; default: .edgesim here or above]",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")


def topology_file(named: Path | None) -> Path:
    """The file that describes the world: the named one, else `topology.yaml` here, else the one that ships."""
    from edgesim.config.resources import resource_path

    here = Path("topology.yaml")
    return named or (here if here.is_file() else resource_path("topology.yaml"))


def endpoint_options(function: F) -> F:
    """`--state`, and `--endpoint` with `--token` for an edge whose state directory is not at hand."""
    for option in (
        click.option("--token", envvar="EDGESIM_TOKEN", help="API token for --endpoint.  [env: EDGESIM_TOKEN]"),
        click.option("--endpoint", envvar="EDGESIM_ENDPOINT", help="URL of the API.  [env: EDGESIM_ENDPOINT]"),
        state_option,
    ):
        function = option(function)
    return function


def running_edge(state: Path | None) -> RunRecord:
    """The edge that runs from the state directory. Raises ControlPlaneError when none does."""
    from edgesim.live.state import find_state_dir, require_run

    return require_run(find_state_dir(state))


def api_client(state: Path | None, endpoint: str | None, token: str | None) -> ApiClient:
    """A client of the edge's API: the named one, else that of the state directory."""
    from edgesim.live.api_client import ApiClient

    if endpoint:
        return ApiClient(endpoint, token or "")
    run = running_edge(state)
    return ApiClient(run.endpoint, token or run.token, log=_control_log(state))


def _control_log(state: Path | None) -> Path:
    """The control plane's log; the folder of logs where the edge is one process, whose output may go anywhere."""
    from edgesim.live.state import find_state_dir

    logs = find_state_dir(state) / "logs"
    return logs / "control.log" if (logs / "control.log").is_file() else logs


def run_async(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end, on an event loop of its own."""
    import asyncio

    return asyncio.run(work)
