"""Several runs of one scenario that differ in their seed alone: the mean of each figure, and how well it is known.

The interval is Student's t at 95 %, over runs that are independent: each seed is a stream of its own. A single run says
nothing about its own error, since its requests depend on each other.
"""

from __future__ import annotations

from math import sqrt
from statistics import NormalDist, fmean, stdev
from typing import TYPE_CHECKING, Any, Final

from edgesim.model.stream import key

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

CONFIDENCE: Final = 0.95
SEED_MAX: Final = 2**63 - 1
_T_975: Final = (
    12.706205, 4.302653, 3.182446, 2.776445, 2.570582, 2.446912, 2.364624, 2.306004, 2.262157, 2.228139,
)  # fmt: skip
"""Student's t, 97.5 %, for 1 to 10 degrees of freedom (NIST/SEMATECH e-Handbook of Statistical Methods, §1.3.6.7.2)."""


def seeds(seed: int, count: int) -> tuple[int, ...]:
    """The seeds of `count` runs: the scenario's own first, so that one run is the run without replications."""
    return (seed, *(key(seed, "replication", number) & SEED_MAX for number in range(1, count)))


def t_975(freedom: int) -> float:
    """Student's t at 97.5 %: tabulated up to 10 degrees of freedom, beyond by its expansion (error below 1e-4).

    The expansion is Abramowitz and Stegun, Handbook of Mathematical Functions, 26.7.5.
    """
    assert freedom >= 1
    if freedom <= len(_T_975):
        return _T_975[freedom - 1]
    z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
    terms = (
        (z**3 + z) / 4.0,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + sum(term * float(freedom) ** -power for power, term in enumerate(terms, start=1))


def figures(document: Mapping[str, Any]) -> dict[str, tuple[str, float | None]]:
    """The figures of a summary that runs are compared by: name to unit (`s`, `share`, `per_s`, `count`) and value."""
    totals = document["totals"]
    response, network = totals["response"], totals["network"]
    out: dict[str, tuple[str, float | None]] = {
        f"response {name}": ("s", response[f"{name}_s"]) for name in ("p50", "p90", "p95", "p99", "mean")
    }
    out["network p50"] = ("s", network["p50_s"])
    out["edge p50"] = ("s", document["edge"]["p50_s"])
    out["edge p99"] = ("s", document["edge"]["p99_s"])
    out["error rate"] = ("share", totals["error_rate"])
    out["requests"] = ("count", totals["requests"])
    out["requests per second"] = ("per_s", totals["rate_per_s"])
    out["cold starts"] = ("count", float(sum(cold_starts(document).values())))
    for role, count in cold_starts(document).items():
        out[f"cold starts, {role}"] = ("count", float(count))
    for row in document["cold_starts"]:
        if row["role"] == "trigger" and row["phase"] == "start":
            out["cold start p50"] = ("s", row["p50_s"])
    return out


def cold_starts(document: Mapping[str, Any]) -> dict[str, int]:
    """Cold starts by role; 0 where there were none."""
    found = {"trigger": 0, "waiter": 0}
    for name, count in document["starts"].items():
        role = str(name).rpartition(" ")[2]
        if role in found:
            found[role] += count
    return found


def replicated(documents: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What the summaries of the runs come to, as JSON-able values; the first run is the one that is shown in full."""
    found = [figures(document) for document in documents]
    names = dict.fromkeys(name for each in found for name in each)
    return {
        "count": len(documents),
        "confidence": CONFIDENCE,
        "seeds": [document["scenario"]["seed"] for document in documents],
        "conclusions": [document["conclusion"] for document in documents],
        "figures": [_figure(name, [each[name] for each in found if name in each]) for name in names],
    }


def _figure(name: str, measured: Sequence[tuple[str, float | None]]) -> dict[str, Any]:
    values = [value for _, value in measured if value is not None]
    count = len(values)
    mean = fmean(values) if values else None
    half = t_975(count - 1) * stdev(values) / sqrt(count) if count > 1 else None
    return {"figure": name, "unit": measured[0][0], "count": count, "mean": mean, "half_width": half, "values": values}
