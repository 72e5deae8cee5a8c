"""When each request is sent, by whom, and which one it is: a pure function of the scenario and its seed.

Times come from the integral of the rate, Λ(t): a Poisson process with a changing rate is a unit-rate process whose times
are mapped through the inverse of Λ (Çinlar, Introduction to Stochastic Processes, 1975, §4.7), so ramps are exact and
nothing is thinned out. What each request is has its own random stream, keyed by the request's number: another rate or
another order of phases does not change it.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from itertools import accumulate
from math import inf, log1p, sqrt
from typing import TYPE_CHECKING

from edgesim.model.stream import Stream, key

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from edgesim.scenario.spec import Load, Phase, Scenario


@dataclass(frozen=True, slots=True)
class Arrival:
    """One request to be sent. The numbers index the scenario's lists."""

    number: int
    at_s: float
    """Intended send time, from the start of the first phase."""
    phase: int
    population: int
    clients: int
    """Index into the population's clients."""
    request: int


def arrivals(scenario: Scenario) -> Iterator[Arrival]:
    """Every arrival of the scenario in order of time, produced one by one."""
    seed = scenario.load.seed
    populations = Chooser([p.weight for p in scenario.populations])
    clients = [Chooser([c.weight for c in p.clients]) for p in scenario.populations]
    requests = Chooser([r.weight for r in scenario.requests])
    for number, (at_s, phase) in enumerate(times(scenario.load)):
        draw = Stream(key(seed, "arrival", number)).uniform
        population = populations.choose(draw())
        yield Arrival(number, at_s, phase, population, clients[population].choose(draw()), requests.choose(draw()))


def times(load: Load) -> Iterator[tuple[float, int]]:
    """Send times in seconds from the start, ascending, each with the index of its phase.

    `constant` puts one arrival into the middle of each unit of Λ: at 10/s after 0.05 s, 0.15 s and so on.
    """
    stream = Stream(key(load.seed, "times"))
    poisson = load.arrivals == "poisson"
    # Arrivals due from the start of the run, and at the beginning of the current phase, as values of Λ.
    due = -log1p(-stream.uniform()) if poisson else 0.5
    before = begin_s = 0.0
    for index, phase in enumerate(load.phases):
        total = expected(phase)
        while due - before < total:
            yield begin_s + _inverse(phase, due - before), index
            due += -log1p(-stream.uniform()) if poisson else 1.0
        before += total
        begin_s += phase.duration_s


def expected(phase: Phase) -> float:
    """Expected number of arrivals of a phase: the integral of its rate."""
    return (phase.rate_from + phase.rate_to) / 2 * phase.duration_s


def _inverse(phase: Phase, area: float) -> float:
    """The time in the phase at which the integral of the rate reaches `area`.

    Solves rate_from·t + slope·t²/2 = area in the form that does not cancel when the slope is small.
    """
    slope = (phase.rate_to - phase.rate_from) / phase.duration_s
    root = sqrt(max(0.0, phase.rate_from * phase.rate_from + 2 * slope * area))
    divisor = phase.rate_from + root
    return min(2 * area / divisor, phase.duration_s) if divisor > 0 else phase.duration_s


class Chooser:
    """Picks an index by weight: the inverse of the cumulative distribution."""

    __slots__ = ("_edges",)

    def __init__(self, weights: Sequence[float]) -> None:
        total = sum(weights)
        assert total > 0, "at least one weight must be positive"
        self._edges = [edge / total for edge in accumulate(weights)]
        # Rounding may leave the last edges below 1, where no index would be found, and trailing zero weights must stay out.
        last = max(i for i, weight in enumerate(weights) if weight > 0)
        self._edges[last:] = [inf] * (len(weights) - last)

    def choose(self, u: float) -> int:
        """The index that `u` in [0, 1) falls on."""
        return bisect_right(self._edges, u)
