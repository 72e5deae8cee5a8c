"""Small scenarios for the tests of the load generator."""

from __future__ import annotations

from dataclasses import replace

from edgesim.config.catalogue import find_metro
from edgesim.scenario.spec import (
    Clients,
    Expectation,
    Load,
    Phase,
    Population,
    RequestSpec,
    Scenario,
    Target,
    TimelineEntry,
)
from edgesim.scenario.steps import kill, restart
from edgesim.scenario.thresholds import parse


def clients(city: str, access: str = "cable") -> Clients:
    """The clients of one city."""
    return Clients(metro=find_metro(city), access=access, weight=1.0)


BASE = Scenario(
    name="test",
    target=Target(app="hello"),
    load=Load(phases=(Phase(name="only", duration_s=1.0, rate_from=8.0, rate_to=8.0),), arrivals="constant"),
    populations=(
        Population(name="asia", weight=1.0, clients=(clients("Tokyo"),)),
        Population(name="europe", weight=1.0, clients=(clients("Paris", "lte"),)),
    ),
    requests=(RequestSpec(name="home", weight=1.0, method="GET", target="/", expect=Expectation()),),
    timeline=(
        TimelineEntry(at_s=0.25, step=kill.Step(pop="gru1"), label="kill pop gru1"),
        TimelineEntry(at_s=0.5, step=restart.Step(pop="gru1"), label="restart pop gru1"),
    ),
    thresholds=(parse("http.error_rate < 1%"), parse("generator.lag.p99 < 1s", "validity")),
)


def burst(requests: int, *, max_in_flight: int = 2000) -> Scenario:
    """So many requests in the first millisecond."""
    phase = Phase(name="burst", duration_s=0.001, rate_from=requests * 1000.0, rate_to=requests * 1000.0)
    load = Load(phases=(phase,), arrivals="constant", max_in_flight=max_in_flight)
    return replace(BASE, load=load, timeline=())
