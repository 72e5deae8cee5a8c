"""PoPs as rows of a table, as `pops list` and the live table of `up` show them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from edgesim.cli._output import count, make_table, ms

if TYPE_CHECKING:
    from rich.table import Table

FIGURES: Final = ("requests", "p50", "p99", "cold starts", "queue")
COLUMNS: Final = ("PoP", "city", "region", "host", "state", "apps", *FIGURES)
_STATES: Final = {"ready": "green", "up": "green", "down": "red", "killed": "red", "failed": "red"}
_OPTIONAL: Final = (("region", 120), ("city", 104), ("host", 90))
"""Columns that are left out of terminals narrower than this."""
_REST_WIDTH: Final = 66
"""What the columns beside the optional ones and `apps` need."""


class PopsTable:
    """A table of PoPs for a terminal `width` columns wide."""

    def __init__(self, width: int) -> None:
        dropped = {name for name, least in _OPTIONAL if width < least}
        self._columns = [name for name in COLUMNS if name not in dropped]
        self.table: Table = make_table(self._columns, right=FIGURES)
        if dropped:
            apps = self.table.columns[self._columns.index("apps")]
            needed = _REST_WIDTH + (14 if "city" not in dropped else 0) + (7 if "host" not in dropped else 0)
            apps.max_width, apps.overflow = max(8, width - needed), "ellipsis"

    def add(self, row: dict[str, Any]) -> None:
        """Add one PoP: a row of the API, which need not be complete."""
        duration = row.get("duration") or {}
        cells = {
            "PoP": str(row.get("pop", "")),
            "city": str(row.get("city", "")),
            "region": str(row.get("region", "")),
            "host": str(row.get("host", "")),
            "state": state_cell(str(row.get("state", ""))),
            "apps": apps_cell(row.get("apps")),
            "requests": count(row.get("requests")),
            "p50": ms(duration.get("p50_s")),
            "p99": ms(duration.get("p99_s")),
            "cold starts": count(row.get("cold")),
            "queue": count(row.get("queued")),
        }
        self.table.add_row(*(cells[name] for name in self._columns))


def state_cell(state: str) -> str:
    """The state in its colour, as rich markup."""
    return f"[{_STATES.get(state, 'yellow')}]{state}[/]" if state else "-"


def apps_cell(apps: Any) -> str:
    """Apps with the version that runs: `hello@2 shop@1`."""
    if not isinstance(apps, dict):
        return ""
    return " ".join(f"{name}@{version}" for name, version in sorted(apps.items()))
