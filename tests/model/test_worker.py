"""Routes and releases: which component serves a path."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgesim.model.ids import AppName, Digest
from edgesim.model.worker import Component, Release, Route


@pytest.mark.parametrize(
    ("pattern", "path", "matches"),
    [
        ("/a", "/a", True),
        ("/a", "/a/", False),
        ("/a", "/ab", False),
        ("/a/...", "/a", True),
        ("/a/...", "/a/", True),
        ("/a/...", "/a/b/c", True),
        ("/a/...", "/ab", False),
        ("/...", "/", True),
        ("/...", "/x", True),
        ("/", "/", True),
        ("/", "/x", False),
    ],
)
def test_patterns(pattern, path, matches):
    """Exact patterns and Spin's trailing wildcard, which stands for whole segments."""
    assert Route(pattern=pattern, component="c").matches(path) is matches


def release(*patterns):
    """One component per pattern, named like it."""
    return Release(
        app=AppName("hello"), version=1, digest=Digest("0" * 64),
        components=tuple(Component(id=p, digest=Digest("1" * 64), size_bytes=1, abi="wagi") for p in patterns),
        routes=tuple(Route(pattern=p, component=p) for p in patterns),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("path", "component"),
    [
        ("/", "/..."),
        ("/api", "/api"),
        ("/api/", "/api/..."),
        ("/api/v1", "/api/v1"),
        ("/api/v1/x", "/api/..."),
        ("/b", "/..."),
    ],
)
def test_the_most_specific_wins(path, component):
    """The longest literal part, and exact before wildcard."""
    found = release("/...", "/api/...", "/api", "/api/v1").route(path)

    assert found.id == component


@given(st.permutations(["/...", "/a", "/a/...", "/a/b"]), st.sampled_from(["/", "/a", "/a/", "/a/b", "/a/b/c", "/c"]))
def test_the_order_of_routes_does_not_matter(patterns, path):
    """Specificity decides, not the order in the manifest."""
    assert release(*patterns).route(path).id == release(*sorted(patterns)).route(path).id


def test_no_route():
    """None: the request is the origin's."""
    assert release("/a").route("/b") is None
