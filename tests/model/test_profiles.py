"""Platforms' published limits: what they make of edgesim's, and what they say about a worker."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgesim.model.profiles import MB, PROFILES, Usage, judge, judge_all, show_figure
from edgesim.model.worker import LIMIT_BOUNDS, MIB, Limits

on_each = pytest.mark.parametrize("name", PROFILES)


@on_each
def test_each_figure_has_a_source(name):
    """Nobody's number stands here without the document it is from."""
    profile = PROFILES[name]

    assert profile.name == name
    assert profile.figures
    assert all(re.search(r"\w+\.(com|dev)", f.source) for f in profile.figures.values())
    assert all(f.limit is None or f.limit > 0 for f in profile.figures.values())


@on_each
def test_a_profile_over_the_defaults(name):
    """Published limits replace ours, unpublished ones leave them, and none leaves the bounds."""
    limits = PROFILES[name].over(Limits())
    for limit, (low, high) in LIMIT_BOUNDS.items():
        figure = PROFILES[name].figures.get(limit)
        value = getattr(limits, limit)

        assert low <= value <= high
        assert type(value) is type(getattr(Limits(), limit))
        assert value == (getattr(Limits(), limit) if figure is None else high if figure.limit is None else figure.limit)


def test_what_the_platforms_differ_in():
    """The figures that people compare."""
    cpu_ms = {name: profile.over(Limits()).cpu_ms for name, profile in PROFILES.items()}
    akamai = PROFILES["akamai"].over(Limits())

    assert cpu_ms == {"cloudflare-free": 10, "cloudflare-paid": 30_000, "fastly": 50, "akamai": Limits().cpu_ms}
    assert (akamai.wall_s, akamai.memory_bytes, akamai.response_bytes) == (30, 128 * MIB, 10 * MIB)


def test_the_line_says_why():
    """One sentence with every limit that was passed, and what was used."""
    usage = Usage(cpu_ms=61.2, subrequests=40, memory_bytes=20 * MIB, wall_s=0.2, requests=10)
    lines = {v.profile: v.line for v in judge_all(usage)}

    assert lines == {
        "cloudflare-free": "this worker would be killed on cloudflare-free because one request used 61 ms of CPU time and the limit is 10 ms",
        "cloudflare-paid": "",
        "fastly": "this worker would be killed on fastly because one request used 61 ms of CPU time and the limit is 50 ms;"
        " and one request sent 40 requests of its own and the limit is 32",
        "akamai": "",
    }


def test_a_file_that_is_too_large_is_refused_not_killed():
    """It would never run."""
    line = judge(PROFILES["akamai"], Usage(bundle_bytes=51 * MIB)).line

    assert line == "this worker would be refused on akamai because its file has 51 MiB and the limit is 50 MiB"


def test_the_start_counts_as_a_request_only_where_an_execution_is_an_instance():
    """Fastly's 50 ms are an instance's; Cloudflare limits the start by itself."""
    usage = Usage(cpu_ms=30, startup_ms=30)

    assert judge(PROFILES["fastly"], usage).findings[0].used == 60
    assert not judge(PROFILES["cloudflare-paid"], usage).findings


def test_memory_from_the_file_until_it_is_measured():
    """What an instance begins with is a lower bound of what it will have."""
    static = judge(PROFILES["fastly"], Usage(memory_at_start_bytes=200 * MIB))
    measured = judge(PROFILES["fastly"], Usage(memory_at_start_bytes=MIB, memory_bytes=129 * MB))

    assert "it starts with 210 MB of linear memory" in static.line
    assert "it needed 129 MB of linear memory and the limit is 128 MB" in measured.line


def test_nothing_is_said_of_what_is_not_known():
    """No request, no verdict on requests; formats are told apart from limits."""
    verdict = judge(PROFILES["fastly"], Usage(abi="wasi-http", bundle_bytes=1))

    assert verdict.line == ""
    assert verdict.judged == ("bundle_bytes",)
    assert set(verdict.unknown) == {"cpu_ms", "wall_s", "memory_bytes", "subrequests"}
    assert verdict.runs_format is False
    assert judge(PROFILES["akamai"], Usage(abi="wasi-http")).runs_format is True
    assert judge(PROFILES["akamai"], Usage()).runs_format is None


@given(st.sampled_from(["cpu_ms", "wall_s"]), st.floats(1.0000001, 1e6))
def test_what_is_over_a_limit_never_looks_equal_to_it(figure, factor):
    """50.0001 ms against 50 ms is not shown as 50 ms against 50 ms."""
    (finding,) = judge(
        PROFILES["fastly"], Usage(**{figure: PROFILES["fastly"].figures[figure].limit * factor})
    ).findings
    used, limit = re.findall(r"(more than )?([\d.,]+)", finding.text)[-2:]

    assert used[0] or used[1] != limit[1]
    assert show_figure(figure, finding.limit).startswith(limit[1])
