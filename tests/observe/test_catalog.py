"""Names of metrics follow the conventions, and each is documented."""

from __future__ import annotations

import re

import pytest

from edgesim.observe.catalog import CATALOG, Metric, sample_names

METRICS = list(CATALOG.values())


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_name_unit_and_help(metric: Metric) -> None:
    """`edgesim_<noun>_<unit>[_total]`, a sentence of help, labels in lower case."""
    assert re.fullmatch(r"edgesim_[a-z]+(_[a-z]+)*", metric.name)
    assert metric.name.endswith("_total") == (metric.kind == "counter")
    assert metric.name.endswith("_seconds") or metric.kind != "histogram"
    assert metric.help.endswith(".")
    assert all(re.fullmatch(r"[a-z_]+", label) and label != "le" for label in metric.labels)


def test_sample_names_are_unique() -> None:
    """No two metrics write the same sample."""
    names = [name for metric in METRICS for name in sample_names(metric)]

    assert len(names) == len(set(names))
