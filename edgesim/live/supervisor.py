"""The supervisor: the process behind `edgesim up`, which starts the others, watches them and drains them in order.

Start: the control plane first (it starts the broker), then PoP hosts and front door together. Stop: front door and hosts,
then the control plane. A child that dies is started again; one that was killed on purpose stays down. With one process
there are no children: all roles run in this one. What a role does is `edgesim/live/process.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import os
import secrets
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from edgesim import __version__
from edgesim.config.settings import LOOPBACK, ProcessConfig, Role, UpSettings, assign_pops
from edgesim.errors import AlreadyRunningError, InputError, NotFoundError, PortInUseError, StorageError, UsageError
from edgesim.live import processes
from edgesim.live.child import Child, Notice, Patience
from edgesim.live.state import (
    ChildRecord,
    Ports,
    RunRecord,
    create_state_dir,
    hold_lock,
    read_run,
    remove_run,
    write_private,
    write_run,
)
from edgesim.live.supervisor_link import SupervisorServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

_HOUSEKEEPING_S: Final = 5.0
_REAP_S: Final = 5.0


class AllInOne(Protocol):
    """`edgesim.live.process.run_all_in_one`: every role in this process, until `stop` is set."""

    async def __call__(
        self, configs: Sequence[ProcessConfig], *, on_ready: Callable[[str, dict[str, str]], None], stop: asyncio.Event
    ) -> None:
        """Serve. `on_ready(name, urls)` is called once for each configuration."""


def child_argv(role: Role, config: Path) -> list[str]:
    """The command line of a child process."""
    # -P keeps the working directory off the module path: a file `json.py` lying there must not be imported.
    return [sys.executable, "-P", "-m", "edgesim.live.process", role, "--config", str(config)]


class Supervisor:
    """One run of an edge. `run` returns when it has drained; everything else may be called while it runs."""

    def __init__(
        self,
        settings: UpSettings,
        *,
        world: str,
        pops: Sequence[str],
        notify: Callable[[Notice], None],
        argv: Callable[[Role, Path], Sequence[str]] = child_argv,
        all_in_one: AllInOne | None = None,
        patience: Patience | None = None,
    ) -> None:
        self._settings = settings
        self._notify_operator = notify
        self._argv = argv
        self._all_in_one = all_in_one
        self._patience = patience or Patience()
        self._hosts = assign_pops(tuple(pops), settings.processes)
        self._children: dict[str, Child] = {}
        self._stop = asyncio.Event()
        self._hurry = asyncio.Event()
        self._behind = False
        """Whether run.json could not be written after the last change."""
        self._record = RunRecord(
            version=__version__,
            pid=os.getpid(),
            start_ticks=processes.start_ticks(os.getpid()),
            started_at=time.time(),
            topology=str(settings.topology),
            world=world,
            geoip_db=str(settings.geoip_db or ""),
            processes=settings.processes,
            time_scale=settings.time_scale,
            endpoint=settings.endpoint,
            front_door=f"http://{LOOPBACK}:{settings.port}",
            token=secrets.token_urlsafe(32),
            supervisor_token=secrets.token_urlsafe(32),
            ports=Ports(front_door=settings.port, api=settings.api_port, broker=settings.broker_port, supervisor=0),
        )

    # -- for whoever watches --------------------------------------------------------------------------------------

    @property
    def record(self) -> RunRecord:
        """The run as it is now."""
        if self._children:
            children = tuple(child.record for child in self._children.values())
            return self._record.model_copy(update={"children": children})
        return self._record

    def request_stop(self) -> None:
        """Drain and end. Called a second time: kill what still runs."""
        if self._stop.is_set():
            self._hurry.set()
            for child in self._children.values():
                child.kill_now()
        self._stop.set()

    # -- one run --------------------------------------------------------------------------------------------------

    async def run(self, on_ready: Callable[[RunRecord], None]) -> None:
        """Start everything, call `on_ready`, serve until `request_stop`, drain.

        Raises:
            AlreadyRunningError: an edge runs from this state directory.
            PortInUseError: a port is held by another program.
            ProcessError: a process does not come up; or the error that it reported itself.
        """
        state_dir = self._settings.state_dir
        create_state_dir(state_dir)
        with hold_lock(state_dir) as held:
            if not held:
                raise _already_running(state_dir)
            self._reap_leftovers()
            check_ports(self._wanted_ports())
            server = SupervisorServer(self._record.supervisor_token, self._command)
            try:
                port = await server.start()
                self._record = self._record.model_copy(
                    update={"ports": self._record.ports.model_copy(update={"supervisor": port})}
                )
                self._save()
                await self._serve(on_ready)
            finally:
                await server.close()
                remove_run(state_dir)

    async def _serve(self, on_ready: Callable[[RunRecord], None]) -> None:
        configs = self._configs()
        if self._settings.processes == 1:
            await self._serve_in_one(configs, on_ready)
            return
        for config in configs:
            self._children[config.name] = self._child(config)
        stopping = asyncio.create_task(self._stop.wait())
        starting = asyncio.create_task(self._start_all())
        try:
            await asyncio.wait({stopping, starting}, return_when=asyncio.FIRST_COMPLETED)
            if starting.done():
                starting.result()
                self._record = self._record.model_copy(update={"ready": True})
                self._save()
                on_ready(self.record)
                while not self._stop.is_set():
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(self._stop.wait(), _HOUSEKEEPING_S)
                    for child in self._children.values():
                        child.trim_log()
                    if self._behind:
                        with contextlib.suppress(StorageError):
                            self._save()
        finally:
            stopping.cancel()
            await self._drain()
            starting.cancel()
            await asyncio.gather(starting, stopping, return_exceptions=True)

    async def _start_all(self) -> None:
        control, *others = self._children.values()
        await control.start()
        results = await asyncio.gather(*(child.start() for child in others), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result

    async def _drain(self) -> None:
        self._notify(Notice("stopping", "edge", "draining"))
        control = self._children.get("control")
        await asyncio.gather(*(child.stop() for child in self._children.values() if child is not control))
        if control is not None:
            await control.stop()
        self._notify(Notice("stopped", "edge", "stopped"))

    async def _serve_in_one(self, configs: Sequence[ProcessConfig], on_ready: Callable[[RunRecord], None]) -> None:
        pid, ticks = self._record.pid, self._record.start_ticks
        records = {
            c.name: ChildRecord(name=c.name, role=c.role, pops=c.pops, pid=pid, start_ticks=ticks) for c in configs
        }

        def ready(name: str, urls: dict[str, str]) -> None:
            records[name] = records[name].model_copy(update={"state": "ready", "urls": urls})
            everything = all(r.state == "ready" for r in records.values())
            self._record = self._record.model_copy(update={"children": tuple(records.values()), "ready": everything})
            self._notify(Notice("ready", name, "ready " + " ".join(dict.fromkeys(urls.values()))))
            if everything:
                on_ready(self.record)

        run = self._all_in_one or importlib.import_module("edgesim.live.process").run_all_in_one
        await run(configs, on_ready=ready, stop=self._stop)
        self._notify(Notice("stopped", "edge", "stopped"))

    # -- commands from other processes ----------------------------------------------------------------------------

    async def _command(self, op: str, name: str) -> object:
        match op:
            case "status":
                return self.record.model_dump(mode="json", exclude={"token", "supervisor_token"})
            case "stop":
                self.request_stop()
                return {}
            case "kill":
                await self._named(name).kill()
                return {}
            case "restart":
                await self._named(name).restart()
                return {}
        raise UsageError(f"the supervisor does not know the command {op!r}")

    def _named(self, name: str) -> Child:
        if not self._children:
            raise InputError(
                "the whole edge runs in one process: there is no process to kill or restart",
                help="start it with `edgesim up --processes 3`",
            )
        child = self._children.get(name)
        if child is None:
            raise NotFoundError(f"no process is called {name!r}", help="there are " + ", ".join(self._children))
        return child

    # -- pieces ---------------------------------------------------------------------------------------------------

    def _configs(self) -> list[ProcessConfig]:
        """One configuration per process, the control plane's first."""
        s, record = self._settings, self._record
        hop_token = secrets.token_urlsafe(32)
        in_one = s.processes == 1
        roles: list[tuple[Role, str, int]] = [("control", "control", s.api_port)]
        roles += [("pop-host", host.name, 0) for host in self._hosts]
        roles += [("front-door", "front-door", s.port)]
        return [
            ProcessConfig(
                role=role,
                name=name,
                parent_pid=0 if in_one else record.pid,
                state_dir=s.state_dir,
                topology=s.topology,
                port=port,
                endpoint=record.endpoint,
                front_door=record.front_door,
                token=record.token,
                hop_token=hop_token,
                broker=s.broker,
                broker_port=s.broker_port,
                broker_credentials=s.state_dir / "broker" / "credentials.json",
                public_key=s.state_dir / "keys" / "desired.pub",
                geoip_db=s.geoip_db,
                time_scale=s.time_scale,
                hosts=self._hosts,
                supervisor_port=record.ports.supervisor,
                supervisor_token=record.supervisor_token,
                log=s.state_dir / "logs" / f"{name}.log",
            )
            for role, name, port in roles
        ]

    def _child(self, config: ProcessConfig) -> Child:
        path = config.state_dir / "run" / f"{config.name}.json"
        write_private(path, config.model_dump_json(indent=2).encode())
        record = ChildRecord(name=config.name, role=config.role, pops=config.pops)
        return Child(record, self._argv(config.role, path), config.log, self._notify, self._patience)

    def _notify(self, notice: Notice) -> None:
        self._notify_operator(notice)
        try:
            self._save()
        except StorageError as exc:  # a full disk must not stop the watch over the children
            self._behind = True
            self._notify_operator(
                Notice("info", "edge", f"{exc.message} ({exc.where}); `edgesim status` may be behind")
            )

    def _save(self) -> None:
        write_run(self._settings.state_dir, self.record)
        self._behind = False

    def _wanted_ports(self) -> list[tuple[int, str, str]]:
        s = self._settings
        wanted = [(s.port, "front door", "--port"), (s.api_port, "API", "--api-port")]
        return [*wanted, (s.broker_port, "broker", "--broker-port")] if s.own_broker else wanted

    def _reap_leftovers(self) -> None:
        """End children of a supervisor that died; normally the kernel has done so (`processes.die_with_parent`)."""
        old = _last_run(self._settings.state_dir)
        for child in old.children if old else ():
            if child.alive and child.pid != os.getpid():
                with contextlib.suppress(OSError):
                    os.kill(child.pid, signal.SIGKILL)
                self._notify_operator(Notice("info", child.name, f"ended a leftover of the last run ({child.pid})"))
                end = time.monotonic() + _REAP_S
                while child.alive and time.monotonic() < end:
                    time.sleep(0.01)


def check_ports(wanted: Iterable[tuple[int, str, str]], command: str = "edgesim up") -> None:
    """See that each port (number, what for, flag) is free. `command` is what to type again with other ports.

    Raises:
        UsageError: two of them are the same.
        PortInUseError: says which is held, by whom, and what to do.
    """
    ports = list(wanted)
    if len({port for port, _, _ in ports}) < len(ports):
        listed = ", ".join(f"{flag} {port}" for port, _, flag in ports)
        raise UsageError(f"the edge needs {len(ports)} different ports, not {listed}")
    busy = [(port, use, flag) for port, use, flag in ports if not processes.port_is_free(port)]
    if not busy:
        return
    told, states = [], []
    for port, use, _ in busy:
        holder = processes.port_holder(port)
        state = _state_of_edge(holder)
        who = f"the edge in {state} (pid {holder.pid})" if holder and state else holder
        told.append(f"port {port} ({use}) is held by {who or 'a program that cannot be seen'}")
        states.append(state)
    other = " ".join(f"{flag} {port + 100}" for port, _, flag in busy)
    state = next(filter(None, states), "")
    stop = f"stop that edge with `edgesim down --state {state}`" if state else "end that program"
    raise PortInUseError("; ".join(told), help=f"{stop}, or choose other ports: `{command} {other}`")


def _state_of_edge(holder: processes.Holder | None) -> str:
    """The state directory of the edge that the process belongs to; empty when it is another program."""
    argv = holder.argv if holder else ()
    if "edgesim.live.process" in argv and "--config" in argv[:-1]:
        return str(Path(argv[argv.index("--config") + 1]).parent.parent)
    return ""


def _last_run(state_dir: Path) -> RunRecord | None:
    """What `run.json` says, or None when it says nothing that makes sense."""
    with contextlib.suppress(StorageError):
        return read_run(state_dir)
    return None


def _already_running(state_dir: Path) -> AlreadyRunningError:
    record = _last_run(state_dir)
    if record is None:
        return AlreadyRunningError("another edge is starting from this state directory", where=str(state_dir))
    since = time.strftime("%H:%M:%S", time.localtime(record.started_at))
    return AlreadyRunningError(
        f"an edge already runs here since {since} (pid {record.pid}), front door {record.front_door}",
        where=str(state_dir),
        help="see it with `edgesim status`, stop it with `edgesim down`, or run a second one with --state and other ports",
    )
