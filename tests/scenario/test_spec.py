"""Expectations: when an answer counts as a success."""

from __future__ import annotations

import pytest

from edgesim.scenario.spec import Expectation


@pytest.mark.parametrize(("status", "violation"), [(200, ""), (304, ""), (404, "status"), (503, "status")])
def test_without_a_list_2xx_and_3xx_are_fine(status: int, violation: str) -> None:
    """The default is that of k6."""
    assert violation == Expectation().violation(status, ())


def test_listed_statuses_are_the_only_ones() -> None:
    """A list replaces the default."""
    expect = Expectation(statuses=frozenset({404}))

    assert (expect.violation(404, ()), expect.violation(200, ())) == ("", "status")


def test_headers_must_be_there_and_equal() -> None:
    """Any of several fields of one name may match."""
    expect = Expectation(headers=(("x-edge-pop", None), ("via", "b")))

    assert expect.violation(200, (("x-edge-pop", "fra1"), ("via", "a"), ("via", "b"))) == ""
    assert expect.violation(200, (("x-edge-pop", "fra1"), ("via", "a"))) == "header"
    assert expect.violation(200, (("via", "b"),)) == "header"
