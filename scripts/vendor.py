"""Fetches what the HTML report carries of other projects, pinned and checked, into `edgesim.results.report/assets`.

`make vendor` runs it, which needs npm; what it writes is committed, so that wheels build without. Two packages:

- uPlot (MIT): the charts. Its minified files are taken as they are.
- world-atlas (ISC; made from Natural Earth, public domain): the coastline. Projected, thinned out, and written as the path of
  an SVG, because the report needs a few kilobytes of it and not a hundred.
"""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
import sys
import tarfile
import tempfile
from itertools import pairwise
from pathlib import Path
from typing import Any

from edgesim.results.report.worldmap import SOUTH_DEG, project

TARGET = Path(__file__).parent.parent / "edgesim" / "results" / "report" / "assets"

PINNED = {
    "uplot@1.6.32": "KIMVnG68zvu5XXUbC4LQEPnhwOxBuLyW1AHtpm6IKTXImkbLgkMy+jabjLgSLMasNuGGzQm/ep3tOkyTxpiQIw==",
    "world-atlas@2.0.2": "IXfV0qwlKXpckz1FhwXVwKRjiIhOnWttOskm5CtxMsjgE/MXAYRHWJqgXOpM8IkcPBoXnyTU5lFHcYa5ChG0LQ==",
}
"""sha512 of the packages as they are published, base64."""

TOLERANCE = 1.1
"""How far a simplified coast may be from the given one, in units of the map (2000 wide)."""
AREA_MIN = 14.0
"""Islands smaller than this, in square units, are left out."""

Point = tuple[float, float]


def package(name: str, folder: Path) -> dict[str, bytes]:
    """The files of an npm package by their path in it. Exits when it is not the one that was pinned."""
    subprocess.run(["npm", "pack", "--silent", name], cwd=folder, check=True, capture_output=True)
    (archive,) = folder.glob(f"{name.replace('@', '-')}.tgz")
    found = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
    if found != PINNED[name]:
        sys.exit(f"{name} is not the package that was pinned: its sha512 is {found}")
    with tarfile.open(archive) as tar:
        files = ((member.name, tar.extractfile(member)) for member in tar.getmembers())
        return {path.removeprefix("package/"): file.read() for path, file in files if file is not None}


def rings(topology: dict[str, Any]) -> list[list[Point]]:
    """Outer rings of all land as (longitude, latitude) in degrees; longitudes go on beyond 180 where a coast does."""
    (sx, sy), (tx, ty) = topology["transform"]["scale"], topology["transform"]["translate"]
    arcs = []
    for arc in topology["arcs"]:
        x = y = 0
        points = []
        for dx, dy in arc:
            x, y = x + dx, y + dy
            points.append((x * sx + tx, y * sy + ty))
        arcs.append(points)
    found = []
    for geometry in topology["objects"]["land"]["geometries"]:
        for polygon in geometry["arcs"]:
            ring: list[Point] = []
            for index in polygon[0]:
                part = arcs[index] if index >= 0 else arcs[~index][::-1]
                ring += part[1:] if ring else part
            found.append(unwrapped(ring))
    return found


def unwrapped(ring: list[Point]) -> list[Point]:
    """The ring without jumps at the date line."""
    out = [ring[0]]
    for lon, lat in ring[1:]:
        out.append((lon + 360 * round((out[-1][0] - lon) / 360), lat))
    return out


def clipped(ring: list[Point], axis: int, limit: float, sign: int) -> list[Point]:
    """The part of the ring where `sign * coordinate <= sign * limit` (Sutherland and Hodgman)."""
    out: list[Point] = []
    for a, b in zip(ring, ring[1:] + ring[:1], strict=True):
        a_in, b_in = (sign * p[axis] <= sign * limit for p in (a, b))
        if a_in:
            out.append(a)
        if a_in != b_in:
            share = (limit - a[axis]) / (b[axis] - a[axis])
            out.append((a[0] + share * (b[0] - a[0]), a[1] + share * (b[1] - a[1])))
    return out


def on_map(ring: list[Point]) -> list[list[Point]]:
    """The ring's parts between the map's edges, projected."""
    parts = []
    for turn in (-360, 0, 360):
        part = [(lon + turn, lat) for lon, lat in ring]
        for axis, limit, sign in ((0, 180.0, 1), (0, -180.0, -1), (1, SOUTH_DEG, -1)):
            part = clipped(part, axis, limit, sign) if part else part
        if len(part) >= 3:
            parts.append([project(lat, lon) for lon, lat in part])
    return parts


def simplified(points: list[Point]) -> list[Point]:
    """Fewer points, none of those left out farther than TOLERANCE from the line (Douglas and Peucker)."""
    (ax, ay), (bx, by) = points[0], points[-1]
    length = ((bx - ax) ** 2 + (by - ay) ** 2) ** 0.5

    def distance(p: Point) -> float:
        if not length:
            return float(((p[0] - ax) ** 2 + (p[1] - ay) ** 2) ** 0.5)
        return float(abs((bx - ax) * (ay - p[1]) - (ax - p[0]) * (by - ay)) / length)

    if len(points) < 3:
        return points
    index = max(range(1, len(points) - 1), key=lambda i: distance(points[i]))
    if distance(points[index]) <= TOLERANCE:
        return [points[0], points[-1]]
    return simplified(points[: index + 1])[:-1] + simplified(points[index:])


def area(ring: list[Point]) -> float:
    """In square units."""
    return abs(sum(a[0] * b[1] - b[0] * a[1] for a, b in zip(ring, ring[1:] + ring[:1], strict=True))) / 2


def svg_path(parts: list[list[Point]]) -> str:
    """The rings as the `d` of an SVG path, in whole units, each point relative to the one before."""
    out = []
    for part in parts:
        points = [(round(x), round(y)) for x, y in part]
        steps = [(b[0] - a[0], b[1] - a[1]) for a, b in pairwise(points)]
        moves = "".join(f"{dx}{' ' if dy >= 0 else ''}{dy} " for dx, dy in steps if (dx, dy) != (0, 0))
        out.append(f"M{points[0][0]} {points[0][1]}l{moves.rstrip().replace(' -', '-')}z")
    return "".join(out)


def main() -> None:
    """Write the assets."""
    with tempfile.TemporaryDirectory() as folder:
        uplot = package("uplot@1.6.32", Path(folder))
        atlas = package("world-atlas@2.0.2", Path(folder))
    land = [part for ring in rings(json.loads(atlas["land-110m.json"])) for part in on_map(ring)]
    land = sorted((part for part in land if area(part) >= AREA_MIN), key=area, reverse=True)
    path = svg_path([simplified([*part, part[0]])[:-1] for part in land])
    written = {
        "uplot.min.js": uplot["dist/uPlot.iife.min.js"],
        "uplot.min.css": uplot["dist/uPlot.min.css"],
        "uplot.LICENSE": uplot["LICENSE"],
        "land.svgpath": path.encode() + b"\n",
        "land.LICENSE": atlas["LICENSE"],
    }
    for name, content in written.items():
        (TARGET / name).write_bytes(content)
        print(f"{name:<14} {len(content):>7,} bytes")


if __name__ == "__main__":
    main()
