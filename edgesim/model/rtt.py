"""Round-trip times between places: a graph of the hubs where long-haul fibre meets, plus the client's last mile.

A path runs from its end to the nearest hub, along links to the hub nearest to the other end, and on from there; below
`direct_km` it is the great circle. The round trip is a constant plus so many ms per 100 km of path. Three forms of that
line, in `pops/hub_graph.json`:

| form | constant | per 100 km | between |
|---|---|---|---|
| `public` | 9.68 ms | 1.452 ms | any two hosts on the internet, data-centre ends |
| `backbone` | 3.9 ms | 1.419 ms | PoPs, and PoPs and cloud origins |
| `client` | 2.6 ms | 1.452 ms | clients and PoPs; the last mile comes on top, from the access class |

The coefficients were fitted (least absolute log error) to WonderNetwork's pings between 246 cities of July 2020: `public` to
all pairs, `backbone` to the 25th percentile between 75 hub cities; 2.6 ms is the median within a metro. They were never
fitted to Azure's or IBM's tables, but the worst pairs there prompted the removal of trans-Siberian links.

Nothing is faster than light in fibre: 200 km/ms one way (c / 1.468, rounded down), so 1 ms of round trip per 100 km of
great circle. Loss, congestion and routes that change are not modelled.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, inf
from statistics import NormalDist
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias
from zlib import crc32

from edgesim.model.access import QUANTILES, AccessClass, AccessPlan
from edgesim.model.geo import LatLon, distance_km
from edgesim.model.stream import Stream, key, mix

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from edgesim.model.geo import Metro, Place
    from edgesim.model.ids import PopId
    from edgesim.model.topology import OriginSpec, PopSpec

FIBRE_S_PER_KM: Final = 1e-5
"""Round trip of light per km of great circle, in seconds."""
SETUP_RTTS: Final = 2
"""Round trips of a new connection before its first request: TCP (RFC 9293 §3.5) and a full TLS 1.3 handshake (RFC 8446 §2)."""
SETUP_RTTS_PLAIN: Final = 1
"""The same without TLS."""

_NOISE_SIGMA: Final = 0.19
_DETOUR_SHARE: Final = 0.08
_DETOUR: Final = (1.3, 1.9)
_MAX_PATHS: Final = 131_072
"""Client paths that are kept: all of 383 metros to 300 PoPs."""
_MAX_ENDS: Final = 16_384
_MAX_CLIENTS: Final = 65_536
_MASK: Final = QUANTILES - 1
_BITS: Final = QUANTILES.bit_length() - 1

_Where: TypeAlias = "int | str | LatLon"
"""A metro by its id, a PoP by its id, or another place, rounded."""


def setup_rtts(*, secure: bool) -> int:
    """Round trips that a new client connection needs before its first request, without DNS and early data."""
    return SETUP_RTTS if secure else SETUP_RTTS_PLAIN


class Attachment(NamedTuple):
    """A place and its way to the hub graph."""

    at: LatLon
    hub: int
    """Index of the nearest hub."""
    tail_km: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """A line from path length to round trip."""

    constant_s: float
    s_per_km: float


class HubGraph:
    """Hubs, links and the shortest way between any two hubs. Immutable after construction.

    Args:
        hubs: name to place.
        links: pairs of hub names; a link is a great circle and goes both ways.
        public: see the module.
        backbone: see the module.
        client: see the module.
        direct_km: below this distance a path is the great circle.
    """

    def __init__(
        self,
        *,
        hubs: Mapping[str, LatLon],
        links: Iterable[tuple[str, str]],
        public: Form,
        backbone: Form,
        client: Form,
        direct_km: float,
    ) -> None:
        self.public, self.backbone, self.client = public, backbone, client
        self.direct_km = direct_km
        self._at = tuple(hubs.values())
        self._hub_km = _shortest_km(hubs, links)

    @classmethod
    def from_values(cls, data: Mapping[str, Any]) -> HubGraph:
        """The graph that `pops/hub_graph.json` describes, parsed."""
        forms = {
            name: Form(constant_s=form["constant_ms"] / 1e3, s_per_km=form["ms_per_100km"] / 1e5)
            for name, form in data["forms"].items()
        }
        return cls(
            hubs={name: LatLon(*at) for name, at in data["hubs"].items()},
            links=[(a, b) for a, others in data["links"].items() for b in others],
            public=forms["public"],
            backbone=forms["backbone"],
            client=forms["client"],
            direct_km=data["direct_km"],
        )

    def attach(self, at: LatLon) -> Attachment:
        """A place with its nearest hub; worth keeping, it costs a distance to every hub."""
        tails = [distance_km(at, hub) for hub in self._at]
        tail_km = min(tails)
        return Attachment(at, tails.index(tail_km), tail_km)

    def path_km(self, a: Attachment, b: Attachment) -> float:
        """Length of the path between two places, never below their great-circle distance."""
        direct = distance_km(a.at, b.at)
        if direct < self.direct_km:
            return direct
        return max(direct, a.tail_km + self._hub_km[a.hub][b.hub] + b.tail_km)

    def rtt_public_s(self, a: Attachment, b: Attachment) -> float:
        """Round trip over the public internet between two data-centre hosts, in seconds."""
        return self.rtt_s(self.public, a, b)

    def rtt_backbone_s(self, a: Attachment, b: Attachment) -> float:
        """Round trip over a provider's backbone, in seconds."""
        return self.rtt_s(self.backbone, a, b)

    def rtt_s(self, form: Form, a: Attachment, b: Attachment, factor: float = 1.0) -> float:
        """Round trip by one of the forms in seconds, times `factor`, but never faster than light in fibre."""
        modelled = (form.constant_s + form.s_per_km * self.path_km(a, b)) * factor
        return max(modelled, distance_km(a.at, b.at) * FIBRE_S_PER_KM)


def pair_noise(metro: str, pop: str) -> float:
    """How much longer the path between a metro and a PoP is than the model says: persistent, the same in every run.

    exp(N(0, 0.19)), and for 8 % of pairs a detour of 1.3 to 1.9 times on top: an assumption, shaped on the residuals of
    the fit (5th and 95th percentile of the log: -0.33 and +0.46).
    """
    stream = Stream(key(0, "pair", metro, pop))
    noise = exp(NormalDist(0.0, _NOISE_SIGMA).inv_cdf(min(max(stream.uniform(), 1e-12), 1 - 1e-12)))
    low, high = _DETOUR
    return noise * (low + (high - low) * stream.uniform()) if stream.uniform() < _DETOUR_SHARE else noise


class NetworkModel:
    """Delays between clients, PoPs and origins of one topology: a pure function of its arguments, with caches.

    Args:
        graph: the hub graph.
        access: the access classes.
        pops: the PoPs.
        origins: the origins by name.
        metros: where simulated clients come from.

    Construction costs next to nothing, since every process of an edge does it: paths are computed when they are first
    asked for. All of 383 metros to 4,200 PoPs would take 20 s, and hardly a client sees more than the nearest few.
    """

    def __init__(
        self,
        *,
        graph: HubGraph,
        access: AccessPlan,
        pops: Iterable[PopSpec],
        origins: Mapping[str, OriginSpec],
        metros: Iterable[Metro] = (),
    ) -> None:
        self._graph = graph
        self._pops = {pop.id: pop.at for pop in pops}
        self._origins = {name: (graph.attach(origin.at), origin.kind) for name, origin in origins.items()}
        self._metros = {metro.id: (metro.at, f"{metro.city},{metro.country}") for metro in metros}
        self._access = {name: access.find(name) for name in ("", *access.names())}
        self._unknown = self._access[""]
        self._ends: dict[_Where, Attachment] = {}
        self._path_s: dict[tuple[_Where, PopId], float] = {}
        self._base_s: dict[tuple[str, str], float] = {}

    def client_rtt_s(self, place: Place, pop: PopId) -> float:
        """Round trip between a client's metro and a PoP in seconds, without the client's last mile.

        Raises:
            KeyError: no such PoP.
        """
        where: _Where
        if place.metro in self._metros:
            where, (at, name) = place.metro, self._metros[place.metro]
        else:
            at = LatLon(round(place.at.lat, 1), round(place.at.lon, 1))
            where, name = at, f"{at.lat:.1f},{at.lon:.1f}"
        path_s = self._path_s.get((where, pop))
        if path_s is None:
            noise = pair_noise(name, pop)
            path_s = self._graph.rtt_s(self._graph.client, self._end(where, at), self._pop_end(pop), noise)
            if len(self._path_s) >= _MAX_PATHS:
                self._path_s.clear()  # they are recomputed when they are needed again
            self._path_s[where, pop] = path_s
        return path_s

    def access(self, place: Place) -> AccessClass:
        """How a client is connected; the class for unknown ones when its address does not tell."""
        return self._access.get(place.access, self._unknown)

    def access_base_s(self, place: Place) -> float:
        """The last mile of one client, in seconds of round trip: drawn by its address from its class, so it keeps it."""
        at = (place.address, place.access)
        base_s = self._base_s.get(at)
        if base_s is None:
            if len(self._base_s) >= _MAX_CLIENTS:
                self._base_s.clear()  # it is recomputed from the address when it is needed again
            quantile = mix(crc32(place.address.encode())) & _MASK
            self._base_s[at] = base_s = self.access(place).base_table[quantile]
        return base_s

    def legs(self, place: Place, pop: PopId, bits: int) -> tuple[float, float]:
        """One-way times up and down of one exchange between a client and a PoP, in seconds.

        Each is half of path and last mile, plus half of a jitter of its own (the classes' jitter is per round trip).

        Args:
            place: the client.
            pop: the PoP.
            bits: 64 random bits; the lowest 11 draw the jitter of the way up, the next 11 that of the way down.

        Raises:
            KeyError: no such PoP.
        """
        path_s = self._path_s.get((place.metro, pop))
        if path_s is None:
            path_s = self.client_rtt_s(place, pop)
        base_s = self._base_s.get((place.address, place.access))
        if base_s is None:
            base_s = self.access_base_s(place)
        jitter = self._access.get(place.access, self._unknown).jitter_table
        rtt_s = path_s + base_s
        return 0.5 * (rtt_s + jitter[bits & _MASK]), 0.5 * (rtt_s + jitter[bits >> _BITS & _MASK])

    def pop_origin_rtt_s(self, pop: PopId, origin: str) -> float:
        """Round trip between a PoP and an origin in seconds: backbone to the built-in one, public internet to a URL.

        Raises:
            KeyError: no such PoP or origin.
        """
        end, kind = self._origins[origin]
        form = self._graph.backbone if kind == "builtin" else self._graph.public
        return self._graph.rtt_s(form, self._pop_end(pop), end)

    def pop_pop_rtt_s(self, a: PopId, b: PopId) -> float:
        """Round trip between two PoPs over the backbone, in seconds.

        Raises:
            KeyError: no such PoP.
        """
        return self._graph.rtt_backbone_s(self._pop_end(a), self._pop_end(b))

    def _pop_end(self, pop: PopId) -> Attachment:
        return self._end(pop, self._pops[pop])

    def _end(self, where: _Where, at: LatLon) -> Attachment:
        """How a place is attached to the graph; it costs a distance to every hub, so it is kept."""
        end = self._ends.get(where)
        if end is None:
            if len(self._ends) >= _MAX_ENDS:
                self._ends.clear()
            self._ends[where] = end = self._graph.attach(at)
        return end


def _shortest_km(hubs: Mapping[str, LatLon], links: Iterable[tuple[str, str]]) -> tuple[tuple[float, ...], ...]:
    """Shortest way between all hubs in km (Floyd and Warshall: 78 hubs take about 40 ms, once per process)."""
    index = {name: i for i, name in enumerate(hubs)}
    at = tuple(hubs.values())
    km = [[0.0 if i == j else inf for j in range(len(at))] for i in range(len(at))]
    for a, b in links:
        i, j = index[a], index[b]
        km[i][j] = km[j][i] = distance_km(at[i], at[j])
    for k, via in enumerate(km):
        for row in km:
            head = row[k]
            if head < inf:
                row[:] = [min(old, head + tail) for old, tail in zip(row, via, strict=True)]
    assert all(length < inf for row in km for length in row), "the hub graph is not connected"
    return tuple(tuple(row) for row in km)
