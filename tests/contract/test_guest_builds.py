"""The committed conformance guests are what their sources build, and the build script keeps its promises."""

import os

import pytest

from tests.guests import build

COMMITTED = [name for name, recipe in build.RECIPES.items() if recipe.committed]


@pytest.mark.parametrize("name", COMMITTED)
def test_a_rebuild_gives_the_committed_bytes(name):
    """Byte by byte, with the pinned tools; Debian's rustc cannot be had from a package registry, so Rust may be skipped."""
    try:
        built = build.make(name)
    except build.MissingToolError as exc:
        if os.environ.get("EDGESIM_REQUIRE_TOOLS") == "1" and "rustc" not in str(exc):
            pytest.fail(str(exc))
        pytest.skip(str(exc))

    assert built == build.committed_path(name).read_bytes(), f"run: python tests/guests/build.py {name}"


@pytest.mark.parametrize("name", COMMITTED)
def test_committed_guests_are_small_and_tell_nothing_of_their_builder(name):
    """No path of the machine that built them."""
    data = build.committed_path(name).read_bytes()

    assert len(data) < 120_000
    assert str(build.HERE.parents[1]).encode() not in data


def test_a_key_follows_sources_and_tools(monkeypatch):
    """What changes the output changes the name in the cache."""
    before = build.key("js-fetch"), build.key("p3-py"), build.key("wagi-go")
    monkeypatch.setitem(build.NPM, "@bytecodealliance/componentize-js", "0.0.1")
    after = build.key("js-fetch"), build.key("p3-py"), build.key("wagi-go")

    assert before[0] != after[0]
    assert before[1:] == after[1:]


def test_a_missing_guest_is_said(capsys):
    """The command line names what it does not know."""
    with pytest.raises(SystemExit):
        build.main(["no-such-guest"])

    assert "no such guest: no-such-guest" in capsys.readouterr().err
