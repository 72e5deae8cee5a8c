"""Writes `docs/reference/metrics.md` from the metric catalogue. Run it after a change there; a test compares the two."""

from __future__ import annotations

from pathlib import Path

from edgesim.model.ids import OUTCOMES, PHASES, STARTS
from edgesim.observe.catalog import CATALOG, DEFAULT_LABEL_LIMIT, LABEL_LIMITS, NONE, OTHER, Metric
from edgesim.observe.histogram import EDGES_S
from edgesim.observe.summary import ROLES

TARGET = Path(__file__).parent.parent / "docs" / "reference" / "metrics.md"

INTRODUCTION = f"""# Metrics

<!-- Written by scripts/generate_metrics_reference.py from edgesim/observe/catalog.py. Do not edit. -->

Each process of the edge exports what happened in it at `/metrics`, in Prometheus' text format. The control plane lists the
processes at `/v1/sd/prometheus` for Prometheus' HTTP service discovery, and merges their counts in `/v1/pops`.
`dashboards/prometheus.yml` scrapes them, and the dashboards beside it show them in Grafana. All values count since the process
started. A load run exports its own with `edgesim load run --prometheus 9464`, for as long as it goes on.

Histograms have upper edges of 2^k and 1.5·2^k microseconds from 1 µs to {EDGES_S[-1]:.1f} s: {len(EDGES_S)} buckets and `+Inf`, the same for
each metric, so they can be added up. Quantiles in `/v1/pops` and reports follow the rule of `histogram_quantile`.

A label takes at most {DEFAULT_LABEL_LIMIT} values in a process, `app` at most {LABEL_LIMITS["app"]}, `version` {LABEL_LIMITS["version"]}, `scenario` {LABEL_LIMITS["scenario"]}; what comes later is counted under
`{OTHER}`. `{NONE}` stands for what does not apply: no guest ran, no PoP answered, no such app.
"""

VALUES = f"""## Label values

| label | values |
|---|---|
| `outcome` | {", ".join(f"`{value}`" for value in OUTCOMES)} |
| `start` | {", ".join(f"`{value}`" for value in (*STARTS, NONE))} |
| `phase` | {", ".join(f"`{value}`" for value in PHASES)} |
| `role` | {", ".join(f"`{value}`" for value in ROLES)} |
| `part` | `network`, `queue`, `start`, `execute`, `origin` |
| `reason` | `first`, `skipped`, `failover`, `{NONE}` |
| `quantile` | `0.5`, `0.99` |
"""

HEADINGS = {"pop": "PoPs", "front door": "Front door", "process": "Each process", "load run": "Load runs"}


def reference() -> str:
    """The page as Markdown."""
    sections = [INTRODUCTION]
    for scope, heading in HEADINGS.items():
        rows = [row(metric) for metric in CATALOG.values() if metric.scope == scope]
        sections.append(
            "\n".join((f"## {heading}\n", "| metric | type | labels | meaning |", "|---|---|---|---|", *rows, ""))
        )
    return "\n".join((*sections, VALUES))


def row(metric: Metric) -> str:
    """One line of a table."""
    labels = ", ".join(f"`{label}`" for label in metric.labels)
    return f"| `{metric.name}` | {metric.kind} | {labels} | {metric.help} |"


if __name__ == "__main__":
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    TARGET.write_text(reference(), encoding="utf-8")
