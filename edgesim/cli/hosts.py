"""`edgesim hosts`: the PoP host processes of the running edge, through its supervisor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import click

from edgesim.cli._options import json_option, run_async, running_edge, state_option
from edgesim.cli._output import echo_json, print_table
from edgesim.errors import NotFoundError

if TYPE_CHECKING:
    from pathlib import Path


@click.group(name="hosts")
def command() -> None:
    """List, kill and restart PoP hosts: the processes that carry PoPs."""


@command.command("list")
@state_option
@json_option
def list_(state: Path | None, as_json: bool) -> None:
    """Show every PoP host with its process and its PoPs."""
    hosts = [child for child in running_edge(state).children if child.role == "pop-host"]
    if as_json:
        echo_json("hosts.v1", {"hosts": [host.model_dump(mode="json") for host in hosts]})
        return
    print_table(
        ("host", "state", "pid", "restarts", "PoPs"),
        ((h.name, h.state, str(h.pid or "-"), str(h.restarts), " ".join(h.pops)) for h in hosts),
        right=("pid", "restarts"),
        flexible="PoPs",
    )


def _act(
    hosts: tuple[str, ...], action: Literal["kill", "restart"], done: str, *, state: Path | None, as_json: bool
) -> None:
    from edgesim.live.supervisor_link import SupervisorClient

    record = running_edge(state)
    known = [child.name for child in record.children if child.role == "pop-host"]
    for host in hosts:
        if host not in known:
            raise NotFoundError(f"no PoP host is called {host[:40]!r}", help=f"there are {', '.join(known)}")

    async def ask() -> None:
        supervisor = SupervisorClient(record.ports.supervisor, record.supervisor_token)
        for host in hosts:
            await (supervisor.kill(host) if action == "kill" else supervisor.restart(host))
            if not as_json:
                click.echo(f"{host} {done}")

    run_async(ask())
    if as_json:
        echo_json("hosts-action.v1", {"action": action, "hosts": list(hosts)})


@command.command()
@click.argument("hosts", nargs=-1, required=True, metavar="HOST...")
@state_option
@json_option
def kill(hosts: tuple[str, ...], **options: Any) -> None:
    """SIGKILL PoP hosts, with all their PoPs. They stay down until they are restarted."""
    _act(hosts, "kill", "killed; bring it back with `edgesim hosts restart`", **options)


@command.command()
@click.argument("hosts", nargs=-1, required=True, metavar="HOST...")
@state_option
@json_option
def restart(hosts: tuple[str, ...], **options: Any) -> None:
    """Restart PoP hosts, killed or not, and wait until they are ready."""
    _act(hosts, "restart", "restarted", **options)
