"""What `edgesim sim run` simulates: the world, the apps and their costs, put together from files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from edgesim.cli._documents import read_profile
from edgesim.cli._scenario_names import check_names
from edgesim.config.catalogue import load_access, network_model
from edgesim.config.manifest import AppSource, load_app
from edgesim.config.registry import find
from edgesim.config.resources import resource_path
from edgesim.config.topology import ROUTING_POLICIES, load_topology
from edgesim.errors import UsageError
from edgesim.model.ids import AppName, Digest
from edgesim.model.worker import Component, Release, Reuse
from edgesim.results.facts import PopPlace, RunFacts
from edgesim.scenario.steps import Deploy
from edgesim.sim.costs import Measured
from edgesim.sim.scenario import check_scenario, run_scenario

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from edgesim.model.topology import Topology
    from edgesim.model.worker import Abi
    from edgesim.results.collect import Results
    from edgesim.results.profile import EdgeProfile, Profile
    from edgesim.scenario.spec import Scenario
    from edgesim.scenario.timeline import Mark

DEFAULT_PROFILE: Final = "pops/profile.json"
PROCESSES: Final = 3
"""As `edgesim up` has them."""
_COMPONENT: Final = b"\x00asm\x0d\x00\x01\x00"
"""How a component begins, unlike a core module (component model, Binary.md)."""


class Costs:
    """The profiles that a run draws from: those that were named, else the one that ships."""

    def __init__(self, files: tuple[Path, ...], *, ideal: bool = False) -> None:
        self.default = read_profile(resource_path(DEFAULT_PROFILE))
        self.named = [read_profile(file) for file in files]
        self.ideal = ideal
        """Whether the edge's own share is left out."""
        self.measured: dict[Digest, Measured] = {}
        self.sources: dict[str, dict[str, str]] = {}
        """Component with the beginning of its digest, and what its costs are taken from, for people."""

    def take(self, component: str, digest: Digest) -> Abi | None:
        """Have the costs of a component at hand; its ABI, where it was measured itself."""
        for profile in (*self.named, self.default):
            worker = profile.worker(digest)
            if worker is not None:
                self.measured[digest] = Measured(worker)
                self.sources[f"{component} {digest[:12]}"] = self._source(profile, worker.id, "this file")
                return worker.abi  # type: ignore[return-value] # a profile's words are checked, not typed
        profile = self.named[0] if self.named else self.default
        worker = profile.workers[0]
        self.measured[digest] = Measured(worker)
        self.sources[f"{component} {digest[:12]}"] = self._source(profile, worker.id, "another worker")
        return None

    @property
    def edge(self) -> EdgeProfile | None:
        """The edge's own share, from the first profile that has one."""
        if self.ideal:
            return None
        return next((p.edge for p in (*self.named, self.default) if p.edge is not None), None)

    @property
    def name(self) -> str:
        """What to call all of it."""
        return ", ".join(profile.name for profile in self.named) or f"{self.default.name} (the default)"

    @property
    def measured_at(self) -> str:
        """When it was measured."""
        return ", ".join(profile.measured_at for profile in self.named or [self.default])

    def facts(self) -> dict[str, object]:
        """What a summary says about it."""
        used = self.named or [self.default]
        return {
            "name": self.name,
            "measured_at": self.measured_at,
            "default": not self.named,
            "machine": dict(used[0].machine),
            "versions": dict(used[0].versions),
            "workers": {name: dict(source) for name, source in sorted(self.sources.items())},
            "edge": self.edge is not None,
        }

    @staticmethod
    def _source(profile: Profile, worker: str, of: str) -> dict[str, str]:
        return {"profile": profile.name, "measured_at": profile.measured_at, "worker": worker, "of": of}


class SourceApps:
    """The apps of a run as releases, read once. An `Apps` of the simulator."""

    def __init__(self, costs: Costs, folder: Path) -> None:
        self._costs = costs
        self._folder = folder
        self._read: dict[tuple[str, AppName | None], tuple[AppSource, tuple[Component, ...], Digest]] = {}

    def read(self, path: str, app: AppName | None = None) -> AppName:
        """Read an app ahead of the run, so that what is wrong with it is told first; its name."""
        found = self._read.get((path, app))
        if found is None:
            source = load_app(Path(path), name=app)
            found = self._read[path, app] = (source, tuple(self._components(source)), _digest_of(source))
        return AppName(found[0].name)

    def release(
        self, path: str, version: Callable[[AppName], int], *, prefetch: bool, app: AppName | None = None
    ) -> Release:
        """See `sim.timeline.Apps`."""
        name = self.read(path, app)
        source, components, digest = self._read[path, app]
        return Release(
            app=name,
            version=version(name),
            digest=digest,
            components=components,
            routes=source.routes,
            filters=source.filters,
            prefetch=prefetch,
        )

    def _components(self, source: AppSource) -> Iterator[Component]:
        digests = {part.id: part.digest for part in source.request().components}
        for part in source.components:
            digest = Digest(digests[part.id])
            abi = self._costs.take(part.id, digest) or _abi(part.file, is_filter=part.id in source.filters)
            yield Component(
                id=part.id,
                digest=digest,
                size_bytes=part.file.stat().st_size,
                abi=abi,
                limits=part.limits,
                reuse=_reuse(abi, part.reuse),
                fail_open=part.fail_open,
            )


def _digest_of(source: AppSource) -> Digest:
    """A digest for the release: two versions of one app are told apart by their files."""
    return Digest("".join(part.digest for part in source.request().components)[:64])


def _abi(file: Path, *, is_filter: bool) -> Abi:
    """What a file is by its first bytes, where nobody has inspected it."""
    if is_filter:
        return "proxy-wasm"
    with file.open("rb") as stream:
        return "wasi-http" if stream.read(len(_COMPONENT)) == _COMPONENT else "wagi"


def _reuse(abi: Abi, wanted: Reuse) -> Reuse:
    """What the live runtime grants: a command ends with its request, a component takes one at a time."""
    if abi not in {"wasi-http", "wasi-http-p3"}:
        return Reuse()
    return Reuse(
        max_instance_reuse_count=wanted.max_instance_reuse_count,
        idle_instance_timeout_s=wanted.idle_instance_timeout_s,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedWorld:
    """All that a run needs beside its scenario."""

    topology: Topology
    costs: Costs
    apps: SourceApps
    app: tuple[str, AppName]
    """Path and name of the app that runs at the beginning."""
    processes: int
    prefetch: bool
    file: str
    """Name of the scenario's file."""

    def run(
        self,
        scenario: Scenario,
        *,
        on_progress: Callable[[float, int], None] = lambda _at_s, _sent: None,
        on_mark: Callable[[Mark], None] = lambda _mark: None,
    ) -> Results:
        """One run."""
        routing = self.topology.routing
        path, app = self.app
        return run_scenario(
            scenario,
            self.topology,
            network=network_model(self.topology),
            policy=find(ROUTING_POLICIES, routing.policy)(**routing.params),
            release=self.apps.release(path, lambda _app: 1, prefetch=self.prefetch, app=app),
            apps=self.apps,
            access=load_access().names(),
            measured=self.costs.measured,
            edge=self.costs.edge,
            hosts=self.processes,
            on_progress=on_progress,
            on_mark=on_mark,
        )

    def facts(self, seed: int) -> RunFacts:
        """What the summary says about the circumstances: nothing that another run would not repeat."""
        processes = f" --processes {self.processes}" if self.processes != PROCESSES else ""
        flags = ("" if self.prefetch else " --no-prefetch") + (" --ideal" if self.costs.ideal else "")
        pops = tuple(
            PopPlace(pop=p.id, city=p.city, country=p.country, region=p.region, at=p.at) for p in self.topology.pops
        )
        return RunFacts(
            world="simulated",
            command=f"edgesim sim run {self.file} --seed {seed}{processes}{flags}",
            time_scale=self.topology.network.time_scale,
            pops=pops,
            profile=self.costs.facts(),
        )

    def says(self) -> str:
        """The same for people, in a line."""
        strangers = [name for name, source in self.costs.sources.items() if source["of"] != "this file"]
        warning = ""
        if strangers:
            who = f"{', '.join(strangers)} {'costs' if len(strangers) == 1 else 'cost'}"
            warning = f"; never measured, {who} what another worker does (see `edgesim profile`)"
        return f"costs from the profile {self.costs.name}, measured {self.costs.measured_at[:10]}{warning}"


def prepare(
    scenario: Scenario,
    file: Path,
    *,
    topology: Path | None,
    processes: int,
    app_path: Path | None,
    prefetch: bool,
    profiles: tuple[Path, ...],
    ideal: bool,
) -> SimulatedWorld:
    """Read everything that a run of the scenario needs.

    Raises:
        UsageError: a file is not there, or the timeline is about a PoP or host that the world has not.
        ConfigError: a file is wrong.
    """
    check_scenario(scenario)
    world = load_topology(topology or _topology_file())
    hosts = max(1, min(processes, len(world.pops)))
    known = {
        "pop": {str(p.id) for p in world.pops},
        "host": {f"host{n + 1}" for n in range(hosts)},
        "region": set(world.regions),
        "origin": set(world.origins),
    }
    check_names(scenario, known, "this world")
    costs = Costs(profiles, ideal=ideal)
    apps = SourceApps(costs, Path())
    app = AppName(scenario.target.app)
    path = str(app_path or _shipped(app))
    apps.read(path, app)
    for entry in scenario.timeline:
        action = entry.step.action()
        if isinstance(action, Deploy):
            apps.read(action.path)
    return SimulatedWorld(
        topology=world,
        costs=costs,
        apps=apps,
        app=(path, app),
        processes=processes,
        prefetch=prefetch,
        file=file.name,
    )


def _topology_file() -> Path:
    here = Path("topology.yaml")
    return here if here.is_file() else resource_path("topology.yaml")


def _shipped(app: AppName) -> Path:
    """The folder of workers that has the app's name. Raises UsageError."""
    here = Path("workers") / app
    if here.is_dir():
        return here
    try:
        return resource_path(f"workers/{app}")
    except UsageError as exc:
        raise UsageError(
            f"the scenario is about the app '{app}', and there is no workers/{app}",
            help="name the app's folder, manifest or .wasm file with --app",
        ) from exc
