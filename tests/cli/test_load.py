"""`edgesim load`: validate, what a run prints, and refusals before a run begins."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from edgesim.cli._load_screen import PlainScreen, report
from edgesim.cli._scenario_names import check_names
from edgesim.cli.load import json_names
from edgesim.cli.main import run
from edgesim.errors import UsageError
from edgesim.live.load.run import Progress
from edgesim.results.answered import Answered, Attribution
from edgesim.results.collect import Results
from edgesim.results.facts import RunFacts
from edgesim.results.summary import summarise
from edgesim.scenario.arrivals import Arrival
from edgesim.scenario.spec import Expectation, TimelineEntry
from edgesim.scenario.steps import Step, drain, kill, latency, origin
from edgesim.scenario.thresholds import parse
from edgesim.scenario.timeline import Mark
from tests.live.load.scenarios import BASE
from tests.results.test_summary import results


def test_validate_says_what_would_happen(capsys: pytest.CaptureFixture[str]) -> None:
    """Requests, time and places of a scenario that ships."""
    assert run(["load", "validate", "smoke"]) == 0
    assert "smoke sends about 200 requests in 10 s from 6 metros" in capsys.readouterr().out


def test_validate_lists_every_mistake(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2, each mistake with its place and a caret."""
    bad = Path(__file__).parents[1] / "config" / "bad_scenario.yaml"

    code = run(["load", "validate", str(bad)])

    err = capsys.readouterr().err
    assert code == 2
    assert "bad_scenario.yaml:9:47\n" in err
    assert "did you mean 'arrivalRate'?" in err
    assert "63 problems" in err


def test_json_of_validate(capsys: pytest.CaptureFixture[str]) -> None:
    """One document on stdout."""
    assert run(["load", "validate", "smoke", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["schema"] == "edgesim.scenario.v1"


def test_without_an_edge_nothing_is_sent(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 3, and no summary is left behind."""
    code = run(["load", "run", "smoke", "--state", str(tmp_path), "--out", str(tmp_path / "out.json")])

    assert code == 3
    assert "edgesim up" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_summary_that_cannot_be_written_is_found_out_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before the run, not after it."""
    (tmp_path / "file").touch()

    code = run(["load", "run", "smoke", "--out", str(tmp_path / "file" / "out.json")])

    assert code == 1
    assert "name another file with --out" in capsys.readouterr().err


def test_the_report(capsys: pytest.CaptureFixture[str]) -> None:
    """Tables, incidents with failures, verdicts, and what is left to do."""
    report(summarise(results(failed=2, marks=1)))

    out, err = capsys.readouterr()
    assert any(line.split()[:4] == ["all", "recorded", "10", "2"] for line in out.splitlines())
    assert "kill pop gru1 at 0.2 s, not ended" in out
    assert "before     10 requests, 2 failed" in out
    assert "nrt1:10 (2 failed)" in out
    assert "failures: 2 broken" in out
    assert "MISS http.error_rate < 1%: 20.00 %" in out
    assert "MISS timeline: restart pop gru1: was not begun" in out
    assert out.endswith("inconclusive\n")
    assert "`edgesim pops restart gru1`" in err


def test_the_report_of_cold_starts(capsys: pytest.CaptureFixture[str]) -> None:
    """By role and phase, across the generator's process; without any there is no such table."""
    warm = results()
    cold = results()
    phases = (("start", 0.004), ("load", 0.003), ("first_call", 0.002))
    about = Attribution("nrt1", "disk", "trigger", 0.05, phases)
    cold.add(Arrival(10, 0.0, 0, 0, 0, 0), Answered("ok", 0.1, about, status=200))
    cold = Results.from_json(BASE, json.loads(json.dumps(cold.to_json())))

    report(summarise(cold))
    out = capsys.readouterr().out
    report(summarise(warm))

    assert [line.split()[:3] for line in out.splitlines() if line.startswith("trigger")] == [
        ["trigger", "start", "1"],
        ["trigger", "load", "1"],
        ["trigger", "first_call", "1"],
    ]
    assert "starts: 1 disk trigger, 10 fresh" in out
    assert "cold starts" not in capsys.readouterr().out


def test_progress_as_lines(capsys: pytest.CaptureFixture[str]) -> None:
    """A line each five seconds, and one for each event."""
    with PlainScreen(BASE) as screen:
        for t_s in (0.0, 0.5, 5.0):
            screen.progress(
                Progress(
                    t_s=t_s, phase=0, sent=7, done=3, failed=1, dropped=2, in_flight=4, p50_s=0.01, p99_s=None,
                    lag_p99_s=0.001,
                )
            )  # fmt: skip
        screen.mark(Mark(entry=0, edge="end", at_s=0.3, error="E0103: no"))

    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 4
    assert "only: 7 sent · 4 open · 1 failed · 2 dropped · p50 10.0 ms · p99 - · lag p99 1.00 ms" in lines[1]
    assert lines[3].endswith("kill pop gru1 failed: E0103: no")


@pytest.mark.parametrize(
    ("apps", "names"), [({"a": 1}, {"a"}), ([{"app": "a"}, {"name": "b"}], {"a", "b"}), (None, set())]
)
def test_apps_of_a_status(apps: object, names: set[str]) -> None:
    """By name, or as a list."""
    assert json_names(apps) == names


@pytest.mark.parametrize(
    ("step", "said"),
    [
        (kill.Step(pop="gru2"), "the timeline is about pop 'gru2', which this edge has not"),
        (drain.Step(pop="x"), "the timeline is about pop 'x'"),
        (latency.Step(region="apax", add=1.0, for_=1.0), "the timeline is about region 'apax'"),
        (None, "the threshold `http.error_rate{region=mars} < 1%` is about region 'mars'"),
    ],
)
def test_what_the_edge_has_not_is_said_before_the_run(step: Step | None, said: str) -> None:
    """PoPs and regions of the timeline and of thresholds; kinds that are not known are left alone."""
    known = {"pop": {"gru1"}, "region": {"apac"}}
    entries = () if step is None else (TimelineEntry(at_s=0.0, step=step, label="x"),)
    thresholds = () if step is not None else (parse("http.error_rate{region=mars} < 1%"),)
    fine = TimelineEntry(at_s=0.0, step=origin.Step(name="any", refuse=True, for_=1.0), label="y")

    check_names(replace(BASE, timeline=(fine,), thresholds=()), known, "this edge")
    with pytest.raises(UsageError) as caught:
        check_names(replace(BASE, timeline=entries, thresholds=thresholds), known, "this edge")

    assert caught.value.message.startswith(said)
    assert caught.value.help


def test_a_scenario_of_sessions_says_how_many(capsys: pytest.CaptureFixture[str]) -> None:
    """Requests are what its sessions have on average: four steps for four fifths, three for the rest."""
    assert run(["load", "validate", "sessions", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert run(["load", "validate", "sessions"]) == 0

    assert document["requests"] == pytest.approx(document["arrivals"] * 3.8, abs=2)
    assert (
        f"about {document['requests']} requests in {document['arrivals']} sessions in 16 s" in capsys.readouterr().out
    )


def test_the_report_of_a_run_that_ended_early_and_of_a_simulated_one(capsys: pytest.CaptureFixture[str]) -> None:
    """Why it ended; what was not checked; a simulated PoP needs nobody to bring it back."""
    expect = Expectation(body=("hello",))
    found = Results(replace(BASE, requests=(replace(BASE.requests[0], expect=expect),)))
    found.marks = [Mark(entry=0, edge="begin", at_s=0.5)]
    found.aborted, found.elapsed_s = "http.error_rate < 1%", 3.25

    report(summarise(found, RunFacts(world="simulated")))

    out, err = capsys.readouterr()
    assert "ended early at 3.2 s: http.error_rate < 1%" in out
    assert "not checked, since it was simulated: home: body" in err
    assert "restart" not in err
