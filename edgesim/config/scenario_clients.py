"""Who is in a population: the clients of cities, countries, access classes and networks, with their weights and clocks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from ipaddress import ip_network
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

from edgesim.config.catalogue import find_metro, load_access, load_metros
from edgesim.model.address import network
from edgesim.scenario.spec import Clients, Population

if TYPE_CHECKING:
    from edgesim.config.scenario_load import PopulationFile
    from edgesim.model.geo import Metro

DAY: Final = datetime(2026, 1, 15, tzinfo=UTC)
"""The day that scenarios are set in: what time zones say of it decides local times, so that runs repeat all year round."""


def population(file: PopulationFile) -> Population:
    """The population that is described. It has no clients when nobody fits all of it, which the loader refuses."""
    metros: dict[int, Metro] = {m.id: m for m in map(find_metro, file.metros)}
    countries = set(file.country)
    everywhere = not metros and not countries
    metros |= {m.id: m for m in load_metros() if everywhere or m.country in countries}
    plan = load_access()
    names = plan.names()
    clients = []
    for metro in metros.values():
        offset_s = utc_offset_s(metro.timezone)
        for access, share in ({file.access: 1.0} if file.access else plan.mix(metro.country)).items():
            part = share * _inside(metro.id, names.index(access), tuple(file.cidr))
            if part > 0:
                weight = metro.weight * part
                clients.append(Clients(metro=metro, access=access, weight=weight, utc_offset_s=offset_s))
    return Population(name=file.name, weight=file.weight, clients=tuple(clients))


@lru_cache(maxsize=1024)
def utc_offset_s(timezone: str) -> float:
    """How far an IANA time zone is ahead of UTC on `DAY`, in seconds."""
    offset = DAY.astimezone(ZoneInfo(timezone)).utcoffset()
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
