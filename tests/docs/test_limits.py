"""docs/limits.md says what the code does: the bounds of limits, and the published limits of other platforms."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from edgesim.config.worker_limits import LimitsTable
from edgesim.model.profiles import PROFILES, READ, show_figure

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "limits.md").read_text()
LABELS = {
    "cpu_ms": "CPU time",
    "wall_s": "wall-clock time",
    "memory_bytes": "memory",
    "startup_ms": "start",
    "subrequests": "requests sent",
    "body_bytes": "request body",
    "response_bytes": "response body",
    "stack_bytes": "stack",
    "bundle_bytes": "file",
}


def test_every_key_of_the_manifest_is_explained():
    """Each that can be set is marked so, and nothing else is."""
    marked = set(re.findall(r"● `(\w+)`", PAGE))

    assert marked == set(LimitsTable.model_fields) - {"profile", "stack"}


@pytest.mark.parametrize("figure", LABELS)
def test_the_table_of_platforms_is_the_data(figure):
    """A row per figure, a column per profile."""
    cells = [
        "-" if figure not in p.figures else show_figure(figure, p.figures[figure].limit) for p in PROFILES.values()
    ]

    assert f"| {LABELS[figure]} | {' | '.join(cells)} |" in PAGE


def test_the_day_and_the_figures():
    """The page names the day of reading, and no figure is missing from it."""
    assert READ in PAGE
    assert {name for profile in PROFILES.values() for name in profile.figures} == set(LABELS)
