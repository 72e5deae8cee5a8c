"""`[component.<id>.tool.edgesim]`: keys, bounds, profiles."""

from __future__ import annotations

from dataclasses import fields

import pytest

from edgesim.config.manifest import load_app
from edgesim.config.releases import LimitsModel
from edgesim.config.worker_limits import LimitsTable, find_profile
from edgesim.errors import ManifestError, UsageError
from edgesim.model.profiles import PROFILES
from edgesim.model.worker import LIMIT_BOUNDS, Limits


@pytest.fixture
def limits(load):
    """The limits of a component whose table has these lines."""
    return lambda lines, **options: load(lines, **options).components[0].limits


def test_every_limit_has_bounds_a_key_and_a_field_of_the_api():
    """One place for each, and none forgotten."""
    names = {f.name for f in fields(Limits)}

    assert names == set(LIMIT_BOUNDS) == set(LimitsModel.model_fields)
    assert len(LimitsTable.model_fields) == len(names) + 2  # and profile and stack
    for name, (low, high) in LIMIT_BOUNDS.items():
        assert low <= getattr(Limits(), name) <= high


def test_every_key_arrives(limits):
    """What is written is what the worker gets."""
    found = limits(
        'memory = "64MiB"\nmemories = 2\ntables = 3\ntable_elements = 100\ninstances = 5\nstartup_ms = 20\ncpu_ms = 7.5\n'
        'wall = "2s"\nbody = "1MiB"\nresponse = "2MiB"\nlog = "1KiB"\nsubrequests = 0\n'
    )

    assert found == Limits(
        memory_bytes=64 << 20,
        memories=2,
        tables=3,
        table_elements=100,
        instances=5,
        startup_ms=20.0,
        cpu_ms=7.5,
        wall_s=2.0,
        body_bytes=1 << 20,
        response_bytes=2 << 20,
        log_bytes=1024,
        subrequests=0,
    )


def test_a_profile_gives_what_the_table_leaves_out(limits):
    """Explicit keys win, over the manifest's profile as over the command line's."""
    fastly, akamai = PROFILES["fastly"].over(Limits()), PROFILES["akamai"].over(Limits())

    assert limits('profile = "fastly"\n') == fastly
    assert limits('profile = "fastly"\ncpu_ms = 20\n').cpu_ms == 20
    assert limits('profile = "fastly"\ncpu_ms = 20\n').wall_s == 120
    assert limits('profile = "fastly"\n', limits_profile="akamai") == akamai
    assert limits("cpu_ms = 20\n", limits_profile="fastly").cpu_ms == 20
    assert limits("", limits_profile=None) == Limits()


@pytest.mark.parametrize(
    ("lines", "message", "help_text"),
    [
        ('profile = "fasty"', "no limits profile 'fasty'", "fastly"),
        ("profile = 7", "expected text, not 7", ""),
        ('stack = "1MiB"', "the stack cannot be set to '1MiB': it is 512KiB for every worker", "per engine"),
        ("table_elements = 40001", "40000", ""),
        ("memories = 9", "8", ""),
        ("cpu_ms = 0", "0.1", ""),
        ("cpu_ms = inf", "600000", ""),
        ("subrequests = -1", "0", ""),
        ("subrequests = 2.5", "whole number", ""),
    ],
)
def test_mistakes(limits, lines, message, help_text):
    """Each is told where it stands."""
    with pytest.raises(ManifestError) as caught:
        limits(lines + "\n")
    (problem,) = caught.value.problems

    assert problem.line == 10
    assert message in problem.message
    assert help_text in problem.help


def test_a_profile_that_does_not_exist_on_the_command_line(tmp_path):
    """It is a usage error, with the nearest name, for a bare file too."""
    (tmp_path / "web.wasm").touch()
    with pytest.raises(UsageError, match="no limits profile 'cloudflare'") as caught:
        load_app(tmp_path / "web.wasm", limits_profile="cloudflare")

    assert "cloudflare-free" in caught.value.help
    assert load_app(tmp_path / "web.wasm", limits_profile="fastly").components[0].limits.wall_s == 120
    assert find_profile("akamai").name == "akamai"
