"""Who is believed to be alive: beats, failures, and what a missing broker proves."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edgesim.core.health import RESUME_GRACE_S, HealthTable
from edgesim.model.ids import PopId
from edgesim.model.topology import HealthSpec

POP = PopId("fra1")


def table(state="ready", now_s=0.0):
    """A PoP that has beaten once; three beats of 0.5 s may be missed."""
    health = HealthTable([POP], HealthSpec())
    if state:
        health.beat(POP, state, now_s)
    return health


def test_a_front_door_that_starts_trusts_who_it_has_not_heard_of():
    """Until a PoP could have missed its beats; one that failed meanwhile, or that says it is starting, is not up."""
    table = HealthTable([PopId("fra1"), PopId("lhr1"), PopId("gru1")], HealthSpec())
    table.begin(1.0)
    table.fail(PopId("lhr1"), 1.25)
    table.beat(PopId("gru1"), "starting", 1.25)

    assert [table.is_up(PopId(pop), 2.25) for pop in ("fra1", "lhr1", "gru1")] == [True, False, False]
    assert table.state(PopId("fra1"), 2.5) == "starting"


def test_three_missed_beats():
    """Up to and including 1.5 s after a beat it is up, then down, then up with the next beat."""
    health = table()

    assert [health.state(POP, t) for t in (0.0, 1.5, 1.75)] == ["up", "up", "down"]
    health.beat(POP, "ready", 2.0)
    assert health.state(POP, 2.0) == "up"


def test_states_of_a_beat():
    """A PoP says itself that it starts or drains; one that has never beaten starts; an unknown one is down."""
    assert table("draining").state(POP, 0.5) == "draining"
    assert table("starting").state(POP, 0.5) == "starting"
    assert table("").state(POP, 0.5) == "starting"
    assert table().state(PopId("xxx1"), 0.5) == "down"
    table().beat(PopId("xxx1"), "ready", 0.0)  # ignored


def test_a_failed_connection_counts_until_the_next_beat():
    """A beat of the same instant proves nothing; a later one does."""
    health = table()
    health.fail(POP, 0.5)
    health.beat(POP, "ready", 0.5)

    assert health.state(POP, 0.5) == "down"
    health.beat(POP, "ready", 0.75)
    assert health.state(POP, 0.75) == "up"


def test_while_the_broker_is_away_silence_proves_nothing():
    """Who was up stays up however long it takes; who was down stays down."""
    health = HealthTable([POP, PopId("lhr1")], HealthSpec())
    health.beat(PopId("lhr1"), "ready", 0.0)
    health.beat(POP, "ready", 8.0)
    health.pause(8.5)
    health.pause(60.0)  # the second word changes nothing

    assert health.state(POP, 100.0) == "up"
    assert health.state(PopId("lhr1"), 100.0) == "down"


def test_a_failure_without_a_broker_is_forgotten():
    """With no beat to take it back, a failed connection counts for the length of the missed beats."""
    health = table()
    health.pause(0.5)
    health.fail(POP, 10.0)

    assert [health.state(POP, t) for t in (10.0, 11.25, 11.5)] == ["down", "down", "up"]


def test_grace_after_the_broker_is_back():
    """PoP hosts have some seconds to reconnect; who does not beat by then is out."""
    health = table()
    health.resume(0.25)  # nothing was paused
    health.pause(0.5)
    health.resume(100.0)

    assert health.state(POP, 100.0 + RESUME_GRACE_S) == "up"
    assert health.state(POP, 100.5 + RESUME_GRACE_S) == "down"


def test_a_beat_ends_the_grace():
    """Who has beaten again and then falls silent is out after the usual time."""
    health = table()
    health.pause(0.5)
    health.resume(100.0)
    health.beat(POP, "ready", 101.0)

    assert health.state(POP, 102.5) == "up"
    assert health.state(POP, 102.75) == "down"


@given(
    st.lists(
        st.tuples(st.sampled_from(["ready", "draining", "starting", "fail", "pause", "resume"]), st.integers(0, 12))
    )
)
def test_the_short_cut_says_the_same(steps):
    """`is_up` is `state(...) == "up"`, whatever has happened."""
    health, now_s = table(""), 0.0
    for step, quarters in steps:
        now_s += quarters / 4
        if step == "fail":
            health.fail(POP, now_s)
        elif step in {"pause", "resume"}:
            getattr(health, step)(now_s)
        else:
            health.beat(POP, step, now_s)

        assert health.is_up(POP, now_s) == (health.state(POP, now_s) == "up")
        assert health.is_up(POP, now_s + 2.0) == (health.state(POP, now_s + 2.0) == "up")
