"""Durations, sizes and shares."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgesim.config.units import parse_duration, parse_share, parse_size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("500ms", 0.5),
        ("30s", 30.0),
        ("2m", 120.0),
        ("1h", 3600.0),
        ("1.5s", 1.5),
        ("250us", 0.00025),
        (3, 3.0),
        (0.25, 0.25),
        ("0s", 0.0),
    ],
)
def test_durations(text, seconds):
    """Each unit, and bare numbers as seconds."""
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["soon", "5", "-1s", "1 parsec", "1s2", "", None, True, -1, [], "9999999999h", math.inf, math.nan, "5S"]
)
def test_no_durations(text):
    """Everything else is refused and says what a duration looks like."""
    with pytest.raises(ValueError, match="is not a duration") as error:
        parse_duration(text)

    assert "duration" in error.value.context["help"]


@pytest.mark.parametrize(
    ("text", "size"),
    [("512MiB", 512 << 20), ("4GiB", 4 << 30), ("1.5KiB", 1536), ("10MB", 10_000_000), (7, 7), ("0B", 0)],
)
def test_sizes(text, size):
    """Binary and decimal units, and bare whole numbers as bytes."""
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["4 cows", "4", 1.5, "-1MiB", None, True, "99999TiB", "1mib"])
def test_no_sizes(text):
    """Everything else is refused."""
    with pytest.raises(ValueError, match="is not a size"):
        parse_size(text)


@pytest.mark.parametrize(
    ("text", "share"), [("20%", 0.2), ("0.5%", 0.005), (0.25, 0.25), (1, 1.0), ("100%", 1.0), (0, 0.0)]
)
def test_shares(text, share):
    """Per cent and fractions."""
    assert parse_share(text) == share


@pytest.mark.parametrize("text", ["120%", 1.1, -0.1, "half", "20", None, False])
def test_no_shares(text):
    """Everything else is refused."""
    with pytest.raises(ValueError, match="is not a share"):
        parse_share(text)


@given(st.integers(0, 10**9))
def test_milliseconds_are_the_nearest_float(ms):
    """`Nms` is the float nearest to N/1000, so that equal durations compare equal."""
    assert parse_duration(f"{ms}ms") == ms / 1000
