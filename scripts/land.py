"""Makes `pops/land.txt`, the land that `edgesim topology show` draws: world-atlas rasterised to half degrees.

Natural Earth (public domain) by way of world-atlas (ISC), the package that `scripts/vendor.py` pins. Run it by hand when
the resolution changes; what it writes is committed.
"""

from __future__ import annotations

import json
import tempfile
from itertools import pairwise
from pathlib import Path

from vendor import package, rings

TARGET = Path(__file__).parent.parent / "pops" / "land.txt"
NORTH, SOUTH = 84.0, -57.0
"""Beyond them there is no PoP, and Antarctica would fill the map."""
STEP = 0.5
SHORTEST = 2
"""Lakes and straits narrower than this many cells are filled, islands narrower than it left out."""
HEAD = """\
# Where land is, for the map of `edgesim topology show`. A line per half degree of latitude, from 83.75 down to -56.75; on it
# the first and last cell of each stretch of land, in half degrees of longitude counted from 180 W (0) to 180 E (719).
# Rasterised by scripts/land.py from Natural Earth (public domain, naturalearthdata.com) as packed by world-atlas.
"""


def stretches(lat: float, coasts: list[list[tuple[float, float]]]) -> list[tuple[int, int]]:
    """First and last cell of each stretch of land along a parallel."""
    cells: set[int] = set()
    for ring in coasts:
        crossings = sorted(
            a[0] + (lat - a[1]) * (b[0] - a[0]) / (b[1] - a[1])
            for a, b in pairwise([*ring, ring[0]])
            if (a[1] > lat) != (b[1] > lat)
        )
        for west, east in zip(crossings[::2], crossings[1::2], strict=True):
            cells.update(cell % 720 for cell in range(round((west + 180) / STEP), round((east + 180) / STEP)))
    out: list[tuple[int, int]] = []
    for cell in sorted(cells):
        if out and cell - out[-1][1] <= SHORTEST:
            out[-1] = (out[-1][0], cell)
        else:
            out.append((cell, cell))
    return [(first, last) for first, last in out if last - first + 1 >= SHORTEST]


def main() -> None:
    """Fetch, rasterise, write."""
    with tempfile.TemporaryDirectory() as folder:
        files = package("world-atlas@2.0.2", Path(folder))
    coasts = rings(json.loads(files["land-50m.json"]))
    lines = []
    for row in range(int((NORTH - SOUTH) / STEP)):
        found = stretches(NORTH - (row + 0.5) * STEP, coasts)
        lines.append(" ".join(f"{first}-{last}" for first, last in found))
    TARGET.write_text(HEAD + "\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
