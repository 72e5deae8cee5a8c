"""When each request is sent, by whom, and which one it is: a pure function of the scenario and its seed.

Times come from the integral of the rate, Λ(t): a Poisson process with a changing rate is a unit-rate process whose times
are mapped through the inverse of Λ (Çinlar, Introduction to Stochastic Processes, 1975, §4.7), so ramps are exact and
nothing is thinned out; `edgesim/scenario/rates.py` has the rate. What each request is has its own random stream, dealt out by
the request's number: another rate or another order of phases does not change it.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, replace
from itertools import accumulate
from math import inf, log1p, sqrt
from typing import TYPE_CHECKING

from edgesim.model.stream import Stream, key, numbered
from edgesim.scenario.rates import DAY_S, SLOTS, activity, load_pieces, pieces

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from edgesim.scenario.rates import Piece
    from edgesim.scenario.spec import Load, Scenario, Think


@dataclass(slots=True)  # one per request: frozen triples its cost
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
    session: int = -1
    """Which session it belongs to; -1 for a request of its own."""
    step: int = 0
    """Its place in the session."""


def arrivals(scenario: Scenario) -> Iterator[Arrival]:
    """Every arrival of the scenario in order of time, produced one by one; of sessions the first requests."""
    base, sessions = key(scenario.load.seed, "arrival"), scenario.sessions
    who = _Who(scenario)
    mix = Chooser([s.weight for s in sessions] if sessions else [r.weight for r in scenario.requests])
    rows = min((len(f.rows) for f in scenario.feeders if f.order == "sequential"), default=None)
    phases, slot = scenario.load.phases, -1
    populations, clients = who.at(slot)
    for number, (at_s, piece) in enumerate(_times(scenario.load, pieces(scenario))):
        if number == rows:
            return
        draw = numbered(base, number).uniform
        if piece.slot != slot:
            slot = piece.slot
            populations, clients = who.at(slot)
        population, place = bisect_right(populations.edges, draw()), draw()  # as `choose`, without its calls
        kind = bisect_right(mix.edges, draw())
        flash = phases[piece.phase].flash
        if flash is not None and draw() < piece.crowd_share(at_s):
            population = flash.population if flash.population >= 0 else population
            kind = flash.request if flash.request >= 0 else kind
        client = bisect_right(clients[population].edges, place)
        if sessions:
            yield Arrival(number, at_s, piece.phase, population, client, sessions[kind].steps[0].request, kind)
        else:
            yield Arrival(number, at_s, piece.phase, population, client, kind)


def following(scenario: Scenario, arrival: Arrival, answered_s: float) -> Arrival | None:
    """The session's next request after an answer at `answered_s` of the run; None when there is none, or the load is over."""
    if arrival.session < 0:
        return None
    steps, step = scenario.sessions[arrival.session].steps, arrival.step + 1
    if step >= len(steps):
        return None
    draw = Stream(key(scenario.load.seed, "think", arrival.number, step))
    at_s = answered_s + think_s(steps[step].think, draw)
    ends_s = accumulate(phase.duration_s for phase in scenario.load.phases)
    phase = next((index for index, end_s in enumerate(ends_s) if at_s < end_s), None)
    if phase is None:
        return None
    return replace(arrival, at_s=at_s, phase=phase, request=steps[step].request, step=step)


def think_s(think: Think, draw: Stream) -> float:
    """How long a client thinks."""
    match think.kind:
        case "constant":
            return think.low_s
        case "uniform":
            return think.low_s + (think.high_s - think.low_s) * draw.uniform()
        case "exponential":
            return -think.low_s * log1p(-draw.uniform())


class _Who:
    """Who sends, by the time of day."""

    def __init__(self, scenario: Scenario) -> None:
        self._scenario = scenario
        self._by_slot: dict[int, tuple[Chooser, list[Chooser]]] = {}

    def at(self, slot: int) -> tuple[Chooser, list[Chooser]]:
        """Choosers of the population and of the clients in each; slot -1 is any time."""
        found = self._by_slot.get(slot)
        if found is None:
            found = self._by_slot[slot] = self._choosers(slot)
        return found

    def _choosers(self, slot: int) -> tuple[Chooser, list[Chooser]]:
        diurnal = self._scenario.load.diurnal
        utc_s = (slot + 0.5) * DAY_S / SLOTS
        weights, clients = [], []
        for population in self._scenario.populations:
            usual = [c.weight for c in population.clients]
            now = usual
            if diurnal is not None and slot >= 0:
                now = [c.weight * activity(diurnal, utc_s + c.utc_offset_s) for c in population.clients]
            weights.append(population.weight * sum(now) / sum(usual))
            clients.append(Chooser(now))
        return Chooser(weights), clients


def times(load: Load) -> Iterator[tuple[float, int]]:
    """Send times of a load without a time of day, in seconds from the start, ascending, each with the index of its phase.

    `constant` puts one arrival into the middle of each unit of Λ: at 10/s after 0.05 s, 0.15 s and so on.
    """
    for at_s, piece in _times(load, load_pieces(load)):
        yield at_s, piece.phase


def _times(load: Load, parts: Iterable[Piece]) -> Iterator[tuple[float, Piece]]:
    stream = Stream(key(load.seed, "times"))
    poisson = load.arrivals == "poisson"
    # Arrivals due from the start of the run, and at the beginning of the current piece, as values of Λ.
    due = -log1p(-stream.uniform()) if poisson else 0.5
    before = 0.0
    for piece in parts:
        total = piece.expected
        while due - before < total:
            yield piece.begin_s + _inverse(piece, due - before), piece
            due += -log1p(-stream.uniform()) if poisson else 1.0
        before += total


def _inverse(piece: Piece, area: float) -> float:
    """The time in the piece at which the integral of the rate reaches `area`.

    Solves rate_from·t + slope·t²/2 = area in the form that does not cancel when the slope is small.
    """
    slope = (piece.rate_to - piece.rate_from) / piece.duration_s
    root = sqrt(max(0.0, piece.rate_from * piece.rate_from + 2 * slope * area))
    divisor = piece.rate_from + root
    return min(2 * area / divisor, piece.duration_s) if divisor > 0 else piece.duration_s


class Chooser:
    """Picks an index by weight: the inverse of the cumulative distribution."""

    __slots__ = ("edges",)

    def __init__(self, weights: Sequence[float]) -> None:
        total = sum(weights)
        assert total > 0, "at least one weight must be positive"
        self.edges = [edge / total for edge in accumulate(weights)]
        # Rounding may leave the last edges below 1, where no index would be found, and trailing zero weights must stay out.
        last = max(i for i, weight in enumerate(weights) if weight > 0)
        self.edges[last:] = [inf] * (len(weights) - last)

    def choose(self, u: float) -> int:
        """The index that `u` in [0, 1) falls on."""
        return bisect_right(self.edges, u)
