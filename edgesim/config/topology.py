"""`topology.yaml` to a `Topology`: every mistake at once, each with its line, the expected form and a suggestion.

Three steps: form and types (pydantic), then what refers to what (on the raw document, so that both kinds of mistake are
reported together), then values. The default world, `topology.yaml`, explains the shape in its comments.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import fields
from difflib import get_close_matches
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Discriminator, Field, Tag, ValidationError

from edgesim.config import registry
from edgesim.config.catalogue import load_access, load_profiles, load_sites, nearest_site
from edgesim.config.policies import PolicyChoice, policy_problems, policy_spec
from edgesim.config.units import Bytes, Form, Seconds, Share
from edgesim.config.validation import FileModel, did_you_mean, problems_from_pydantic
from edgesim.config.yaml_source import YamlSource, clip, load_yaml
from edgesim.model.geo import LatLon
from edgesim.model.ids import PopId
from edgesim.model.topology import HealthSpec, NetworkSpec, OriginSpec, PopSpec, RetrySpec, RoutingSpec, Topology

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edgesim.errors import Problem

MAX_POPS: Final = 4200
ROUTING_POLICIES: Final = "edgesim.policies.routing"
DEFAULT_ORIGIN: Final = "demo"

_POP_ID = re.compile(r"[a-z]{3}[0-9]")
_POP_ID_HELP = "a PoP is named by three lowercase letters (its site's IATA code) and a digit, such as fra1"
_SLUG = r"^[a-z][a-z0-9-]{0,30}$"
_SLUG_HELP = "a name: a lowercase letter, then lowercase letters, digits and dashes, at most 31 in all"
_COUNTRY_HELP = "a country code: two capital letters of ISO 3166-1, such as DE"
_DEGREES = Form("a number of degrees")

Slug = Annotated[str, Field(pattern=_SLUG), Form(_SLUG_HELP)]
Latitude = Annotated[float, Field(ge=-90, le=90, allow_inf_nan=False), _DEGREES]
Longitude = Annotated[float, Field(ge=-180, le=180, allow_inf_nan=False), _DEGREES]


class PlaceFile(FileModel):
    """A place by its coordinates."""

    lat: Latitude
    lon: Longitude


class NetworkFile(FileModel):
    """The section `network`."""

    model: Literal["hub-graph"] = "hub-graph"
    time_scale: Annotated[float, Field(ge=0, le=100)] = 1.0
    access_mix: str = "by-country"


class HealthFile(FileModel):
    """The section `routing.health`."""

    interval: Annotated[Seconds, Field(ge=0.05, le=60)] = 0.5
    missed_beats: Annotated[int, Field(ge=1, le=100)] = 3


class RetryFile(FileModel):
    """The section `routing.retry`."""

    attempts: Annotated[int, Field(ge=1, le=5)] = 2
    budget: Share = 0.2
    min_concurrency: Annotated[int, Field(ge=0, le=10_000)] = 3


class RoutingFile(FileModel):
    """The section `routing`."""

    policy: str = "proximity"
    params: dict[str, Any] = Field(default_factory=dict)
    health: HealthFile = HealthFile()
    retry: RetryFile = RetryFile()


class DefaultsFile(FileModel):
    """The section `defaults`: what a PoP has unless it says otherwise."""

    profile: str = "small"
    origin: str = DEFAULT_ORIGIN
    scaling: PolicyChoice = "on-demand"
    eviction: PolicyChoice = "lru"


class OriginFile(FileModel):
    """One entry of `origins`."""

    kind: Literal["builtin", "url"]
    at: Annotated[
        Annotated[str, Tag("a site")] | Annotated[PlaceFile, Tag("a place")],
        Discriminator(lambda value: "a place" if isinstance(value, dict | PlaceFile) else "a site"),
        Form("a PoP or site, such as iad, or a place {lat: …, lon: …}"),
    ]
    url: Annotated[str, Field(max_length=2048)] = ""
    latency: Annotated[Seconds, Field(le=60)] = 0.02
    capacity: Annotated[int, Field(ge=1, le=100_000)] = 64


class PopFile(FileModel):
    """One entry of `pops`; a bare id stands for `{id: …}`."""

    id: str
    city: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    country: Annotated[str, Field(pattern=r"^[A-Z]{2}$"), Form(_COUNTRY_HELP)] | None = None
    lat: Latitude | None = None
    lon: Longitude | None = None
    profile: str | None = None
    origin: str | None = None
    slots: Annotated[int, Field(ge=1, le=4096)] | None = None
    queue: Annotated[int, Field(ge=0, le=100_000)] | None = None
    queue_timeout: Annotated[Seconds, Field(le=600)] | None = None
    memory: Annotated[Bytes, Field(ge=1 << 20)] | None = None
    scaling: PolicyChoice = None
    eviction: PolicyChoice = None


def _entry(value: object) -> object:
    """A PoP that is given by its id alone."""
    return {"id": value} if isinstance(value, str) else value


def _default_origins() -> dict[str, OriginFile]:
    """The demo origin, for files that name none."""
    return {DEFAULT_ORIGIN: OriginFile(kind="builtin", at="iad")}


class TopologyFile(FileModel):
    """The whole file."""

    version: Literal[1]
    name: Annotated[str, Field(min_length=1, max_length=64)]
    network: NetworkFile = NetworkFile()
    routing: RoutingFile = RoutingFile()
    defaults: DefaultsFile = DefaultsFile()
    origins: dict[Slug, OriginFile] = Field(default_factory=_default_origins)
    regions: dict[Slug, list[str]] | None = None
    pops: Annotated[
        list[Annotated[PopFile, BeforeValidator(_entry), Form("a PoP's id, such as fra1, or a mapping {id: …}")]],
        Field(min_length=1, max_length=MAX_POPS),
        Form(f"a list of 1 to {MAX_POPS} PoPs, such as [fra1, nrt1]"),
    ]


def load_topology(path: Path) -> Topology:
    """The world that a file describes.

    Raises:
        ConfigError: the file has mistakes; all of them are in `problems`.
        UsageError: the file cannot be read.
    """
    return parse_topology(load_yaml(path))


def parse_topology(source: YamlSource) -> Topology:
    """The world that a document describes.

    Raises:
        ConfigError: as `load_topology`.
    """
    problems: list[Problem] = []
    file: TopologyFile | None = None
    try:
        file = TopologyFile.model_validate(source.data)
    except ValidationError as exc:
        problems += problems_from_pydantic(exc, source, TopologyFile)
    problems += _References(source).problems()
    source.fail(problems)
    assert file is not None
    return _build(file)


class _References:
    """What the parts of a document say about each other. Reads the raw document: parts of a wrong type are skipped here."""

    def __init__(self, source: YamlSource) -> None:
        self.source = source
        data = source.data if isinstance(source.data, dict) else {}
        self.data: dict[str, Any] = data
        self.pops = [(i, _entry(pop)) for i, pop in enumerate(_part(data, "pops", list)[: MAX_POPS + 1])]
        self.ids = [(i, pop["id"]) for i, pop in self.pops if isinstance(pop, dict) and isinstance(pop.get("id"), str)]
        self.origins = list(_part(data, "origins", dict)) or [DEFAULT_ORIGIN]

    def problems(self) -> Iterator[Problem]:
        """Every problem, in no particular order."""
        if len(self.pops) > MAX_POPS:
            return  # reported by its own; the rest of a file like that is noise
        yield from self._pops()
        yield from self._regions()
        yield from self._origins()
        yield from self._routing()
        yield from policy_problems(self.source, ("defaults",), _part(self.data, "defaults", dict))
        yield from self._named(("defaults", "profile"), load_profiles(), "profile")
        yield from self._named(("defaults", "origin"), self.origins, "origin")
        plan = load_access()
        yield from self._named(("network", "access_mix"), ("by-country", *plan.mixes, *plan.names()), "access mix")
        if "defaults" not in self.data and DEFAULT_ORIGIN not in self.origins:
            yield self.source.problem(
                ("origins",), f"no origin '{DEFAULT_ORIGIN}', which is the default", "set defaults.origin"
            )

    def _named(self, path: tuple[str | int, ...], known: Any, what: str) -> Iterator[Problem]:
        """The value at `path` must be one of `known`."""
        if not self.source.has(path):
            return
        name: Any = self.data
        for part in path:
            name = name[part]
        if isinstance(name, str) and name not in known:
            plural = f"{what}es" if what.endswith("x") else f"{what}s"
            yield self.source.problem(path, f"no {what} '{clip(name)}'", did_you_mean(name, known, what=plural))

    def _pops(self) -> Iterator[Problem]:
        first: dict[str, int] = {}
        for i, pop in self.ids:
            if pop in first:
                line = self.source.problem(("pops", first[pop]), "").line
                hint = f"ids are unique; it stands already on line {line}"
                yield self.source.problem(("pops", i, "id"), f"the PoP '{clip(pop)}' is there twice", hint)
            first.setdefault(pop, i)
        for i, pop in self.pops:
            if not isinstance(pop, dict):
                continue
            yield from self._named(("pops", i, "profile"), load_profiles(), "profile")
            yield from self._named(("pops", i, "origin"), self.origins, "origin")
            yield from policy_problems(self.source, ("pops", i), pop)
            yield from self._site(i, pop)

    def _site(self, i: int, pop: dict[str, Any]) -> Iterator[Problem]:
        name, path = pop.get("id"), ("pops", i, "id")
        if not isinstance(name, str):
            return
        if not _POP_ID.fullmatch(name):
            near = _nearest_id(name)
            yield self.source.problem(path, f"'{clip(name)}' is not a PoP's id", f"{near}{_POP_ID_HELP}")
            return
        given = [key for key in ("city", "country", "lat", "lon") if pop.get(key) is not None]
        if name[:3] not in load_sites() and len(given) < 4:
            if given:
                missing = [key for key in ("city", "country", "lat", "lon") if key not in given]
                message = f"'{name[:3]}' is not in pops/sites.csv, and {_list(missing)} missing"
                yield self.source.problem(path, message, "a site of one's own gives city, country, lat and lon")
            else:
                hint = f"{_nearest_id(name)}a site of one's own gives city, country, lat and lon"
                yield self.source.problem(path, f"no site '{name[:3]}' in pops/sites.csv", hint)
        elif ("lat" in given) != ("lon" in given):
            missing = ["lon" if "lat" in given else "lat"]
            yield self.source.problem(("pops", i), f"{_list(missing)} missing", "coordinates need lat and lon")

    def _regions(self) -> Iterator[Problem]:
        if self.data.get("regions") is None:
            return
        ids = {pop for _, pop in self.ids}
        members: Counter[str] = Counter()
        for region, listed in _part(self.data, "regions", dict).items():
            for j, pop in enumerate(listed if isinstance(listed, list) else ()):
                if not isinstance(pop, str):
                    continue
                members[pop] += 1
                path = ("regions", region, j)
                if pop not in ids:
                    yield self.source.problem(
                        path, f"no PoP '{clip(pop)}' in this file", did_you_mean(pop, ids, what="PoPs")
                    )
                elif members[pop] == 2:
                    yield self.source.problem(path, f"'{pop}' is in a region already", "a PoP is in exactly one region")
        for i, pop in self.ids:
            if not members[pop] and _POP_ID.fullmatch(pop):
                hint = "add it to one under `regions`, or leave `regions` out to take those of pops/sites.csv"
                yield self.source.problem(("pops", i), f"'{clip(pop)}' is in no region", hint)

    def _origins(self) -> Iterator[Problem]:
        for name, origin in _part(self.data, "origins", dict).items():
            if not isinstance(origin, dict):
                continue
            at = origin.get("at")
            if isinstance(at, str) and _place(at, self._own_places()) is None:
                hint = did_you_mean(at, {pop for _, pop in self.ids}, what="PoPs of this file")
                hint = f"{hint}; or give {{lat: …, lon: …}}" if hint else "give {lat: …, lon: …}"
                yield self.source.problem(("origins", name, "at"), f"no PoP or site '{clip(at)}'", hint)
            url = origin.get("url")
            if origin.get("kind") == "url" and not (isinstance(url, str) and _is_http(url)):
                path: tuple[str | int, ...] = ("origins", name, "url") if "url" in origin else ("origins", name)
                yield self.source.problem(
                    path, "an origin of kind url needs the URL of a server", "such as http://127.0.0.1:9000"
                )

    def _own_places(self) -> dict[str, LatLon]:
        return {
            pop["id"]: LatLon(0, 0)
            for _, pop in self.pops
            if isinstance(pop, dict) and isinstance(pop.get("id"), str) and pop.get("lat") is not None
        }

    def _routing(self) -> Iterator[Problem]:
        policies = registry.load(ROUTING_POLICIES)
        yield from self._named(("routing", "policy"), policies, "routing policy")
        routing = _part(self.data, "routing", dict)
        name = routing.get("policy", "proximity")
        policy = policies.get(name) if isinstance(name, str) else None
        if policy is None:
            return
        known = {f.name for f in fields(policy)}
        for key in _part(routing, "params", dict):
            if key not in known:
                hint = did_you_mean(key, known, what="parameters") or "it has no parameters"
                yield self.source.problem(
                    ("routing", "params", key), f"{name} has no parameter '{clip(key)}'", hint, on_key=True
                )


def _part(data: dict[str, Any], key: str, kind: type) -> Any:
    """`data[key]` where it is a `kind`, else an empty one."""
    value = data.get(key)
    return value if isinstance(value, kind) else kind()


def _list(names: list[str]) -> str:
    return f"{' and '.join(names)} {'is' if len(names) == 1 else 'are'}"


def _nearest_id(name: str) -> str:
    """`did you mean …? ` for a mistyped id; empty when nothing is near."""
    digit = next((c for c in reversed(name) if c.isascii() and c.isdigit()), "1")
    letters = "".join(c for c in name.lower() if c.isalpha())
    close = get_close_matches(letters, load_sites(), n=9, cutoff=0.6)
    near = max(close, key=lambda iata: sum(a == b for a, b in zip(iata, letters, strict=False)), default="")
    return f"did you mean '{near}{digit}' ({load_sites()[near].city})? " if near else ""


def _is_http(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _place(at: str, own: dict[str, LatLon]) -> LatLon | None:
    """Where a PoP (`iad1`) or a site (`iad`) is."""
    if at in own:
        return own[at]
    site = load_sites().get(at[:3]) if len(at) == 3 or _POP_ID.fullmatch(at) else None
    return site.at if site else None


def _build(file: TopologyFile) -> Topology:
    """The values of a file without mistakes."""
    region_of = {pop: region for region, pops in (file.regions or {}).items() for pop in pops}
    pops = tuple(_pop(entry, file.defaults, region_of) for entry in file.pops)
    regions: dict[str, list[PopId]] = {name: [] for name in file.regions or ()}
    for pop in pops:
        regions.setdefault(pop.region, []).append(pop.id)
    places: dict[str, LatLon] = {pop.id: pop.at for pop in pops}
    return Topology(
        name=file.name,
        pops=pops,
        regions={name: tuple(members) for name, members in regions.items()},
        origins={name: _origin(name, origin, places) for name, origin in file.origins.items()},
        network=NetworkSpec(
            model=file.network.model, time_scale=file.network.time_scale, access_mix=file.network.access_mix
        ),
        routing=RoutingSpec(
            policy=file.routing.policy,
            params=dict(file.routing.params),
            health=HealthSpec(interval_s=file.routing.health.interval, missed_beats=file.routing.health.missed_beats),
            retry=RetrySpec(
                attempts=file.routing.retry.attempts,
                budget=file.routing.retry.budget,
                min_concurrency=file.routing.retry.min_concurrency,
            ),
        ),
    )


def _pop(entry: PopFile, defaults: DefaultsFile, region_of: dict[str, str]) -> PopSpec:
    site = load_sites().get(entry.id[:3])
    if entry.lat is not None and entry.lon is not None:
        at = LatLon(entry.lat, entry.lon)
    else:
        assert site is not None
        at = site.at
    name = entry.profile or defaults.profile
    profile = load_profiles()[name]
    region = region_of.get(entry.id) or (site.region if site else nearest_site(at).region)
    return PopSpec(
        id=PopId(entry.id),
        city=entry.city or (site.city if site else ""),
        country=entry.country or (site.country if site else ""),
        at=at,
        region=region,
        profile=name,
        slots=profile.slots if entry.slots is None else entry.slots,
        queue=profile.queue if entry.queue is None else entry.queue,
        queue_timeout_s=profile.queue_timeout_s if entry.queue_timeout is None else entry.queue_timeout,
        memory_bytes=profile.memory_bytes if entry.memory is None else entry.memory,
        origin=entry.origin or defaults.origin,
        scaling=policy_spec("scaling", entry.scaling or defaults.scaling),
        eviction=policy_spec("eviction", entry.eviction or defaults.eviction),
    )


def _origin(name: str, origin: OriginFile, places: dict[str, LatLon]) -> OriginSpec:
    at = LatLon(origin.at.lat, origin.at.lon) if isinstance(origin.at, PlaceFile) else _place(origin.at, places)
    assert at is not None
    return OriginSpec(
        name=name, kind=origin.kind, at=at, url=origin.url, latency_s=origin.latency, capacity=origin.capacity
    )
