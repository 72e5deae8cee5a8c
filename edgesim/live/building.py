"""Runs the build commands of an app in the shell, as `spin build` does, and sees that they have made the files.

Whether those can be served is `inspection.py`'s to say.
"""

from __future__ import annotations

import os
import subprocess
import sys
from time import perf_counter
from typing import TYPE_CHECKING

from edgesim.errors import BuildError
from edgesim.live.toolchains import TOOLS, install, missing_error, missing_programs, search_path

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgesim.config.build_steps import BuildStep


def get_tools(step: BuildStep, *, may_install: bool, say: Callable[[str], None]) -> None:
    """See that every program of a step is there, and install what can and may be.

    Raises:
        BuildError: one is missing.
        StorageError: there is no room for it.
    """
    with search_path(step.folder) as path:
        missing = missing_programs(step.programs, step.folder, path)
    for program in missing:
        tool = TOOLS.get(program)
        if tool is None or not tool.package or not may_install:
            raise missing_error(step.component, program)
        say(f"installing {program} {tool.version} from PyPI (once)")
        install(tool)


def run_step(step: BuildStep, *, say: Callable[[str], None]) -> float:
    """Run a component's commands, their output on stderr; the seconds they took.

    Raises:
        BuildError: a command failed, or the file that they are to make is not there.
    """
    began_s = perf_counter()
    sys.stderr.flush()
    with search_path(step.folder) as path:
        for command in step.commands:
            say(f"{step.component}: {command}")
            done = subprocess.run(
                ["/bin/sh", "-c", command],
                cwd=step.folder,
                env={**os.environ, "PATH": path},
                stdin=subprocess.DEVNULL,
                stdout=2,
                check=False,
            )
            if done.returncode:
                how = f"with code {done.returncode}" if done.returncode > 0 else f"by signal {-done.returncode}"
                raise BuildError(
                    f"{step.component}: the build command ended {how}: {command[:200]}",
                    where=str(step.folder),
                    help="a program was not found; its output is above"
                    if done.returncode == 127
                    else "its output is above",
                )
    if not step.source.is_file():
        raise BuildError(
            f"{step.component}: the build ended well, but there is no {step.source.name}",
            where=str(step.source),
            help="`source` and the command's output must be the same file",
        )
    return perf_counter() - began_s
