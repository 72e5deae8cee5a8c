"""Where a place is on the report's world map: the Equal Earth projection into a fixed viewBox. No coastline in here.

Šavrič, Patterson and Jenny, "The Equal Earth map projection", 2018: areas are true, so no continent looks emptier than it is.
"""

from __future__ import annotations

from math import asin, cos, radians, sin, sqrt
from typing import Final

WIDTH: Final = 2000
"""Of the viewBox; 360 degrees of longitude at the equator."""
NORTH_DEG: Final = 84.0
SOUTH_DEG: Final = -57.0
"""Antarctica is left out: no CDN has a PoP there."""

_A1, _A2, _A3, _A4 = 1.340264, -0.081106, 0.000893, 0.003796
_M: Final = sqrt(3) / 2


def _raw(lat_deg: float, lon_deg: float) -> tuple[float, float]:
    """The projection on the unit sphere (equations 1 to 3 of the paper), y upwards."""
    theta = asin(_M * sin(radians(lat_deg)))
    t2 = theta * theta
    t6 = t2 * t2 * t2
    x = radians(lon_deg) * cos(theta) / (_M * (_A1 + 3 * _A2 * t2 + t6 * (7 * _A3 + 9 * _A4 * t2)))
    return x, theta * (_A1 + _A2 * t2 + t6 * (_A3 + _A4 * t2))


_SCALE: Final = WIDTH / (2 * _raw(0.0, 180.0)[0])
_TOP: Final = _raw(NORTH_DEG, 0.0)[1]
HEIGHT: Final = round((_TOP - _raw(SOUTH_DEG, 0.0)[1]) * _SCALE)


def project(lat_deg: float, lon_deg: float) -> tuple[float, float]:
    """The point of the viewBox, x to the right and y down; what lies beyond the map's edges is moved to them."""
    x, y = _raw(min(max(lat_deg, SOUTH_DEG), NORTH_DEG), min(max(lon_deg, -180.0), 180.0))
    return WIDTH / 2 + x * _SCALE, (_TOP - y) * _SCALE
