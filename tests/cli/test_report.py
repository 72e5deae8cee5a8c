"""`edgesim load report` and `--html`: the file, and what is said when there is none to be had."""

import json

import pytest

from edgesim.cli._live_facts import LiveFacts, command_line
from edgesim.cli.main import run
from tests.results.report.documents import document


@pytest.fixture
def summary(tmp_path):
    """A summary as a file."""
    path = tmp_path / "summary.json"
    path.write_text(json.dumps(document(pops=3)), encoding="utf-8")
    return path


def test_a_report_from_a_summary(summary, tmp_path, capsys):
    """The file is written whole, its name is the result, folders are made."""
    out = tmp_path / "deep" / "report.html"
    code = run(["load", "report", str(summary), "-o", str(out)])
    page = out.read_text(encoding="utf-8")

    assert code == 0
    assert capsys.readouterr().out == f"{out}\n"
    assert page.startswith("<!doctype html>")
    assert page.endswith("</html>\n")
    assert [path.name for path in out.parent.iterdir()] == ["report.html"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot read a summary: No such file"),
        ("{", "this is no JSON"),
        ("[]", "it has no schema key"),
        ('{"schema": "edgesim.pops.v1"}', "its schema is 'edgesim.pops.v1'"),
        ('{"schema": "edgesim.run-summary.v1"}', "this summary is damaged: KeyError: 'scenario'"),
    ],
)
def test_what_is_no_summary_is_said(content, message, tmp_path, capsys):
    """Exit code 2 and a way on; no file is left behind."""
    path, out = tmp_path / "summary.json", tmp_path / "report.html"
    if content is not None:
        path.write_text(content)
    code = run(["load", "report", str(path), "-o", str(out)])
    err = capsys.readouterr().err

    assert code == 2
    assert message in err
    assert "help:" in err
    assert not out.exists()


def test_a_report_that_cannot_be_written_is_said_before_the_run(tmp_path, monkeypatch, capsys):
    """A file where the folder should be: no request is sent first."""
    (tmp_path / "file").write_text("")
    monkeypatch.chdir(tmp_path)
    code = run(["load", "run", "smoke", "--html", "file/report.html"])

    assert code == 1
    assert "cannot write the report" in capsys.readouterr().err


def test_the_command_is_told_without_the_token():
    """Summaries and reports are shown around; a token is not."""
    assert command_line(["load", "run", "a b.yaml", "--token", "secret"]) == "edgesim load run 'a b.yaml' --token ..."
    assert command_line(["load", "run", "x", "--token=secret"]) == "edgesim load run x --token=..."


def test_the_facts_of_a_live_run(tmp_path):
    """Places of the PoPs that have one, time, versions; no time scale where there is no edge to ask."""
    facts = LiveFacts(tmp_path)
    facts.see_pops(
        [{"pop": "fra1", "city": "Frankfurt", "country": "DE", "region": "weur", "lat": 50.0, "lon": 8.5}, {"pop": "x"}]
    )
    found = facts.collected()

    assert [(place.pop, place.at) for place in found.pops] == [("fra1", (50.0, 8.5))]
    assert found.world == "live"
    assert found.started_at.endswith("Z")
    assert found.time_scale is None
    assert {"python", "system", "wasmtime"} <= set(found.versions)
