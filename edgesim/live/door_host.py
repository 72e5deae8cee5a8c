"""The front door as a process: its port, what it learns from the bus, and its metrics.

From the bus it takes who carries which PoP (presence) and who is alive (health). Both are only hints: without the bus it
goes on with what it knew, and failed connections tell the rest. The last known addresses are kept on disk, so that it can
also start without a bus.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import time
from typing import TYPE_CHECKING

from aiohttp import web

from edgesim.config.messages import Presence, decode_health, decode_presence, encode
from edgesim.core.desired import HEALTH_FILTER, PRESENCE_FILTER, BootOrder, presence_topic
from edgesim.errors import EdgesimError, NotFoundError
from edgesim.live import hop, http_server
from edgesim.live.bus import Bus, Message, Subscription, new_boot
from edgesim.live.error_json import error_to_dict
from edgesim.live.faults import FAULTS_PATH, DoorFaults
from edgesim.live.metrics import METRICS_PATH, STATS_PATH, metrics_handler, stats_handler
from edgesim.live.state import write_private
from edgesim.live.world import LiveWorld
from edgesim.model.ids import PopId

if TYPE_CHECKING:
    from pathlib import Path

    from edgesim.core.front_door import Door
    from edgesim.live.endpoint import BrokerEndpoint, Login
    from edgesim.live.front_door import FrontDoorServer
    from edgesim.live.transport import HttpTransport
    from edgesim.live.world import Transport
    from edgesim.observe.recorder import Recorder


class DoorHost:
    """See the module. `start` returns when it serves; `close` drains."""

    def __init__(
        self,
        name: str,
        door: Door,
        *,
        recorder: Recorder,
        memory: Path,
        port: int,
        token: str,
        loopback: str = "127.0.0.1",
    ) -> None:
        self.name = name
        self.boot = new_boot()
        self.door = door
        self.recorder = recorder
        self.world = LiveWorld(recorder.handle, clock=time.monotonic)
        self.faults = DoorFaults(self.world, door)
        self._token = token
        self._memory = memory
        self._port = port
        self._loopback = loopback
        self._http: HttpTransport | None = None
        self._urls: dict[str, dict[str, str]] = {}
        """Address of each PoP, by host."""
        self._boots = BootOrder()
        self._beats = BootOrder()
        self._listener: http_server.Listener | None = None
        self._admin: http_server.Listener | None = None
        self._bus: Bus | None = None
        self._bus_task: asyncio.Task[None] | None = None
        self._routes = {METRICS_PATH: metrics_handler(recorder), STATS_PATH: stats_handler(recorder)}

    # -- life ---------------------------------------------------------------------------------------------------------

    async def start(
        self,
        server: FrontDoorServer,
        transport: Transport,
        *,
        http: HttpTransport | None,
        endpoint: BrokerEndpoint,
        login: Login,
    ) -> dict[str, str]:
        """Listen and connect; its URLs. `http` is the transport that learns addresses, None with local PoPs only."""
        self._http = http
        self.world.equip(transport=transport, replies=server)
        self._recall()
        self.door.health.begin(self.world.now())
        self._listener = await http_server.Listener.open(server.handle, port=self._port)
        self._admin = await http_server.Listener.open(self._handle_admin, port=0)
        self._bus = Bus(
            endpoint,
            login,
            identifier=self.name,
            subscriptions=[
                Subscription(filter=PRESENCE_FILTER, handler=self._on_presence),
                Subscription(filter=HEALTH_FILTER, handler=self._on_health, qos=0),
            ],
            will=Message(topic=presence_topic(self.name), payload=self._presence(up=False), retain=True),
            on_up=self._on_up,
            on_down=lambda: self.door.health.pause(self.world.now()),
        )
        self._bus_task = asyncio.create_task(self._bus.run(), name=f"bus {self.name}")
        return self.urls

    @property
    def urls(self) -> dict[str, str]:
        """Where it listens."""
        assert self._listener is not None
        assert self._admin is not None
        return {
            "data": f"http://{self._loopback}:{self._listener.port}",
            "metrics": f"http://{self._loopback}:{self._admin.port}",
        }

    async def close(self, drain_s: float = 5.0) -> None:
        """Stop listening, let the requests in flight end, stop."""
        if self._listener is not None:
            await self._listener.close(drain_s)
        if self._bus is not None:
            self._bus.publish(presence_topic(self.name), self._presence(up=False), retain=True)
            await self._bus.flush(1.0)
        if self._bus_task is not None:
            self._bus_task.cancel()
            await asyncio.gather(self._bus_task, return_exceptions=True)
        if self._admin is not None:
            await self._admin.close(0.5)
        await self.world.close()

    # -- what the bus says --------------------------------------------------------------------------------------------

    def _on_up(self) -> None:
        assert self._bus is not None
        self.door.health.resume(self.world.now())
        self._bus.publish(presence_topic(self.name), self._presence(up=True), retain=True)

    def _on_presence(self, topic: str, raw: bytes) -> None:
        """A host has come, or its will says that it has gone."""
        if not raw:
            return
        presence = decode_presence(raw)
        if presence.kind != "pop-host" or topic != presence_topic(presence.process):
            return
        if not presence.up:
            if self._boots.current(presence.process) == presence.boot:
                now_s = self.world.now()
                for pop in self._urls.get(presence.process, {}):
                    self.door.health.fail(PopId(pop), now_s)
            return
        if self._boots.current(presence.process) != presence.boot:
            if not self._boots.accept(presence.process, presence.boot, 0):
                return  # a late message of an earlier life
            self._urls[presence.process] = dict.fromkeys(presence.pops, presence.data_url)
            self._learn(presence.process)
            self._remember()

    def _on_health(self, _topic: str, raw: bytes) -> None:
        """A beat: every PoP in it is alive."""
        beat = decode_health(raw)
        if not self._beats.accept(beat.host, beat.boot, beat.seq):
            return
        now_s = self.world.now()
        for pop in beat.pops:
            self.door.health.beat(PopId(pop.pop), pop.state, now_s)

    # -- addresses ----------------------------------------------------------------------------------------------------

    def _learn(self, host: str) -> None:
        if self._http is not None:
            for pop, url in self._urls[host].items():
                self._http.place(PopId(pop), url)

    def _recall(self) -> None:
        """Begin with the addresses of the last life; the bus corrects them."""
        with contextlib.suppress(OSError, ValueError, AttributeError, TypeError):
            known = json.loads(self._memory.read_bytes())
            for host, pops in known.items():
                self._urls[host] = {str(pop): str(url) for pop, url in pops.items()}
                self._learn(host)

    def _remember(self) -> None:
        with contextlib.suppress(OSError):  # a full disk costs the next start its head start, nothing else
            write_private(self._memory, json.dumps(self._urls).encode())

    def _presence(self, *, up: bool) -> bytes:
        urls = self.urls if up else {"data": "", "metrics": ""}
        return encode(
            Presence(
                process=self.name,
                kind="front-door",
                up=up,
                boot=self.boot,
                pid=os.getpid(),
                data_url=urls["data"],
                metrics_url=urls["metrics"],
                since_s=time.time(),
            )
        )

    async def _handle_admin(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.path == FAULTS_PATH and request.method == "POST":
            return await self._take_fault(request)
        route = self._routes.get(request.path)
        if route is None:
            raise NotFoundError(f"the front door has no {request.path}", help=f"it has {', '.join(self._routes)}")
        return await route(request)  # type: ignore[arg-type]

    async def _take_fault(self, request: web.BaseRequest) -> web.Response:
        """An order of the control plane, which has the hop token."""
        try:
            hop.check_token(request.headers, self._token)
            return await self.faults.handle(request)
        except EdgesimError as error:
            return web.json_response({"error": error_to_dict(error)}, status=error.status)
