"""Drawing from what was measured."""

from __future__ import annotations

from edgesim.model.access import QUANTILES
from edgesim.results.durations import Durations
from edgesim.sim.costs import NOTHING, table


def test_a_table_has_the_distribution():
    """Mean and quantiles of what was recorded, within a histogram's bucket."""
    durations = Durations()
    for n in range(1, 1001):
        durations.record(n / 1000)
    found = table(durations)

    assert len(found) == QUANTILES
    assert list(found) == sorted(found)
    assert abs(sum(found) / QUANTILES - 0.5005) < 0.002
    assert abs(found[QUANTILES // 2] - 0.5) < 0.02
    assert abs(found[int(QUANTILES * 0.99)] - 0.99) < 0.03


def test_rare_values_stay_rare():
    """One slow one in a hundred is drawn once in a hundred."""
    durations = Durations()
    for n in range(100):
        durations.record(1.0 if n == 0 else 0.001)

    assert abs(sum(1 for each in table(durations) if each > 0.5) / QUANTILES - 0.01) < 0.001


def test_nothing_measured_takes_no_time():
    """An absent phase, and an empty histogram."""
    assert table(None) == table(Durations()) == NOTHING
