"""Thresholds: grammar, units, tags, verdicts."""

from __future__ import annotations

import pytest

from edgesim.scenario.thresholds import METRICS, judge, parse


@pytest.mark.parametrize(
    ("text", "value", "unit"),
    [
        ("http.response_time.p99 < 400ms", 0.4, "s"),
        ("http.response_time.p999<2s", 2.0, "s"),
        ("generator.lag.p99 <= 500us", 0.0005, "s"),
        ("http.error_rate < 0.5%", 0.005, "share"),
        ("http.error_rate == 0", 0.0, "share"),
        ("http.requests.rate >= 50rps", 50.0, "per_s"),
        ("http.requests.count > 100", 100.0, "count"),
    ],
)
def test_values_come_in_base_units(text: str, value: float, unit: str) -> None:
    """Durations become seconds, percentages shares."""
    threshold = parse(text)

    assert value == pytest.approx(threshold.value)
    assert unit == threshold.unit


def test_tags_are_read() -> None:
    """Tags narrow a metric; names may be quoted and contain spaces."""
    threshold = parse("http.response_time.p95{population=eu, phase='warm up'} < 1s")

    assert threshold.tags == (("phase", "warm up"), ("population", "eu"))
    assert threshold.quantile == 0.95


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("p99 < 400ms", "is not a threshold"),
        ("http.response_time.p99 < fast", "is not a threshold"),
        ("http.response_time.p98 < 4ms", "there is no metric 'http.response_time.p98'"),
        ("http.response_time.p99 < 4", "wrong unit"),
        ("http.error_rate < 4ms", "wrong unit"),
        ("http.error_rate{continent=eu} < 1%", "there is no tag 'continent'"),
        ("http.error_rate{region=eu,phase=a} < 1%", "cannot be combined"),
        ("http.error_rate{phase} < 1%", "is not a tag"),
        ("http.error_rate{phase=a,phase=b} < 1%", "given twice"),
        ("http.error_rate{pop=fra1,phase=a} < 1%", "cannot be combined"),
        ("generator.lag.p99{phase=a} < 1s", "has no tags"),
        ("http.connect_time.p99{phase=a} < 1s", "has no tags"),
        ("edge.cold_start.p99{phase=a} < 1s", "which have no other"),
        ("http.error_rate{role=trigger} < 1%", "the tag 'role' is of edge.cold_start"),
        ("edge.cold_start.p99{role=boss} < 1s", "there is no role 'boss'"),
    ],
)
def test_mistakes_are_named(text: str, said: str) -> None:
    """Each mistake says what is wrong, and after a semicolon what to write."""
    with pytest.raises(ValueError, match="; ") as caught:
        parse(text)

    assert said in str(caught.value)


def test_verdicts() -> None:
    """A condition holds or not; a figure that is missing meets none."""
    thresholds = [parse(f"http.error_rate {op} 1%") for op in ("<", "<=", ">", ">=", "==")]

    at_limit = [v.ok for v in judge(thresholds, lambda _: 0.01)]
    below = [v.ok for v in judge(thresholds, lambda _: 0.0)]
    missing = [v.ok for v in judge(thresholds, lambda _: None)]

    assert at_limit == [False, True, False, True, True]
    assert below == [True, True, False, False, False]
    assert not any(missing)


def test_every_metric_can_be_written() -> None:
    """The table of metrics and the grammar agree."""
    units = {"s": "ms", "share": "%", "per_s": "rps", "count": ""}
    for name, unit in METRICS.items():
        threshold = parse(f"{name} < 1{units[unit]}")

        assert name == threshold.name
