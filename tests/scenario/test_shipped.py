"""Every scenario that ships, simulated: it passes, it does what it is about, and it repeats to the byte."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edgesim.cli.main import run
from edgesim.config.resources import resource_path

SHIPPED = sorted(path.stem for path in resource_path("scenarios").glob("*.yaml"))
APPS = {"first-visitors": ("--app", str(resource_path("workers/hello")), "--no-prefetch")}
"""Scenarios about an app whose name is not that of a folder in workers/."""


def simulate(name: str, folder: Path) -> dict[str, Any]:
    """The summary of a simulated run, which must pass."""
    out = folder / f"{name}.json"

    code = run(["sim", "run", name, "--out", str(out), *APPS.get(name, ())])

    assert code == 0
    return json.loads(out.read_text(encoding="utf-8"))  # type: ignore[no-any-return]


def rows(document: dict[str, Any], table: str) -> dict[str, dict[str, Any]]:
    """A table of the summary by name."""
    return {row["name"]: row for row in document[table]}


@pytest.mark.parametrize("name", SHIPPED)
def test_it_passes_simulated(name: str, tmp_path: Path) -> None:
    """All thresholds hold, and every entry of the timeline was carried out."""
    document = simulate(name, tmp_path)

    assert (document["scenario"]["name"], document["conclusion"]) == (name, "passed")
    assert document["run"]["world"] == "simulated"
    assert not any(mark["error"] for mark in document["timeline"])
    assert document["left_down"] == []


def test_it_repeats_to_the_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sessions, templates, data, and times to think included."""
    monkeypatch.setattr("sys.argv", ["edgesim", "sim", "run", "sessions"])
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()

    assert simulate("sessions", tmp_path / "a") == simulate("sessions", tmp_path / "b")
    first, second = ((tmp_path / folder / "sessions.json").read_bytes() for folder in "ab")
    assert first == second


def test_a_day_moves_around_the_globe(tmp_path: Path) -> None:
    """Asia is busy in Europe's afternoon, and America in Europe's night."""
    document = simulate("diurnal-day", tmp_path)

    cells = {(cell["phase"], cell["population"]): cell["requests"] for cell in document["cells"]}
    assert cells["afternoon in europe", "asia"] > 1.5 * cells["night in europe", "asia"]
    assert cells["night in europe", "north america"] > 1.5 * cells["morning in europe", "north america"]
    assert cells["evening in europe", "europe"] > 1.5 * cells["night in europe", "europe"]


def test_a_flash_crowd_is_brazil_reading_one_story(tmp_path: Path) -> None:
    """Nine tenths of the news phase, at a rate that rises and falls."""
    document = simulate("flash-crowd", tmp_path)

    assert rows(document, "requests")["story"]["requests"] > 2000
    assert rows(document, "populations")["brazil"]["requests"] > 2000
    arrivals = document["series"]["arrivals"]
    assert max(arrivals[10:18]) > 150
    assert max(arrivals[:5]) < 50
    assert max(arrivals[36:]) < 50


def test_an_origin_outage_does_not_touch_workers(tmp_path: Path) -> None:
    """What the origin answers is slow, fails, is gone and comes back; what the worker answers is always there."""
    document = simulate("origin-outage", tmp_path)

    cells = {(cell["phase"], cell["request"]): cell for cell in document["cells"]}
    # A request that is sent just before the origin changes meets it just after.
    rates = [cells[phase, "asset"]["error_rate"] for phase in ("before", "slow", "failing", "gone", "recovered")]
    assert rates == pytest.approx([0.0, 0.0, 1.0, 1.0, 0.0], abs=0.05)
    assert cells["slow", "asset"]["response"]["p50_s"] > cells["before", "asset"]["response"]["p50_s"] + 0.45
    assert {cell["error_rate"] for (_, request), cell in cells.items() if request == "page"} == {0.0}


def test_a_lost_region_is_served_from_elsewhere(tmp_path: Path) -> None:
    """While clients cannot reach it, its PoPs answer nothing; afterwards they do again."""
    document = simulate("region-loss", tmp_path)

    incident = document["incidents"][0]
    south = {"gru1", "scl1"}

    def served(window: str) -> set[str]:
        origins = [o for o in incident["windows"][window]["origins"] if o["population"] == "south america"]
        return {pop for origin in origins for pop in origin["pops"]}

    assert south & served("before")
    assert not south & served("during")
    assert south & served("after")


def test_a_rollout_is_rolled_back(tmp_path: Path) -> None:
    """The rollback ends after the deploy, and a drained PoP serves nothing until it is put back."""
    document = simulate("canary-rollback", tmp_path)

    incidents = {incident["label"]: incident for incident in document["incidents"]}
    assert "rollback hello to the version before" in incidents
    drained = incidents["drain pop fra1"]
    assert drained["end_s"] == pytest.approx(19.0)
    frankfurt = [o for o in drained["windows"]["during"]["origins"] if o["metro"] == "Frankfurt"]
    assert "fra1" not in {pop for origin in frankfurt for pop in origin["pops"]}


def test_what_a_simulation_cannot_check_is_said(tmp_path: Path) -> None:
    """The body of a page."""
    assert simulate("sessions", tmp_path)["unchecked"] == ["home: body"]
