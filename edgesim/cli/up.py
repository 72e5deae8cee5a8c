"""`edgesim up`: starts an edge and stays with it, or leaves it in the background."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgesim.cli._options import state_option, topology_file
from edgesim.cli._output import is_terminal
from edgesim.errors import ProcessError, UsageError

if TYPE_CHECKING:
    from edgesim.config.settings import UpSettings
    from edgesim.model.topology import Topology

_POLL_S = 0.05
_DETACH_TIMEOUT_S = 60.0


@click.command()
@click.option("--topology", type=click.Path(path_type=Path), envvar="EDGESIM_TOPOLOGY", show_envvar=True,
              help="File that describes the world.  [default: ./topology.yaml, else the one with 20 PoPs that ships]")  # fmt: skip
@click.option("--processes", type=click.IntRange(1, 64), default=3, show_default=True, envvar="EDGESIM_PROCESSES",
              show_envvar=True, help="PoP host processes; 1 runs the whole edge in one process.")  # fmt: skip
@click.option("--port", type=click.IntRange(1, 65535), default=8080, show_default=True, envvar="EDGESIM_PORT",
              show_envvar=True, help="Port of the front door.")  # fmt: skip
@click.option("--api-port", type=click.IntRange(1, 65535), default=8081, show_default=True, envvar="EDGESIM_API_PORT",
              show_envvar=True, help="Port of the API.")  # fmt: skip
@click.option("--broker", default="auto", show_default=True, envvar="EDGESIM_BROKER", show_envvar=True,
              help="MQTT broker: auto, mosquitto, embedded, or the URL of one that runs.")  # fmt: skip
@click.option("--broker-port", type=click.IntRange(1, 65535), default=18830, show_default=True,
              envvar="EDGESIM_BROKER_PORT", show_envvar=True, help="Port of our own broker.")  # fmt: skip
@click.option("--time-scale", type=click.FloatRange(0, 100), envvar="EDGESIM_TIME_SCALE", show_envvar=True,
              help="How much of a modelled delay is really waited for: 1 real time, 0 none.  [default: the topology's]")  # fmt: skip
@click.option("--geoip-db", type=click.Path(exists=True, dir_okay=False, path_type=Path), envvar="EDGESIM_GEOIP_DB",
              show_envvar=True, help="Your own GeoLite2 or GeoIP2 City database.")  # fmt: skip
@state_option
@click.option("--detach", "-d", is_flag=True, help="Return when the edge is ready and leave it running.")
def command(detach: bool, state: Path | None, topology: Path | None, **options: Any) -> int:
    """Start an edge: control plane, broker, PoP hosts and front door.

    Stays in the foreground, with a live table in a terminal and plain lines elsewhere. Ctrl-C drains and ends it.
    """
    from edgesim.config.settings import UpSettings
    from edgesim.config.topology import load_topology
    from edgesim.live.geoip import open_database
    from edgesim.live.state import find_state_dir

    file = topology_file(topology)
    world = load_topology(file)
    _check_broker(options["broker"])
    geoip_db = options.pop("geoip_db")
    if geoip_db:
        open_database(geoip_db).close()  # a wrong file is told before anything starts
    settings = UpSettings(
        state_dir=find_state_dir(state),
        topology=file.absolute(),
        geoip_db=geoip_db.absolute() if geoip_db else None,
        **options,
    )
    if detach:
        return _detach(settings, world)
    return _attend(settings, world)


def _check_broker(broker: str) -> None:
    if broker not in {"auto", "mosquitto", "embedded"} and "://" not in broker:
        raise UsageError(
            f"--broker {broker} is neither a kind of broker nor a URL",
            help="write auto, mosquitto, embedded or a URL such as mqtt://127.0.0.1:1883",
        )


def _attend(settings: UpSettings, world: Topology) -> int:
    """Run the edge in the foreground until it is told to stop."""
    import asyncio

    from edgesim.cli._up_screen import LiveScreen, PlainScreen
    from edgesim.live.supervisor import Supervisor

    screen = (LiveScreen if is_terminal(sys.stdout) else PlainScreen)(settings, world)
    supervisor = Supervisor(settings, world=world.name, pops=[p.id for p in world.pops], notify=screen.notice)
    screen.on_hang_up = supervisor.request_stop

    async def serve() -> None:
        loop = asyncio.get_running_loop()
        for sig in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(sig, supervisor.request_stop)
        watching: list[asyncio.Task[None]] = []
        try:
            await supervisor.run(
                lambda record: watching.append(asyncio.create_task(screen.watch(record, lambda: supervisor.record)))
            )
        finally:
            for task in watching:
                task.cancel()
            await asyncio.gather(*watching, return_exceptions=True)

    with screen:
        if settings.processes == 1:  # this process then serves the requests itself
            from edgesim.live.process import run

            run(serve())
        else:
            asyncio.run(serve())
    return 0


def _detach(settings: UpSettings, world: Topology) -> int:
    """Start `edgesim up` in the background and wait until it says in run.json that it is ready."""
    from edgesim.cli._up_screen import ready_lines
    from edgesim.live.state import create_state_dir, read_run

    create_state_dir(settings.state_dir)
    logs = settings.state_dir / "logs"
    argv = [sys.executable, "-P", "-m", "edgesim", "up", "--state", str(settings.state_dir)]
    for name, value in settings.model_dump(mode="json", exclude={"state_dir"}, exclude_none=True).items():
        argv += [f"--{name.replace('_', '-')}", str(value)]
    began = time.monotonic()
    pid = _spawn(argv, logs / "up.log", logs / "up-errors.log")
    while time.monotonic() - began < _DETACH_TIMEOUT_S:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            sys.stderr.write((logs / "up-errors.log").read_text(errors="replace"))  # it has said what is wrong
            return os.waitstatus_to_exitcode(status) or 1
        record = read_run(settings.state_dir)
        if record is not None and record.pid == pid and record.ready:
            click.echo("\n".join(ready_lines(record, world, time.monotonic() - began, detached=True)))
            return 0
        time.sleep(_POLL_S)
    os.kill(pid, signal.SIGTERM)
    raise ProcessError("the edge was not ready in time", where=str(logs), help="its logs are in that folder")


def _spawn(argv: list[str], output: Path, errors: Path) -> int:
    """Start a process that outlives this one, in a session of its own, with its output in files. Says its pid."""
    write = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, str(output), write, 0o600),
        (os.POSIX_SPAWN_OPEN, 2, str(errors), write, 0o600),
    ]
    return os.posix_spawn(argv[0], argv, os.environ, file_actions=actions, setsid=True)
