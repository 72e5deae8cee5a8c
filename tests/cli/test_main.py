"""The command as a whole: finding subcommands, showing errors, exit codes."""

import json
import os
import re
import subprocess
import sys
import tempfile
import time

import click
import pytest

import edgesim.cli.main as main_module
from edgesim import __version__
from edgesim.cli._errors import show_error
from edgesim.cli.main import cli, command_names, run
from edgesim.errors import ConfigError, ControlPlaneError, EdgesimError, Problem, RolloutError


@pytest.fixture
def raising(monkeypatch):
    """Make a subcommand `raise` whose only act is to raise what the test names."""

    def use(exc):
        @click.command()
        @click.option("--json", "as_json", is_flag=True)
        def command(as_json):
            raise exc

        monkeypatch.setattr(main_module, "command_names", lambda: ["raise"])
        monkeypatch.setattr(main_module.FolderGroup, "get_command", lambda self, ctx, name: command)
        return ["raise"]

    return use


def test_every_module_is_a_command():
    """The folder is the list: each module has `command` with a first sentence that says what it does."""
    names = command_names()
    commands = {name: cli.get_command(click.Context(cli), name) for name in names}

    assert {"up", "down", "status", "pops", "hosts", "deploy", "curl", "topology", "version"} <= set(names)
    assert all(command.get_short_help_str(200).endswith(".") for command in commands.values())


@pytest.mark.parametrize("name", command_names())
def test_every_command_has_help(name, capsys):
    """`--help` works for each command and each of its subcommands, and every option is explained."""
    command = cli.get_command(click.Context(cli), name)
    nested = list(getattr(command, "commands", {}))
    codes = [run([name, "--help"]), *(run([name, sub, "-h"]) for sub in nested)]

    assert {0} == set(codes)
    assert f"Usage: edgesim {name}" in capsys.readouterr().out
    for leaf in getattr(command, "commands", {"": command}).values():
        assert leaf.help
        assert all(p.help for p in leaf.params if isinstance(p, click.Option))


def test_version(capsys):
    """One line for people, one document for programs."""
    codes = run(["version"]), run(["version", "--json"])
    line, _, document = capsys.readouterr().out.partition("\n")

    assert codes == (0, 0)
    assert f"edgesim {__version__}" == line
    assert {"schema", "version", "python", "packages"} == set(json.loads(document))


@pytest.mark.parametrize(
    ("args", "message", "hint"),
    [
        (["verison"], "no such command: verison", "did you mean version?"),
        (["pops", "lst"], "no such command: pops lst", "did you mean list?"),
        (["up", "--prot", "80"], "no such option: --prot", "did you mean --api-port or --port?"),
        (["up", "--port", "x"], "'x' is not a whole number", "see `edgesim up --help`"),
        (["up", "--processes", "0"], "0 is not in the range 1<=x<=64", "see `edgesim up --help`"),
        (["pops", "kill"], "Missing argument 'POP...'", "see `edgesim pops kill --help`"),
        (["up", "--broker", "rabbit"], "--broker rabbit is neither", "auto, mosquitto, embedded"),
        (["up", "--geoip-db", "nope.mmdb"], "File 'nope.mmdb' does not exist", "see `edgesim up --help`"),
    ],
)
def test_mistyped_command_lines(args, message, hint, capsys):
    """Exit code 2, what is wrong, and what may have been meant; nothing on stdout."""
    code = run(args)
    out, err = capsys.readouterr()

    assert code == 2
    assert out == ""
    assert err.startswith("error[E0102]: ")
    assert message in err
    assert f"= help: {hint}" in err or hint in err


def test_no_arguments_show_help(capsys):
    """`edgesim` alone is a question, not a mistake without an answer."""
    code = run([])

    assert code == 2
    assert "Commands:" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("exc", "expected"),
    [
        (EdgesimError("x"), 1),
        (ConfigError([Problem(file="f", line=1, col=1, field="", message="m")]), 2),
        (ControlPlaneError("x"), 3),
        (RolloutError("x"), 4),
        (KeyboardInterrupt(), 130),
        (click.Abort(), 130),
    ],
)
def test_exit_codes(raising, exc, expected, capsys):
    """The exit code tells what kind of failure it was."""
    code = run(raising(exc))

    assert expected == code
    assert "Traceback" not in capsys.readouterr().err


def test_all_problems_of_a_file(capsys):
    """Each problem with its place, its line, a caret under the column, and a suggestion."""
    problems = [
        Problem(file="t.yaml", line=3, col=5, field="pops.0", message="no site 'frx1'", help="did you mean fra1?", source="  - frx1"),
        Problem(file="t.yaml", line=120, col=1, field="regions", message="no such PoP", source="regions: {}"),
        Problem(file="other.yaml", line=0, col=0, field="", message="the file is empty"),
    ]  # fmt: skip
    show_error(ConfigError(problems), as_json=False)

    assert capsys.readouterr().err.splitlines() == [
        "error[E0101]: pops.0: no site 'frx1'",
        "  --> t.yaml:3:5",
        "  |",
        "3 |   - frx1",
        "  |     ^",
        "  = help: did you mean fra1?",
        "",
        "error[E0101]: regions: no such PoP",
        "  --> t.yaml:120:1",
        "    |",
        "120 | regions: {}",
        "    | ^",
        "",
        "error[E0101]: the file is empty",
        "  --> other.yaml",
        "",
        "3 problems",
    ]


def test_caret_in_a_very_long_line(capsys):
    """The part around the caret is shown, and the caret stands under the right character."""
    source = "x" * 5000 + "!" + "y" * 5000
    show_error(ConfigError([Problem(file="f", line=1, col=5001, field="", message="m", source=source)]), as_json=False)
    lines = capsys.readouterr().err.splitlines()

    assert lines[3][lines[4].index("^")] == "!"
    assert len(lines[3]) < 200


def test_control_characters_are_not_printed(capsys):
    """A file or a server cannot smuggle escape sequences into the terminal."""
    show_error(EdgesimError("a\x1b[2Jb\r", where="x\x07", help="y\x9b"), as_json=False)

    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", capsys.readouterr().err)


def test_error_as_json(raising, capsys):
    """With --json also an error is one document, on stdout, with its exit code."""
    problem = Problem(file="f.yaml", line=2, col=3, field="a.b", message="wrong", help="right", source="ab")
    code = run([*raising(ConfigError([problem, problem])), "--json"])
    out, err = capsys.readouterr()
    document = json.loads(out)

    assert code == 2
    assert err == ""
    assert document["schema"] == "edgesim.error.v1"
    assert document["error"]["code"] == "E0101"
    assert document["error"]["exit_code"] == 2
    assert (
        document["error"]["problems"]
    ) == [{"file": "f.yaml", "line": 2, "col": 3, "field": "a.b", "message": "wrong", "help": "right", "source": "ab"}] * 2  # fmt: skip


def test_usage_error_as_json(capsys):
    """Also when the command line itself is wrong."""
    code = run(["status", "--json", "--nonsense"])

    assert code == 2
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "E0102"


@pytest.mark.parametrize("debug", [False, True])
def test_internal_error(raising, capsys, monkeypatch, tmp_path, debug):
    """A bug of ours is named as ours, with a file to report; the traceback is shown for --debug only."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("EDGESIM_STATE", str(tmp_path / "none"))
    code = run([*(["--debug"] if debug else []), *raising(ZeroDivisionError("by\nzero"))])
    err = capsys.readouterr().err
    (log,) = tmp_path.glob("edgesim-crash-*.log")

    assert code == 1
    assert "error[E0001]: internal error: ZeroDivisionError: by zero" in err
    assert str(log) in err
    assert ("Traceback" in err) is debug
    assert "Traceback" in log.read_text()


def test_no_colour_off_terminal(capsys):
    """Output that is captured carries no escape sequences, colour or not."""
    run(["verison"])

    assert "\x1b" not in capsys.readouterr().err


@pytest.mark.e2e
def test_reader_that_hangs_up():
    """`edgesim … | head -0` ends without a word on stderr."""
    reader, writer = os.pipe()
    os.close(reader)
    argv = [sys.executable, "-m", "edgesim", "version", "--json"]
    done = subprocess.run(argv, stdout=writer, stderr=subprocess.PIPE, timeout=30, check=False)
    os.close(writer)

    assert done.stderr == b""
    assert done.returncode == 0


@pytest.mark.e2e
def test_start_up_is_quick():
    """`edgesim version` stays far below what people notice: best of five under 150 ms of CPU."""

    def cpu_s():
        before = os.times()
        subprocess.run([sys.executable, "-m", "edgesim", "version"], capture_output=True, check=True)
        after = os.times()
        return after.children_user + after.children_system - before.children_user - before.children_system

    best = min(cpu_s() for _ in range(5))

    assert best < 0.15, f"{best * 1e3:.0f} ms at {time.strftime('%H:%M')}"
