"""Random streams: known values, forks that do not disturb, keys that do not collide."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edgesim.model.stream import Stream, key


def test_known_values():
    """SplitMix64 from state 0 gives the published sequence."""
    stream = Stream(0)

    assert [stream.bits() for _ in range(3)] == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]


@given(st.integers(0, 2**64 - 1))
def test_uniform_is_in_range(state):
    """Numbers are in [0, 1), also for extreme states."""
    stream = Stream(state)

    assert all(0.0 <= stream.uniform() < 1.0 for _ in range(8))


def test_uniform_is_uniform():
    """Over 20,000 draws mean and share of a tenth are within five standard errors."""
    stream = Stream(key(1, "uniform"))
    draws = [stream.uniform() for _ in range(20_000)]

    assert abs(sum(draws) / 20_000 - 0.5) < 5 * 0.2887 / 20_000**0.5
    assert abs(sum(d < 0.1 for d in draws) / 20_000 - 0.1) < 5 * 0.3 / 20_000**0.5


def test_a_fork_does_not_advance_its_parent():
    """Background work never changes what the request draws; forks by name differ from it and from each other."""
    with_fork, without = Stream(7), Stream(7)
    a, b = with_fork.fork("a"), with_fork.fork("b")
    first = [s.bits() for s in (a, b, with_fork)]

    assert first[2] == without.bits()
    assert len(set(first)) == 3


def test_keys_separate_their_parts():
    """Neighbouring parts do not run into each other, and text is not a number."""
    keys = [
        key(1, "ab", "c"),
        key(1, "a", "bc"),
        key(1, "abc"),
        key(2, "abc"),
        key(1),
        key(1, 1),
        key(1, "1"),
        key(1, 1, 1),
    ]

    assert len(set(keys)) == len(keys)
    assert key(1, "abc") == key(1, "abc")
