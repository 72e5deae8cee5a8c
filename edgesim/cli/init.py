"""`edgesim init`: begins a worker in one of the languages."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from edgesim.cli._options import json_option
from edgesim.cli._output import echo_json, note, print_table


@click.command()
@click.argument("folder", metavar="[DIR]", type=click.Path(path_type=Path), default=Path())
@click.option("-t", "--template", metavar="LANGUAGE", help="js, python, c, rust, zig, go or assemblyscript.")
@click.option("--name", help="What the app is called.  [default: as DIR]")
@click.option("--list", "listing", is_flag=True, help="List the templates.")
@json_option
def command(folder: Path, *, template: str | None, name: str | None, listing: bool, as_json: bool) -> None:
    """Begin a worker: source, spin.toml with its build command, README.

    DIR is new or empty; without it, the working directory. Then `edgesim build`, `edgesim deploy`.
    """
    from edgesim.config.templates import app_name, find_template, templates, write_project
    from edgesim.errors import UsageError

    if listing:
        found = templates()
        if as_json:
            echo_json("templates.v1", {"templates": [{"name": t.name, "description": t.description} for t in found]})
        else:
            print_table(["template", "what it is"], [(t.name, t.description) for t in found])
        return
    if template is None:
        names = ", ".join(t.name for t in templates())
        raise UsageError("say in which language", help=f"--template with one of {names}")
    chosen = find_template(template)
    called = app_name(folder.absolute(), name)
    written = write_project(chosen, folder, called)
    if as_json:
        echo_json("init.v1", {"name": called, "template": chosen.name, "files": [str(folder / f) for f in written]})
        return
    click.echo(f"{called} in {folder}: {', '.join(map(str, written))}")
    at = "" if folder == Path() else f" {shlex.quote(str(folder))}"
    note(f"next: edgesim build{at}, edgesim deploy{at}, edgesim curl {called}")
