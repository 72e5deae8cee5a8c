"""The control plane: accepts deployments, publishes what every PoP shall run, and listens to what they report.

Rules: a deployment is checked, stored and committed before it is published, and acknowledged only then; whatever goes wrong
before the commit leaves everything as it was. Publishing is level-triggered: all retained documents go out at each
connect, and every 30 s (or when a report shows it) again to each PoP that has not acknowledged its generation. It is
never on a request's path. A deployment of unchanged content is a new version all the same, as with wrangler: what an
operator deployed last is then always the highest version. HTTP is `edgesim/live/control/api.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from edgesim.core.desired import (
    CONTROL_TOPIC,
    HEALTH_FILTER,
    NO_GENERATION,
    PRESENCE_FILTER,
    REPORTED_FILTER,
    Generation,
    Progress,
    contradicts,
    rollout_progress,
)
from edgesim.errors import NotFoundError, StorageError, UsageError
from edgesim.live.acl import CONTROL_LOGIN
from edgesim.live.blobs import storage_error
from edgesim.live.bus import Bus, Message, Subscription, new_boot
from edgesim.live.control.intake import check_app, check_components
from edgesim.live.control.observed import Observed
from edgesim.live.control.oci import ImageLayout
from edgesim.live.control.publisher import RECONCILE_S, Publisher, Sealed, seal_all
from edgesim.live.control.store import Deployment, Store, StoredRelease
from edgesim.live.signing import Signer
from edgesim.model.ids import AppName, HostId, PopId
from edgesim.model.worker import Component, Release, Route

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping
    from pathlib import Path

    from edgesim.config.messages import DeployRequest
    from edgesim.live.blobs import BlobStore
    from edgesim.live.broker import Broker, BrokerEndpoint
    from edgesim.live.control.intake import Inspect
    from edgesim.model.events import PopReported
    from edgesim.model.topology import Topology

_BUMP_DELAY_S: Final = 0.2
"""Reports come in bursts: one new generation for all of them."""
APPS_MAX: Final = 256

_log = logging.getLogger(__name__)


class ControlPlane:
    """The service. Make it in the loop that runs it, then `start`."""

    def __init__(
        self,
        *,
        directory: Path,
        topology: Topology,
        assignment: Mapping[PopId, HostId],
        broker: Broker,
        inspect: Inspect,
        api_url: str = "",
        public_key: Path | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Prepare everything; nothing is opened yet.

        Args:
            directory: private directory for database, signing key and image layout.
            topology: the world.
            assignment: which PoP host carries which PoP (`core.desired.assign`).
            broker: made by `make_broker` with the logins of all processes; started and stopped here.
            inspect: finds out a file's ABI; raises BundleError for what cannot be served (`wasm.runtime.Runtime.inspect`).
            api_url: where the API listens; PoP hosts pull blobs from there.
            public_key: file that the public key is written to; `signing.pub` in the directory by default.
            clock: seconds since 1970.
        """
        self.topology, self.assignment, self.broker = topology, dict(assignment), broker
        self.boot: Final = new_boot()
        self.started_s = clock()
        self.observed = Observed(
            self.assignment, topology.routing.health, on_report=self._on_report, on_change=self._notify
        )
        self.releases: dict[AppName, dict[int, StoredRelease]] = {}
        self.deployments: dict[tuple[AppName, int], Deployment] = {}
        """The last deployment of each version."""
        self.desired: dict[PopId, dict[AppName, int]] = {}
        self._directory, self._inspect = directory, inspect
        self._publisher = Publisher(self.assignment, boot=self.boot, api_url=api_url)
        self._public_key = public_key or directory / "signing.pub"
        self._clock = clock
        self._change = asyncio.Lock()
        self._news = asyncio.Event()
        self._bumping = False
        self._held = NO_GENERATION
        """The highest generation that a PoP holds and this database does not know."""
        self._tasks: set[asyncio.Task[Any]] = set()
        self._store = Store(directory / "control.db")
        self._parts: _Parts | None = None

    # -- life ---------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Open the store, start the broker, connect, publish.

        Raises:
            StorageError: when the directory, its key or its database cannot be used.
            BrokerError: when the broker cannot be started or reached.
            PortInUseError: when the broker's port is taken.
        """
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as exc:
            raise storage_error(exc, self._directory) from exc
        layout = await asyncio.to_thread(ImageLayout, self._directory / "oci")
        signer = await asyncio.to_thread(Signer.load_or_create, self._directory / "signing.key")
        await asyncio.to_thread(signer.write_public, self._public_key)
        try:
            await self._load()
            endpoint = await self.broker.start()
            bus = self._make_bus(endpoint)
            self._parts = _Parts(layout=layout, signer=signer, endpoint=endpoint, bus=bus)
            self._publisher.sealed = await asyncio.to_thread(self._seal, self.desired, self.generation)
            self._spawn(bus.run(), "bus")
            self._spawn(self._reconcile(), "reconcile")
            await bus.wait_connected(10)
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Say goodbye, disconnect, stop the broker, close the store. Idempotent."""
        parts = self._parts
        if parts is not None and parts.bus.connected:
            parts.bus.publish(CONTROL_TOPIC, self._publisher.presence(up=False), retain=True)
            await parts.bus.flush(1.0)
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.broker.stop()
        await self._store.close()

    @property
    def generation(self) -> Generation:
        """What PoPs shall have reached."""
        return self._publisher.generation

    @property
    def healthy(self) -> bool:
        """Whether it is connected and nothing of it has died."""
        return self._parts is not None and self._parts.bus.connected

    @property
    def endpoint(self) -> BrokerEndpoint:
        """Where the broker listens, once started."""
        return self._started().endpoint

    @property
    def public_hex(self) -> str:
        """The public key in hex, once started."""
        return self._started().signer.public_hex

    @property
    def blobs(self) -> BlobStore:
        """The blobs of the image layout, once started."""
        return self._started().layout.blobs

    @property
    def bus(self) -> Bus:
        """Its connection, once started."""
        return self._started().bus

    def _started(self) -> _Parts:
        assert self._parts is not None, "start() comes first"
        return self._parts

    async def _load(self) -> None:
        """Take over what the database has, and give PoPs that are new in the topology what the others run."""
        state = await self._store.open(epoch_ms=int(self._clock() * 1000))
        self._publisher.load(state.generation, state.placements)
        for stored in state.releases:
            self.releases.setdefault(stored.release.app, {})[stored.release.version] = stored
        for deployment in state.deployments:
            self.deployments[deployment.app, deployment.version] = deployment
        latest = {d.app: d.version for d in state.deployments}
        self.desired = {pop: dict(state.desired.get(pop, latest)) for pop in self.assignment}
        if self.assignment != state.placements or self.desired != state.desired:
            await self._store.place(self.assignment, self.desired)

    def _make_bus(self, endpoint: BrokerEndpoint) -> Bus:
        return Bus(
            endpoint,
            self.broker.credentials(CONTROL_LOGIN),
            identifier="edgesim-control",
            subscriptions=(
                Subscription(filter=REPORTED_FILTER, handler=self.observed.take_report),
                Subscription(filter=HEALTH_FILTER, handler=self.observed.take_health, qos=0),
                Subscription(filter=PRESENCE_FILTER, handler=self.observed.take_presence),
            ),
            will=Message(topic=CONTROL_TOPIC, payload=self._publisher.presence(up=False), retain=True),
            on_up=lambda: self._publisher.publish_all(self.bus),
            capacity=16 * 1024,
        )

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.create_task(work, name=f"control {name}")
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("%s failed", task.get_name(), exc_info=error)

    # -- deploying ----------------------------------------------------------------------------------------------------

    async def deploy(self, app: str, request: DeployRequest) -> Deployment:
        """Make a new version of an app, and have every PoP run it.

        Returns:
            The deployment, once it is durable; `wait` follows the rollout.

        Raises:
            UsageError: when the app's name is no DNS label.
            NotFoundError: when a component's blob has not been uploaded.
            BundleError: when a component is no Wasm file that can be served.
            InputError: when the PoPs' documents would get too large.
            StorageError: when the disk is full. In each case nothing has been changed.
        """
        name = check_app(app)
        components = await check_components(request, self.blobs, self._inspect)
        routes = tuple(Route(pattern=r.pattern, component=r.component) for r in request.routes)
        work = self._commit_release(name, components, routes, request)
        # A client that hangs up must not leave memory and database apart.
        return await asyncio.shield(asyncio.ensure_future(work))

    async def rollback(self, app: str, version: int, message: str = "") -> Deployment:
        """Have every PoP run an earlier version again: a new generation with the old release.

        Raises:
            NotFoundError: when there is no such app or version.
            StorageError: when the disk is full; nothing has been changed.
        """
        release = self.release(app, version).release
        return await asyncio.shield(asyncio.ensure_future(self._commit_rollback(release, message)))

    def release(self, app: str, version: int) -> StoredRelease:
        """One version of an app. Raises NotFoundError, saying what there is."""
        versions = self.releases.get(AppName(app))
        if versions is None:
            known = ", ".join(sorted(self.releases)) or "none yet"
            raise NotFoundError(
                f"there is no app {app[:64]!r}", help=f"apps: {known}; deploy one with `edgesim deploy`"
            )
        if version not in versions:
            raise NotFoundError(f"{app} has no version {version}", help=f"it has {', '.join(map(str, versions))}")
        return versions[version]

    async def _commit_release(
        self, app: AppName, components: tuple[Component, ...], routes: tuple[Route, ...], request: DeployRequest
    ) -> Deployment:
        async with self._change:
            if app not in self.releases and len(self.releases) >= APPS_MAX:
                raise UsageError(
                    f"there are {APPS_MAX} apps already", help="one edge has no more; use another state directory"
                )
            layout = self._started().layout
            digest = await asyncio.to_thread(
                layout.put_release, components, routes, filters=request.filters, prefetch=request.prefetch
            )
            release = Release(
                app=app,
                version=max(self.releases.get(app, {}), default=0) + 1,
                digest=digest,
                components=components,
                routes=routes,
                filters=request.filters,
                prefetch=request.prefetch,
            )
            stored = StoredRelease(release=release, message=request.message, created_s=self._clock())
            deployment = await self._commit(release, request.message, new=stored)
            try:
                every = [s.release for versions in self.releases.values() for s in versions.values()]
                await asyncio.to_thread(layout.write_index, every)
            except StorageError as exc:
                # The deployment is committed, and the index is written again with the next one.
                _log.warning("index.json of the image layout: %s", exc)
            return deployment

    async def _commit_rollback(self, release: Release, message: str) -> Deployment:
        async with self._change:
            return await self._commit(release, message, new=None)

    async def _commit(self, release: Release, message: str, *, new: StoredRelease | None) -> Deployment:
        """Seal, commit, take over, publish, in this order. Under the lock."""
        app, version = release.app, release.version
        generation = Generation(self.generation.epoch, self.generation.gen + 1)
        desired = {pop: {**apps, app: version} for pop, apps in self.desired.items()}
        deployment = Deployment(
            generation=generation, app=app, version=version, message=message, created_s=self._clock()
        )
        sealed = await asyncio.to_thread(self._seal, desired, generation, release)
        pops = tuple(self.assignment)
        if new is not None:
            await self._store.deploy(release, deployment, pops)
            self.releases.setdefault(app, {})[version] = new
        else:
            await self._store.point(deployment, pops)
        self.deployments[app, version] = deployment
        self.desired = desired
        self._adopt(generation, sealed)
        return deployment

    def _seal(
        self, desired: Mapping[PopId, Mapping[AppName, int]], generation: Generation, new: Release | None = None
    ) -> Sealed:
        """Every PoP's signed document, with a release that is not committed yet."""

        def release_of(app: AppName, version: int) -> Release:
            if new is not None and (new.app, new.version) == (app, version):
                return new
            return self.releases[app][version].release

        return seal_all(self._started().signer, desired, generation, release_of, issued_s=self._clock())

    def _adopt(self, generation: Generation, sealed: Sealed) -> None:
        self._publisher.adopt(self.bus, generation, sealed)
        self._notify()

    # -- listening ----------------------------------------------------------------------------------------------------

    async def _reconcile(self) -> None:
        while True:
            await asyncio.sleep(RECONCILE_S)
            self._publisher.reconcile(self.bus, self.observed.reports)

    def _on_report(self, report: PopReported) -> None:
        sealed = self._publisher.sealed.get(report.pop)
        if sealed is None:
            return
        if not contradicts(sealed[0], report):
            self._publisher.remind(self.bus, report)
            return
        self._held = max(self._held, Generation(report.epoch, report.gen))
        if not self._bumping:
            self._bumping = True
            self._spawn(self._bump(), "bump")

    async def _bump(self) -> None:
        """PoPs hold generations that this database does not know (it is an older copy): go beyond them."""
        try:
            await asyncio.sleep(_BUMP_DELAY_S)
            async with self._change:
                highest = max(self.generation, self._held)
                generation = Generation(highest.epoch, highest.gen + 1)
                _log.warning(
                    "PoPs hold generation %s, the database %s; going on with %s",
                    *map(tuple, (highest, self.generation, generation)),
                )
                sealed = await asyncio.to_thread(self._seal, self.desired, generation)
                await self._store.raise_generation(generation)
                self._adopt(generation, sealed)
        finally:
            self._bumping = False

    # -- following a rollout ------------------------------------------------------------------------------------------

    def progress(self, app: str, version: int) -> Progress:
        """How far a version's last deployment is, PoP by PoP. Raises NotFoundError."""
        name = self.release(app, version).release.app
        return rollout_progress(
            app=name,
            version=version,
            deployed=self.deployments[name, version].generation,
            assignment=self.assignment,
            desired=self.desired,
            reports=self.observed.reports,
            hosts_up={host for host in self.assignment.values() if self.observed.connected(host)},
        )

    async def wait(self, app: str, version: int, timeout_s: float) -> Progress:
        """The rollout when it is done, or as it stands after `timeout_s`. Raises NotFoundError."""
        deadline_s = asyncio.get_running_loop().time() + timeout_s
        while not (progress := self.progress(app, version)).done:
            left_s = deadline_s - asyncio.get_running_loop().time()
            if left_s <= 0 or not await self.changed(left_s):
                break
        return progress

    async def changed(self, timeout_s: float) -> bool:
        """Wait for news of any rollout; False when there is none in time."""
        news = self._news
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await news.wait()
        return news.is_set()

    def _notify(self) -> None:
        self._news.set()
        self._news = asyncio.Event()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parts:
    """What exists only while the control plane runs."""

    layout: ImageLayout
    signer: Signer
    endpoint: BrokerEndpoint
    bus: Bus
