"""`edgesim sim run` and `edgesim compare`: documents, tables, exit codes and mistakes."""

from __future__ import annotations

import json

import pytest

from edgesim.cli.main import run as edgesim


@pytest.fixture
def simulate(tmp_path, monkeypatch, capsys):
    """Run `sim run` in an empty folder; exit code, summary and what was printed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("EDGESIM_TOPOLOGY", raising=False)

    def run(*arguments, out="sim.json"):
        capsys.readouterr()
        code = edgesim(["sim", "run", *arguments, "--out", out])
        said = capsys.readouterr()
        file = tmp_path / out
        return code, json.loads(file.read_text()) if file.exists() else None, said

    return run


def test_a_scenario_that_ships(simulate):
    """The same tables as `load run`; the profile is named, with its date."""
    code, document, said = simulate("smoke")

    assert code == 0
    assert document["schema"] == "edgesim.run-summary.v1"
    assert document["run"]["world"] == "simulated"
    assert document["run"]["started_at"] == ""
    assert document["run"]["profile"]["default"] is True
    assert document["totals"]["requests"] > 100
    assert "p50" in said.out
    assert "passed" in said.out
    assert document["run"]["profile"]["measured_at"][:10] in said.err


def test_two_runs_are_equal_to_the_byte(simulate, tmp_path):
    """Whatever their file is called; another seed is another run."""
    simulate("smoke", out="a.json")
    simulate("smoke", out="b.json")
    simulate("smoke", "--seed", "8", out="c.json")
    a, b, c = ((tmp_path / f"{name}.json").read_bytes() for name in "abc")

    assert a == b
    assert a != c


def test_json(simulate):
    """One document on stdout, the one that is written."""
    _, document, said = simulate("smoke", "--json")

    assert json.loads(said.out) == document


def test_replications(simulate):
    """The first is the scenario's own run; means with their intervals come on top."""
    _, alone, _ = simulate("smoke")
    _, document, said = simulate("smoke", "--replications", "3")
    replications = document.pop("replications")

    assert document == alone
    assert replications["count"] == len(set(replications["seeds"])) == 3
    assert replications["figures"][0]["half_width"] > 0
    assert "95 % confidence" in said.out


def test_a_missed_threshold(simulate, tmp_path):
    """Exit code 99, as live."""
    (tmp_path / "s.yaml").write_text(
        "version: 1\nname: s\ntarget: {app: hello}\nload: {phases: [{name: p, duration: 2s, arrivalRate: 20}]}\n"
        "thresholds: [http.response_time.p50 < 1ms]\n"
    )

    assert simulate("s.yaml")[0] == 99


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["smoke", "--app", "nowhere"], "there is no nowhere"),
        (["smoke", "--profile", "nowhere.json"], "cannot read a profile"),
        (["smoke", "--profile", "wrong.json"], "is not a profile"),
        (["smoke", "--profile", "text.json"], "this is no JSON"),
        (["smoke", "--profile", "/dev/zero"], "this is no file, so not a profile"),
        (["smoke", "--profile", "damaged.json"], "this profile is damaged"),
        (["url.yaml"], "nobody can simulate"),
        (["lost.yaml"], "did you mean 'gru1'"),
        (["unknown.yaml"], "there is no workers/halo"),
        (["smoke", "--replications", "0"], "0 is not in the range"),
    ],
)
def test_mistakes(simulate, tmp_path, arguments, expected):
    """Each says what is wrong and what to do, with exit code 2."""
    (tmp_path / "wrong.json").write_text('{"schema": "edgesim.run-summary.v1"}')
    (tmp_path / "text.json").write_text("profile")
    (tmp_path / "damaged.json").write_text('{"schema": "edgesim.profile.v1"}')
    load = "load: {phases: [{name: p, duration: 2s, arrivalRate: 1}]}\n"
    (tmp_path / "url.yaml").write_text(f"version: 1\nname: s\ntarget: {{url: 'http://127.0.0.1:1'}}\n{load}")
    (tmp_path / "unknown.yaml").write_text(f"version: 1\nname: s\ntarget: {{app: halo}}\n{load}")
    (tmp_path / "lost.yaml").write_text(
        f"version: 1\nname: s\ntarget: {{app: hello}}\n{load}timeline: [{{at: 1s, kill: {{pop: gru2}}}}]\n"
    )
    code, document, said = simulate(*arguments)

    assert (code, document) == (2, None)
    assert expected in said.err
    assert "help:" in said.err or "did you mean" in said.err


def compare(capsys, *arguments):
    """Exit code and what was printed."""
    capsys.readouterr()
    code = edgesim(["compare", *arguments])
    return code, capsys.readouterr()


def test_compare(simulate, capsys):
    """A run with itself is within every tolerance; the tables show phases and PoPs."""
    simulate("smoke", out="a.json")
    code, said = compare(capsys, "a.json", "a.json", "--strict")
    document = json.loads(compare(capsys, "a.json", "a.json", "--json")[1].out)

    assert code == 0
    assert "within the tolerances" in said.out
    assert "lhr1" in said.out
    assert document["schema"] == "edgesim.comparison.v1"
    assert document["ok"] is True
    assert {row["difference"] for row in document["figures"] if row["ok"] is not None} == {0.0}


def test_beyond_a_tolerance(simulate, capsys):
    """Another seed differs by more than nothing: said, and exit code 99 when asked."""
    simulate("smoke", out="a.json")
    simulate("smoke", "--seed", "8", out="b.json")
    lenient, said = compare(capsys, "a.json", "b.json", "--p50", "0")

    assert lenient == 0
    assert "beyond the tolerances: response p50" in said.out
    assert "the seeds differ" in said.err
    assert compare(capsys, "a.json", "b.json", "--p50", "0", "--strict")[0] == 99


def test_different_scenarios_are_not_compared(simulate, capsys):
    """Nor are files that are something else."""
    simulate("smoke", out="a.json")
    simulate("sessions", out="c.json")
    different = compare(capsys, "a.json", "c.json")
    missing = compare(capsys, "a.json", "b.json")

    assert different[0] == missing[0] == 2
    assert "they are of different scenarios" in different[1].err
    assert "cannot read a summary of a run" in missing[1].err
