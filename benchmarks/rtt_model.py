"""The RTT model against measured round trips between cloud regions, beside straight-line models.

The table is `rtt_azure.csv` in the folder that EDGESIM_TEST_DATA names: Azure's published inter-region latency (95th
percentile; Microsoft, CC BY 4.0; not in this repository), pairs with coordinates. Errors are relative to the published
figure, over all pairs. The yardstick is M1, the best straight line on great-circle distance, fitted to the same pings as the
model's coefficients; M0, light in fibre along the great circle, is reported too. No coefficient was fitted to this table,
but its worst pairs prompted one change of the hub graph's links.
"""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from edgesim.config.catalogue import load_hub_graph
from edgesim.model.geo import LatLon, distance_km

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgesim.model.rtt import Form

COMMAND = "make bench ID=rtt-model"
GOALS = {"median": 12.0, "p90": 35.0}
"""Largest relative error in per cent."""


def run() -> list[dict]:
    """Entries of `out/bench.json`: median and 90th percentile of the relative error, for two forms of the model."""
    graph = load_hub_graph()
    folder = os.environ.get("EDGESIM_TEST_DATA")
    path = Path(folder) / "rtt_azure.csv" if folder else None
    pairs = read(path) if path is not None and path.is_file() else []
    m0 = errors(pairs, lambda a, b: distance_km(a, b) * 1e-5)
    m1 = errors(pairs, lambda a, b: 0.01285 + 1.721e-5 * distance_km(a, b))
    results = []
    for name in ("public", "backbone"):
        form = getattr(graph, name)
        model = errors(pairs, lambda a, b, form=form: graph.rtt_s(form, graph.attach(a), graph.attach(b)))
        results += [entry(name, form, rank, model[rank], m1[rank], m0[rank]) for rank in GOALS]
    return results


def read(path: Path) -> list[tuple[LatLon, LatLon, float]]:
    """Pairs of places with their measured round trip in seconds."""
    with path.open(encoding="utf-8", newline="") as file:
        return [
            (
                LatLon(float(row["src_lat"]), float(row["src_lon"])),
                LatLon(float(row["dst_lat"]), float(row["dst_lon"])),
                float(row["rtt_p95_ms"]) / 1e3,
            )
            for row in csv.DictReader(file)
        ]


def errors(
    pairs: list[tuple[LatLon, LatLon, float]], model: Callable[[LatLon, LatLon], float]
) -> dict[str, float | None]:
    """Median and 90th percentile (nearest rank) of the relative error in per cent; None without pairs."""
    found = sorted(abs(model(a, b) - measured_s) / measured_s * 100 for a, b, measured_s in pairs)
    if not found:
        return dict.fromkeys(GOALS)
    return {"median": median(found), "p90": found[-(-len(found) * 9 // 10) - 1]}


def entry(name: str, form: Form, rank: str, model: float | None, m1: float | None, m0: float | None) -> dict:
    """One result. `ratio` is the model's error over the yardstick's; `ok` compares the model's error with the goal."""
    result = {
        "id": f"rtt-model.{name}.{rank}",
        "value": model and round(model, 2),
        "unit": "% relative error",
        "yardstick": f"12.85 ms + 1.721 ms per 100 km of great circle (M1): {m1:.2f} %; light in fibre (M0): {m0:.2f} %"
        if m1 and m0
        else None,
        "ratio": model and m1 and round(model / m1, 3),
        "goal": f"<= {GOALS[rank]:g} %",
        "ok": None if model is None else model <= GOALS[rank],
        "command": COMMAND,
        "coefficients": f"{form.constant_s * 1e3:g} ms + {form.s_per_km * 1e5:g} ms per 100 km of hub path",
    }
    if model is None:
        result["reason"] = "rtt_azure.csv is not there: set EDGESIM_TEST_DATA to the folder that has it"
    return result


if __name__ == "__main__":
    print(json.dumps(run(), indent=2))
