"""Waiters: resolved once, in the order of parking."""

from __future__ import annotations

from edgesim.core.waiter import TIMED_OUT, Waiter


def test_resolving_wakes_in_order_and_once():
    """Who parked first is woken first; a second value changes nothing."""
    waiter, woken = Waiter(), []
    for name in "abc":
        waiter.parked.append(lambda name=name: woken.append((name, waiter.value)))
    waiter.resolve(1)
    waiter.resolve(2)

    assert woken == [("a", 1), ("b", 1), ("c", 1)]
    assert (waiter.done, waiter.value, waiter.parked) == (True, 1, [])


def test_who_parks_while_others_are_woken_is_left_alone():
    """A callback that parks again does not loop."""
    waiter = Waiter()
    waiter.parked.append(lambda: waiter.parked.append(lambda: None))
    waiter.resolve(None)

    assert len(waiter.parked) == 1


def test_timed_out_has_a_name():
    """Reports show it."""
    assert repr(TIMED_OUT) == "TIMED_OUT"
