"""What is sent again, and what is not."""

from __future__ import annotations

from edgesim.core.desired import Generation
from edgesim.live.control import publisher as module
from edgesim.live.control.publisher import Publisher, seal_all
from edgesim.live.signing import Signer
from edgesim.model.events import PopReported

ASSIGNMENT = {"fra1": "host1", "gru1": "host2"}


class Outbox:
    """A bus that only notes topics."""

    def __init__(self) -> None:
        self.topics: list[str] = []
        self.empty: list[str] = []

    def publish(self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False) -> None:
        """Note it."""
        assert retain
        assert qos == 1
        (self.topics if payload else self.empty).append(topic)


def report(pop: str, gen: int, state: str = "ready") -> PopReported:
    """A report of the first epoch."""
    return PopReported(pop=pop, epoch=1, gen=gen, state=state, apps={})


def published(tmp_path, **placements: str) -> tuple[Publisher, Outbox]:
    """A publisher at generation 2, after its first publishing."""
    signer = Signer.load_or_create(tmp_path / "key")
    publisher = Publisher(ASSIGNMENT, boot="b", api_url="")
    publisher.load(Generation(1, 1), placements)
    outbox = Outbox()
    generation = Generation(1, 2)
    sealed = seal_all(signer, {"fra1": {}, "gru1": {}}, generation, lambda *_: None, issued_s=1.0)
    publisher.adopt(outbox, generation, sealed)
    return publisher, outbox


def test_everything_goes_out(tmp_path):
    """Presence and all documents; topics of PoPs that moved or went are cleared."""
    _, outbox = published(tmp_path, fra1="host2", gru1="host2", old1="host1")

    assert outbox.topics == ["es1/cp", "es1/d/host1/fra1", "es1/d/host2/gru1"]
    assert outbox.empty == ["es1/d/host2/fra1", "es1/r/host2/fra1", "es1/d/host1/old1", "es1/r/host1/old1"]


def test_reconcile_sends_what_was_not_acknowledged(tmp_path):
    """PoPs that reported the generation, whatever became of it, are left alone."""
    publisher, outbox = published(tmp_path)
    outbox.topics.clear()
    publisher.reconcile(outbox, {"fra1": report("fra1", 2, "failed"), "gru1": report("gru1", 1)})

    assert outbox.topics == ["es1/d/host2/gru1"]
    publisher.reconcile(outbox, {"fra1": report("fra1", 2), "gru1": report("gru1", 2)})
    assert outbox.topics == ["es1/d/host2/gru1"]


def test_a_report_that_is_behind_brings_the_document_again(tmp_path, monkeypatch):
    """But not while the last one may be on its way."""
    publisher, outbox = published(tmp_path)
    outbox.topics.clear()
    publisher.remind(outbox, report("fra1", 1))
    early = list(outbox.topics)
    monkeypatch.setattr(module, "_REPUBLISH_S", 0.0)
    publisher.remind(outbox, report("fra1", 1))
    publisher.remind(outbox, report("fra1", 2))

    assert early == []
    assert outbox.topics == ["es1/d/host1/fra1"]
