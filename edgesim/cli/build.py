"""`edgesim build`: runs the build commands of a manifest, and says what came out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgesim.cli._options import json_option, run_async
from edgesim.cli._output import echo_json, note

if TYPE_CHECKING:
    from edgesim.config.build_steps import BuildStep
    from edgesim.errors import EdgesimError
    from edgesim.live.inspection import Inspected


@click.command()
@click.argument("path", metavar="[DIR]", type=click.Path(path_type=Path), default=Path())
@click.option("--component", metavar="ID", help="Only this component.")
@click.option(
    "--install-tools", is_flag=True, help="Install missing compilers that PyPI has: componentize-py, go, zig."
)
@json_option
def command(path: Path, *, component: str | None, install_tools: bool, as_json: bool) -> None:
    """Build an app with the commands of its spin.toml.

    DIR is a folder with spin.toml, or the manifest; without it, the working directory. The commands run in the shell. Exit code 1 when one fails, 2 when edgesim cannot serve what came out.
    """
    from edgesim.config.build_steps import load_build_steps
    from edgesim.config.manifest import load_app
    from edgesim.live.building import get_tools, run_step

    def say(text: str) -> None:
        note(text, dim=True)

    steps = load_build_steps(path, component)
    for step in steps:
        get_tools(step, may_install=install_tools, say=say)
    rows = []
    refusal: EdgesimError | None = None
    for step in steps:
        took_s = run_step(step, say=say)
        found = run_async(_inspect(step))
        refusal = refusal or found.refusal
        rows.append(_document(step, found, took_s))
        if not as_json:
            click.echo(_line(step, found, took_s))
    load_app(path)  # what else is wrong with the manifest is said now, and not at the deployment
    if refusal is not None:
        raise refusal
    if as_json:
        echo_json("build.v1", {"components": rows})


async def _inspect(step: BuildStep) -> Inspected:
    from edgesim.live.inspection import inspect_file

    return await inspect_file(step.source, component_id=step.component, run=False)


def _line(step: BuildStep, found: Inspected, took_s: float) -> str:
    from edgesim.cli._inspect_screen import size

    kind = found.abi or f"{found.report.kind}, not a worker"
    return f"{step.component}: {step.source} ({kind}, {size(found.report.size_bytes)}) in {took_s:.1f} s"


def _document(step: BuildStep, found: Inspected, took_s: float) -> dict[str, Any]:
    return {
        "id": step.component,
        "source": str(step.source),
        "abi": found.abi,
        "size_bytes": found.report.size_bytes,
        "toolchain": found.report.toolchain,
        "took_s": round(took_s, 3),
    }
