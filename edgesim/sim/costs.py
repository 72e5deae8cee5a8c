"""What is drawn from: a worker's measured costs as tables, one draw of 11 bits each.

A table holds the inverse of the empirical distribution function at 2,048 equal shares, so a draw is an index. Where a worker
was never measured, the simulator falls back on `Costs` (`leaves.py`). Reading profiles is `edgesim/results/profile.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

from edgesim.model.access import QUANTILES

if TYPE_CHECKING:
    from edgesim.model.ids import PhaseName
    from edgesim.results.durations import Durations
    from edgesim.results.profile import WorkerProfile

Table: TypeAlias = tuple[float, ...]
"""Seconds, ascending, `QUANTILES` of them."""
MASK: Final = QUANTILES - 1
BITS: Final = QUANTILES.bit_length() - 1
NOTHING: Final[Table] = (0.0,) * QUANTILES


def table(durations: Durations | None) -> Table:
    """The inverse of the empirical distribution function, at the middle of each of `QUANTILES` equal shares.

    Linear within a bucket of the histogram. Nothing measured takes no time.
    """
    if durations is None or not durations.count:
        return NOTHING
    out: list[float] = []
    seen, total = 0, durations.count
    for low_s, high_s, count in durations.buckets():
        seen += count
        while len(out) < QUANTILES and (rank := (len(out) + 0.5) / QUANTILES * total) <= seen:
            out.append(low_s + (high_s - low_s) * (rank - (seen - count)) / count)
    return tuple(out)


class Measured:
    """The costs of one component, ready to be drawn from."""

    __slots__ = (
        "execute",
        "fetch",
        "first_call",
        "init",
        "instance_bytes",
        "instantiate",
        "load",
        "loaded_bytes",
        "reused",
        "shared",
        "warm_up",
    )

    def __init__(self, profile: WorkerProfile) -> None:
        cold, fresh = profile.cold, profile.fresh
        self.fetch = table(cold.get("fetch"))
        self.load = table(cold.get("load"))
        self.shared = table(cold.get("shared"))
        self.warm_up = table(cold.get("warm_up"))
        self.instantiate = table(fresh.get("instantiate"))
        self.init = table(fresh.get("init"))
        self.execute = table(fresh.get("execute"))
        self.first_call = table(cold.get("first_call") or fresh.get("execute"))
        self.reused = table(profile.reused.get("execute") or fresh.get("execute"))
        self.loaded_bytes = profile.loaded_bytes
        self.instance_bytes = profile.instance_bytes

    def phase(self, name: PhaseName, bits: int) -> float:
        """Seconds of one phase of a start that no request's stream pays for."""
        phases = {"fetch": self.fetch, "load": self.load, "shared": self.shared, "warm_up": self.warm_up}
        return phases[name][bits & MASK]
