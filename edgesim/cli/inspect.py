"""`edgesim inspect`: what a worker's file is and needs, what it costs here, and where it could run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgesim.cli._options import json_option, run_async
from edgesim.cli._output import echo_json, note

if TYPE_CHECKING:
    from edgesim.live.inspection import Inspected


@click.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--component", metavar="ID", help="Only this component of a manifest.")
@click.option("--limits-profile", metavar="NAME",
              help="Run it with the published limits of cloudflare-free, cloudflare-paid, fastly or akamai.")  # fmt: skip
@click.option("--full", is_flag=True, help="Wait for Cranelift's code where Winch's comes first, and measure that.")
@click.option("--run/--no-run", default=True, show_default=True, help="Serve `GET /` a few times to measure starts.")
@click.option("-v", "--verbose", is_flag=True, help="List the functions of each import.")
@json_option
def command(
    *,
    path: Path,
    component: str | None,
    limits_profile: str | None,
    full: bool,
    run: bool,
    verbose: bool,
    as_json: bool,
) -> int:
    """Show what a worker's file is, what is missing, and what it costs. Needs no edge.

    PATH is a .wasm file, a spin.toml or a folder with one. Exit code 2 when edgesim cannot serve it.
    """
    from edgesim.cli._inspect_screen import as_document, show

    found = run_async(_inspect(path, component, limits_profile, full=full, run=run, quiet=as_json))
    if as_json:
        echo_json("inspect.v1", {"components": [as_document(item) for item in found]})
    else:
        for number, item in enumerate(found):
            show(item, verbose=verbose, gap=number > 0)
    return next((item.refusal.exit_code for item in found if item.refusal is not None), 0)


async def _inspect(
    path: Path, component: str | None, limits_profile: str | None, *, full: bool, run: bool, quiet: bool
) -> list[Inspected]:
    from edgesim.cli._sources import app_source, chosen_components
    from edgesim.live.grants import local_grants
    from edgesim.live.inspection import FILE_BYTES_MAX, inspect_file

    found = []
    app = app_source(path, limits_profile=limits_profile)
    for source in chosen_components(app, component):
        if not quiet and source.file.is_file() and _LARGE_BYTES < source.file.stat().st_size <= FILE_BYTES_MAX:
            note(f"compiling {source.file} …", dim=True)
        found.append(
            await inspect_file(
                source.file,
                component_id="" if path == source.file else source.id,
                limits=source.limits,
                grants=local_grants(app.name, source),
                full=full,
                run=run,
            )
        )
    return found


_LARGE_BYTES = 1 << 20
