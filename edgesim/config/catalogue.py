"""The data that ships in `pops/`, as values: sites, hardware profiles, metros, access classes, hub graph.

Read once per process. The files are ours and tested, so a mistake in them is reported like a user's, by file and line.
"""

from __future__ import annotations

import csv
import json
import re
import unicodedata
from dataclasses import dataclass
from functools import cache
from io import StringIO
from math import nan
from typing import TYPE_CHECKING, Annotated, Final, NoReturn

from pydantic import Field

from edgesim.config.resources import resource_path
from edgesim.config.units import Bytes, Seconds, Share
from edgesim.config.validation import FileModel, did_you_mean, validate
from edgesim.config.yaml_source import load_yaml
from edgesim.errors import ConfigError, Problem, UsageError
from edgesim.model.access import AccessClass, AccessPlan
from edgesim.model.geo import LatLon, Metro, on_sphere
from edgesim.model.rtt import HubGraph, NetworkModel

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from edgesim.model.topology import Topology


_IATA: Final = re.compile(r"[a-z]{3}")
_COUNTRY: Final = re.compile(r"[A-Z]{2}")
_TIMEZONE: Final = re.compile(r"[A-Z][A-Za-z]+(/[A-Z][A-Za-z_-]+){1,2}")
"""The form only: that each exists is tested, since looking them all up would cost every process 10 ms."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A place where a PoP can stand: the airport whose code names it."""

    iata: str
    """Lowercase IATA code."""
    city: str
    country: str
    at: LatLon
    region: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """A hardware profile: what a PoP has unless it says otherwise."""

    name: str
    slots: int
    queue: int
    queue_timeout_s: float
    memory_bytes: int


@cache
def load_sites() -> Mapping[str, Site]:
    """The sites of `pops/sites.csv` by lowercase IATA code."""
    sites: dict[str, Site] = {}
    for row in _rows("pops/sites.csv"):
        iata = row["iata"]
        if not _IATA.fullmatch(iata) or iata in sites:
            row.fail("iata", f"'{iata}' is no code of its own", "three lowercase letters, each site once")
        sites[iata] = Site(iata=iata, city=row["city"], country=row["country"], at=_at(row), region=row["region"])
    return sites


@cache
def load_metros() -> tuple[Metro, ...]:
    """The metros of `pops/metros.csv`, by id."""
    metros: list[Metro] = []
    for row in _rows("pops/metros.csv"):
        if row["id"] != str(len(metros) + 1):
            row.fail("id", f"'{row['id']}' is not {len(metros) + 1}", "ids count from 1 and are never given away again")
        if not _TIMEZONE.fullmatch(row["timezone"]):
            row.fail("timezone", f"'{row['timezone']}' is no IANA time zone", "such as Europe/Berlin")
        metros.append(
            Metro(
                id=len(metros) + 1,
                city=row["city"],
                country=row["country"],
                at=_at(row),
                weight=row.number("weight", least=1e-6, most=1e3),
                timezone=row["timezone"],
            )
        )
    return tuple(metros)


def find_metro(name: str) -> Metro:
    """A metro by id or by the name of its city, whatever its case and accents (`São Paulo`, `sao paulo`, `5`).

    A country may follow to tell cities of the same name apart: `San Jose, CR`.

    Raises:
        UsageError: there is none with this name.
    """
    by_name: dict[str, Metro] = {}
    for metro in sorted(load_metros(), key=lambda m: -m.weight):
        for key in (_folded(metro.city), _folded(f"{metro.city}, {metro.country}"), str(metro.id)):
            by_name.setdefault(key, metro)
    found = by_name.get(_folded(name))
    if found is None:
        cities = {_folded(m.city): m.city for m in load_metros()}
        hint = did_you_mean(_folded(name), cities, what="some that are known")
        for folded, city in cities.items():
            hint = hint.replace(f"'{folded}'", f"'{city}'")
        raise UsageError(f"no metro '{name[:60]}'", help=hint)
    return found


def nearest_site(at: LatLon) -> Site:
    """The catalogue's site that is nearest to a place."""
    x, y, z = on_sphere(at)
    return max(_sites_on_sphere(), key=lambda site: site[1] * x + site[2] * y + site[3] * z)[0]


@cache
def _sites_on_sphere() -> tuple[tuple[Site, float, float, float], ...]:
    """Every site as a point of the unit sphere."""
    return tuple((site, *on_sphere(site.at)) for site in load_sites().values())


class _ProfileFile(FileModel):
    slots: Annotated[int, Field(ge=1)]
    queue: Annotated[int, Field(ge=0)]
    queue_timeout: Seconds
    memory: Bytes


@cache
def load_profiles() -> Mapping[str, Profile]:
    """The hardware profiles of `pops/profiles.yaml` by name."""
    source = load_yaml(resource_path("pops/profiles.yaml"), "pops/profiles.yaml")
    profiles: dict[str, Profile] = {}
    for name in source.data:
        part = validate(source, _ProfileFile, (name,))
        profiles[name] = Profile(
            name=name, slots=part.slots, queue=part.queue, queue_timeout_s=part.queue_timeout, memory_bytes=part.memory
        )
    return profiles


class _AccessClassFile(FileModel):
    base: Seconds
    base_sigma: float
    jitter: Seconds
    jitter_sigma: float


class _AccessFile(FileModel):
    classes: Annotated[dict[str, _AccessClassFile], Field(min_length=1, max_length=8)]
    unknown: str
    mixes: dict[str, dict[str, Share]]
    default_mix: str
    countries: dict[str, list[str]]


@cache
def load_access() -> AccessPlan:
    """The access classes and their mixes, from `pops/access.yaml`."""
    source = load_yaml(resource_path("pops/access.yaml"), "pops/access.yaml")
    file = validate(source, _AccessFile)
    problems = [
        source.problem(("mixes", name), f"the shares of '{name}' add up to {sum(mix.values()):.3f}, not 1")
        for name, mix in file.mixes.items()
        if abs(sum(mix.values()) - 1) > 1e-9
    ]
    problems += [
        source.problem(("mixes", name, access), f"no class '{access}'", did_you_mean(access, file.classes))
        for name, mix in file.mixes.items()
        for access in mix
        if access not in file.classes
    ]
    source.fail(problems)
    return AccessPlan(
        classes=tuple(
            AccessClass(
                name=name, base_s=c.base, base_sigma=c.base_sigma, jitter_s=c.jitter, jitter_sigma=c.jitter_sigma
            )
            for name, c in file.classes.items()
        ),
        unknown=file.unknown,
        mixes=file.mixes,
        country_mix={country: group for group, members in file.countries.items() for country in members},
        default_mix=file.default_mix,
    )


@cache
def load_hub_graph() -> HubGraph:
    """The hub graph of `pops/hub_graph.json`, ready to use."""
    return HubGraph.from_values(json.loads(resource_path("pops/hub_graph.json").read_text(encoding="utf-8")))


def network_model(topology: Topology) -> NetworkModel:
    """The delays of a world: `topology`'s PoPs and origins with the catalogue's metros, access classes and hub graph."""
    return NetworkModel(
        graph=load_hub_graph(),
        access=load_access(),
        pops=topology.pops,
        origins=topology.origins,
        metros=load_metros(),
    )


class _Row(dict[str, str]):
    """One row of a CSV file that ships with edgesim, and where it stands."""

    def __init__(self, cells: Mapping[str, str], file: str, line: int) -> None:
        super().__init__(cells)
        self.file, self.line = file, line

    def number(self, column: str, *, least: float, most: float) -> float:
        """The number in a cell, which must lie between `least` and `most`."""
        try:
            number = float(self[column])
        except ValueError:
            number = nan
        if not least <= number <= most:
            self.fail(column, f"'{self[column]}' is no number between {least:g} and {most:g}")
        return number

    def fail(self, column: str, message: str, help: str = "") -> NoReturn:  # noqa: A002 - as in every error
        """Report a cell.

        Raises:
            ConfigError: always.
        """
        line = ",".join(self.values())
        raise ConfigError(
            [Problem(file=self.file, line=self.line, col=1, field=column, message=message, help=help, source=line)]
        )


def _rows(name: str) -> Iterator[_Row]:
    """The rows of a CSV file that ships with edgesim; a missing cell and a code of no country are reported."""
    reader = csv.DictReader(StringIO(resource_path(name).read_text(encoding="utf-8")))
    for cells in reader:
        if None in cells or None in cells.values():
            message = "the row has too many or too few cells"
            raise ConfigError([Problem(file=name, line=reader.line_num, col=1, field="", message=message)])
        row = _Row(cells, name, reader.line_num)
        if not _COUNTRY.fullmatch(row["country"]):
            row.fail("country", f"'{row['country']}' is no country code", "two capital letters of ISO 3166-1")
        yield row


def _at(row: _Row) -> LatLon:
    return LatLon(row.number("lat", least=-90, most=90), row.number("lon", least=-180, most=180))


def _folded(name: str) -> str:
    """A name without case, accents and doubled spaces."""
    plain = unicodedata.normalize("NFKD", name)
    return " ".join("".join(c for c in plain if not unicodedata.combining(c)).casefold().split())
