"""The rate over a run: the time of day, flash crowds, and that pieces add up."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgesim.model.geo import LatLon, Metro
from edgesim.scenario.arrivals import arrivals
from edgesim.scenario.rates import DAY_S, activity, crowd_rate, expected, load_pieces, pieces
from edgesim.scenario.spec import (
    Clients,
    Diurnal,
    FlashCrowd,
    Load,
    Phase,
    Population,
    RequestSpec,
    Scenario,
    Target,
)

FLASH = FlashCrowd(add=100.0, at_s=10.0, rise_s=5.0, hold_s=10.0, decay_s=20.0, population=1, request=1)
DIURNAL = Diurnal(day_s=240.0, start_s=0.0, peak_s=20 * 3600.0, trough=0.25)


def clients(ident: int, offset_h: float) -> Clients:
    """The clients of a metro whose clocks are so many hours ahead of UTC."""
    metro = Metro(id=ident, city=f"city{ident}", country="DE", at=LatLon(0, 0), weight=1.0, timezone="UTC")
    return Clients(metro=metro, access="lte", weight=1.0, utc_offset_s=offset_h * 3600.0)


def scenario(phase: Phase, diurnal: Diurnal | None = None) -> Scenario:
    """Tokyo and Los Angeles, nine hours ahead and eight behind."""
    return Scenario(
        name="s",
        target=Target(app="hello"),
        load=Load(phases=(phase,), diurnal=diurnal, seed=3),
        populations=(
            Population(name="tokyo", weight=1.0, clients=(clients(1, 9),)),
            Population(name="los angeles", weight=1.0, clients=(clients(2, -8),)),
        ),
        requests=(
            RequestSpec(name="home", weight=1.0, method="GET", target="/"),
            RequestSpec(name="story", weight=1e-9, method="GET", target="/story"),
        ),
    )


def steady(duration_s: float, rate: float, flash: FlashCrowd | None = None) -> Phase:
    """A phase of constant rate."""
    return Phase(name="p", duration_s=duration_s, rate_from=rate, rate_to=rate, flash=flash)


def test_activity_peaks_in_the_evening_and_is_one_on_average() -> None:
    """At the peak hour it is the trough's inverse share above it."""
    curve = [activity(DIURNAL, hour * 3600.0) for hour in range(24)]

    assert sum(curve) / 24 == pytest.approx(1.0)
    assert curve.index(max(curve)) == 20
    assert curve.index(min(curve)) == 8
    assert min(curve) / max(curve) == pytest.approx(0.25)


def test_a_day_has_its_average_and_moves_around_the_globe() -> None:
    """`arrivalRate` is the mean of a whole day; who sends follows the clocks."""
    day = scenario(steady(240.0, 50.0), DIURNAL)

    found = list(arrivals(day))

    assert expected(day) == pytest.approx(240 * 50, rel=1e-3)
    assert len(found) == pytest.approx(240 * 50, rel=0.03)
    # 20:00 in Tokyo is 11:00 UTC, 110 s into the run; in Los Angeles 04:00 UTC, 40 s.
    for at_s, busy in ((110.0, 0), (40.0, 1)):
        around = Counter(a.population for a in found if abs(a.at_s - at_s) < 10)
        assert around[busy] > 1.6 * around[1 - busy]


def test_a_run_may_begin_at_any_time_of_day() -> None:
    """A day that begins at 06:00 has its pieces at whole quarters of an hour all the same."""
    shifted = scenario(steady(240.0, 50.0), replace(DIURNAL, start_s=6 * 3600.0 + 100.0))

    found = list(pieces(shifted))

    assert expected(shifted) == pytest.approx(240 * 50, rel=1e-3)
    assert found[0].slot == 24
    assert found[-1].slot == 24
    assert found[0].duration_s < 2.5
    assert {p.slot for p in found} == set(range(96))


def test_a_flash_crowd_rises_holds_and_decays() -> None:
    """Its area is that of its trapezoid, and it comes from whom it should, after what it should."""
    crowd = scenario(steady(60.0, 20.0, FLASH))

    found = list(arrivals(crowd))
    late = [a for a in found if 15 <= a.at_s < 25]

    assert [crowd_rate(FLASH, t) for t in (10.0, 12.5, 15.0, 25.0, 35.0, 45.0, 50.0)] == [0, 50, 100, 100, 50, 0, 0]
    assert expected(crowd) == pytest.approx(60 * 20 + 100 * (2.5 + 10 + 10))
    assert len(late) == pytest.approx(1200, rel=0.12)
    assert sum(a.population == 1 and a.request == 1 for a in late) / len(late) == pytest.approx(100 / 120, abs=0.04)
    assert all(a.request == 0 for a in found if a.at_s < 10 or a.at_s > 45)


def test_without_shapes_a_phase_is_one_piece() -> None:
    """So its times are what they were before there were shapes."""
    (piece,) = load_pieces(Load(phases=(steady(10.0, 3.0),)))

    assert (piece.begin_s, piece.duration_s, piece.rate_from, piece.rate_to, piece.slot) == (0.0, 10.0, 3.0, 3.0, -1)


@settings(max_examples=50, deadline=None)
@given(
    st.floats(1, 300), st.floats(0, 50), st.floats(0, 50), st.floats(0, 400), st.floats(0, 60), st.floats(0, 60),
    st.floats(0, 60), st.floats(10, 86_400), st.floats(0, 86_399),
)  # fmt: skip
def test_pieces_cover_their_phase(
    duration_s: float, low: float, high: float, at_s: float, rise_s: float, hold_s: float, decay_s: float,
    day_s: float, start_s: float,
) -> None:  # fmt: skip
    """Whatever the shapes: without gaps, with rates that meet and are never negative."""
    flash = FlashCrowd(add=10.0, at_s=at_s, rise_s=rise_s, hold_s=hold_s, decay_s=decay_s)
    phase = Phase(name="p", duration_s=duration_s, rate_from=low, rate_to=high, flash=flash)
    found = list(pieces(scenario(phase, Diurnal(day_s=day_s, start_s=start_s))))

    assert found[0].begin_s == 0.0
    assert found[-1].begin_s + found[-1].duration_s == pytest.approx(duration_s)
    assert all(a.begin_s + a.duration_s == pytest.approx(b.begin_s) for a, b in pairwise(found))
    assert all(p.duration_s > 0 and min(p.rate_from, p.rate_to, p.extra_from, p.extra_to) >= -1e-9 for p in found)
    assert all(0 <= p.slot < DAY_S for p in found)
