"""Service-time distributions whose moments are known: what the claims need of a guest.

Draws are by inversion of uniform numbers from the request's own stream, so a request draws the same whatever happens to it.
What real workers take is in their profiles, not here.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, log, log1p, sqrt
from statistics import NormalDist
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from edgesim.model.stream import Stream

_NORMAL = NormalDist()


class Service(Protocol):
    """A distribution of service times."""

    @property
    def name(self) -> str:
        """Kendall's letter: `M`, `D`, `LN`, `H2`."""
        ...

    @property
    def mean_s(self) -> float:
        """E[S]."""
        ...

    @property
    def scv(self) -> float:
        """Squared coefficient of variation, Var[S] / E[S]²."""
        ...

    def draw(self, stream: Stream) -> float | None:
        """The next service time in seconds; None leaves it to the simulator's own model of a guest."""
        ...


@dataclass(frozen=True, slots=True)
class Exponential:
    """What the simulator's own guests take: drawn there, not here, so that its draw is part of what is validated."""

    mean_s: float
    name: str = "M"
    scv: float = 1.0

    def draw(self, stream: Stream) -> None:
        """Nothing: see `Service.draw`."""


@dataclass(frozen=True, slots=True)
class Deterministic:
    """Always the same."""

    mean_s: float
    name: str = "D"
    scv: float = 0.0

    def draw(self, stream: Stream) -> float:  # noqa: ARG002 - as in Service
        """The mean; takes nothing from the stream."""
        return self.mean_s


@dataclass(frozen=True, slots=True)
class Lognormal:
    """exp(N(μ, σ²)) with σ² = ln(1 + scv) and μ = ln(mean) - σ²/2."""

    mean_s: float
    scv: float
    name: str = "LN"

    def draw(self, stream: Stream) -> float:
        """One uniform number through the inverse of the normal distribution."""
        variance = log1p(self.scv)
        z = _NORMAL.inv_cdf(max(stream.uniform(), 2.0**-54))  # 0 has no inverse
        return self.mean_s * exp(sqrt(variance) * z - variance / 2.0)


@dataclass(frozen=True, slots=True)
class HyperExponential:
    """Two exponential branches with balanced means: each branch carries half of the load.

    The branch probabilities that give `scv` ≥ 1 are (1 ± √((scv - 1) / (scv + 1))) / 2
    (Tijms, A First Course in Stochastic Models, 2003, appendix B).
    """

    mean_s: float
    scv: float
    name: str = "H2"

    def draw(self, stream: Stream) -> float:
        """One uniform number for the branch, one for the time."""
        first = (1.0 + sqrt((self.scv - 1.0) / (self.scv + 1.0))) / 2.0
        share = first if stream.uniform() < first else 1.0 - first
        return -self.mean_s / (2.0 * share) * log(1.0 - stream.uniform())
