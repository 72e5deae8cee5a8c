"""What the report's script gets."""

from itertools import pairwise

from edgesim.results.report import data
from tests.results.report.documents import document


def test_columns_marks_and_phases():
    """All columns as long as the time; marks with begin and end; incidents and phases where they were."""
    found = data.chart_data(document(pops=30))

    assert {len(found[key]) for key in ("t", "rate", "failed", "dropped", "p50", "p99", "lag")} == {60}
    assert set(found["cold"]) == {"absent trigger", "absent waiter"}
    assert [(m["label"], m["begin"], m["end"]) for m in found["marks"]] == [
        ("kill pop gru1", 10, 10.2),
        ("restart pop gru1", 20, 20.5),
    ]
    assert [(p["begin"], p["end"]) for p in found["phases"]] == [(0, 30), (30, 60)]
    assert found["incidents"][0]["label"] == "kill pop gru1"


def test_the_distribution_keeps_every_request():
    """Bins of equal width on the logarithmic axis hold all that was timed."""
    summary = document(pops=5)
    bins = data.chart_data(summary)["distribution"]

    assert sum(count for _, count in bins) == summary["totals"]["response"]["count"]
    assert {round(b[0] - a[0], 9) for a, b in pairwise(bins)} == {0.25}


def test_pops_are_sorted_placed_and_bounded(monkeypatch):
    """The busiest first, idle ones too; what is left out is counted."""
    monkeypatch.setattr(data, "POPS_MAX", 4)
    found = data.chart_data(document(pops=6))

    assert [row[6] for row in found["pops"]] == [4, 4, 4, 4]
    assert found["pops_hidden"] == 2
    assert all(row[4] is not None for row in found["pops"])


def test_an_empty_run_has_empty_charts():
    """A run that was interrupted at once is no reason to fail."""
    summary = document(pops=2)
    summary["series"] = {"interval_s": 1, "at_s": []}
    summary["totals"]["distribution"] = []
    summary["pops"] = summary["timeline"] = []
    found = data.chart_data(summary)

    assert (found["t"], found["distribution"], found["marks"]) == ([], [], [])
