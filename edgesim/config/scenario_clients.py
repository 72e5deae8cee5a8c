"""Who is in a population: the clients of cities, countries, access classes and networks, with their weights and clocks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from ipaddress import ip_network
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from edgesim.config.catalogue import find_metro, load_access, load_metros
from edgesim.errors import UsageError
from edgesim.model.address import network
from edgesim.scenario.spec import Clients, Population

if TYPE_CHECKING:
    from edgesim.config.scenario_load import PopulationFile
    from edgesim.model.geo import Metro

DAY: Final = datetime(2026, 1, 15, tzinfo=UTC)
"""The day that scenarios are set in: what time zones say of it decides local times, so that runs repeat all year round."""


def population(file: PopulationFile, *, clocks: bool = False) -> Population:
    """The population that is described. It has no clients when nobody fits all of it, which the loader refuses.

    Args:
        file: the description.
        clocks: whether local times matter, so that the system's time zones are asked.

    Raises:
        UsageError: `clocks`, and the system does not know a metro's time zone.
    """
    metros: dict[int, Metro] = {m.id: m for m in map(find_metro, file.metros)}
    countries = set(file.country)
    everywhere = not metros and not countries
    metros |= {m.id: m for m in load_metros() if everywhere or m.country in countries}
    plan = load_access()
    names = plan.names()
    clients = []
    for metro in metros.values():
        offset_s = utc_offset_s(metro.timezone) if clocks else 0.0
        for access, share in ({file.access: 1.0} if file.access else plan.mix(metro.country)).items():
            part = share * _inside(metro.id, names.index(access), tuple(file.cidr))
            if part > 0:
                weight = metro.weight * part
                clients.append(Clients(metro=metro, access=access, weight=weight, utc_offset_s=offset_s))
    return Population(name=file.name, weight=file.weight, clients=tuple(clients))


@lru_cache(maxsize=1024)
def utc_offset_s(timezone: str) -> float:
    """How far an IANA time zone is ahead of UTC on `DAY`, in seconds. Raises UsageError when it is not known."""
    try:
        offset = DAY.astimezone(ZoneInfo(timezone)).utcoffset()
    except ZoneInfoNotFoundError as exc:
        raise UsageError(
            f"this system does not know the time zone {timezone}, which `diurnal` needs",
            help="install the time zone database: the system's package tzdata, or pip install tzdata",
        ) from exc
    return (offset or timedelta()).total_seconds()


def _inside(metro: int, access: int, networks: tuple[str, ...]) -> float:
    """Which share of the clients of a metro and access class has an address in one of the networks."""
    if not networks:
        return 1.0
    share = 0.0
    for text in networks:
        wanted = ip_network(text)
        for family in ("v4", "loopback") if wanted.version == 4 else ("v6",):
            own = ip_network(network(metro, access, family))
            if own.overlaps(wanted):
                share += min(1.0, wanted.num_addresses / own.num_addresses)
    return min(1.0, share)
