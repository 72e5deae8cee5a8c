"""Header lists and bodies in memory."""

from __future__ import annotations

import pytest

from edgesim.model.http import BytesBody, header
from tests.support.request_path import read_all, run, sim_world


@pytest.mark.parametrize("data", [b"", b"abc"])
def test_a_body_in_memory(data):
    """The whole once, then the end; an empty one ends at once, since chunks are never empty."""
    body = BytesBody(data)

    assert run(sim_world(), read_all(body)) == data
    assert run(sim_world(), body.next()) is None


def test_a_closed_body_has_ended():
    """Nothing comes after close."""
    body = BytesBody(b"abc")
    body.close()

    assert run(sim_world(), body.next()) is None


def test_the_first_field_of_a_name():
    """By lowercase name; None when there is none."""
    fields = (("a", "1"), ("b", "2"), ("a", "3"))

    assert [header(fields, name) for name in ("a", "b", "c")] == ["1", "2", None]
