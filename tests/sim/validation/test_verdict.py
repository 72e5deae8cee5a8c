"""When a claim holds."""

from __future__ import annotations

import pytest

from edgesim.sim.validation.verdict import Claim, at_most, chi_squared_p, exact, family, statistical

CLAIM = Claim(id="c", text="c", source="s", unit="s")


def around(mean, spread=0.01):
    """Twenty samples with this mean and about this relative spread."""
    return [mean * (1.0 + spread * (-1) ** n) for n in range(20)]


def test_near_enough():
    """Within the tolerance and within chance."""
    result = statistical(CLAIM, 1.0, around(1.004), allowed=0.02)

    assert result.ok
    assert result.z == pytest.approx(1.74, abs=0.01)
    assert result.relative == pytest.approx(0.004)


def test_no_chance():
    """A small difference that is many standard errors is a fault of the simulator."""
    assert not statistical(CLAIM, 1.0, around(1.01), allowed=0.02).ok


def test_too_noisy():
    """A large difference that could be chance says that the runs were too short."""
    assert not statistical(CLAIM, 1.0, around(1.03, spread=0.1), allowed=0.02).ok


def test_without_spread():
    """Samples that are all the same are judged too, by being right."""
    assert statistical(CLAIM, 1.0, [1.0] * 20, allowed=0.02).ok
    assert not statistical(CLAIM, 1.0, [1.001] * 20, allowed=0.02).ok


def test_exact_claims():
    """Rounding is allowed, a millionth is not."""
    assert exact(CLAIM, 5.0, 5.0 + 1e-12).ok
    assert not exact(CLAIM, 5.0, 5.000005).ok
    assert at_most(CLAIM, 0.5, 0.5).ok
    assert not at_most(CLAIM, 0.5, 0.51).ok


def test_differences_to_one_side_are_no_chance():
    """Nine claims that each pass at 2.1 standard errors do not pass together."""
    each = [statistical(CLAIM, 1.0, around(1.0048), allowed=0.02) for _ in range(9)]

    assert all(result.ok for result in each)
    assert not family(each).ok
    assert family(each[:1]).ok


@pytest.mark.parametrize(
    ("x", "df", "p"),
    [(3.841, 1, 0.05), (5.991, 2, 0.05), (18.307, 10, 0.05), (26.124, 8, 0.001), (3.92, 8, 0.864), (0.0, 3, 1.0)],
)
def test_chi_squared(x, df, p):
    """As in printed tables."""
    assert chi_squared_p(x, df) == pytest.approx(p, rel=2e-3)


def test_chi_squared_far_out():
    """No overflow and no endless sum."""
    assert chi_squared_p(2000.0, 5) == 0.0
    assert chi_squared_p(float("inf"), 5) == 0.0
