"""`edgesim validate`."""

from __future__ import annotations

import json
import re

import pytest

from edgesim.cli.main import run
from edgesim.sim.validation import markov, suite
from edgesim.sim.validation.service import Exponential
from edgesim.sim.validation.station import Queue
from tests.support.data import data_file

HEAD = "src_lat,src_lon,dst_lat,dst_lon,rtt_ms\n"
NEAR = HEAD + "50.1,8.7,51.5,-0.1,15\n"


@pytest.fixture
def tiny(monkeypatch):
    """A suite of one queue that takes no time; what it judges is tested elsewhere."""
    monkeypatch.delenv("EDGESIM_TEST_DATA", raising=False)
    row = suite.Row(Queue(service=Exponential(0.01), slots=1, load=0.3, customers=1500), (markov.wait,), 0.2)
    monkeypatch.setattr("edgesim.sim.validation.suite.SAMPLE_PATH_CUSTOMERS", 200)
    monkeypatch.setattr("edgesim.sim.validation.suite.suite", lambda quick: suite.Suite((row,), 20))


def test_the_quick_suite_holds(capsys, monkeypatch):
    """Every claim of it, on all cores, through the command; this is what `make test` validates."""
    monkeypatch.delenv("EDGESIM_TEST_DATA", raising=False)
    code = run(["validate", "--quick", "--json"])
    document = json.loads(capsys.readouterr().out)
    failed = [claim for claim in document["claims"] if claim["verdict"] != "holds"]

    assert failed == []
    assert (code, document["schema"], document["verdict"]) == (0, "edgesim.validate.v1", "ok")
    assert (document["seed"], document["quick"], document["replications"]) == (1, True, 20)
    assert len(document["claims"]) == 14
    assert {each["id"] for each in document["skipped"]} == {"che", "rtt"}
    assert {"id", "claim", "source", "expected", "got", "tolerance", "verdict"} <= set(document["claims"][0])


def test_the_table(tiny, capsys):
    """Claims, sources, figures and verdicts on stdout; what was left out, and why; progress on stderr."""
    code = run(["validate", "--jobs", "1"])
    said = capsys.readouterr()

    assert code == 0
    assert re.search(
        r"^M/M/1, ρ = 0.3: Wq = ρ / \(μ - λ\) +Kleinrock 1975, §3.2 +4.29 ms .* holds$", said.out, re.MULTILINE
    )
    assert "there is no cache" in said.out
    assert "no --rtt-table" in said.out
    assert "7 of 7 claims hold, 2 skipped" in said.out
    assert "30,000 customers in 20 replications" in said.err
    assert "on 1 process\n" in said.err


def test_the_seed_decides(tiny, capsys):
    """The same document for the same seed, whatever runs it; another one for another."""
    documents = []
    for arguments in (["--seed", "5", "--jobs", "1"], ["--seed", "5", "--jobs", "2"], ["--seed", "6", "--jobs", "1"]):
        run(["validate", "--json", *arguments])
        documents.append(capsys.readouterr().out)

    assert documents[0] == documents[1]
    assert documents[0] != documents[2]


def test_a_claim_that_fails(tiny, tmp_path, capsys):
    """Exit code 1, and the row says so: round trips that are no earthly ones."""
    file = tmp_path / "wrong.csv"
    file.write_text(HEAD + "50.1,8.7,51.5,-0.1,150\n")
    code = run(["validate", "--jobs", "1", "--rtt-table", str(file)])
    out = capsys.readouterr().out

    assert code == 1
    assert "FAILS" in out
    assert "7 of 11 claims hold, 1 skipped" in out


def test_a_table_of_round_trips(tiny, tmp_path, capsys, monkeypatch):
    """From the option, or from the folder of test data."""
    (tmp_path / "rtt_azure.csv").write_text(NEAR)
    code = run(["validate", "--jobs", "1", "--rtt-table", str(tmp_path / "rtt_azure.csv"), "--json"])
    named = json.loads(capsys.readouterr().out)
    monkeypatch.setenv("EDGESIM_TEST_DATA", str(tmp_path))
    run(["validate", "--jobs", "1", "--json"])

    assert json.loads(capsys.readouterr().out) == named
    assert [c["id"] for c in named["claims"][-4:]] == [
        "rtt.public.median", "rtt.public.p90", "rtt.backbone.median", "rtt.backbone.p90",
    ]  # fmt: skip
    assert code == (0 if named["verdict"] == "ok" else 1)


def test_measured_round_trips(tiny, capsys):
    """The model agrees with Azure's published round trips."""
    code = run(["validate", "--jobs", "1", "--rtt-table", str(data_file("rtt_azure.csv"))])

    assert code == 0
    assert "11 of 11 claims hold, 1 skipped" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--rtt-table", "nothing.csv"], "cannot read the table nothing.csv"),
        (["--rtt-table", __file__], "no column src_lat"),
        (["--seed", "-1"], "-1"),
        (["--jobs", "0"], "0"),
        (["--quik"], "did you mean --quick?"),
    ],
)
def test_mistakes(arguments, says, capsys):
    """Told before anything is simulated, without a traceback."""
    code = run(["validate", *arguments])
    err = capsys.readouterr().err

    assert code == 2
    assert says in err
    assert "Traceback" not in err
    assert "replications" not in err
