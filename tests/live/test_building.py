"""Build commands and the tools that they need, with small programs instead of compilers."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from edgesim.config.build_steps import BuildStep
from edgesim.errors import BuildError
from edgesim.live import toolchains
from edgesim.live.building import get_tools, run_step


@pytest.fixture
def step(tmp_path):
    """A step with these commands, in a folder of its own."""
    folder = tmp_path / "project"
    folder.mkdir()

    def make(*commands):
        return BuildStep(component="web", commands=commands, folder=folder, source=folder / "web.wasm")

    return make


@pytest.fixture
def tools(tmp_path, monkeypatch):
    """An empty folder of tools, and no compiler anywhere."""
    monkeypatch.setenv("EDGESIM_TOOLS", str(tmp_path / "tools"))
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(toolchains, "find_spec", lambda _name: None)
    monkeypatch.setattr(toolchains.sys, "executable", "/nowhere/python")
    return tmp_path / "tools"


def program(path: Path, script: str) -> None:
    """An executable file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def test_commands_run_in_order_and_in_their_folder(step, capfd):
    """What they print is for people: stderr."""
    said = []
    took_s = run_step(step("pwd; echo one > web.wasm", "echo two >> web.wasm; echo done >&2"), say=said.append)
    shown = capfd.readouterr()

    assert step().source.read_text() == "one\ntwo\n"
    assert said == ["web: pwd; echo one > web.wasm", "web: echo two >> web.wasm; echo done >&2"]
    assert shown.out == ""
    assert shown.err == f"{step().folder}\ndone\n"
    assert 0 < took_s < 60


def test_a_command_that_fails_ends_the_build(step):
    """With its code, or the signal that killed it; later lines do not run."""
    with pytest.raises(BuildError, match="ended with code 3: exit 3"):
        run_step(step("exit 3", "touch later"), say=str)
    with pytest.raises(BuildError, match="by signal 9"):
        run_step(step("kill -9 $$"), say=str)

    assert list(step().folder.iterdir()) == []


def test_a_build_that_makes_no_file(step):
    """Ends well and is an error."""
    with pytest.raises(BuildError, match=r"there is no web\.wasm"):
        run_step(step("true"), say=str)


def test_commands_have_no_stdin(step):
    """A tool that asks a question gets no answer instead of hanging."""
    with pytest.raises(BuildError):
        run_step(step("read answer && touch web.wasm"), say=str)


@pytest.mark.parametrize(
    ("command", "hint"),
    [
        ("componentize-py x", "`edgesim build --install-tools` gets 0.25.1 from PyPI; or pip install"),
        ("GOOS=wasip1 go build", "`edgesim build --install-tools` gets"),
        ("zig cc", "`edgesim build --install-tools` gets"),
        ("npm run build", "install Node.js"),
        ("cargo build", "rustup"),
        ("frobnicate", "correct the command"),
    ],
)
def test_a_missing_tool_is_named_with_the_way_to_get_it(step, tools, command, hint):
    """Before anything runs, and without installing."""
    with pytest.raises(BuildError, match="which is not installed") as caught:
        get_tools(step(command), may_install=False, say=str)

    assert hint in caught.value.help
    assert not tools.exists()


def test_tools_are_found_where_they_may_be(step, tools, tmp_path, monkeypatch):
    """In the PATH first, then in the project's node_modules, beside this Python, and among what edgesim has installed."""
    venv = tools / "componentize-py"
    program(venv / "bin" / "componentize-py", "echo installed > web.wasm")
    with pytest.raises(BuildError):
        get_tools(step("componentize-py"), may_install=False, say=str)  # not complete: no stamp
    (venv / ".versions.json").write_text('{"componentize-py": "0.25.1"}')
    for place, folder in (
        ("installed", None),
        ("beside python", tmp_path / "python"),
        ("project", step().folder / "node_modules" / ".bin"),
        ("path", tmp_path / "path"),
    ):
        if folder is not None:
            program(folder / "componentize-py", f"echo {place} > web.wasm")
        monkeypatch.setattr(toolchains.sys, "executable", str(tmp_path / "python" / "python"))
        monkeypatch.setenv("PATH", str(tmp_path / "path"))
        get_tools(step("componentize-py"), may_install=False, say=str)
        run_step(step("componentize-py"), say=str)

        assert step().source.read_text().strip() == place


def test_a_program_of_the_project_itself(step, tools):
    """Relative to where the command runs."""
    with pytest.raises(BuildError, match=r"needs \./make\.sh"):
        get_tools(step("./make.sh"), may_install=False, say=str)
    program(step().folder / "make.sh", "")

    get_tools(step("./make.sh"), may_install=False, say=str)


def test_zig_of_the_python_package_is_called_zig(step, monkeypatch):
    """PyPI's wheel has no such program; arguments arrive as they are."""
    monkeypatch.setattr(toolchains, "_python_with_zig", lambda: Path(sys.executable))
    with toolchains.search_path(step().folder) as path:
        places = path.split(os.pathsep)
        shim = next(Path(place) / "zig" for place in reversed(places) if (Path(place) / "zig").exists())
        text = shim.read_text()

    assert text == f'#!/bin/sh\nexec {sys.executable} -m ziglang "$@"\n'
    assert not shim.exists()


def test_installing_is_done_once_and_only_when_asked(step, tools, monkeypatch):
    """A venv and pip, in exactly the version that is known; what is half done is done again."""
    ran = []

    def fake(command, **_options):
        ran.append([str(word) for word in command])
        if "venv" in command:
            program(tools / "componentize-py" / "bin" / "componentize-py", "")
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(toolchains.subprocess, "run", fake)
    said = []
    get_tools(step("componentize-py"), may_install=True, say=said.append)
    get_tools(step("componentize-py"), may_install=True, say=said.append)

    assert said == ["installing componentize-py 0.25.1 from PyPI (once)"]
    assert [command[-1] for command in ran] == [str(tools / "componentize-py"), "componentize-py==0.25.1"]


def test_pip_that_fails(step, tools, monkeypatch):
    """Is said, with another way; nothing counts as installed."""
    monkeypatch.setattr(toolchains.subprocess, "run", lambda command, **_: subprocess.CompletedProcess(command, 1))

    with pytest.raises(BuildError, match="could not be installed") as caught:
        get_tools(step("go version"), may_install=True, say=str)
    assert "go.dev" in caught.value.help
    with pytest.raises(BuildError, match="not installed"):
        get_tools(step("go version"), may_install=False, say=str)


def test_the_versions_are_those_of_the_tests():
    """What `--install-tools` gets is what the guests of the contract suite are built with."""
    from tests.guests.toolchains import PIP

    assert {tool.package: tool.version for tool in toolchains.TOOLS.values() if tool.package} == PIP


def test_where_tools_are_kept(monkeypatch, tmp_path):
    """EDGESIM_TOOLS, XDG_CACHE_HOME if it is absolute, ~/.cache."""
    monkeypatch.delenv("EDGESIM_TOOLS", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    home = toolchains.tools_folder()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    xdg = toolchains.tools_folder()

    assert home == tmp_path / ".cache/edgesim/tools"
    assert xdg == tmp_path / "xdg/edgesim/tools"
