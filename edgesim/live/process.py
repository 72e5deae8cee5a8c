"""The processes of a running edge: `python -m edgesim.live.process ROLE --config FILE`, or all roles in one loop.

A child says that it is ready with one line of JSON on its standard output, drains on SIGTERM, and exits when its supervisor
dies. What a role does is in its own module; here they are put together from a ProcessConfig.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import resource
import signal
import sys
import time
from contextlib import AsyncExitStack
from pathlib import Path
from platform import python_version
from typing import TYPE_CHECKING, Any, Final

import aiohttp

from edgesim import __version__
from edgesim.config.catalogue import find_metro, load_access, load_metros, network_model
from edgesim.config.registry import load as load_policies
from edgesim.config.settings import ProcessConfig
from edgesim.config.topology import load_topology
from edgesim.core.front_door import Door
from edgesim.core.health import HealthTable
from edgesim.core.router import Router
from edgesim.errors import EdgesimError, PopUnreachableError
from edgesim.live.broker import ExternalBroker
from edgesim.live.door_host import DoorHost
from edgesim.live.endpoint import BrokerEndpoint, Login, read_login
from edgesim.live.error_json import error_to_dict
from edgesim.live.front_door import FrontDoorServer
from edgesim.live.garbage import collect_garbage
from edgesim.live.geoip import DEFAULT_METRO, Locator, ensure_database
from edgesim.live.guests import WasmGuests
from edgesim.live.host_state import HostState
from edgesim.live.metrics import watch_loop_lag
from edgesim.live.origin import LiveOrigins
from edgesim.live.pop_host import PopHost
from edgesim.live.processes import die_with_parent
from edgesim.live.signing import Verifier
from edgesim.live.transport import HttpTransport
from edgesim.model.ids import HostId
from edgesim.model.rtt import SETUP_RTTS
from edgesim.model.worker import Limits
from edgesim.observe.recorder import Recorder

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from edgesim.core.request import Request, Response
    from edgesim.live.local import LocalPops
    from edgesim.model.ids import PopId
    from edgesim.model.topology import Topology

DRAIN_S: Final = 5.0


class World:
    """What every role reads of the topology, built once per process."""

    def __init__(self, config: ProcessConfig) -> None:
        self.topology: Topology = load_topology(config.topology)
        scale = config.time_scale
        self.time_scale = self.topology.network.time_scale if scale is None else scale
        self.metros = load_metros()
        self.network = network_model(self.topology)


def recorder_of(config: ProcessConfig) -> Recorder:
    """The process's recorder."""
    return Recorder(process=config.name, version=__version__, python=python_version(), started_s=time.time())


def broker_of(config: ProcessConfig) -> tuple[BrokerEndpoint, Login]:
    """Where the broker is, and who this process is there.

    Raises:
        StorageError: the credentials file that the control plane writes is missing.
        BrokerError: it has no login for this process.
    """
    if "://" in config.broker:
        external = ExternalBroker(config.broker)
        return external.endpoint, external.credentials(config.name)
    login = read_login(config.broker_credentials, config.name)
    return BrokerEndpoint(config.broker_host, config.broker_port), login


# -- roles ------------------------------------------------------------------------------------------------------------


async def start_control(stack: AsyncExitStack, config: ProcessConfig, world: World) -> dict[str, str]:
    """The control plane with broker and API."""
    from edgesim.live.control.role import ControlRole  # noqa: PLC0415 - SQLite and the broker, which others never need

    role = ControlRole(config, world.topology, recorder_of(config))
    stack.push_async_callback(role.close)
    return await role.start()


async def start_pop_host(stack: AsyncExitStack, config: ProcessConfig, world: World) -> tuple[PopHost, dict[str, str]]:
    """One PoP host."""
    from edgesim.live.answers import RelayedAnswer, complete  # noqa: PLC0415
    from edgesim.live.blobs import BlobStore  # noqa: PLC0415
    from edgesim.live.outbound import OutboundNetwork  # noqa: PLC0415
    from edgesim.wasm.runtime import Runtime  # noqa: PLC0415 - the engine, which front door and control never load

    specs = [spec for spec in world.topology.pops if spec.id in config.pops]
    authorization = {"Authorization": f"Bearer {config.hop_token}"}
    session = await stack.enter_async_context(
        aiohttp.ClientSession(headers=authorization, cookie_jar=aiohttp.DummyCookieJar())
    )
    origin_session = await stack.enter_async_context(
        aiohttp.ClientSession(
            auto_decompress=False,
            connector=complete(aiohttp.TCPConnector(limit=0)),
            response_class=RelayedAnswer,
            timeout=aiohttp.ClientTimeout(total=None),
            cookie_jar=aiohttp.DummyCookieJar(),
        )
    )
    runtime = Runtime(config.state_dir / "aot", threads=os.cpu_count() or 2)
    stack.push_async_callback(runtime.close)
    outbound = OutboundNetwork(config.front_door)
    stack.push_async_callback(outbound.close)
    blobs = BlobStore(config.state_dir / "hosts" / config.name / "blobs")
    stack.push_async_callback(blobs.close)
    host = PopHost(
        HostId(config.name),
        specs,
        recorder=recorder_of(config),
        state=HostState(config.state_dir / "hosts" / config.name / "pops"),
        verifier=Verifier(config.public_key.read_text().strip()),
        token=config.hop_token,
        beat_s=world.topology.routing.health.interval_s,
        time_scale=world.time_scale,
    )
    endpoint, login = broker_of(config)
    guests = WasmGuests(blobs, runtime, session, [config.endpoint], outbound)
    host.recorder.watch_filters(guests.filter_values)
    url = await host.start(
        guests,
        LiveOrigins(world.topology.origins, world.network, origin_session, world.time_scale),
        endpoint=endpoint,
        login=login,
    )
    stack.push_async_callback(host.close, DRAIN_S)
    _watch(stack, host.recorder)
    return host, {"data": url, "metrics": url}


async def start_front_door(
    stack: AsyncExitStack, config: ProcessConfig, world: World, local: Sequence[LocalPops] = ()
) -> dict[str, str]:
    """The front door; `local` are the PoP hosts of this process, to which it needs no HTTP."""
    topology = world.topology
    specs = {spec.id: spec for spec in topology.pops}
    health = HealthTable(specs, topology.routing.health)
    policy = load_policies("edgesim.policies.routing")[topology.routing.policy](**topology.routing.params)
    door = Door(
        router=Router(policy, topology.pops, health),
        health=health,
        network=world.network,
        retry=topology.routing.retry,
        time_scale=world.time_scale,
        setup_rtts=SETUP_RTTS,
    )
    database = ensure_database(config.state_dir / "geoip", world.metros, load_access().names())
    locator = Locator(database, config.geoip_db, default=find_metro(DEFAULT_METRO), metros=world.metros)
    recorder = recorder_of(config)
    recorder.add_routes(specs)
    memory = config.state_dir / "run" / "addresses.json"
    host = DoorHost(config.name, door, recorder=recorder, memory=memory, port=config.port, token=config.hop_token)
    server = FrontDoorServer(
        host.world,
        door,
        locate=locator.locate,
        pops=specs,
        limits=Limits(),
        policy=topology.routing.policy,
    )
    endpoint, login = broker_of(config)
    transport: HttpTransport | InProcess
    http = None
    if local:
        transport = InProcess(local)
    else:
        transport = http = HttpTransport(config.hop_token)
        stack.push_async_callback(http.close)
    urls = await host.start(server, transport, http=http, endpoint=endpoint, login=login)
    stack.push_async_callback(host.close, DRAIN_S)
    _watch(stack, recorder)
    return urls


class InProcess:
    """The transport to PoPs of several hosts in this process."""

    def __init__(self, hosts: Sequence[LocalPops]) -> None:
        self._hosts = {pop: host for host in hosts for pop in host.pops}

    async def forward(self, pop: PopId, request: Request) -> Response:
        """Serve at the PoP. Raises PopUnreachableError as LocalPops.forward does."""
        host = self._hosts.get(pop)
        if host is None:
            raise PopUnreachableError(f"no host carries {pop}")
        return await host.forward(pop, request)


def _watch(stack: AsyncExitStack, recorder: Recorder) -> None:
    """Measure the loop's lag while the role runs."""
    task = asyncio.create_task(watch_loop_lag(recorder), name="loop lag")
    stack.callback(task.cancel)


def _collect(stack: AsyncExitStack, hosts: Sequence[LocalPops]) -> None:
    """Collect garbage between the guests of these hosts while the process runs."""

    def idle() -> bool:
        return not any(pop.pool.busy for host in hosts for pop in host.pops.values())

    task = asyncio.create_task(collect_garbage(idle), name="garbage")
    stack.callback(task.cancel)


# -- running them -----------------------------------------------------------------------------------------------------


async def run_role(
    config: ProcessConfig, *, on_ready: Callable[[str, dict[str, str]], None], stop: asyncio.Event
) -> None:
    """One role until `stop` is set; then it drains."""
    world = World(config)
    async with AsyncExitStack() as stack:
        hosts: list[LocalPops] = []
        if config.role == "control":
            urls = await start_control(stack, config, world)
        elif config.role == "pop-host":
            host, urls = await start_pop_host(stack, config, world)
            hosts.append(host.local)
        else:
            urls = await start_front_door(stack, config, world)
        _collect(stack, hosts)
        on_ready(config.name, urls)
        await stop.wait()


async def run_all_in_one(
    configs: Sequence[ProcessConfig], *, on_ready: Callable[[str, dict[str, str]], None], stop: asyncio.Event
) -> None:
    """Every role in this loop until `stop` is set; the front door reaches its PoPs without HTTP."""
    world = World(configs[0])
    async with AsyncExitStack() as stack:
        hosts: list[LocalPops] = []
        for config in sorted(configs, key=lambda c: ["control", "pop-host", "front-door"].index(c.role)):
            if config.role == "control":
                urls = await start_control(stack, config, world)
            elif config.role == "pop-host":
                host, urls = await start_pop_host(stack, config, world)
                hosts.append(host.local)
            else:
                urls = await start_front_door(stack, config, world, hosts)
            on_ready(config.name, urls)
        _collect(stack, hosts)
        await stop.wait()


_OPEN_FILES: Final = 65_536


def main() -> None:
    """The child process."""
    parser = argparse.ArgumentParser(prog="edgesim.live.process")
    parser.add_argument("role", choices=["control", "pop-host", "front-door"])
    parser.add_argument("--config", type=Path, required=True)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    for noisy in ("amqtt", "transitions", "aiohttp.access"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    if arguments.role != "control":
        _raise_file_limit()
    try:
        config = ProcessConfig.read(arguments.config)
        if config.parent_pid:
            die_with_parent(config.parent_pid)
        run(_child(config))
    except EdgesimError as error:
        print(json.dumps({"error": error_to_dict(error)}), flush=True)  # noqa: T201 - the supervisor reads it
        sys.exit(error.exit_code)


def _raise_file_limit() -> None:
    """As many open files as we may have: a guest that waits for an origin holds two sockets, and shells allow 1024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


async def _child(config: ProcessConfig) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)

    def ready(_name: str, urls: dict[str, str]) -> None:
        print(json.dumps({"ready": True, "pid": os.getpid(), "urls": urls}), flush=True)  # noqa: T201

    await run_role(config, on_ready=ready, stop=stop)


def run(main: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine on uvloop where it is installed."""
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.get_loop().set_exception_handler(_report)
        runner.run(main)


def _report(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log what nobody caught, except for one harmless thing: aiomqtt's `add_writer` that comes after its socket closed.

    uvloop says so with RuntimeError when it still has a handle for the number of that socket.
    """
    if isinstance(context.get("exception"), OSError | ValueError | RuntimeError) and "add_writer" in context["message"]:
        return
    loop.default_exception_handler(context)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop  # noqa: PLC0415 - not on every platform
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


if __name__ == "__main__":
    main()
