"""Desired documents: their order, the PoP's decision, assignment of PoPs, rollout states, boots, topics."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgesim.core.desired import (
    AlreadyThere,
    Apply,
    BootOrder,
    DesiredDocument,
    Generation,
    PopProgress,
    Progress,
    Stale,
    assign,
    contradicts,
    decide,
    desired_filter,
    desired_topic,
    health_topic,
    needs_document,
    presence_topic,
    reported_topic,
    rollout_state,
)
from edgesim.model.events import PopReported
from edgesim.model.worker import Component, Release, Route


def release(app: str, version: int) -> Release:
    """A release with one component."""
    return Release(
        app=app,
        version=version,
        digest="d" * 64,
        components=(Component(id="c", digest="a" * 64, size_bytes=1, abi="wagi"),),
        routes=(Route(pattern="/...", component="c"),),
    )


def document(gen: int, *apps: Release, epoch: int = 1) -> DesiredDocument:
    """A document for fra1."""
    return DesiredDocument(pop="fra1", epoch=epoch, gen=gen, issued_s=0.0, apps=apps)


def report(gen: int, state: str = "ready", epoch: int = 1, **apps: int) -> PopReported:
    """A report of fra1."""
    return PopReported(pop="fra1", epoch=epoch, gen=gen, state=state, apps=apps)


def test_first_document_starts_everything():
    """Without a document in force all apps are started."""
    a = release("a", 1)

    assert decide(None, document(1, a)) == Apply(start=(a,), stop=())


def test_changes_only():
    """What is in force already is not started again; what is gone is stopped."""
    a, b1, b2, c = release("a", 1), release("b", 1), release("b", 2), release("c", 1)

    assert decide(document(1, a, b1), document(2, a, b2, c)) == Apply(start=(b2, c), stop=())
    assert decide(document(2, a, b1), document(3, b1)) == Apply(start=(), stop=("a",))


def test_order_of_documents():
    """The same generation is there already; an older one is stale; a new epoch beats any generation."""
    now = document(5, release("a", 1))

    assert decide(now, document(5)) == AlreadyThere()
    assert decide(now, document(4)) == Stale(Generation(1, 5))
    assert isinstance(decide(now, document(0, epoch=2)), Apply)
    assert decide(document(0, epoch=2), now) == Stale(Generation(2, 0))


@given(pops=st.integers(0, 60), hosts=st.integers(1, 8))
def test_assignment_is_even_and_spreads_neighbours(pops, hosts):
    """Every PoP has a host, loads differ by at most one, and neighbours never share one (with two hosts or more)."""
    names = [f"p{i}" for i in range(pops)]
    got = assign(names, [f"host{i}" for i in range(hosts)])
    loads = [list(got.values()).count(f"host{i}") for i in range(hosts)]

    assert list(got) == names
    assert max(loads) - min(loads) <= 1
    assert hosts == 1 or all(got[a] != got[b] for a, b in itertools.pairwise(names))


def test_assignment_needs_hosts():
    """PoPs without hosts are a mistake of the caller."""
    with pytest.raises(ValueError, match="at least one host"):
        assign(["fra1"], [])


@pytest.mark.parametrize(
    ("reported", "wanted", "up", "state"),
    [
        (None, 2, True, "pending"),
        (None, 2, False, "down"),
        (report(4, a=1), 2, True, "pending"),
        (report(5, "downloading", a=1), 2, True, "downloading"),
        (report(5, "compiling", a=1), 2, True, "compiling"),
        (report(5, "failed", a=1), 2, True, "failed"),
        (report(5, a=2), 2, False, "ready"),
        (report(6, "failed", a=2), 2, True, "ready"),
        (report(6, a=3), 3, True, "superseded"),
        (report(4, a=2), 3, True, "superseded"),
        (report(9, epoch=0, a=2), 2, True, "pending"),
    ],
)
def test_rollout_state(reported, wanted, up, state):
    """A PoP's place in the rollout of a@2, which generation 5 brought."""
    got = rollout_state(
        app="a", version=2, deployed=Generation(1, 5), wanted_version=wanted, reported=reported, host_up=up
    )

    assert state == got


def test_progress_in_all():
    """Done when nothing will change; ok when nothing failed."""
    ready = PopProgress(pop="a", host="h", state="ready")
    failed = PopProgress(pop="b", host="h", state="failed", why="x")
    down = PopProgress(pop="c", host="h", state="down")

    assert Progress(pops=(ready,)).ok
    assert Progress(pops=(ready, failed)).done
    assert not Progress(pops=(ready, failed)).ok
    assert Progress(pops=(ready, failed)).failed == (failed,)
    assert not Progress(pops=(ready, down)).done


def test_what_a_report_asks_for():
    """Older needs the document again; newer contradicts the database; other versions do neither."""
    wanted = document(5, release("a", 1))

    assert needs_document(wanted, None)
    assert needs_document(wanted, report(4))
    assert not needs_document(wanted, report(5, "failed"))
    assert contradicts(wanted, report(6))
    assert contradicts(wanted, report(0, epoch=2))
    assert not contradicts(wanted, report(5, a=2))
    assert not contradicts(wanted, report(5, a=1))
    assert not contradicts(wanted, report(5, "failed", a=2))
    assert not contradicts(wanted, report(4, a=9))


def test_boot_order():
    """Duplicates, older numbers and earlier boots are no news; a restart is, whatever its clock says."""
    order = BootOrder()

    assert order.accept("host1", "b", 1)
    assert not order.accept("host1", "b", 1)
    assert order.accept("host1", "b", 3)
    assert not order.accept("host1", "b", 2)
    assert order.accept("host1", "a", 1)
    assert not order.accept("host1", "b", 9)
    assert order.accept("host2", "b", 1)
    assert order.current("host1") == "a"
    assert order.current("host3") == ""


def test_topics():
    """The topics of the protocol, as the broker's access rules have them."""
    assert desired_topic("host1", "fra1") == "es1/d/host1/fra1"
    assert desired_filter("host1") == "es1/d/host1/+"
    assert reported_topic("host1", "fra1") == "es1/r/host1/fra1"
    assert health_topic("host1") == "es1/h/host1"
    assert presence_topic("front-door") == "es1/p/front-door"
