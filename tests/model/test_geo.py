"""Great-circle distances."""

from __future__ import annotations

from math import acos, cos, pi, radians, sin

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgesim.model.geo import EARTH_DIAMETER_KM, LatLon, distance_km

POINTS = st.builds(LatLon, st.floats(-90.0, 90.0), st.floats(-180.0, 180.0))


@pytest.mark.parametrize(
    ("a", "b", "km"),
    [
        (LatLon(50.0379, 8.5622), LatLon(51.4700, -0.4543), 654),  # FRA to LHR, published great-circle distances
        (LatLon(40.6398, -73.7789), LatLon(51.4700, -0.4543), 5540),  # JFK to LHR
        (LatLon(-33.9461, 151.1772), LatLon(-33.3930, -70.7858), 11340),  # SYD to SCL, over the date line
    ],
)
def test_published_distances(a, b, km):
    """Within half a percent of what great-circle calculators say for airports (they use an ellipsoid)."""
    assert distance_km(a, b) == pytest.approx(km, rel=0.005)


@given(POINTS, POINTS)
def test_it_is_a_distance(a, b):
    """Symmetric, zero to itself, at most half the circumference."""
    assert distance_km(a, b) == pytest.approx(distance_km(b, a), abs=1e-6)
    assert distance_km(a, a) == 0.0
    assert 0.0 <= distance_km(a, b) <= EARTH_DIAMETER_KM * pi / 2 + 1e-6


@given(POINTS, POINTS)
def test_against_the_law_of_cosines(a, b):
    """Equal to the other formula wherever that one is accurate."""
    x = sin(radians(a.lat)) * sin(radians(b.lat)) + cos(radians(a.lat)) * cos(radians(b.lat)) * cos(
        radians(a.lon - b.lon)
    )
    if abs(x) < 0.999:
        assert distance_km(a, b) == pytest.approx(EARTH_DIAMETER_KM / 2 * acos(x), rel=1e-6)
