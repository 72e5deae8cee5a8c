"""Spin's counts, durations and ranges in manifests, and what becomes of them in a release."""

from __future__ import annotations

import pytest
from pydantic_core import PydanticCustomError

from edgesim.config.reuse import parse_count, parse_idle
from edgesim.errors import ManifestError
from edgesim.model.worker import Reuse


@pytest.mark.parametrize(
    ("written", "expected"),
    [(1, (1, 1)), (128, (128, 128)), ("16", (16, 16)), ("1..8", (1, 7)), ("1..2", (1, 1)), ("999999..1000000", (999_999, 999_999))],
)  # fmt: skip
def test_counts(written, expected):
    """The end of a range is not in it, as Rust has it and Spin with it."""
    assert parse_count(written) == expected


@pytest.mark.parametrize(
    ("written", "expected"),
    [(1, (1.0, 1.0)), (0.25, (0.25, 0.25)), ("500ms", (0.5, 0.5)), ("2", (2.0, 2.0)), ("1s..8s", (1.0, 8.0)), ("1..8s", (1.0, 8.0)), ("0..10", (0.0, 10.0)), ("1m", (60.0, 60.0))],
)  # fmt: skip
def test_idle_timeouts(written, expected):
    """Seconds without a unit, also in a range."""
    assert parse_idle(written) == expected


@pytest.mark.parametrize("written", [0, -1, 1.5, True, None, [], {}, "", "x", "0..4", "1..2..3", "..", "1..", "..4", "1 000", "²", 1_000_001, "9" * 40])  # fmt: skip
def test_what_is_no_count(written):
    """Says what a count looks like."""
    with pytest.raises(PydanticCustomError, match="is not a count or a range of them") as caught:
        parse_count(written)

    assert caught.value.context["help"] == "write 8, or a range such as 1..8, which ends with 7; from 1 to 1000000"


@pytest.mark.parametrize("written", [-1, True, None, "", "soon", "1s..", "2d", "1s..2s..3s", float("inf"), "9" * 40])
def test_what_is_no_duration(written):
    """Says what a duration looks like, and how long it may be."""
    with pytest.raises(PydanticCustomError, match="is not a duration or a range of them"):
        parse_idle(written)


@pytest.mark.parametrize(("parse", "written"), [(parse_count, "8..8"), (parse_count, "8..1"), (parse_idle, "8s..1s"), (parse_idle, "1s..1s")])  # fmt: skip
def test_empty_ranges(parse, written):
    """A range from which nothing can be drawn."""
    with pytest.raises(PydanticCustomError, match=f"in the range {written}"):
        parse(written)


def test_a_manifest_with_reuse(load):
    """The values arrive at the component and in the request to deploy it; limits stand beside them."""
    app = load(
        'max_instance_reuse_count = "1..101"\nmax_instance_concurrent_reuse_count = 4\n'
        'idle_instance_timeout = "500ms..2s"\nmemory = "64MiB"\n'
    )
    component = app.components[0]

    assert component.reuse == Reuse(
        max_instance_reuse_count=(1, 100),
        max_instance_concurrent_reuse_count=(4, 4),
        idle_instance_timeout_s=(0.5, 2.0),
    )
    assert component.limits.memory_bytes == 64 << 20
    sent = app.request().components[0].reuse
    assert Reuse(**sent.model_dump()) == component.reuse


def test_a_manifest_without(load):
    """A fresh instance for each request."""
    assert load("").components[0].reuse == Reuse()


def test_mistakes_have_a_place(load):
    """All at once, each with line, column and what to write."""
    with pytest.raises(ManifestError) as caught:
        load(
            'max_instance_reuse_count = 0\nmax_instance_concurrent_reuse_count = "4..2"\n'
            'idle_instance_timeout = "soon"\nmax_instance_reuse_cuont = 1\n'
        )

    found = [(p.line, p.col, p.message) for p in caught.value.problems]
    assert found == [
        (10, 28, "'0' is not a count or a range of them"),
        (11, 39, "there is no count in the range 4..2"),
        (12, 25, "'soon' is not a duration or a range of them"),
        (13, 1, "unknown key 'max_instance_reuse_cuont'"),
    ]
    assert caught.value.problems[3].help == "did you mean 'max_instance_reuse_count'?"
