"""`edgesim profile`: what it says about mistakes, and a whole measurement against a real edge."""

from __future__ import annotations

import json

import pytest

from edgesim.cli.main import run as edgesim
from edgesim.config.resources import resource_path
from edgesim.results.profile import Profile

TOPOLOGY = """
version: 1
name: two
network: {model: hub-graph, time_scale: 1.0, access_mix: by-country}
routing: {policy: proximity}
defaults: {profile: small, origin: demo}
origins: {demo: {kind: builtin, at: fra1, latency: 20ms}}
pops: [fra1, lhr1]
"""


def test_mistakes(tmp_path, monkeypatch, capsys):
    """No app, and nowhere to write: told before anything starts."""
    monkeypatch.chdir(tmp_path)
    missing = edgesim(["profile", "nowhere"]), capsys.readouterr().err
    unwritable = (
        edgesim(["profile", str(resource_path("workers/hello")), "-o", "/proc/p.json"]),
        capsys.readouterr().err,
    )

    assert missing[0] == 2
    assert "there is no nowhere" in missing[1]
    assert unwritable[0] == 1
    assert "cannot write the profile" in unwritable[1]


@pytest.mark.e2e
def test_a_measurement(tmp_path, monkeypatch, capsys):
    """Every phase is there, the distribution of requests is that of requests, and the simulator takes it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "topology.yaml").write_text(TOPOLOGY)
    code = edgesim(
        ["profile", str(resource_path("workers/hello")), "--seconds", "1", "--topology", "topology.yaml", "--processes", "2"]
    )  # fmt: skip
    said = capsys.readouterr()
    profile = Profile.from_json(json.loads((tmp_path / "profile.json").read_text()))
    worker, edge = profile.workers[0], profile.edge

    assert code == 0, said.err
    assert {"fetch", "load", "first_call", "compile"} <= set(worker.cold)
    assert worker.fresh["execute"].count >= 30
    assert 0 < worker.fresh["execute"].quantile(0.5) < 0.1
    assert 0 < edge.overhead.quantile(0.5) < 0.2
    assert 0 < edge.start_host_s < 30
    assert "the edge adds" in said.out
    assert edgesim(["sim", "run", "smoke", "--profile", "profile.json"]) == 0
    document = json.loads((tmp_path / "out" / "sim-summary.json").read_text())
    assert {w["of"] for w in document["run"]["profile"]["workers"].values()} == {"this file"}
