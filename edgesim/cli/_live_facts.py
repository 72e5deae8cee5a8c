"""The circumstances of a live run, for its summary: command, time, versions, time scale, and where the PoPs are."""

from __future__ import annotations

import platform
import shlex
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any, Final

from edgesim.errors import EdgesimError
from edgesim.model.geo import LatLon
from edgesim.results.facts import PopPlace, RunFacts

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_PACKAGES: Final = ("wasmtime", "aiohttp", "uvloop")
"""Whose versions change what is measured."""


class LiveFacts:
    """What is known about a live run; the time is that of its making."""

    def __init__(self, state: Path | None) -> None:
        self._state = state
        self._began = datetime.now(tz=UTC)
        self._pops: tuple[PopPlace, ...] = ()

    def see_pops(self, rows: list[dict[str, Any]]) -> None:
        """Take the places of PoPs from the API's rows."""
        self._pops = tuple(
            PopPlace(
                pop=str(row["pop"]),
                city=str(row.get("city") or ""),
                country=str(row.get("country") or ""),
                region=str(row.get("region") or ""),
                at=LatLon(float(row["lat"]), float(row["lon"])),
            )
            for row in rows
            if row.get("pop") and row.get("lat") is not None and row.get("lon") is not None
        )

    @property
    def regions(self) -> dict[str, str]:
        """The region of each PoP."""
        return {place.pop: place.region for place in self._pops}

    def collected(self) -> RunFacts:
        """All of it."""
        return RunFacts(
            world="live",
            command=command_line(sys.argv[1:]),
            started_at=self._began.isoformat(timespec="seconds").replace("+00:00", "Z"),
            time_scale=self._time_scale(),
            versions={"python": platform.python_version(), "system": _system(), **_versions()},
            pops=self._pops,
        )

    def _time_scale(self) -> float | None:
        """That of the edge in the state directory; None where there is none to ask, or its topology has gone."""
        from pathlib import Path

        from edgesim.cli._options import running_edge
        from edgesim.config.topology import load_topology

        try:
            record = running_edge(self._state)
            if record.time_scale is not None:
                return record.time_scale
            return load_topology(Path(record.topology)).network.time_scale
        except EdgesimError:
            return None


def command_line(args: Sequence[str]) -> str:
    """The command line as one would type it, without the token that may be in it: summaries are shown around."""
    shown = []
    hide = False
    for arg in args:
        shown.append("..." if hide else "--token=..." if arg.startswith("--token=") else arg)
        hide = arg == "--token"
    return shlex.join(["edgesim", *shown])


def _system() -> str:
    return f"{platform.system()} {platform.release()} {platform.machine()}"


def _versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue  # An optional one.
    return found
