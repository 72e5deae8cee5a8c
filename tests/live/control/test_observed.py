"""What the control plane believes of what it hears."""

from __future__ import annotations

import pytest

from edgesim.config.messages import Presence, encode, health_of, reported_of
from edgesim.errors import InputError
from edgesim.live.control.observed import Observed
from edgesim.model.events import HealthReported, PopHealth, PopReported
from edgesim.model.topology import HealthSpec


class Listener:
    """An Observed on a clock of its own, and what it told."""

    def __init__(self) -> None:
        self.now = 0.0
        self.reports: list[PopReported] = []
        self.changes = 0
        self.observed = Observed(
            {"fra1": "host1", "gru1": "host2"},
            HealthSpec(interval_s=0.5, missed_beats=3),
            on_report=self.reports.append,
            on_change=self.changed,
            clock=lambda: self.now,
        )

    def changed(self) -> None:
        """Count."""
        self.changes += 1

    def presence(self, *, up: bool, boot: str = "b1", process: str = "host1") -> None:
        """A presence arrives."""
        message = Presence(process=process, kind="pop-host", up=up, boot=boot)
        self.observed.take_presence(f"es1/p/{process}", encode(message))

    def beat(self, *pops: str, seq: int = 1, boot: str = "b1") -> None:
        """A beat of host1 arrives."""
        alive = tuple(PopHealth(pop=p, state="ready", busy=0, queued=0, loaded_bytes=0) for p in pops)
        event = HealthReported(host="host1", boot=boot, pops=alive)
        self.observed.take_health("es1/h/host1", encode(health_of(event, seq=seq, sent_s=0.0)))

    def report(self, seq: int, *, gen: int = 1, boot: str = "b1", pop: str = "fra1", host: str = "host1") -> None:
        """A report arrives."""
        event = PopReported(pop=pop, epoch=1, gen=gen, state="ready", apps={})
        self.observed.take_report(
            f"es1/r/{host}/{pop}", encode(reported_of(event, host=host, boot=boot, seq=seq, sent_s=0.0))
        )


def test_life_of_a_host():
    """Unknown, up while it beats, stale when the beats stay out, down by its will, up again in its next life."""
    it = Listener()
    states = [it.observed.host_state("host1")]
    it.presence(up=True)
    it.beat("fra1")
    states.append(it.observed.host_state("host1"))
    it.now = 1.5
    states.append(it.observed.host_state("host1"))
    it.now = 1.75
    states.append(it.observed.host_state("host1"))
    it.presence(up=False)
    states.append(it.observed.host_state("host1"))
    it.presence(up=True, boot="b2")
    it.presence(up=False, boot="b1")
    it.beat("fra1", boot="b2")
    states.append(it.observed.host_state("host1"))

    assert states == ["unknown", "up", "up", "stale", "down", "up"]


def test_a_pop_that_is_missing_from_the_beat_is_down():
    """A killed PoP tells nobody; its absence does."""
    it = Listener()
    it.presence(up=True)
    it.beat("fra1")
    before = it.observed.pop_state("fra1")
    it.beat(seq=2)

    assert before == "ready"
    assert it.observed.pop_state("fra1") == "down"
    assert it.observed.pop_state("gru1") == "unknown"


def test_old_duplicate_and_foreign_reports():
    """Only news of the host that carries the PoP counts."""
    it = Listener()
    it.report(5, gen=2)
    it.report(5, gen=9)
    it.report(4, gen=9)
    it.report(1, gen=3, boot="b2")
    it.report(99, gen=9, boot="b1")
    it.report(1, gen=9, host="host2")
    it.observed.take_report("es1/r/host1/fra1", b"")

    assert [r.gen for r in it.reports] == [2, 3]
    assert it.changes == 2
    assert it.observed.reports["fra1"].gen == 3


def test_content_must_fit_its_topic():
    """A message on another's topic is refused, whatever it says."""
    it = Listener()
    event = PopReported(pop="fra1", epoch=1, gen=1, state="ready", apps={})
    report = encode(reported_of(event, host="host1", boot="b", seq=1, sent_s=0.0))
    health = encode(health_of(HealthReported(host="host1", boot="b", pops=()), seq=1, sent_s=0.0))
    presence = encode(Presence(process="host1", kind="pop-host", up=True, boot="b"))

    with pytest.raises(InputError, match="foreign topic"):
        it.observed.take_report("es1/r/host2/fra1", report)
    with pytest.raises(InputError, match="foreign topic"):
        it.observed.take_health("es1/h/host2", health)
    with pytest.raises(InputError, match="foreign topic"):
        it.observed.take_presence("es1/p/host2", presence)
    assert it.changes == 0
