"""Places on the globe: coordinates, great-circle distance, and where a client is."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import asin, cos, radians, sin, sqrt
from typing import Final, NamedTuple

EARTH_DIAMETER_KM: Final = 12742.0176
"""Twice the IUGG mean radius R1, 6371.0088 km."""


class LatLon(NamedTuple):
    """Degrees north and east."""

    lat: float
    lon: float


def distance_km(a: LatLon, b: LatLon) -> float:
    """Great-circle distance in km (haversine)."""
    phi, lam, phi2, lam2 = map(radians, (*a, *b))
    h = sin((phi2 - phi) / 2) ** 2 + cos(phi) * cos(phi2) * sin((lam2 - lam) / 2) ** 2
    return EARTH_DIAMETER_KM * asin(min(1.0, sqrt(h)))


@lru_cache(maxsize=16_384)
def on_sphere(at: LatLon) -> tuple[float, float, float]:
    """A place as a point of the unit sphere.

    The distance between two such points grows with the great circle, so it ranks places for a tenth of the work.
    """
    phi, lam = radians(at.lat), radians(at.lon)
    return cos(phi) * cos(lam), cos(phi) * sin(lam), sin(phi)


@dataclass(frozen=True, slots=True, kw_only=True)
class Metro:
    """A metropolitan area that clients come from."""

    id: int
    """1 to 1023, append-only: it is part of every simulated client address."""
    city: str
    country: str
    """ISO 3166-1 alpha-2."""
    at: LatLon
    weight: float
    """Share of the demand, in millions of people online."""
    timezone: str
    """IANA name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a client is and how it is connected, as far as its address tells."""

    address: str
    """The client's IP address, normalised."""
    at: LatLon
    city: str = ""
    country: str = ""
    metro: int = 0
    """The metro's id; 0 when the address is not a simulated one."""
    access: str = ""
    """Access class (`fttp`, `lte`, …); empty when unknown."""
    is_default: bool = False
    """Whether nothing is known about the address, so that this is only the place of such clients."""
