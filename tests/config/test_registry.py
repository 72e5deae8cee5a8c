"""Policies are found by file name."""

from __future__ import annotations

import pytest

from edgesim.config import registry
from edgesim.errors import UsageError

ROUTING = "edgesim.policies.routing"


def test_a_file_is_a_policy():
    """Every file without a leading underscore is one, under its name."""
    assert "proximity" in registry.names(ROUTING)
    assert "_base" not in registry.names(ROUTING)
    assert set(registry.load(ROUTING)) == set(registry.names(ROUTING))
    assert registry.find(ROUTING, "proximity").name == "proximity"


def test_an_unknown_policy():
    """A typo gets a suggestion."""
    with pytest.raises(UsageError, match="no routing policy 'proximty'") as error:
        registry.find(ROUTING, "proximty")

    assert error.value.help == "did you mean 'proximity'?"
