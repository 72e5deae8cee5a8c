"""The map in the terminal: PoPs where they belong on it, coasts around them, and a view that fits."""

from __future__ import annotations

import pytest

from edgesim.cli._world_map import MAX_WIDTH, ONE, SEVERAL, draw_world, marks
from edgesim.model.geo import LatLon

WORLD = {
    "london": LatLon(51.5, -0.1),
    "sydney": LatLon(-33.9, 151.2),
    "seattle": LatLon(47.6, -122.3),
    "santiago": LatLon(-33.4, -70.7),
}


def drawn(places, *, width=80, color=False, braille=True):
    """The lines of a map on which every place is a region of its own."""
    legend = marks(places, color=color)
    return [
        line.plain
        for line in draw_world([(at, name) for name, at in places.items()], legend, width=width, braille=braille)
    ]


def spot(lines, mark):
    """Row and column of a mark."""
    ((row, column),) = [(y, line.index(mark)) for y, line in enumerate(lines) if mark in line]
    return row, column


def test_places_lie_as_on_the_globe():
    """West is left, north is up."""
    lines = drawn(WORLD, width=160)
    london, santiago, seattle, sydney = (spot(lines, mark) for mark in "abcd")

    assert seattle[1] < santiago[1] < london[1] < sydney[1]
    assert london[0] < seattle[0] < santiago[0] <= sydney[0]


@pytest.mark.parametrize("width", [40, 80, 160, 400])
def test_width(width):
    """The map is as wide as the terminal, up to a limit; degrees are as long in both directions."""
    lines = drawn(WORLD, width=width)
    _, london = spot(lines, "a")
    _, sydney = spot(lines, "d")

    assert max(map(len, lines)) <= min(width, MAX_WIDTH)
    assert sydney - london == pytest.approx(151.3 / 360 * min(width, MAX_WIDTH), abs=1.5)


def test_coasts():
    """The Sahara and the Atlantic are empty, the strait of Gibraltar is not."""
    lines = drawn(WORLD, width=160)
    row, london = spot(lines, "a")
    per_column = 360 / 160

    def char(lat, lon):
        y = row + round((51.5 - lat) / (2 * per_column))
        x = london + round((lon + 0.1) / per_column)
        return lines[y][x : x + 1] or " "

    assert char(23, 8) == " "
    assert char(30, -40) == " "
    assert any(char(lat, lon) != " " for lat in (34, 36, 38) for lon in (-8, -6, -4))


def test_one_region_fills_the_map():
    """PoPs near each other are shown in a part of the world, also across the date line."""
    lines = drawn({"auckland": LatLon(-37.0, 174.8), "suva": LatLon(-18.0, 178.6), "papeete": LatLon(-17.6, -149.6)})
    auckland, papeete, suva = (spot(lines, mark) for mark in "abc")

    assert auckland[1] < suva[1] < papeete[1]
    assert papeete[1] - auckland[1] > 40
    assert auckland[0] > suva[0]


def test_several_pops_in_one_place():
    """They are one mark, which tells that it stands for several."""
    both = {"here": LatLon(50.0, 8.6), "there": LatLon(50.1, 8.6)}

    assert "A" in "".join(drawn(both))
    assert ONE not in "".join(drawn(both, color=True))
    assert SEVERAL in "".join(drawn(both, color=True))


def test_ascii():
    """An output that cannot show braille gets dots and letters."""
    assert "".join(drawn(WORLD, braille=False)).isascii()


def test_regions_have_different_colors():
    """Up to twelve regions are told apart."""
    legend = marks([f"r{i}" for i in range(12)], color=True)

    assert len({style for _, style in legend.values()}) == 12
