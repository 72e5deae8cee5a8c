"""A small world, a control plane in it, and a PoP host that only listens, verifies, pulls and reports."""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self

import aiohttp

from edgesim.config.messages import DeployRequest, Presence, encode, health_of, reported_of
from edgesim.config.releases import DeployComponent, RouteModel
from edgesim.core.desired import (
    NO_GENERATION,
    Apply,
    DesiredDocument,
    assign,
    decide,
    desired_filter,
    health_topic,
    presence_topic,
    reported_topic,
)
from edgesim.errors import BundleError, EdgesimError
from edgesim.live.blobs import BlobStore
from edgesim.live.broker import BrokerEndpoint, Login, make_broker
from edgesim.live.bus import Bus, Message, Subscription, new_boot
from edgesim.live.control.service import ControlPlane
from edgesim.live.signing import Verifier
from edgesim.model.events import HealthReported, PopHealth, PopReported
from edgesim.model.geo import LatLon
from edgesim.model.ids import AppName, HostId, PopId
from edgesim.model.topology import NetworkSpec, PopSpec, RoutingSpec, Topology

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgesim.model.worker import Abi

WASM = b"\0asm\x01\0\0\0"
"""The smallest module; different ones by a custom section, see `wasm`."""
HOSTS = (HostId("host1"), HostId("host2"))
LOGINS = ("control", "host1", "host2", "front-door")


def wasm(name: str) -> bytes:
    """A valid empty module that differs by `name`."""
    content = bytes([len(name)]) + name.encode()
    return WASM + bytes([0, len(content)]) + content


@dataclass(frozen=True)
class Inspected:
    """What the tests' inspector tells."""

    abi: Abi = "wagi"
    memory_at_start_bytes: int = 0


async def inspect(path: Path) -> Inspected:
    """Accepts what begins like Wasm; the real inspector is tested with the engine."""
    if not path.read_bytes().startswith(WASM):
        raise BundleError("not a Wasm file", help="build it for wasm32-wasip1")
    return Inspected()


def small_topology(pops: Sequence[str] = ("fra1", "lhr1", "nrt1", "gru1")) -> Topology:
    """A world of a few PoPs."""
    specs = tuple(
        PopSpec(
            id=PopId(p),
            city=p,
            country="DE",
            at=LatLon(50.0, 8.0),
            region="weur",
            profile="small",
            slots=4,
            queue=8,
            queue_timeout_s=1.0,
            memory_bytes=1 << 30,
            origin="demo",
        )
        for p in pops
    )
    return Topology(
        name="test", pops=specs, regions={}, origins={}, network=NetworkSpec(), routing=RoutingSpec()
    )  # fmt: skip


def control_plane(
    directory: Path,
    *,
    broker: str = "embedded",
    port: int = 0,
    topology: Topology | None = None,
    hosts: Sequence[HostId] = HOSTS,
    api_url: str = "",
) -> ControlPlane:
    """A control plane that has not been started."""
    world = topology or small_topology()
    directory.mkdir(exist_ok=True)
    return ControlPlane(
        directory=directory,
        topology=world,
        assignment=assign([p.id for p in world.pops], hosts),
        broker=make_broker(broker, port=port, logins=LOGINS, credentials=directory / "logins.json"),
        inspect=inspect,
        api_url=api_url,
    )


def request(*digests: str, prefetch: bool = True, message: str = "") -> DeployRequest:
    """A deployment of some blobs, the first at `/...`, others at `/c1/...` and so on."""
    return DeployRequest(
        components=tuple(DeployComponent(id=f"c{i}", digest=d) for i, d in enumerate(digests)),
        routes=tuple(
            RouteModel(pattern=f"/c{i}/..." if i else "/...", component=f"c{i}") for i, _ in enumerate(digests)
        ),
        prefetch=prefetch,
        message=message,
    )


@dataclass
class ListeningHost:
    """A PoP host without request path: verifies documents, pulls blobs when it has a source, reports."""

    endpoint: BrokerEndpoint
    login: Login
    pops: tuple[PopId, ...]
    verifier: Verifier
    blobs: BlobStore | None = None
    source: str = ""
    token: str = ""
    data_url: str = ""
    documents: dict[PopId, DesiredDocument] = field(default_factory=dict)
    fail: str = ""
    """Report each new document as failed, with this reason."""

    def __post_init__(self) -> None:
        self.host = HostId(self.login.user)
        self.boot = new_boot()
        self.refused: list[EdgesimError] = []
        self._seq = 0
        self._reports: dict[PopId, PopReported] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self.bus = Bus(
            self.endpoint,
            self.login,
            identifier=self.host,
            subscriptions=[Subscription(filter=desired_filter(self.host), handler=self.on_document)],
            will=Message(topic=presence_topic(self.host), payload=encode(self.presence(up=False)), retain=True),
            on_up=self.announce,
        )
        self._run = asyncio.create_task(self.bus.run())
        await self.bus.wait_connected(10)
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in (self._run, *self._tasks):
            task.cancel()
        await asyncio.gather(self._run, *self._tasks, return_exceptions=True)
        if self.blobs is not None:
            await self.blobs.close()

    def presence(self, *, up: bool) -> Presence:
        """Its presence."""
        return Presence(
            process=self.host,
            kind="pop-host",
            up=up,
            boot=self.boot,
            pid=1 if up else 0,
            data_url=self.data_url if up else "",
            metrics_url="http://127.0.0.1:9" if up else "",
            pops=self.pops,
        )

    def announce(self) -> None:
        """Say everything that is retained."""
        self.bus.publish(presence_topic(self.host), encode(self.presence(up=True)), retain=True)
        for report in list(self._reports.values()):
            self.report(report)

    def beat(self, pops: Sequence[PopId] | None = None) -> None:
        """One health batch."""
        self._seq += 1
        alive = tuple(
            PopHealth(pop=p, state="ready", busy=1, queued=0, loaded_bytes=5)
            for p in (self.pops if pops is None else pops)
        )
        event = HealthReported(host=self.host, boot=self.boot, pops=alive)
        self.bus.publish(health_topic(self.host), encode(health_of(event, seq=self._seq, sent_s=time.time())), qos=0)

    def report(self, event: PopReported) -> None:
        """Publish a report."""
        self._seq += 1
        self._reports[event.pop] = event
        message = reported_of(event, host=self.host, boot=self.boot, seq=self._seq, sent_s=time.time())
        self.bus.publish(reported_topic(self.host, event.pop), encode(message), retain=True)

    def on_document(self, topic: str, payload: bytes) -> None:
        """Take a document as a PoP does."""
        pop = PopId(topic.rsplit("/", 1)[1])
        current = self.documents.get(pop)
        try:
            document = self.verifier.open(payload, pop=pop, newest=current.generation if current else NO_GENERATION)
        except EdgesimError as exc:
            self.refused.append(exc)
            raise
        decision = decide(current, document)
        if isinstance(decision, Apply):
            task = asyncio.create_task(self._apply(document))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _apply(self, document: DesiredDocument) -> None:
        late_s = max(0.0, time.time() - document.issued_s)
        self.documents[document.pop] = document
        versions = {AppName(r.app): r.version for r in document.apps}
        state, why = ("failed", self.fail) if self.fail else ("ready", "")
        if self.source and self.blobs is not None:
            with contextlib.suppress(asyncio.CancelledError):
                async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {self.token}"}) as session:
                    for release in document.apps:
                        for component in release.components:
                            try:
                                await self.blobs.ensure(component.digest, component.size_bytes, session, [self.source])
                            except EdgesimError as exc:
                                state, why = "failed", str(exc)
        self.report(
            PopReported(
                pop=document.pop,
                epoch=document.epoch,
                gen=document.gen,
                state=state,
                apps=versions if state == "ready" else {},
                why=why,
                distribute_s=late_s,
            )
        )


def listening_host(control: ControlPlane, host: str, **more: object) -> ListeningHost:
    """A PoP host of a started control plane."""
    return ListeningHost(
        endpoint=control.endpoint,
        login=control.broker.credentials(host),
        pops=tuple(p for p, h in control.assignment.items() if h == host),
        verifier=Verifier(control.public_hex),
        **more,
    )
