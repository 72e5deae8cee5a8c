"""Incidents: which requests belong before, into, and after an event."""

from __future__ import annotations

from edgesim.scenario.spec import TimelineEntry
from edgesim.scenario.steps import deploy, kill, restart
from edgesim.scenario.timeline import Incident, Mark, ServedKey, incidents

KILL = TimelineEntry(at_s=10.0, step=kill.Step(pop="gru1"), label="kill pop gru1")
RESTART = TimelineEntry(at_s=20.0, step=restart.Step(pop="gru1"), label="restart pop gru1")
DEPLOY = TimelineEntry(at_s=5.0, step=deploy.Step(path="app"), label="deploy app")


def marks(*edges: tuple[int, str, float]) -> list[Mark]:
    """Marks from (entry, edge, time)."""
    return [Mark(entry=e, edge=edge, at_s=at_s) for e, edge, at_s in edges]


def counts(incident: Incident) -> dict[str, tuple[int, int]]:
    """Requests and failures per window."""
    return {w.name: (w.requests, w.failed) for w in incident.windows}


def key(sent: int, done: int, pop: str = "gru1", *, failed: bool = False) -> ServedKey:
    """Requests from Sao Paulo."""
    return ServedKey(sent, done, "br", "Sao Paulo", pop, failed)


def test_a_kill_lasts_until_its_restart_is_done() -> None:
    """Before, in flight at the death, during (restart included), after."""
    served = {
        key(0, 0): 100,
        key(0, 1, "", failed=True): 3,
        key(0, 1): 2,
        key(1, 1, "scl1"): 5,
        key(2, 2, "scl1"): 40,
        key(2, 3, "scl1"): 1,
        key(3, 3, "scl1"): 4,
        key(4, 4): 60,
    }

    (incident,) = incidents(
        [KILL, RESTART],
        marks((0, "begin", 10.0), (0, "end", 10.1), (1, "begin", 20.0), (1, "end", 20.5)),
        served.items(),
    )

    assert (incident.begin_s, incident.end_s) == (10.0, 20.5)
    assert counts(incident) == {"before": (100, 0), "in_flight": (5, 3), "during": (50, 0), "after": (60, 0)}
    assert dict(incident.windows[2].origins[0].pops) == {"scl1": 50}


def test_before_and_after_end_at_the_neighbours() -> None:
    """What another event may have changed is in no window of this one."""
    found = incidents(
        [DEPLOY, KILL, RESTART],
        marks((0, "begin", 5), (0, "end", 6), (1, "begin", 10), (1, "end", 10), (2, "begin", 20), (2, "end", 21)),
        {key(n, n): 1 for n in range(7)}.items(),
    )

    assert [i.label for i in found] == ["deploy app", "kill pop gru1"]
    assert counts(found[0]) == {"before": (1, 0), "in_flight": (0, 0), "during": (1, 0), "after": (1, 0)}
    assert counts(found[1]) == {"before": (1, 0), "in_flight": (0, 0), "during": (3, 0), "after": (1, 0)}


def test_without_a_restart_the_incident_does_not_end() -> None:
    """Everything after the kill is during."""
    (incident,) = incidents(
        [KILL], marks((0, "begin", 10.0), (0, "end", 10.0)), {key(0, 0): 1, key(2, 2, "scl1"): 9}.items()
    )

    assert incident.end_s is None
    assert counts(incident)["during"] == (9, 0)


def test_the_restart_of_another_pop_is_no_recovery() -> None:
    """Kill and restart are paired by what they are about."""
    other = TimelineEntry(at_s=20.0, step=restart.Step(pop="fra1"), label="restart pop fra1")

    (incident,) = incidents([KILL, other], marks((0, "begin", 10.0), (1, "begin", 20.0), (1, "end", 20.0)), ())

    assert incident.end_s is None


def test_what_did_not_begin_is_no_incident() -> None:
    """A run that was stopped early reports what happened."""
    assert incidents([KILL, RESTART], [], ()) == ()
