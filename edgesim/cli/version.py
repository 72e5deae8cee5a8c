"""`edgesim version`."""

from __future__ import annotations

import platform

import click

from edgesim import __version__
from edgesim.cli._output import echo_json

_TOLD = ("wasmtime", "aiohttp", "aiomqtt")


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document, with the versions of what it runs on.")
def command(as_json: bool) -> None:
    """Print the version."""
    if not as_json:
        click.echo(f"edgesim {__version__}")
        return
    from importlib.metadata import version

    packages = {name: version(name) for name in _TOLD}
    echo_json("version.v1", {"version": __version__, "python": platform.python_version(), "packages": packages})
