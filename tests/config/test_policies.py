"""Policies in world files: names, parameters, bounds, suggestions; and what becomes of them."""

from __future__ import annotations

from dataclasses import fields

import pytest

from edgesim.config.policies import PACKAGES, make_pop
from edgesim.config.registry import load, names
from edgesim.config.topology import parse_topology
from edgesim.config.yaml_source import load_yaml
from edgesim.errors import ConfigError
from edgesim.model.topology import PolicySpec
from edgesim.policies.eviction import lfu
from edgesim.policies.scaling import keep_warm, on_demand, scale_to_zero


def parse(text):
    """The world of a file with these lines after its head."""
    return parse_topology(load_yaml("version: 1\nname: w\n" + text, "world.yaml"))


def problems(text):
    """What is wrong, as (field, message, help, line, column)."""
    with pytest.raises(ConfigError) as caught:
        parse(text)
    return [(p.field, p.message, p.help, p.line, p.col) for p in caught.value.problems]


@pytest.mark.parametrize("family", PACKAGES)
def test_every_file_is_a_policy_with_bounds(family):
    """Named as its file with dashes; each parameter has a default within its bounds."""
    for name, policy in load(PACKAGES[family]).items():
        assert policy().name == name
        for parameter in fields(policy):
            assert parameter.metadata["ge"] <= parameter.default <= parameter.metadata["le"]
    assert "keep-warm" in names(PACKAGES["scaling"])


def test_defaults_and_overrides():
    """A PoP has the policies of `defaults` unless it names its own."""
    world = parse(
        "defaults: {scaling: {policy: keep-warm, count: 2}, eviction: lfu}\n"
        "pops: [fra1, {id: gru1, scaling: {policy: scale-to-zero, after: 90s}}, {id: lhr1, scaling: on-demand}]\n"
    )
    fra, gru, lhr = map(make_pop, world.pops)

    assert world.pops[0].scaling == PolicySpec(policy="keep-warm", params=(("count", 2),))
    assert [p.scaling for p in (fra, gru, lhr)] == [
        keep_warm.Policy(count=2),
        scale_to_zero.Policy(after_s=90.0),
        on_demand.Policy(),
    ]
    assert {p.eviction for p in (fra, gru, lhr)} == {lfu.Policy()}


def test_nothing_said():
    """On demand, least recently used."""
    spec = parse("pops: [fra1]\n").pops[0]

    assert (spec.scaling.policy, spec.eviction.policy) == ("on-demand", "lru")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("{policy: keep-warn}", ("policy", "no scaling policy 'keep-warn'", "did you mean 'keep-warm'?")),
        ("keepwarm", ("", "no scaling policy 'keepwarm'", "did you mean 'keep-warm'?")),
        ("{policy: keep-warm, cuont: 2}", ("cuont", "keep-warm has no parameter 'cuont'", "did you mean 'count'?")),
        ("{policy: on-demand, count: 2}", ("count", "on-demand has no parameter 'count'", "it has no parameters")),
        ("{policy: keep-warm, count: 0}", ("count", "0: must be at least 1", "a whole number from 1 to 1024")),
        ("{policy: keep-warm, count: 2.5}", ("count", "expected a whole number from 1 to 1024, not '2.5'", "")),
        ("{policy: scale-to-zero, after: 2d}", ("after", "48h: must be at most 24h", "a duration from 1ms to 24h")),
        ("3", ("", "'3' names no policy", "write {policy: keep-warm, count: 2}, or the policy's name alone")),
        ("{count: 2}", ("", "a mapping without `policy` names no policy", "write {policy: keep-warm, count: 2}, or the policy's name alone")),
    ],
)  # fmt: skip
def test_mistakes(line, expected):
    """Each with its place, in `defaults` and in a PoP."""
    key, message, hint = expected
    below = f".{key}" if key else ""

    found = problems(f"defaults: {{scaling: {line}}}\npops: [fra1]\n")
    assert [p[:3] for p in found] == [(f"defaults.scaling{below}", message, hint)]
    assert found[0][3] == 3
    assert found[0][4] > len("defaults: {")
    found = problems(f"pops: [{{id: fra1, scaling: {line}}}]\n")
    assert [p[:3] for p in found] == [(f"pops.0.scaling{below}", message, hint)]


def test_what_is_no_duration():
    """The form of durations."""
    found = problems("defaults: {scaling: {policy: scale-to-zero, after: 3 weeks}}\npops: [fra1]\n")

    assert [p[:2] for p in found] == [("defaults.scaling.after", "'3 weeks' is not a duration")]
