"""Counts outlive the process that counted them."""

from __future__ import annotations

from edgesim.observe import catalog
from edgesim.observe.history import History
from edgesim.observe.store import Store
from edgesim.observe.summary import Summary, summarise


def life(requests: int, *, busy: int = 1) -> Store:
    """A store of a PoP host that has served some requests and runs some guests."""
    store = Store()
    store.number(catalog.REQUESTS, "fra1", "hello", "ok", "fresh").value = requests
    for _ in range(requests):
        store.histogram(catalog.REQUEST_DURATION, "fra1").record(0.001)
    store.number(catalog.INSTANCES_BUSY, "fra1").value = busy
    return store


def counted(history: History, *alive: str) -> tuple[int, int, int]:
    """Requests, recorded durations and busy instances of fra1."""
    summary: Summary = summarise(history.total(alive=frozenset(alive)))
    pop = summary.pops["fra1"]
    return pop.requests, pop.duration.count, pop.busy


def test_a_newer_snapshot_of_the_same_life_replaces_the_older() -> None:
    """Counters are sums since the start: they must not be added up over time."""
    history = History()
    history.update("host1", "a", life(3))
    history.update("host1", "a", life(5))

    assert counted(history, "host1") == (5, 5, 1)
    assert counted(history, "host1") == (5, 5, 1)


def test_lives_of_a_process_add_up_but_its_gauges_do_not() -> None:
    """After a restart, the old counts stay and the old gauges go."""
    history = History()
    history.update("host1", "a", life(5, busy=7))
    history.update("host1", "b", life(2, busy=1))
    history.update("host1", "c", life(1, busy=3))

    assert counted(history, "host1") == (8, 8, 3)


def test_a_process_that_does_not_answer_keeps_its_counts() -> None:
    """Between death and restart the counts stay, without gauges."""
    history = History()
    history.update("host1", "a", life(5, busy=7))

    assert counted(history) == (5, 5, 0)


def test_processes_beyond_the_limit_count_as_ended() -> None:
    """The number of stores is bounded; nothing that was counted is lost."""
    history = History(max_processes=2)
    for number in range(10):
        history.update(f"host{number}", "a", life(1))

    assert counted(history, *(f"host{number}" for number in range(10))) == (10, 10, 2)


def test_a_late_answer_of_a_former_life_counts_once() -> None:
    """Two callers may ask at the same time, and the slower one may hold the answer of a process that died meanwhile."""
    history = History()
    history.update("host1", "a", life(5))
    history.update("host1", "b", life(2))
    history.update("host1", "a", life(5))
    history.update("host1", "b", life(3))

    assert counted(history, "host1") == (8, 8, 1)
