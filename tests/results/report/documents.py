"""Summaries to make reports of: measured by hand, summarised by the real code."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib.resources import files
from typing import Any

from edgesim.model.geo import LatLon
from edgesim.results.answered import Answered, Attribution
from edgesim.results.collect import Results
from edgesim.results.facts import PopPlace, RunFacts
from edgesim.results.report import ASSET_NAMES, Assets
from edgesim.results.summary import SCHEMA, summarise
from edgesim.scenario.arrivals import Arrival
from edgesim.scenario.spec import Load, Phase
from edgesim.scenario.timeline import Mark
from tests.live.load.scenarios import BASE

EVIL = "</script><script>window.pwned=1</script><img src=x onerror=window.pwned=1>\u2028"
"""A name that a user could give to anything."""


def assets() -> Assets:
    """What ships."""
    folder = files("edgesim.results.report") / "assets"
    return Assets(**{name: (folder / file).read_text(encoding="utf-8") for name, file in ASSET_NAMES.items()})


def place(number: int) -> PopPlace:
    """One of many PoPs, spread over the map."""
    at = LatLon(-50 + number * 37 % 120, -180 + number * 61 % 360)
    return PopPlace(pop=f"pop{number}", city=f"City {number}", country="XX", region=f"region{number % 5}", at=at)


def document(*, pops: int = 300, seconds: int = 60, world: Any = "live", name: str = "spread") -> dict[str, Any]:
    """A run with one request per PoP and second on average, a kill and a restart, cold starts and failures; one PoP is idle."""
    half = seconds / 2
    phases = (
        Phase(name="steady", duration_s=half, rate_from=pops, rate_to=pops),
        Phase(name=f"{name} load", duration_s=half, rate_from=pops, rate_to=pops),
    )
    scenario = replace(BASE, name=name, description=f"About {name}.", load=Load(phases=phases, seed=7))
    results = Results(scenario)
    results.elapsed_s = float(seconds)
    edges = ((0, "begin", 10.0), (0, "end", 10.2), (1, "begin", 20.0), (1, "end", 20.5))
    results.marks = [Mark(entry=entry, edge=edge, at_s=at_s) for entry, edge, at_s in edges]  # type: ignore[arg-type]
    served = pops - 1
    for n in range(served * 4):
        at_s = n * seconds / (served * 4)
        cold = n < served
        phases_s = (("start", 0.02), ("fetch", 0.008), ("load", 0.011), ("first_call", 0.003)) if cold else ()
        role = ("trigger" if n % 3 else "waiter") if cold else ""
        about = Attribution(f"pop{n % served}", "absent" if cold else "fresh", role, 0.02, phases_s)
        outcome = "timeout" if n % 97 == 0 else "ok"
        arrival = Arrival(n, at_s, int(at_s >= half), n % 2, 0, 0)
        results.add(arrival, Answered(outcome, 0.02 + n % 50 * 0.004, about, status=200, lag_s=0.001, body_bytes=100))
    facts = RunFacts(
        world=world,
        command=f"edgesim load run {name}",
        started_at="2026-11-22T22:00:00Z",
        time_scale=1.0,
        versions={"python": "3.11"},
        pops=tuple(place(number) for number in range(pops)),
        profile={"name": "shipped", "measured_at": "2026-11-20"} if world == "simulated" else None,
    )
    return json.loads(json.dumps({"schema": f"edgesim.{SCHEMA}", **summarise(results, facts)}))  # type: ignore[no-any-return]
