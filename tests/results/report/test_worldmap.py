"""The map's projection."""

import pytest

from edgesim.results.report.worldmap import HEIGHT, NORTH_DEG, SOUTH_DEG, WIDTH, project
from tests.results.report.documents import assets


def test_edges_and_centre():
    """The whole equator is as wide as the map; beyond the edges is at the edges."""
    x, y = project(0, 0)

    assert x == WIDTH / 2
    assert (project(0, -180)[0], project(0, 180)[0]) == pytest.approx((0, WIDTH))
    assert project(NORTH_DEG, 0)[1] == 0
    assert project(SOUTH_DEG, 0)[1] == pytest.approx(HEIGHT, abs=0.5)
    assert project(-90, 0) == project(SOUTH_DEG, 0)
    assert 0 < y < HEIGHT


def test_it_is_equal_earth():
    """Equal areas, and the pole's line is 0.5922 of the equator's length (Savric and others, 2018, table 1)."""

    def area(lat, lon, step=0.05):
        (x0, y0), (x1, _), (_, y1) = project(lat, lon), project(lat, lon + step), project(lat + step, lon)
        return abs((x1 - x0) * (y1 - y0))

    from math import cos, radians

    ratios = [area(lat, lon) / cos(radians(lat + 0.025)) for lat, lon in [(0, 0), (45, 30), (-45, -120), (70, 100)]]

    assert ratios == pytest.approx([ratios[0]] * 4, rel=0.002)


def test_the_coastline_is_small_and_on_the_map():
    """A few kilobytes, many rings; Berlin and Nairobi are on the map."""
    land = assets().land

    assert len(land) < 16_000
    assert land.count("M") == land.count("z") > 50
    assert all(
        0 <= value <= limit
        for at in [(52.5, 13.4), (-1.3, 36.8)]
        for value, limit in zip(project(*at), (WIDTH, HEIGHT), strict=True)
    )
