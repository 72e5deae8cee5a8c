"""A PoP as a row of a table, as `pops list` and the live table of `up` show it."""

from __future__ import annotations

from typing import Any, Final

from edgesim.cli._output import count, ms

STATES: Final = {"ready": "green", "up": "green", "down": "red", "killed": "red", "failed": "red"}
FIGURES: Final = ("requests", "p50", "p99", "cold starts", "queue")


def state_cell(state: str) -> str:
    """The state in its colour, as rich markup."""
    color = STATES.get(state, "yellow")
    return f"[{color}]{state}[/]" if state else "-"


def apps_cell(apps: Any) -> str:
    """Apps with the version that runs: `hello@2 shop@1`."""
    if not isinstance(apps, dict):
        return ""
    return " ".join(f"{name}@{version}" for name, version in sorted(apps.items()))


def figure_cells(row: dict[str, Any]) -> tuple[str, ...]:
    """The cells of FIGURES."""
    duration = row.get("duration") or {}
    return (
        count(row.get("requests")),
        ms(duration.get("p50_s")),
        ms(duration.get("p99_s")),
        count(row.get("cold")),
        count(row.get("queued")),
    )
