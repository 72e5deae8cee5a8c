"""A PoP host: many PoPs in one process, with one connection to the bus and one HTTP port.

It verifies and keeps desired documents, brings its PoPs to them, serves the front door's requests, beats, and reports. It
goes on serving from its last good state while broker and control plane are away. Its port answers the front door (by
token), `/metrics` and `/-/stats`, under `/-/pops/<pop>/` the commands `kill`, `restart`, `drain` and `undrain`, and
`/-/faults` (by the same token).
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from typing import TYPE_CHECKING, Final

from aiohttp import web

from edgesim.config.messages import Presence, encode, health_of, reported_of
from edgesim.config.policies import make_pop
from edgesim.core.beat import beat, health
from edgesim.core.desired import (
    NO_GENERATION,
    Generation,
    desired_filter,
    health_topic,
    presence_topic,
    reported_topic,
)
from edgesim.core.memory import drop_idle
from edgesim.core.rollout import apply_desired
from edgesim.errors import EdgesimError, NotFoundError, PopUnreachableError, StorageError, TrustError
from edgesim.live import hop, http_quick, http_server
from edgesim.live.bus import Bus, Message, Subscription, new_boot
from edgesim.live.error_json import error_to_dict
from edgesim.live.faults import FAULTS_PATH, HostFaults
from edgesim.live.informational import listener
from edgesim.live.local import LocalPops
from edgesim.live.metrics import METRICS_PATH, STATS_PATH, metrics_handler, stats_handler
from edgesim.live.world import LiveWorld
from edgesim.model.events import ColdStarted, HealthReported, PopReported
from edgesim.model.ids import HostId, PopId
from edgesim.model.worker import Limits

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edgesim.core.desired import DesiredDocument
    from edgesim.core.pop import Pop
    from edgesim.core.request import Request, Response
    from edgesim.live.endpoint import BrokerEndpoint, Login
    from edgesim.live.host_state import HostState
    from edgesim.live.http_quick import Answer, QuickRequest
    from edgesim.live.signing import Verifier
    from edgesim.live.world import Guests, Origins
    from edgesim.model.events import Event
    from edgesim.model.topology import PopSpec
    from edgesim.observe.recorder import Recorder

ACCEPTED_MAX: Final = 8
"""Documents of a PoP that are remembered until one of them is good."""
_log = logging.getLogger(__name__)


class PopHost:
    """See the module. `start` returns when it serves; `close` drains."""

    def __init__(
        self,
        host: HostId,
        specs: Sequence[PopSpec],
        *,
        recorder: Recorder,
        state: HostState,
        verifier: Verifier,
        token: str,
        beat_s: float,
        time_scale: float = 1.0,
    ) -> None:
        self.host = host
        self.boot = new_boot()
        self.pops: Mapping[PopId, Pop] = {spec.id: make_pop(spec) for spec in specs}
        self.world = LiveWorld(self._publish, clock=time.monotonic)
        self.local = LocalPops(self.world, self.pops)
        self.faults = HostFaults(self.world, time_scale)
        self.recorder = recorder
        self._state = state
        self._verifier = verifier
        self._token = token
        self._beat_s = beat_s
        self._accepted: dict[PopId, dict[Generation, bytes]] = {pop: {} for pop in self.pops}
        """The last genuine documents of each PoP as received; one is kept on disk when the PoP is ready with it."""
        self._kept: dict[PopId, Generation] = dict.fromkeys(self.pops, NO_GENERATION)
        """The generation on disk, as far as this process has written it."""
        self._writing = {pop: asyncio.Lock() for pop in self.pops}
        self._reports: dict[PopId, PopReported] = {}
        self._seq = 0
        self._bus: Bus | None = None
        self._listener: http_server.Listener | None = None
        self._bus_task: asyncio.Task[None] | None = None
        self._routes = {METRICS_PATH: metrics_handler(recorder), STATS_PATH: stats_handler(recorder)}
        for spec in specs:
            recorder.add_pop(spec.id, slots=spec.slots, region=spec.region)

    # -- life ---------------------------------------------------------------------------------------------------------

    async def start(self, guests: Guests, origins: Origins, *, endpoint: BrokerEndpoint, login: Login) -> str:
        """Take up the last good state, listen, and connect; the URL of its port."""
        self.world.equip(guests=guests, origins=origins)
        self._listener = await self.listen()
        for pop in self.pops.values():
            self._wake(pop)
        self._bus = Bus(
            endpoint,
            login,
            identifier=self.host,
            subscriptions=[Subscription(filter=desired_filter(self.host), handler=self._on_desired)],
            will=Message(topic=presence_topic(self.host), payload=self._presence(up=False), retain=True),
            on_up=self._announce,
        )
        self._bus_task = asyncio.create_task(self._bus.run(), name=f"bus {self.host}")
        self.world.spawn(beat(self.world, self.host, self.boot, list(self.pops.values()), self._beat_s), "beat")
        return self.url

    async def listen(self) -> http_server.Listener:
        """Take requests on a free port."""
        return await http_quick.listen(self.handle, self.quick, port=0, behind_door=True)

    @property
    def url(self) -> str:
        """Base URL of its port."""
        assert self._listener is not None
        return f"http://127.0.0.1:{self._listener.port}"

    async def close(self, drain_s: float = 5.0) -> None:
        """Tell the front door, let the requests in flight end, stop."""
        for pop in self.pops.values():
            pop.draining = True
        self._publish(health(self.host, self.boot, list(self.pops.values())))
        if self._bus is not None:
            self._bus.publish(presence_topic(self.host), self._presence(up=False), retain=True)
            await self._bus.flush(1.0)
        if self._listener is not None:
            await self._listener.close(drain_s)
        await self.world.close()
        for pop in self.pops.values():
            for worker in pop.loaded():
                drop_idle(self.world, pop, worker)
        if self._bus_task is not None:
            self._bus_task.cancel()
            await asyncio.gather(self._bus_task, return_exceptions=True)

    # -- desired state ------------------------------------------------------------------------------------------------

    def _wake(self, pop: Pop) -> None:
        """Begin a PoP's life: with what is on disk, then with what arrived while it was dead."""
        pop.disk = self._state.disk(pop.spec.id)
        kept = self._state.document(pop.spec.id, self._verifier)
        if kept is not None:
            self.world.spawn(self._apply(pop, kept, 0.0), f"apply:{pop.spec.id}")
        accepted = self._accepted[pop.spec.id]
        newest = max(accepted, default=NO_GENERATION)
        if newest > (kept.generation if kept else NO_GENERATION):
            missed = self._verifier.open(accepted[newest], pop=pop.spec.id)
            self.world.spawn(self._apply(pop, missed, 0.0), f"apply:{pop.spec.id}")

    def _on_desired(self, topic: str, raw: bytes, *, late: bool = False) -> None:
        """A desired document has arrived. One that is not genuine is refused, and the last good one stays."""
        pop = self.pops.get(PopId(topic.rsplit("/", 1)[1]))
        if pop is None or not raw:
            return
        if not late and self.faults.late(pop.spec.id, lambda: self._on_desired(topic, raw, late=True)):
            return
        accepted = self._accepted[pop.spec.id]
        newest = max([*accepted, pop.document.generation if pop.document else NO_GENERATION])
        try:
            document = self._verifier.open(raw, pop=pop.spec.id, newest=newest)
        except TrustError as error:
            self.recorder.refused_document(pop.spec.id)
            _log.warning("%s: %s: %s", pop.spec.id, error.code, error.message)
            return
        for older in sorted(accepted)[: 1 - ACCEPTED_MAX]:
            del accepted[older]
        accepted[document.generation] = raw
        if pop.alive:  # a dead PoP hears nothing; its host remembers for its restart
            distribute_s = max(0.0, time.time() - document.issued_s)
            self.world.spawn(self._apply(pop, document, distribute_s), f"apply:{pop.spec.id}")

    async def _apply(self, pop: Pop, document: DesiredDocument, distribute_s: float) -> None:
        await apply_desired(self.world, pop, document, distribute_s)

    # -- events -------------------------------------------------------------------------------------------------------

    def _publish(self, event: Event) -> None:
        self.recorder.handle(event)
        if isinstance(event, HealthReported):
            self._send(health_topic(self.host), self.faults.audible(event))
        elif isinstance(event, PopReported):
            self._reports[event.pop] = event
            self._report(event.pop)
            if event.state == "ready":
                generation = Generation(event.epoch, event.gen)
                self.world.spawn(self._keep(event.pop, generation), f"keep:{event.pop}")
        elif isinstance(event, ColdStarted) and event.start == "absent":
            self.world.spawn(self._keep(event.pop, None), f"keep:{event.pop}")

    def _report(self, pop: PopId, *, late: bool = False) -> None:
        """Send what the PoP runs now."""
        if not late and self.faults.late(pop, lambda: self._report(pop, late=True)):
            return
        if pop in self._reports:  # it may have been killed meanwhile
            self._send(reported_topic(self.host, pop), self._reports[pop])

    def _send(self, topic: str, event: HealthReported | PopReported) -> None:
        if self._bus is None:
            return
        self._seq += 1
        if isinstance(event, HealthReported):
            self._bus.publish(topic, encode(health_of(event, seq=self._seq, sent_s=time.time())), qos=0)
        else:
            message = reported_of(event, host=self.host, boot=self.boot, seq=self._seq, sent_s=time.time())
            self._bus.publish(topic, encode(message), retain=True)

    async def _keep(self, pop_id: PopId, good: Generation | None) -> None:
        """Write down what a PoP has; with `good`, also the document of that generation, unless a newer one is good by now."""
        accepted = self._accepted[pop_id]
        try:
            async with self._writing[pop_id]:
                await asyncio.to_thread(self._state.keep_disk, pop_id, set(self.pops[pop_id].disk))
                if good is not None and good in accepted and good > self._kept[pop_id]:
                    await asyncio.to_thread(self._state.keep_document, pop_id, accepted[good])
                    self._kept[pop_id] = good
        except StorageError as error:
            # It serves on from memory; what is lost is the state after a restart without a control plane.
            _log.warning("%s: %s: %s", pop_id, error.code, error.message)

    def _announce(self) -> None:
        """At each connect: who is here, and what the PoPs run."""
        assert self._bus is not None
        self._bus.publish(presence_topic(self.host), self._presence(up=True), retain=True)
        for pop_id in self._reports:
            self._report(pop_id)
        self._publish(health(self.host, self.boot, list(self.pops.values())))

    def _presence(self, *, up: bool) -> bytes:
        url = self.url if up else ""
        return encode(
            Presence(
                process=self.host,
                kind="pop-host",
                up=up,
                boot=self.boot,
                pid=os.getpid(),
                data_url=url,
                metrics_url=url,
                pops=tuple(self.pops),
                since_s=time.time(),
            )
        )

    # -- HTTP ---------------------------------------------------------------------------------------------------------

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Serve the front door, a scrape, or a command."""
        try:
            if hop.META in request.headers:
                return await self._serve(request)
            if request.path in self._routes:
                return await self._routes[request.path](request)  # type: ignore[arg-type]
            hop.check_token(request.headers, self._token)
            if request.path == FAULTS_PATH and request.method == "POST":
                return await self.faults.handle(request)
            return self._command(request)
        except EdgesimError as error:
            return _refusal(error)

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        hop.check_token(request.headers, self._token)
        visit = hop.read_request(
            request.headers,
            method=request.method,
            target=request.raw_path,
            fields=http_server.request_headers(request),
            body=http_server.request_body(request, Limits().body_bytes),
            now_s=self.world.now(),
        )
        return await _send(request, await self._forward(request, *visit))

    def quick(self, request: QuickRequest) -> Answer | None:
        """Serve the front door's request without a body; leave all others to `handle`."""
        return self._serve_quick(request) if hop.META in request.ours else None

    async def _serve_quick(self, request: QuickRequest) -> bytes | web.StreamResponse:
        try:
            hop.check_token(request.ours, self._token)
            visit = hop.read_request(
                request.ours,
                method=request.method,
                target=request.target,
                fields=request.headers,
                body=None,
                now_s=self.world.now(),
            )
            response = await self._forward(request, *visit)
        except EdgesimError as error:
            return _refusal(error)
        body, status = response.body, response.status
        if (
            isinstance(body, bytes)
            and len(body) <= http_server.SMALL_BYTES
            and request.method != "HEAD"
            and status not in (204, 304)
        ):
            return http_quick.wire(status, response.headers, body, (hop.META, hop.response_meta(response)))
        return await _send(request.whole(), response)

    async def _forward(self, incoming: web.BaseRequest | QuickRequest, pop: PopId, request: Request) -> Response:
        """Have the PoP serve it."""
        request.inform = listener(incoming)
        try:
            return await self.local.forward(pop, request)
        except PopUnreachableError:
            # What a dead PoP looks like from outside: the connection breaks without an answer.
            if incoming.transport is not None:
                incoming.transport.abort()
            raise asyncio.CancelledError from None

    def _command(self, request: web.BaseRequest) -> web.Response:
        """`POST /-/pops/<pop>/kill`, `restart`, `drain` and `undrain`."""
        parts = request.path.split("/")
        if request.method != "POST" or len(parts) != 5 or parts[:3] != ["", "-", "pops"]:
            raise NotFoundError(f"{request.method} {request.path} is not a command of a PoP host")
        pop = self.pops.get(PopId(parts[3]))
        if pop is None:
            raise NotFoundError(f"{self.host} carries no PoP {parts[3]!r}", help=f"it carries {', '.join(self.pops)}")
        if parts[4] == "kill":
            self.kill(pop.spec.id)
        elif parts[4] == "restart":
            self.restart(pop.spec.id)
        elif parts[4] in {"drain", "undrain"}:
            pop.draining = parts[4] == "drain"
            self._publish(health(self.host, self.boot, list(self.pops.values())))  # at once, not with the next beat
        else:
            raise NotFoundError(f"PoPs have no command {parts[4]!r}", help="they have kill, restart, drain and undrain")
        return web.json_response({"pop": pop.spec.id, "alive": pop.alive})

    def kill(self, pop_id: PopId) -> None:
        """The PoP dies: connections reset, memory gone. Nobody is told."""
        self.local.kill(pop_id)
        self._reports.pop(pop_id, None)

    def restart(self, pop_id: PopId) -> None:
        """The PoP begins a new life with what is on disk; one that lives is killed first."""
        pop = self.pops[pop_id]
        if pop.alive:
            self.kill(pop_id)
        pop.restart()
        self._wake(pop)


async def _send(request: web.BaseRequest, response: Response) -> web.StreamResponse:
    """Answer the front door."""
    fields = http_server.to_multidict(response.headers)
    fields[hop.META] = hop.response_meta(response)
    return await http_server.send(request, response.status, fields, response.body)


def _refusal(error: EdgesimError) -> web.Response:
    """The answer to what is no request of the front door's."""
    return web.json_response({"error": error_to_dict(error)}, status=error.status)
