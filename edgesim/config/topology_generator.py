"""Worlds of any size: well spread, weighted by demand, the same for the same arguments. Loading one is `topology.py`.

Sites are chosen one after the other, each where it takes most off the sum of demand times cost: the greedy heuristic for
the p-median problem (Cornuéjols, Fisher and Nemhauser, Management Science 23(8), 1977), evaluated lazily (Minoux, 1978). The
cost is the square root of the distance to the nearest PoP. With the distance itself, small worlds have their PoPs half-way
between cities (Aktobe first); with its root they stand in cities, and 20 PoPs are nearer in the mean as well (749 km rather
than 792). Demand is that of the metros, and a little at every site, so that worlds stay spread out when every
metro has its PoP. What the catalogue has no site for stands around metros, in proportion to demand, and is no real place:
such PoPs have ids that begin with x and a city that begins with "near".
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from heapq import heapify, heappop, heapreplace
from itertools import combinations, product
from math import cos, inf, pi, radians, sin, sqrt
from string import ascii_lowercase
from textwrap import wrap
from typing import TYPE_CHECKING, Final

from edgesim.config.catalogue import load_metros, load_sites, nearest_site
from edgesim.config.topology import MAX_POPS
from edgesim.config.validation import did_you_mean
from edgesim.config.yaml_source import clip
from edgesim.errors import UsageError
from edgesim.model.geo import LatLon, distance_km, on_sphere
from edgesim.model.stream import Stream, key

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from edgesim.config.catalogue import Site
    from edgesim.model.geo import Metro

GENERATED_BY: Final = "edgesim topology generate"
"""Stands in the first line of every file that is made here."""
SITE_DEMAND: Final = 0.05
"""Demand at a site itself, in millions of people online: who lives near an airport and in no metro of the catalogue."""

_HALF_WAY_ROUND_KM: Final = 20_016.0
_SEED_SPREAD: Final = 0.2
_METRO_KM: Final = 100.0
"""A site this near to a metro counts as one of the metro's."""
_GOLDEN_ANGLE: Final = pi * (3 - sqrt(5))
_KM_PER_DEGREE: Final = 111.195
_LARGE, _MEDIUM = 4.0, 1.5
"""A PoP with so many times the mean demand has a large or a medium profile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratedPop:
    """One PoP of a generated world."""

    id: str
    city: str
    country: str
    at: LatLon
    region: str
    is_real: bool
    """Whether it stands at a site of the catalogue; else its place is made up around a metro."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratedWorld:
    """A world and how good it is."""

    pops: tuple[GeneratedPop, ...]
    """In the order in which they were chosen."""
    regions: tuple[str, ...]
    """What it was limited to; empty for the whole world."""
    seed: int
    demand: Mapping[str, float]
    """PoP to the demand that is nearest to it, in millions of people online."""
    mean_km: float
    """Distance from people to their nearest PoP, weighted by demand."""
    p95_km: float

    @property
    def generated(self) -> int:
        """PoPs whose places are made up."""
        return sum(not pop.is_real for pop in self.pops)


def generate_world(pops: int, regions: Sequence[str] = (), seed: int = 0) -> GeneratedWorld:
    """A world of `pops` PoPs, the same for the same arguments.

    Args:
        pops: how many, 1 to `MAX_POPS`.
        regions: only sites and metros of these regions; all when empty.
        seed: 0 takes the catalogue's demand as it is; others vary it by up to a fifth per metro, and turn what is made up.

    Raises:
        UsageError: there is no such region, or the number is out of its range.
    """
    if not 1 <= pops <= MAX_POPS:
        raise UsageError(f"a world has 1 to {MAX_POPS} PoPs, not {pops}")
    known = dict.fromkeys(site.region for site in load_sites().values())
    for region in regions:
        if region not in known:
            hint = did_you_mean(region, known, what="regions")
            raise UsageError(f"no region '{clip(region)}' in pops/sites.csv", help=hint)
    wanted = set(regions or known)
    home = {metro.id: nearest_site(metro.at) for metro in load_metros()}
    metros = [metro for metro in load_metros() if home[metro.id].region in wanted]
    weights = {metro.id: metro.weight * _varied(seed, metro) for metro in metros}
    sites = [site for site in load_sites().values() if site.region in wanted]
    points = [(metro.at, weights[metro.id]) for metro in metros] + [(site.at, SITE_DEMAND) for site in sites]
    chosen = [sites[i] for i in _greedy_median([site.at for site in sites], points, min(pops, len(sites)))]
    out = [
        GeneratedPop(id=f"{s.iata}1", city=s.city, country=s.country, at=s.at, region=s.region, is_real=True)
        for s in chosen
    ]
    if pops > len(out):
        seats = _seats(metros, weights, chosen, pops - len(out))
        out += _around_metros(seats, weights, {metro.id: home[metro.id].region for metro in metros}, seed)
    return _measured(out, points[: len(metros)], tuple(dict.fromkeys(regions)), seed)


def _varied(seed: int, metro: Metro) -> float:
    """What a seed makes of a metro's demand."""
    if not seed:
        return 1.0
    return 1 + _SEED_SPREAD * (2 * Stream(key(seed, "demand", metro.id)).uniform() - 1)


def _greedy_median(places: Sequence[LatLon], points: Sequence[tuple[LatLon, float]], count: int) -> Iterator[int]:
    """Indices of `count` of `places`, each the one that then takes most off the sum of weight times cost."""
    costs = [[sqrt(distance_km(place, at)) for at, _ in points] for place in places]
    weights = [weight for _, weight in points]
    nearest = [sqrt(_HALF_WAY_ROUND_KM)] * len(points)

    def gain(i: int) -> float:
        return sum(w * (old - new) for w, old, new in zip(weights, nearest, costs[i], strict=True) if new < old)

    # Gains only shrink as places are chosen: the first whose gain is up to date and still the largest is the best.
    queue = [(-inf, -1, i) for i in range(len(places))]
    heapify(queue)
    for step in range(count):
        while queue[0][1] != step:
            i = queue[0][2]
            heapreplace(queue, (-gain(i), step, i))
        best = heappop(queue)[2]
        nearest = [min(pair) for pair in zip(nearest, costs[best], strict=True)]
        yield best


def _seats(metros: Sequence[Metro], weights: Mapping[int, float], sites: Iterable[Site], count: int) -> list[Metro]:
    """The metros of `count` more PoPs, in proportion to demand (Sainte-Laguë; sites that are there already count)."""
    seats = Counter[int]()
    for site in sites:
        km, metro_id = min((distance_km(site.at, metro.at), metro.id) for metro in metros)
        if km < _METRO_KM:
            seats[metro_id] += 1
    by_id = {metro.id: metro for metro in metros}
    queue = [(-weights[metro.id] / (2 * seats[metro.id] + 1), metro.id) for metro in metros]
    heapify(queue)
    out = []
    for _ in range(count):
        metro_id = queue[0][1]
        seats[metro_id] += 1
        out.append(by_id[metro_id])
        heapreplace(queue, (-weights[metro_id] / (2 * seats[metro_id] + 1), metro_id))
    return out


def _around_metros(
    seats: Sequence[Metro], weights: Mapping[int, float], region_of: Mapping[int, str], seed: int
) -> Iterator[GeneratedPop]:
    """Made-up PoPs, one for each of `seats`."""
    ids = _made_up_ids(seats)
    total = Counter(metro.id for metro in seats)
    placed = Counter[int]()
    for metro in seats:
        phase = key(seed, "place", metro.id)
        at = _in_sunflower(metro.at, placed[metro.id], total[metro.id], weights[metro.id], phase)
        placed[metro.id] += 1
        yield GeneratedPop(
            id=next(ids),
            city=f"near {metro.city}",
            country=metro.country,
            at=at,
            region=region_of[metro.id],
            is_real=False,
        )


def _in_sunflower(centre: LatLon, k: int, n: int, weight: float, phase: int) -> LatLon:
    """The k-th of `n` places spread evenly over a disc: larger cities have larger ones, up to some 75 km of radius."""
    radius_km = (12 + 11 * sqrt(weight)) * sqrt((k + 0.5) / n)
    angle = (phase % 1000) / 1000 * 2 * pi + k * _GOLDEN_ANGLE
    lat = centre.lat + radius_km * sin(angle) / _KM_PER_DEGREE
    lon = centre.lon + radius_km * cos(angle) / (_KM_PER_DEGREE * cos(radians(centre.lat)))
    return LatLon(round(lat, 3), round((lon + 180) % 360 - 180, 3))


def _made_up_ids(metros: Iterable[Metro]) -> Iterator[str]:
    """Ids for made-up PoPs of these metros, in their order: x, two letters of the city, and a digit."""
    taken = set(load_sites())
    spare = (f"x{a}{b}" for a, b in product(ascii_lowercase, repeat=2))
    codes: dict[int, str] = {}
    used = Counter[int]()
    for metro in metros:
        number = used[metro.id] % 10
        if number == 0:
            letters = [c for c in metro.city.lower() if c in ascii_lowercase]
            fitting = (f"x{a}{b}" for a, b in combinations(letters, 2))
            code = next((c for c in fitting if c not in taken), "") or next(c for c in spare if c not in taken)
            taken.add(code)
            codes[metro.id] = code
        used[metro.id] += 1
        yield f"{codes[metro.id]}{(number + 1) % 10}"


def _measured(
    pops: list[GeneratedPop], points: Sequence[tuple[LatLon, float]], regions: tuple[str, ...], seed: int
) -> GeneratedWorld:
    """The world with how its demand is spread."""
    demand: dict[str, float] = {pop.id: 0.0 for pop in pops}
    distances = []
    on_globe = [(pop, *on_sphere(pop.at)) for pop in pops]
    for at, weight in points:
        x, y, z = on_sphere(at)
        pop = max(on_globe, key=lambda p: p[1] * x + p[2] * y + p[3] * z)[0]
        demand[pop.id] += weight
        distances.append((distance_km(at, pop.at), weight))
    distances.sort()
    total = sum(weight for _, weight in distances)
    passed, p95_km = 0.0, 0.0
    for km, weight in distances:
        passed += weight
        if passed >= 0.95 * total:
            p95_km = km
            break
    mean_km = sum(km * weight for km, weight in distances) / total
    return GeneratedWorld(pops=tuple(pops), regions=regions, seed=seed, demand=demand, mean_km=mean_km, p95_km=p95_km)


def to_yaml(world: GeneratedWorld) -> str:
    """The world as the text of a topology file, with comments on how it came about."""
    pops, real = world.pops, len(world.pops) - world.generated
    flags = "".join(f" --region {region}" for region in world.regions) + (f" --seed {world.seed}" if world.seed else "")
    busiest = max(pops, key=lambda pop: world.demand[pop.id])
    members: dict[str, list[str]] = {}
    for pop in pops:
        members.setdefault(pop.region, []).append(pop.id)
    lines = [
        f"# Made by `{GENERATED_BY} --pops {len(pops)}{flags}`; the same command makes the same world.",
        f"# {real} sites of pops/sites.csv, each chosen where it then brought people nearest to a PoP (metros of",
        "# pops/metros.csv, weighted by people online). Weighted by demand, the nearest PoP is",
        f"# {world.mean_km:.0f} km away in the mean, and within {world.p95_km:.0f} km for 95 %.",
    ]
    if world.generated:
        lines.append(
            f"# {world.generated} more are made up around metros: no such sites exist. Their ids begin with x."
        )
    lines += [
        "version: 1",
        f"name: {'-'.join(world.regions) or 'world'}-{len(pops)}",
        "",
        "defaults: {profile: small, origin: demo}",
        "",
        "# At the PoP with the most demand.",
        "origins:",
        f"  demo: {{kind: builtin, at: {busiest.id}, latency: 20ms, capacity: 64}}",
        "",
        "regions:",
    ]
    for region in sorted(members):
        lines += [
            f"  {region}:",
            "    [",
            *(f"      {line}" for line in wrap(", ".join(members[region]), 112)),
            "    ]",
        ]
    lines += ["", "# In the order of their choice: the sites of a smaller world are the first ones of a larger one."]
    lines += [f"# Profiles by demand: large from {_LARGE:g} times the mean on, medium from {_MEDIUM:g}.", "pops:"]
    mean = sum(world.demand.values()) / len(pops)
    for i, pop in enumerate(pops):
        if i == real:
            lines.append("  # Made up, in proportion to demand.")
        lines.append(_entry(pop, _profile(world.demand[pop.id] / mean)))
    return "\n".join(lines) + "\n"


def _profile(times_the_mean: float) -> str:
    """The profile of a PoP with so many times the mean demand; empty for the default one."""
    return "large" if times_the_mean >= _LARGE else "medium" if times_the_mean >= _MEDIUM else ""


def _entry(pop: GeneratedPop, profile: str) -> str:
    """One PoP's line under `pops`."""
    more = f", profile: {profile}" if profile else ""
    if pop.is_real:
        what = f"{{id: {pop.id}{more}}}" if more else pop.id
        return f"  - {what}  # {pop.city}, {pop.country}"
    country = '"NO"' if pop.country == "NO" else pop.country  # for readers of YAML 1.1
    place = f"country: {country}, lat: {pop.at.lat}, lon: {pop.at.lon}"
    return f"  - {{id: {pop.id}, city: {pop.city}, {place}{more}}}"
