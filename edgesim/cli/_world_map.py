"""The world as text: coasts in braille dots, PoPs as marks on them. A plate carrée that shows what the PoPs span.

A character is two dots wide and four high, so dots are square and one degree is as long in both directions; nothing is true
to area. Without colour, and where the output cannot show braille, regions are told apart by letters.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from math import ceil
from string import ascii_lowercase
from typing import TYPE_CHECKING, Final

from edgesim.config.resources import resource_path

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from rich.text import Text

    from edgesim.model.geo import LatLon

MAX_WIDTH: Final = 160
"""Wider maps would show the steps of the land's half degrees."""
COLORS: Final = (
    "bright_cyan", "bright_yellow", "bright_magenta", "bright_green", "orange1", "bright_blue", "bright_red", "turquoise2",
    "chartreuse2", "hot_pink", "gold3", "white",
)  # fmt: skip
ONE, SEVERAL = "•", "●"

_BRAILLE: Final = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
_LAND_NORTH: Final = 84.0
_LAND_STEP: Final = 0.5
_WORLD: Final = (-169.0, 360.0)
"""Westernmost longitude and width of a whole world: it is cut in the Bering Strait."""
_MIN_SPAN: Final = 40.0
_MARGIN: Final = 0.08


@dataclass(frozen=True, slots=True)
class _View:
    """The part of the world that is shown."""

    west: float
    north: float
    degrees: float
    """Per dot."""
    columns: int
    rows: int

    def cell(self, at: LatLon) -> tuple[int, int]:
        """Row and column of a place."""
        row = int((self.north - at.lat) / self.degrees / 4)
        column = int((at.lon - self.west) % 360 / self.degrees / 2)
        return min(max(row, 0), self.rows - 1), min(column, self.columns - 1)

    def is_land(self, y: int, x: int) -> bool:
        """Whether the middle of a dot is on land."""
        row = int((_LAND_NORTH - self.north + (y + 0.5) * self.degrees) / _LAND_STEP)
        column = int((self.west + (x + 0.5) * self.degrees + 180) % 360 / _LAND_STEP)
        land = _land()
        return 0 <= row < len(land) and land[row][column]


def marks(regions: Iterable[str], *, color: bool) -> dict[str, tuple[str, str]]:
    """Mark and style of each region: a dot in its colour, or a letter where there are no colours."""
    names = sorted(regions)
    if color:
        return {name: (SEVERAL, COLORS[i % len(COLORS)]) for i, name in enumerate(names)}
    return {name: (ascii_lowercase[i % 26], "") for i, name in enumerate(names)}


def draw_world(
    places: Sequence[tuple[LatLon, str]], legend: Mapping[str, tuple[str, str]], *, width: int, braille: bool = True
) -> Iterator[Text]:
    """Lines of the map.

    Args:
        places: where the PoPs are, and the region of each.
        legend: what `marks` gave for the regions.
        width: columns that may be used.
        braille: whether the output can show more than ASCII.
    """
    from rich.text import Text

    view = _view([at for at, _ in places], max(20, min(width, MAX_WIDTH)))
    cells: dict[tuple[int, int], Counter[str]] = {}
    for at, region in places:
        cells.setdefault(view.cell(at), Counter())[region] += 1
    for row, coast in enumerate(_coasts(view)):
        line = Text()
        for column, bits in enumerate(coast):
            here = cells.get((row, column))
            if here is None:
                line.append(chr(0x2800 + bits) if braille and bits else "." if bits else " ", style="bright_black")
                continue
            region = max(sorted(here), key=lambda name: here[name])
            mark, style = legend[region]
            several = here.total() > 1
            if mark == SEVERAL:
                line.append(SEVERAL if several else ONE, style=style)
            else:
                line.append(mark.upper() if several else mark)
        line.rstrip()
        yield line


def _view(places: Sequence[LatLon], columns: int) -> _View:
    """What shows all places: the world, or a part of it where they are all near each other."""
    lons = sorted(at.lon for at in places)
    gap, east = max((b - a, a) for a, b in pairwise([*lons, lons[0] + 360]))  # the widest stretch without a place
    span = 360 - gap
    lats = [at.lat for at in places]
    north, south = max(lats), min(lats)
    wanted = max(span * (1 + 2 * _MARGIN), 2 * (north - south), _MIN_SPAN)
    if wanted > 200:
        west, span = _WORLD
    else:
        west, span = east - (360 - gap) / 2 - wanted / 2, wanted
    degrees = span / (columns * 2)
    margin = max(_MARGIN * (north - south), 4 * degrees, 4.0)
    north, south = min(north + margin, _LAND_NORTH), max(south - margin, -60.0)
    return _View(west, north, degrees, columns, max(1, ceil((north - south) / degrees / 4)))


def _coasts(view: _View) -> Iterator[list[int]]:
    """The braille bits of each character, row by row: land dots that touch the sea."""
    width, height = view.columns * 2, view.rows * 4
    land = [[view.is_land(y, x) for x in range(-1, width + 1)] for y in range(-1, height + 1)]
    for row in range(view.rows):
        bits = [0] * view.columns
        for dy, pair in enumerate(_BRAILLE):
            y = row * 4 + dy + 1
            above, here, below = land[y - 1], land[y], land[y + 1]
            for x in range(1, width + 1):
                if here[x] and not (above[x] and below[x] and here[x - 1] and here[x + 1]):
                    bits[(x - 1) // 2] |= pair[(x - 1) % 2]
        yield bits


@cache
def _land() -> tuple[tuple[bool, ...], ...]:
    """`pops/land.txt` as rows of half degrees, from north and west on."""
    rows = []
    for line in resource_path("pops/land.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            continue
        row = [False] * 720
        for stretch in line.split():
            first, _, last = stretch.partition("-")
            row[int(first) : int(last) + 1] = [True] * (int(last) - int(first) + 1)
        rows.append(tuple(row))
    return tuple(rows)
