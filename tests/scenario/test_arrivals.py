"""Arrivals: exact ramps, Poisson statistics, determinism, independence of who from when."""

from __future__ import annotations

from collections import Counter
from itertools import islice, pairwise
from math import sqrt

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgesim.model.geo import LatLon, Metro
from edgesim.scenario.arrivals import Chooser, arrivals, times
from edgesim.scenario.rates import expected
from edgesim.scenario.spec import Clients, Load, Phase, Population, RequestSpec, Scenario, Target


def metro(ident: int) -> Metro:
    """A metro called after its id."""
    return Metro(id=ident, city=f"city{ident}", country="DE", at=LatLon(0.0, 0.0), weight=1.0, timezone="UTC")


def phase(duration_s: float, rate_from: float, rate_to: float | None = None) -> Phase:
    """A phase; constant without `rate_to`."""
    return Phase(
        name="p", duration_s=duration_s, rate_from=rate_from, rate_to=rate_from if rate_to is None else rate_to
    )


def scenario(*phases: Phase, seed: int = 1, arrivals: str = "poisson") -> Scenario:
    """Two populations, three kinds of clients, two requests."""
    return Scenario(
        name="s",
        target=Target(app="hello"),
        load=Load(phases=phases, seed=seed, arrivals=arrivals),
        populations=(
            Population(
                name="a",
                weight=3,
                clients=(
                    Clients(metro=metro(1), access="lte", weight=1),
                    Clients(metro=metro(2), access="lte", weight=4),
                ),
            ),
            Population(name="b", weight=1, clients=(Clients(metro=metro(3), access="fttp", weight=1),)),
        ),
        requests=(
            RequestSpec(name="home", weight=9, method="GET", target="/"),
            RequestSpec(name="write", weight=1, method="POST", target="/w"),
        ),
    )


def test_constant_rate_is_evenly_spaced() -> None:
    """At 4/s an arrival is in the middle of each quarter of a second."""
    load = Load(phases=(phase(1.0, 4.0),), arrivals="constant")

    assert [at_s for at_s, _ in times(load)] == [0.125, 0.375, 0.625, 0.875]


def test_ramp_is_the_exact_inverse_of_the_integral() -> None:
    """From 0 to 8/s in 2 s: Λ(t) = 2t², so arrival k is at sqrt((k + 1/2) / 2)."""
    load = Load(phases=(phase(2.0, 0.0, 8.0),), arrivals="constant")

    found = [at_s for at_s, _ in times(load)]

    assert [sqrt((k + 0.5) / 2) for k in range(8)] == pytest.approx(found, abs=1e-12)


def test_ramp_down_to_zero_ends_with_its_phase() -> None:
    """A rate that falls to 0 gives half of its start rate on average, and no arrival after the end."""
    found = [at_s for at_s, _ in times(Load(phases=(phase(2.0, 10.0, 0.0),), arrivals="constant"))]

    assert len(found) == 10
    assert found[-1] <= 2.0


def test_a_silent_phase_has_no_arrivals_and_takes_its_time() -> None:
    """A rate of 0 shifts what follows."""
    load = Load(phases=(phase(1.0, 2.0), phase(3.0, 0.0), phase(1.0, 2.0)), arrivals="constant")

    assert list(times(load)) == [(0.25, 0), (0.75, 0), (4.25, 2), (4.75, 2)]


def test_poisson_counts_and_gaps() -> None:
    """20,000 expected arrivals: their number lies within 4 sigma, gaps have the mean and spread of an exponential."""
    found = [at_s for at_s, _ in times(Load(phases=(phase(100.0, 200.0),), seed=5))]
    gaps = [b - a for a, b in pairwise(found)]
    mean = sum(gaps) / len(gaps)
    deviation = sqrt(sum((g - mean) ** 2 for g in gaps) / len(gaps))

    assert abs(len(found) - 20_000) < 4 * sqrt(20_000)
    assert pytest.approx(mean, rel=0.03) == 1 / 200
    assert mean == pytest.approx(deviation, rel=0.03)


def test_poisson_ramp_follows_the_rate() -> None:
    """On a ramp from 0 to 400/s, arrivals fall into quarters of the time as 1 : 3 : 5 : 7."""
    quarters = Counter(int(at_s // 25) for at_s, _ in times(Load(phases=(phase(100.0, 0.0, 400.0),), seed=3)))

    for quarter, share in enumerate((1 / 16, 3 / 16, 5 / 16, 7 / 16)):
        wanted = 20_000 * share

        assert abs(quarters[quarter] - wanted) < 4 * sqrt(wanted)


def test_same_seed_same_arrivals() -> None:
    """A run is a function of scenario and seed."""
    first, again, other = (list(arrivals(scenario(phase(5.0, 40.0), seed=s))) for s in (1, 1, 2))

    assert first == again
    assert first != other


def test_who_sends_does_not_depend_on_when() -> None:
    """Request n is of the same kind at another rate, since each has its own random stream."""
    slow, fast = (list(islice(arrivals(scenario(phase(50.0, rate))), 100)) for rate in (10.0, 500.0))
    who = [[(a.population, a.clients, a.request) for a in found] for found in (slow, fast)]

    assert who[0] == who[1]


def test_weights_are_shares() -> None:
    """Populations 3:1, clients within the first 1:4, requests 9:1."""
    found = list(arrivals(scenario(phase(100.0, 100.0))))
    total = len(found)
    first = [a for a in found if a.population == 0]

    assert pytest.approx(len(first) / total, abs=0.02) == 0.75
    assert pytest.approx(sum(a.clients == 1 for a in first) / len(first), abs=0.02) == 0.8
    assert pytest.approx(sum(a.request == 0 for a in found) / total, abs=0.02) == 0.9


def test_arrivals_are_lazy() -> None:
    """A scenario of a billion requests can be begun."""
    first = next(arrivals(scenario(phase(100_000.0, 10_000.0))))

    assert first.number == 0


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.floats(0.1, 20), st.floats(0, 60), st.floats(0, 60)).map(lambda v: phase(*v)),
        min_size=1,
        max_size=4,
    ),
    st.integers(0, 2**63 - 1),
    st.sampled_from(["poisson", "constant"]),
)
def test_times_ascend_within_their_phases(phases: list[Phase], seed: int, kind: str) -> None:
    """Whatever the phases: ascending times, each inside its phase, and for constant arrivals the exact number."""
    load = Load(phases=tuple(phases), seed=seed, arrivals=kind)
    starts = [*load.starts_s(), load.duration_s]

    found = list(times(load))

    assert all(a[0] <= b[0] for a, b in pairwise(found))
    assert all(starts[i] - 1e-9 <= at_s <= starts[i + 1] + 1e-9 for at_s, i in found)
    if kind == "constant":
        assert abs(expected(scenario(*phases)) - len(found)) <= 0.5 + 1e-6


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=20).filter(any), st.floats(0, 1, exclude_max=True))
def test_chooser_never_picks_what_has_no_weight(weights: list[float], u: float) -> None:
    """The index exists, and its weight is positive."""
    assert weights[Chooser(weights).choose(u)] > 0
