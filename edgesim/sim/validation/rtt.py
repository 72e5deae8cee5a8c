"""The model of round-trip times against a table of measured ones."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Final

from edgesim.sim.validation.verdict import Claim, Result, at_most

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgesim.model.geo import LatLon
    from edgesim.model.rtt import HubGraph

FORMS: Final = ("public", "backbone")
MEDIAN_MAX: Final = 0.12
P90_MAX: Final = 0.35
"""Relative errors, as in docs/geography.md."""


@dataclass(frozen=True, slots=True)
class MeasuredRtt:
    """A row of the table."""

    a: LatLon
    b: LatLon
    rtt_s: float


def agreement(graph: HubGraph, table: Sequence[MeasuredRtt], name: str) -> list[Result]:
    """Median and 90th percentile (nearest rank) of the relative error over all pairs, for each form of the model."""
    results = []
    for form_name in FORMS:
        form = getattr(graph, form_name)
        errors = sorted(
            abs(graph.rtt_s(form, graph.attach(row.a), graph.attach(row.b)) - row.rtt_s) / row.rtt_s for row in table
        )
        ranks = (("median", MEDIAN_MAX, median(errors)), ("p90", P90_MAX, errors[-(-len(errors) * 9 // 10) - 1]))
        results += [
            at_most(
                Claim(
                    id=f"rtt.{form_name}.{rank}",
                    text=f"{len(table)} round trips, form {form_name}: {rank} of the relative error",
                    source=name,
                    unit="share",
                ),
                limit,
                got,
            )
            for rank, limit, got in ranks
        ]
    return results
