"""Figures of the last seconds from answers that count since the beginning."""

import pytest

from edgesim.cli._top_data import EVENTS_MAX, SAMPLES_MAX, Top
from edgesim.observe.histogram import Histogram


def row(pop="fra1", *, durations=(), cold=0, errors=0, state="ready", apps=None, **more):
    """One PoP of an answer of `/v1/pops`, with requests that took so long."""
    histogram = Histogram()
    for seconds in durations:
        histogram.record(seconds)
    return {
        "pop": pop, "city": "Frankfurt", "country": "DE", "region": "weur", "host": "host1", "state": state,
        "apps": {"hello": 1} if apps is None else apps, "requests": len(durations), "errors": errors, "cold": cold,
        "duration_histogram": histogram.to_json(), "queued": 1, "busy": 2, "slots": 16, "loaded_bytes": 1 << 20, **more,
    }  # fmt: skip


def test_rates_and_quantiles_are_those_between_two_answers():
    """What was before the window does not count: a slow past is past."""
    top = Top(window_s=10)
    top.update([row(durations=[2.0] * 100, cold=4)], 100.0)
    first = top.pops[0]
    top.update([row(durations=[2.0] * 100 + [0.01] * 20, cold=5, errors=2)], 104.0)
    now = top.pops[0]

    assert (first.rate, first.p99_s, first.cold) == (None, None, 0)
    assert (now.rate, now.failed_rate, now.cold) == (5.0, 0.5, 1)
    assert now.p99_s == pytest.approx(0.01, rel=0.3)
    assert (top.totals.ready, top.totals.rate, top.totals.p99_s) == (1, 5.0, now.p99_s)


def test_the_window_moves():
    """Figures are over the window, not since the first answer; what is kept is bounded."""
    top = Top(window_s=4)
    for second in range(60):
        top.update([row(durations=[0.01] * (10 * second if second < 50 else 490))], 100.0 + second)

    assert top.pops[0].rate == 0.0
    assert top.pops[0].p99_s is None
    for tick in range(SAMPLES_MAX + 10):
        top.update([row()], 200.0 + tick / 1000)
    assert len(top._samples) <= SAMPLES_MAX


def test_a_counter_that_began_anew_is_counted_from_zero():
    """A PoP's host that lost its past does not have a negative rate."""
    top = Top()
    top.update([row(durations=[0.1] * 50)], 100.0)
    top.update([row(durations=[0.01] * 5)], 105.0)

    assert top.pops[0].rate == 1.0
    assert top.pops[0].p99_s == pytest.approx(0.01, rel=0.3)


def test_pops_without_figures_are_there():
    """A PoP that is down, and one that is new, have a state and no rates."""
    top = Top()
    top.update([row()], 100.0)
    top.update([row(), {"pop": "nrt1", "state": "down"}], 101.0)
    new = top.pops[1]

    assert (new.pop, new.state, new.rate, new.p99_s, new.slots, new.apps) == ("nrt1", "down", None, None, 0, "")
    assert (top.totals.pops, top.totals.ready) == (2, 1)


def test_events_are_what_changed():
    """State, apps, cold starts, failures, evictions; newest first, per PoP, bounded; a PoP that goes takes its own along."""
    top = Top()
    top.update([row(), row("nrt1")], 100.0)
    top.update(
        [row(cold=2, errors=1, state="down", apps={"hello": 2}, evictions={"instance idle": 3}), row("nrt1")], 101.0
    )
    top.update([row(cold=2, errors=1, apps={}, evictions={"instance idle": 3}), row("nrt1")], 102.0)

    assert [(event.at_s, event.text) for event in top.events("fra1")] == [
        (102.0, "down \N{RIGHTWARDS ARROW} ready"), (102.0, "no longer serves hello"),
        (101.0, "ready \N{RIGHTWARDS ARROW} down"), (101.0, "serves hello@2"), (101.0, "2 cold starts"), (101.0, "1 failed request"),
        (101.0, "3 evicted: instance idle"),
    ]  # fmt: skip
    assert top.events("nrt1") == []
    for n in range(EVENTS_MAX):
        top.update([row(state="down" if n % 2 else "ready", apps={"hello": n})], 200.0 + n)
    assert len(top.events()) == EVENTS_MAX
    assert top.row("nrt1") is None
    assert top.events("nrt1") == []


def test_trends_have_a_point_per_answer():
    """Requests per second and p99, the newest last; none for who is not there."""
    top = Top()
    for second in range(3):
        top.update([row(durations=[0.01] * 10 * second)], 100.0 + second)

    rates, p99_s = top.trend("fra1")

    assert rates == [10.0, 10.0]
    assert len(p99_s) == 2
    assert top.trend("gru1") == ([], [])
