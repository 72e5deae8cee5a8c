"""One suite for every eviction policy, and the order in which each lets modules go."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgesim.config import registry
from edgesim.config.policies import PACKAGES
from edgesim.policies.eviction import density, lfu, lru

POLICIES = registry.load(PACKAGES["eviction"])


@dataclass
class Module:
    """What a policy may know."""

    used_s: float
    requests: int
    loaded_bytes: int


MODULES = st.lists(st.builds(Module, st.floats(0, 1e6), st.integers(0, 1000), st.integers(0, 1 << 30)), max_size=8)


@pytest.mark.parametrize("name", POLICIES)
@given(modules=MODULES)
def test_all_are_ordered_and_none_is_changed(name, modules):
    """Each comes once, and equal modules stay in the order in which they were given."""
    ordered = POLICIES[name]().order(modules)
    same = [Module(1.0, 1, 1) for _ in range(4)]

    assert sorted(map(id, ordered)) == sorted(map(id, modules))
    assert [id(m) for m in POLICIES[name]().order(same)] == [id(m) for m in same]


def test_who_goes_first():
    """The longest unused; the least asked for; the one that earns least for its room."""
    old, rare, large = Module(1.0, 50, 100), Module(2.0, 3, 10), Module(3.0, 60, 10_000)
    modules = [large, rare, old]

    assert lru.Policy().order(modules) == [old, rare, large]
    assert lfu.Policy().order(modules) == [rare, old, large]
    assert density.Policy().order(modules) == [large, rare, old]


def test_ties_go_to_the_longest_unused():
    """With equal counts, and for modules that nobody has asked for."""
    fresh, old = Module(2.0, 0, 5), Module(1.0, 0, 9)

    assert lfu.Policy().order([fresh, old]) == density.Policy().order([fresh, old]) == [old, fresh]
