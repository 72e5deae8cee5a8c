"""Profiles as documents."""

from __future__ import annotations

import json

import pytest

from edgesim.config.resources import resource_path
from edgesim.results.profile import SCHEMA, Profile


def shipped():
    """The document of the profile that ships."""
    return json.loads(resource_path("pops/profile.json").read_text())


def test_the_shipped_profile():
    """It says what it is, when and where it was measured, and comes back as it was written."""
    document = shipped()
    profile = Profile.from_json(document)

    assert document.pop("schema") == f"edgesim.{SCHEMA}"
    assert profile.to_json() == document
    assert profile.edge is not None
    assert profile.machine["cpu"]
    assert profile.workers[0].fresh["execute"].count >= 100


@pytest.mark.parametrize(
    "damage",
    [
        lambda d: d.pop("workers"),
        lambda d: d.update(workers=[]),
        lambda d: d["workers"][0]["fresh"].update(lunch={"sum_us": 1, "counts": {"1": 1}}),
        lambda d: d["workers"][0]["fresh"]["execute"].update(counts={"-1": 3}),
        lambda d: d["edge"].pop("overhead"),
    ],
)
def test_damaged_profiles(damage):
    """Nothing is guessed."""
    document = shipped()
    damage(document)

    with pytest.raises((ValueError, KeyError, TypeError)):
        Profile.from_json(document)
