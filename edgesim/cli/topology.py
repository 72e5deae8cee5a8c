"""`edgesim topology`: checks of world files."""

from __future__ import annotations

from pathlib import Path

import click

from edgesim.cli._options import json_option
from edgesim.cli._output import echo_json


@click.group(name="topology")
def command() -> None:
    """Check the file that describes the world."""


@command.command()
@click.argument("file", type=click.Path(path_type=Path))
@json_option
def validate(file: Path, as_json: bool) -> None:
    """Check FILE, and list every mistake with its line. Exit code 2 when there is one."""
    from edgesim.config.topology import load_topology

    world = load_topology(file)
    countries = len({pop.country for pop in world.pops})
    if as_json:
        regions = {name: list(pops) for name, pops in world.regions.items()}
        pops = [
            {"id": p.id, "city": p.city, "country": p.country, "lat": p.at.lat, "lon": p.at.lon} for p in world.pops
        ]
        echo_json("topology.v1", {"file": str(file), "name": world.name, "pops": pops, "regions": regions})
        return
    click.echo(
        f"{file}: ok. {world.name} has {_many(len(world.pops), 'PoP')} in {_many(countries, 'country', 'countries')} "
        f"and {_many(len(world.regions), 'region')}, {_many(len(world.origins), 'origin')}, "
        f"routing by {world.routing.policy}"
    )


def _many(n: int, noun: str, plural: str = "") -> str:
    return f"{n} {noun if n == 1 else plural or noun + 's'}"
