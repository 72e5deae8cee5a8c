"""One suite for every scaling policy, and what the three say."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, fields
from math import inf

import pytest

from edgesim.config import registry
from edgesim.config.policies import PACKAGES
from edgesim.policies.scaling import keep_warm, on_demand, scale_to_zero

POLICIES = registry.load(PACKAGES["scaling"])


@pytest.mark.parametrize("name", POLICIES)
def test_a_policy_is_a_value_with_bounds(name):
    """Frozen, equal by its parameters, sensible at both ends of each of them."""
    policy = POLICIES[name]

    assert policy() == policy()
    for parameter in fields(policy):
        for bound in ("ge", "le"):
            one = policy(**{parameter.name: parameter.metadata[bound]})
            assert one.ready >= 0
            assert one.unload_after_s > 0
            with pytest.raises(FrozenInstanceError):
                setattr(one, parameter.name, 1)


def test_what_they_want():
    """Nothing; a number of instances; memory back after a time."""
    assert (on_demand.Policy().ready, on_demand.Policy().unload_after_s) == (0, inf)
    assert (keep_warm.Policy(count=3).ready, keep_warm.Policy(count=3).unload_after_s) == (3, inf)
    assert (scale_to_zero.Policy(after_s=9.0).ready, scale_to_zero.Policy(after_s=9.0).unload_after_s) == (0, 9.0)
