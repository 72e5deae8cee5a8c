"""How clients are connected: access classes with their last-mile delay, and the mix of classes by country.

The numbers are data (`pops/access.yaml`, assumptions rounded from measurements). Home Wi-Fi, packet loss and queueing under
load are not modelled.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import exp
from statistics import NormalDist
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

QUANTILES: Final = 2048
"""Entries of a quantile table: 11 random bits select one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessClass:
    """One way of being connected. All delays are shares of the round trip, in seconds."""

    name: str
    base_s: float
    """Round trip of the last mile, median over clients."""
    base_sigma: float = 0.0
    """Spread of the base over clients (lognormal); one client keeps its own."""
    jitter_s: float = 0.0
    """Delay on top, drawn per packet; median."""
    jitter_sigma: float = 0.0
    base_table: tuple[float, ...] = field(init=False, repr=False, compare=False)
    """Quantiles of the base in seconds, ascending, `QUANTILES` entries."""
    jitter_table: tuple[float, ...] = field(init=False, repr=False, compare=False)
    """Quantiles of the jitter in seconds, ascending, `QUANTILES` entries."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "base_table", lognormal_table(self.base_s, self.base_sigma))
        object.__setattr__(self, "jitter_table", lognormal_table(self.jitter_s, self.jitter_sigma))


def lognormal_table(median: float, sigma: float, entries: int = QUANTILES) -> tuple[float, ...]:
    """Quantiles of a lognormal distribution at the middle of each of `entries` equal shares, ascending."""
    inverse = NormalDist().inv_cdf
    return tuple(median * exp(sigma * inverse((i + 0.5) / entries)) for i in range(entries))


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessPlan:
    """All access classes and who has which."""

    classes: tuple[AccessClass, ...]
    """In the order of the address plan, at most 8."""
    unknown: str
    """The class of clients whose address does not tell."""
    mixes: Mapping[str, Mapping[str, float]]
    """Mix name (income group) to class to share; shares add up to 1."""
    country_mix: Mapping[str, str]
    """Country to the name of its mix."""
    default_mix: str

    def mix(self, country: str, access_mix: str = "by-country") -> Mapping[str, float]:
        """Share of each class among a country's clients.

        Args:
            country: ISO 3166-1 alpha-2.
            access_mix: `by-country`, or the name of a mix or of a class that all clients have (`network.access_mix`).
        """
        if access_mix == "by-country":
            return self.mixes[self.country_mix.get(country, self.default_mix)]
        return self.mixes.get(access_mix) or {access_mix: 1.0}

    def find(self, name: str) -> AccessClass:
        """The class with this name; the one for unknown clients when there is none."""
        by_name = {c.name: c for c in self.classes}
        return by_name.get(name) or by_name[self.unknown]

    def names(self) -> tuple[str, ...]:
        """The classes by name, in the order of the address plan."""
        return tuple(c.name for c in self.classes)
