"""Heartbeats: every PoP that is alive, at a fixed rate."""

from __future__ import annotations

from edgesim.core.beat import beat, health
from edgesim.core.desired import DesiredDocument
from edgesim.core.pop import Pop
from edgesim.model.ids import HostId
from tests.support.request_path import FRA, GRU, LHR, sim_world, spawn, spec


def test_a_killed_pop_is_not_in_it():
    """States of the living; the dead say nothing."""
    pops = [Pop(spec(pop)) for pop in (FRA, LHR, GRU)]
    pops[0].document = DesiredDocument(pop=FRA, epoch=1, gen=1, issued_s=0.0, apps=())
    pops[0].pool.acquire()
    pops[0].memory_bytes = 7
    pops[1].draining = True
    pops[2].kill()
    report = health(HostId("host1"), "b1", pops)

    assert [(p.pop, p.state, p.busy, p.loaded_bytes) for p in report.pops] == [
        (FRA, "ready", 1, 7),
        (LHR, "draining", 0, 0),
    ]


def test_the_rate():
    """At once, then each interval, for ever."""
    w = sim_world()
    beats = []
    w.publish = lambda event: beats.append(w.now())
    spawn(w, beat(w, HostId("host1"), "b1", [], 0.5))
    w.kernel.run(1.25)
    w.kernel.close()

    assert beats == [0.0, 0.5, 1.0]
