"""`edgesim topology`: makes, checks and draws world files."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgesim.cli._options import json_option, topology_file
from edgesim.cli._output import console, echo_json, make_table, many, note, printable, use_color

if TYPE_CHECKING:
    from edgesim.config.topology_generator import GeneratedWorld
    from edgesim.model.topology import PopSpec, Topology


@click.group(name="topology")
def command() -> None:
    """Make, check and draw the file that describes the world."""


@command.command()
@click.argument("file", type=click.Path(path_type=Path))
@json_option
def validate(file: Path, as_json: bool) -> None:
    """Check FILE, and list every mistake with its line. Exit code 2 when there is one."""
    from edgesim.config.topology import load_topology

    world = load_topology(file)
    if as_json:
        _echo_world(file, world)
        return
    click.echo(
        f"{file}: ok. {_summary(world)}, {many(len(world.origins), 'origin')}, routing by {world.routing.policy}"
    )


@command.command()
@click.argument("file", type=click.Path(path_type=Path), required=False, envvar="EDGESIM_TOPOLOGY")
@json_option
def show(file: Path | None, as_json: bool) -> None:
    """Draw the world of FILE, or else of the file that `edgesim up` takes: a map with its PoPs, and its regions."""
    from edgesim.config.topology import load_topology

    path = topology_file(file)
    world = load_topology(path)
    if as_json:
        _echo_world(path, world)
        return
    _draw(world)


@command.command()
@click.option("--pops", "count", type=click.IntRange(1, 4200), required=True, help="How many PoPs.")
@click.option("--region", "regions", multiple=True, metavar="NAME",
              help="Only there, such as weur; repeat it for several.  [default: everywhere]")  # fmt: skip
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True,
              help="Another world of the same kind: varies the demand of each metro by up to a fifth.")  # fmt: skip
@click.option("--output", "-o", type=click.Path(dir_okay=False, path_type=Path),
              help="File to write.  [default: stdout]")  # fmt: skip
def generate(count: int, regions: tuple[str, ...], seed: int, output: Path | None) -> None:
    """Make a world that brings people near to a PoP: well spread, weighted by demand.

    Takes the sites of the catalogue, each where it helps most; what is beyond them is made up around metros, and says so.
    """
    from edgesim.config.topology_generator import generate_world, to_yaml

    if output is not None:
        _check_output(output)
    world = generate_world(count, regions, seed)
    text = to_yaml(world)
    if output is None:
        click.echo(text, nl=False)
        note(_told(world))
        return
    _write(output, text)
    click.echo(f"wrote {output}: {_told(world)}")
    click.echo(f"  see it     edgesim topology show {output}")
    click.echo(f"  run it     edgesim up --topology {output}")


def _told(world: GeneratedWorld) -> str:
    """What a generated world is like, in a sentence or two."""
    pops = world.pops
    countries = len({pop.country for pop in pops})
    reach = f"people are {world.mean_km:.0f} km from their PoP in the mean, 95 % within {world.p95_km:.0f} km"
    told = f"{many(len(pops), 'PoP')} in {many(countries, 'country', 'countries')}; {reach}"
    if not world.generated:
        return told
    real = len(pops) - world.generated
    beyond = f"{world.generated} of them are made up around metros (ids with x): the catalogue has {many(real, 'site')} there"
    return f"{told}; {beyond}"


def _check_output(path: Path) -> None:
    """See that nothing of the user's own is overwritten. Raises UsageError."""
    from edgesim.config.topology_generator import GENERATED_BY
    from edgesim.errors import UsageError

    if not path.exists():
        return
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            first = file.readline(200)
    except OSError as exc:
        raise UsageError(f"cannot write {path}: {exc.strerror}", where=str(path)) from exc
    if GENERATED_BY not in first:
        raise UsageError(
            f"{path} is there already, and `{GENERATED_BY}` did not make it",
            where=str(path),
            help="name another file with -o, or remove this one first",
        )


def _write(path: Path, text: str) -> None:
    from edgesim.errors import UsageError

    try:
        path.write_text(text, encoding="utf-8")
    except OSError as exc:
        raise UsageError(f"cannot write {path}: {exc.strerror}", where=str(path), help="choose another file") from exc


def _echo_world(file: Path, world: Topology) -> None:
    """The world as JSON."""
    regions = {name: list(pops) for name, pops in world.regions.items()}
    pops = [{"id": p.id, "city": p.city, "country": p.country, "lat": p.at.lat, "lon": p.at.lon} for p in world.pops]
    echo_json("topology.v1", {"file": str(file), "name": world.name, "pops": pops, "regions": regions})


def _draw(world: Topology) -> None:
    """Map and regions on stdout."""
    from rich.text import Text

    from edgesim.cli._world_map import SEVERAL, draw_world, marks

    color = use_color(sys.stdout)
    width = shutil.get_terminal_size((80, 24)).columns
    braille = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    legend = marks(world.regions, color=color)
    out = console()
    for line in draw_world([(pop.at, pop.region) for pop in world.pops], legend, width=width, braille=braille):
        click.echo(line.plain) if not color else out.print(line, no_wrap=True, crop=False)
    click.echo()
    table = make_table(["", "region", "PoPs", "countries", "first PoPs"], right=["PoPs", "countries"])
    by_id = {pop.id: pop for pop in world.pops}
    for name, ids in sorted(world.regions.items()):
        mark, style = legend[name]
        pops = [by_id[pop] for pop in ids]
        countries = len({pop.country for pop in pops})
        table.add_row(
            Text(mark, style=style), name, str(len(pops)), str(countries), Text(_examples(pops, max(12, width - 32)))
        )
    with out.capture() as capture:
        out.print(table)
    click.echo("\n".join(line.rstrip() for line in capture.get().splitlines()), color=color)
    several = SEVERAL if color else "capital letters"
    click.echo(f"{_summary(world)} ({several}: several)")


def _examples(pops: list[PopSpec], width: int) -> str:
    """As many PoPs with their cities as fit."""
    text = ""
    for i, pop in enumerate(pops):
        more = f"{', ' if text else ''}{pop.id} {printable(pop.city)}"
        if len(text) + len(more) > width - (3 if i + 1 < len(pops) else 0):
            return f"{text}, …"
        text += more
    return text


def _summary(world: Topology) -> str:
    countries = len({pop.country for pop in world.pops})
    return (
        f"{printable(world.name)} has {many(len(world.pops), 'PoP')} in {many(countries, 'country', 'countries')} "
        f"and {many(len(world.regions), 'region')}"
    )
