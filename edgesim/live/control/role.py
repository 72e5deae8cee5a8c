"""The control plane as a process: service, broker, API and its own metrics, put together from a ProcessConfig."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import aiohttp
from aiohttp import web

from edgesim.errors import PortInUseError
from edgesim.live.broker import make_broker
from edgesim.live.control import views
from edgesim.live.control.api import build_app
from edgesim.live.control.http_log import http_log
from edgesim.live.control.service import ControlPlane
from edgesim.live.http_server import BACKLOG
from edgesim.live.metrics import collect_stats, metrics_handler
from edgesim.live.supervisor_link import SupervisorClient
from edgesim.model.ids import HostId, PopId
from edgesim.observe.history import History
from edgesim.wasm.runtime import Runtime

if TYPE_CHECKING:
    from edgesim.config.settings import ProcessConfig
    from edgesim.model.topology import Topology
    from edgesim.observe.recorder import Recorder

LOOPBACK: Final = "127.0.0.1"
POLL_S: Final = 1.0
"""How often the processes' figures are taken: what a killed process had counted since the last time is lost."""


class ControlRole:
    """`start` returns when the API answers; `close` stops everything."""

    def __init__(self, config: ProcessConfig, topology: Topology, recorder: Recorder) -> None:
        self._config = config
        self._recorder = recorder
        self._history = History()
        self._runtime = Runtime(config.state_dir / "aot", threads=1)
        self._session: aiohttp.ClientSession | None = None
        self._runner: web.AppRunner | None = None
        self._poll: asyncio.Task[None] | None = None
        for path in (config.public_key, config.broker_credentials):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        logins = ["control", *(host.name for host in config.hosts), "front-door"]
        self.control = ControlPlane(
            directory=config.state_dir / "control",
            topology=topology,
            assignment={PopId(pop): HostId(host.name) for host in config.hosts for pop in host.pops},
            broker=make_broker(
                config.broker, port=config.broker_port, logins=logins, credentials=config.broker_credentials
            ),
            inspect=self._runtime.inspect,
            api_url=config.endpoint,
            public_key=config.public_key,
        )

    async def start(self) -> dict[str, str]:
        """Start the service, then the API; its URLs.

        Raises:
            EdgesimError: as `ControlPlane.start`.
            PortInUseError: the API's port is taken.
        """
        config = self._config
        self._session = aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar())
        await self.control.start()
        supervisor = None
        if config.supervisor_port:
            supervisor = SupervisorClient(config.supervisor_port, config.supervisor_token)
        app = build_app(
            self.control,
            token=config.token,
            hop_token=config.hop_token,
            stats=self._stats,
            supervisor=supervisor,
            metrics=metrics_handler(self._recorder),
        )
        # A coded upload is taken byte for byte: what is small on the wire stays small here.
        self._runner = web.AppRunner(
            app, access_log=None, logger=http_log(), handle_signals=False, auto_decompress=False
        )
        await self._runner.setup()
        site = web.TCPSite(self._runner, LOOPBACK, config.port, backlog=BACKLOG)
        try:
            await site.start()
        except OSError as exc:
            raise PortInUseError(f"the API's port {config.port} is in use", help="use --api-port") from exc
        self._poll = asyncio.create_task(self._keep_history(), name="history")
        return {"data": config.endpoint, "metrics": config.endpoint}

    async def close(self) -> None:
        """Stop the API, the service and the broker."""
        if self._poll is not None:
            self._poll.cancel()
        if self._runner is not None:
            await self._runner.cleanup()
        await self.control.stop()
        await self._runtime.close()
        if self._session is not None:
            await self._session.close()

    async def _keep_history(self) -> None:
        """Remember what processes count, so that it outlives them."""
        while True:
            await asyncio.sleep(POLL_S)
            await self._stats()

    async def _stats(self) -> dict[str, Any]:
        """The merged figures of all processes."""
        assert self._session is not None
        targets = views.metrics_targets(self.control)
        summary = await asyncio.shield(
            collect_stats(targets, self._session, own=[self._recorder], history=self._history)
        )
        return summary.to_json()
