"""Claims, what was measured, and when a claim holds.

A statistical claim is about the mean of independent replications. It holds when the mean is near theory by both rules:

- |z| < 3.5, where z = (mean - theory) / (s / √replications): the difference is no more than chance;
- |mean - theory| / theory < 2 % (3 % from a load of 0.9 on; 5 % in a quick run, whose standard errors are larger): the
  replications were long enough for the first rule to mean something.

A whole family of z is judged besides, by chi-squared: many small differences to one side are no chance either. An exact
claim holds when the largest difference is within rounding.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, inf, lgamma, log, sqrt
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

Z_MAX: Final = 3.5
RELATIVE_MAX: Final = 0.02
RELATIVE_MAX_HEAVY: Final = 0.03
RELATIVE_MAX_QUICK: Final = 0.05
HEAVY_LOAD: Final = 0.9
P_MIN: Final = 1e-3
EXACT_MAX: Final = 1e-9
"""Relative; sums of 10⁴ to 10⁵ doubles."""

Unit = Literal["s", "share", "customers", ""]


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """Something that theory says."""

    id: str
    """`mm1.wait.0.5`."""
    text: str
    """In words, with the formula."""
    source: str
    """Book or paper, and where in it."""
    unit: Unit


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """A claim beside what was measured."""

    claim: Claim
    expected: float
    got: float
    tolerance: str
    """In words."""
    ok: bool
    z: float | None = None
    """Of a statistical claim."""
    error: float | None = None
    """Standard error of `got`, in its unit."""

    @property
    def relative(self) -> float | None:
        """The difference as a share of what was expected; None where that is 0."""
        return (self.got - self.expected) / self.expected if self.expected else None


def statistical(claim: Claim, expected: float, samples: Sequence[float], *, allowed: float) -> Result:
    """Judge the mean of one value from each replication; `allowed` is the largest relative difference."""
    got = fmean(samples)
    error = stdev(samples, got) / sqrt(len(samples))
    z = (got - expected) / error if error else (0.0 if got == expected else inf)
    return Result(
        claim=claim,
        expected=expected,
        got=got,
        tolerance=f"< {allowed:.0%}, |z| < {Z_MAX:g}",
        ok=abs(z) < Z_MAX and abs(got - expected) < allowed * expected,
        z=z,
        error=error,
    )


def exact(claim: Claim, expected: float, got: float) -> Result:
    """Judge two numbers that must be equal but for rounding."""
    ok = abs(got - expected) <= EXACT_MAX * max(abs(expected), abs(got))
    return Result(claim=claim, expected=expected, got=got, tolerance=f"{EXACT_MAX:g} of it", ok=ok)


def at_most(claim: Claim, limit: float, got: float) -> Result:
    """Judge an error, of which theory says that it is 0, by a limit."""
    return Result(
        claim=claim,
        expected=0.0,
        got=got,
        tolerance=f"<= {limit:.0%}" if claim.unit == "share" else f"<= {limit:.1g} {claim.unit}",
        ok=got <= limit,
    )


def family(results: Sequence[Result]) -> Result:
    """Judge the z of independent statistical results together."""
    squares = [result.z * result.z for result in results if result.z is not None]
    got = chi_squared_p(sum(squares), len(squares))
    claim = Claim(
        id="family",
        text=f"{len(squares)} independent z together: Σz² = {sum(squares):.1f} is χ² with {len(squares)} degrees of freedom",
        source="sum of squared normals",
        unit="",
    )
    return Result(claim=claim, expected=0.5, got=got, tolerance=f"p > {P_MIN:g}", ok=got > P_MIN)


def chi_squared_p(x: float, df: int) -> float:
    """P(χ² > x) with `df` degrees of freedom.

    That is 1 - P(df/2, x/2), with the regularised incomplete gamma function by its series (NIST DLMF 8.7.1). The terms fall once their number passes x/2, so the sum is bounded by about x + 100 terms.
    """
    if x <= 0.0 or df == 0:
        return 1.0
    if x == inf:
        return 0.0
    a, half = df / 2.0, x / 2.0
    term = total = 1.0 / a
    n = 0
    while term > total * 1e-17:
        n += 1
        term *= half / (a + n)
        total += term
    return max(0.0, 1.0 - total * exp(a * log(half) - half - lgamma(a)))
