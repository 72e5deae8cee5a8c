"""Access classes and their quantile tables."""

from __future__ import annotations

from math import exp

import pytest

from edgesim.model.access import QUANTILES, AccessClass, AccessPlan, lognormal_table

FTTP = AccessClass(name="fttp", base_s=0.003, base_sigma=0.5, jitter_s=0.001, jitter_sigma=0.7)
LTE = AccessClass(name="lte", base_s=0.028, base_sigma=0.5, jitter_s=0.0087, jitter_sigma=0.68)
PLAN = AccessPlan(
    classes=(FTTP, LTE),
    unknown="lte",
    mixes={"high": {"fttp": 0.75, "lte": 0.25}, "low": {"lte": 1.0}},
    country_mix={"JP": "high"},
    default_mix="low",
)


def test_table_is_the_distribution():
    """Median, mean and tail of the table are those of the lognormal distribution."""
    table = lognormal_table(0.0087, 0.68)

    assert len(table) == QUANTILES
    assert list(table) == sorted(table)
    assert table[QUANTILES // 2] == pytest.approx(0.0087, rel=0.002)
    assert sum(table) / QUANTILES == pytest.approx(0.0087 * exp(0.68**2 / 2), rel=0.005)
    assert table[int(QUANTILES * 0.95)] == pytest.approx(0.0087 * exp(0.68 * 1.6449), rel=0.01)


def test_no_spread():
    """Without sigma all clients have the median."""
    assert set(lognormal_table(0.01, 0.0)) == {0.01}


def test_mix_and_find():
    """A country's mix, the default one, a forced one; unknown classes are the plan's unknown one."""
    assert PLAN.mix("JP") == {"fttp": 0.75, "lte": 0.25}
    assert PLAN.mix("XX") == {"lte": 1.0}
    assert PLAN.mix("JP", "low") == {"lte": 1.0}
    assert PLAN.mix("XX", "fttp") == {"fttp": 1.0}
    assert PLAN.find("fttp") is FTTP
    assert PLAN.find("") is LTE
    assert PLAN.names() == ("fttp", "lte")
