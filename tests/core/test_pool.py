"""The pool: bounded slots and queue, first in first out, and every lease given back."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edgesim.core.pool import Pool


def test_slots_then_queue_then_refusal():
    """Two slots, one place in the queue: the fourth is refused at once."""
    pool = Pool(2, 1)
    leases = [pool.acquire() for _ in range(4)]

    assert [lease and lease.waiter is None for lease in leases] == [True, True, False, None]
    assert (pool.busy, pool.queued) == (2, 1)


def test_closing_twice_gives_back_once():
    """Closing is idempotent: a slot is never counted free twice."""
    pool = Pool(1, 1)
    first, second = pool.acquire(), pool.acquire()
    first.close()
    first.close()

    assert second.waiter.done
    assert (pool.busy, pool.queued) == (1, 0)


def test_a_lease_granted_to_one_who_has_left_goes_on():
    """Granted and then closed without being used: the slot goes to the next in the queue."""
    pool = Pool(1, 2)
    first, second, third = pool.acquire(), pool.acquire(), pool.acquire()
    first.close()
    second.close()

    assert third.waiter.done
    assert pool.busy == 1


@given(
    slots=st.integers(1, 4),
    queue=st.integers(0, 4),
    steps=st.lists(st.tuples(st.booleans(), st.integers(0, 30)), max_size=80),
)
def test_leases_balance_to_zero(slots, queue, steps):
    """Under any order of acquiring and closing (a cancelled wait is a close) it behaves as two bounded lists."""
    pool, running, waiting = Pool(slots, queue), [], []
    for acquire, index in steps:
        if acquire:
            lease = pool.acquire()
            if len(running) < slots:
                assert lease.waiter is None
                running.append(lease)
            elif len(waiting) < queue:
                assert not lease.waiter.done
                waiting.append(lease)
            else:
                assert lease is None
        elif running or waiting:
            everyone = running + waiting
            lease = everyone[index % len(everyone)]
            lease.close()
            if lease in waiting:
                waiting.remove(lease)
            else:
                running.remove(lease)
                if waiting:
                    running.append(waiting.pop(0))
        assert (pool.busy, pool.queued) == (len(running), len(waiting))
        assert all(lease.waiter is None or lease.waiter.done for lease in running)
        assert not any(lease.waiter.done for lease in waiting)
    for lease in running + waiting:
        lease.close()

    assert (pool.busy, pool.queued) == (0, 0)
