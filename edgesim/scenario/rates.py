"""How the rate of arrivals changes over a run: ramps, the time of day of where clients are, flash crowds.

Everything comes down to pieces in which the rate is linear, so that its integral is exact and inverted without iteration
(`edgesim/scenario/arrivals.py`). The day is cut into `SLOTS` pieces.

- **Diurnal**: each client's share of the rate follows `d(h) = t + (1 - t) * (1 + cos(2 pi (h - p) / 24)) / 2` of the local
  hour h, with the trough t and the peak hour p, divided by its mean over the day: the phase's rate is the day's average.
  That one cosine is a simplification of the daily curve of eyeball traffic, which peaks in the evening.
- **Flash crowd**: extra requests per second that rise linearly, hold, and decay linearly (the shape of Ari et al., "Managing
  flash crowds on the Internet", MASCOTS 2003).
"""

from __future__ import annotations

from math import cos, pi
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edgesim.scenario.spec import Diurnal, FlashCrowd, Load, Phase, Population, Scenario

DAY_S: Final = 86_400.0
SLOTS: Final = 96
"""Pieces of a day: within one the rate is linear, and who sends does not change."""


class Piece(NamedTuple):
    """A stretch of a phase in which the rate is linear."""

    phase: int
    begin_s: float
    """From the start of the run."""
    duration_s: float
    rate_from: float
    rate_to: float
    extra_from: float = 0.0
    """How much of the rate is the flash crowd's."""
    extra_to: float = 0.0
    slot: int = -1
    """Part of the day, in UTC; -1 where the time of day does not matter."""

    @property
    def expected(self) -> float:
        """Expected number of arrivals: the integral of the rate."""
        return (self.rate_from + self.rate_to) / 2 * self.duration_s

    def crowd_share(self, at_s: float) -> float:
        """Which share of the arrivals at a time of the run belongs to the flash crowd."""
        into = (at_s - self.begin_s) / self.duration_s
        rate = self.rate_from + (self.rate_to - self.rate_from) * into
        extra = self.extra_from + (self.extra_to - self.extra_from) * into
        return extra / rate if rate > 0 else 0.0


class Hours:
    """How much of the rate's average falls on each time of the day, over all clients."""

    def __init__(self, diurnal: Diurnal, populations: tuple[Population, ...]) -> None:
        self._diurnal = diurnal
        total = sum(p.weight for p in populations)
        shares: dict[float, float] = {}
        for population in populations:
            inside = sum(c.weight for c in population.clients)
            for clients in population.clients:
                share = population.weight / total * clients.weight / inside
                shares[clients.utc_offset_s] = shares.get(clients.utc_offset_s, 0.0) + share
        self._shares = sorted(shares.items())

    def utc_s(self, at_s: float) -> float:
        """Seconds since midnight UTC at a time of the run."""
        return (self._diurnal.start_s + at_s * DAY_S / self._diurnal.day_s) % DAY_S

    def factor(self, at_s: float) -> float:
        """What the rate is multiplied with at a time of the run; its mean over the day is 1."""
        utc_s = self.utc_s(at_s)
        return sum(share * activity(self._diurnal, utc_s + offset_s) for offset_s, share in self._shares)


def activity(diurnal: Diurnal, local_s: float) -> float:
    """How active clients are at a local time, in seconds since midnight; the mean over the day is 1."""
    trough = diurnal.trough
    wave = (1 + cos(2 * pi * (local_s - diurnal.peak_s) / DAY_S)) / 2
    return (trough + (1 - trough) * wave) / ((1 + trough) / 2)


def pieces(scenario: Scenario) -> Iterator[Piece]:
    """The whole run, piece by piece."""
    load = scenario.load
    hours = None if load.diurnal is None else Hours(load.diurnal, scenario.populations)
    return load_pieces(load, hours)


def load_pieces(load: Load, hours: Hours | None = None) -> Iterator[Piece]:
    """The pieces of a load; `hours` for one with a time of day."""
    begin_s = 0.0
    for index, phase in enumerate(load.phases):
        if hours is None and phase.flash is None:
            yield Piece(index, begin_s, phase.duration_s, phase.rate_from, phase.rate_to)
        else:
            yield from _shaped(index, begin_s, phase, load.diurnal, hours)
        begin_s += phase.duration_s


def expected(scenario: Scenario) -> float:
    """Expected number of arrivals of a whole run."""
    return sum(piece.expected for piece in pieces(scenario))


def _shaped(index: int, begin_s: float, phase: Phase, diurnal: Diurnal | None, hours: Hours | None) -> Iterator[Piece]:
    """The pieces of a phase whose rate has corners."""

    def point(at_s: float) -> tuple[float, float]:
        base = phase.rate_from + (phase.rate_to - phase.rate_from) * at_s / phase.duration_s
        base *= 1.0 if hours is None else hours.factor(begin_s + at_s)
        extra = 0.0 if phase.flash is None else crowd_rate(phase.flash, at_s)
        return base + extra, extra

    at_s, (rate, extra) = 0.0, point(0.0)
    for next_s in _corners(begin_s, phase, diurnal):
        next_rate, next_extra = point(next_s)
        slot = -1
        if hours is not None:
            slot = int(hours.utc_s(begin_s + (at_s + next_s) / 2) / DAY_S * SLOTS)
        yield Piece(index, begin_s + at_s, next_s - at_s, rate, next_rate, extra, next_extra, slot)
        at_s, rate, extra = next_s, next_rate, next_extra


def crowd_rate(flash: FlashCrowd, at_s: float) -> float:
    """Extra requests per second at a time of the phase."""
    into_s = at_s - flash.at_s
    if into_s <= 0:
        return 0.0
    if into_s < flash.rise_s:
        return flash.add * into_s / flash.rise_s
    into_s -= flash.rise_s + flash.hold_s
    if into_s <= 0:
        return flash.add
    return flash.add * max(0.0, 1 - into_s / flash.decay_s) if flash.decay_s else 0.0


def _corners(begin_s: float, phase: Phase, diurnal: Diurnal | None) -> Iterator[float]:
    """Where pieces of a phase end, ascending; the phase's own end is the last."""
    crowd: list[float] = []
    if phase.flash is not None:
        f = phase.flash
        ends = (f.at_s, f.at_s + f.rise_s, f.at_s + f.rise_s + f.hold_s, f.at_s + f.rise_s + f.hold_s + f.decay_s)
        crowd = [end_s for end_s in sorted(set(ends)) if 0 < end_s < phase.duration_s]
    slot_s = diurnal.day_s / SLOTS if diurnal is not None else phase.duration_s
    # Slots begin at whole quarters of an hour of the clock, not of the phase.
    offset_s = 0.0 if diurnal is None else (diurnal.start_s / DAY_S * diurnal.day_s + begin_s) % slot_s
    number, last_s = 1, 0.0
    while True:
        next_s = min(number * slot_s - offset_s, phase.duration_s)
        number += 1
        for end_s in crowd:
            if last_s < end_s < next_s:
                yield end_s
        if next_s > last_s:
            yield next_s
        last_s = next_s
        if next_s >= phase.duration_s:
            return
