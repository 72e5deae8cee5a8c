"""`edgesim profile`: measures what a worker costs on this machine, for the simulator."""

from __future__ import annotations

import asyncio
import os
import platform
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from edgesim.cli._options import json_option
from edgesim.cli._output import count, echo_json, ms, note, print_table
from edgesim.errors import UsageError

if TYPE_CHECKING:
    from edgesim.config.manifest import AppSource, ComponentSource
    from edgesim.live.profiling import Subject
    from edgesim.results.profile import Profile
    from edgesim.wasm.runtime import Inspection, Runtime

OUT: Final = Path("profile.json")
_APP: Final = "profiled"
"""What the app is called on the edge that measures it."""


@click.command()
@click.argument("path", type=click.Path(path_type=Path), default=Path())
@click.option(
    "-o", "--out", type=click.Path(dir_okay=False, path_type=Path), default=OUT, show_default=True, help="The profile."
)
@click.option("--path", "target", metavar="PATH", help="What to request.  [default: what the component's route says]")
@click.option("--name", help="What to call the profile.  [default: the app's name]")
@click.option(
    "--seconds",
    type=click.FloatRange(1, 600),
    default=8.0,
    show_default=True,
    help="How long to send requests to each component.",
)
@click.option("--topology", type=click.Path(path_type=Path), envvar="EDGESIM_TOPOLOGY", show_envvar=True,
              help="World of the edge that measures.  [default: the one with 20 PoPs that ships]")  # fmt: skip
@click.option("--processes", type=click.IntRange(1, 64), default=3, show_default=True, help="Its PoP host processes.")
@json_option
def command(path: Path, *, out: Path, as_json: bool, **options: Any) -> None:
    """Measure what the app in PATH costs: phases of its cold start, time per request, memory, and what the edge adds.

    Starts an edge of its own for it (up to a minute in all) and sends requests to each component. Measure on a machine that does
    nothing else: the profile says when and where, and `edgesim sim run --profile` draws from it.
    """
    from edgesim.cli._documents import check_writable, write_document
    from edgesim.cli._sources import app_source
    from edgesim.results.profile import SCHEMA

    app = app_source(path)
    check_writable(out, "profile")
    profile = asyncio.run(_measure(path, app, **options))
    write_document(out, SCHEMA, profile.to_json(), "profile")
    if as_json:
        echo_json(SCHEMA, profile.to_json())
    else:
        show(profile)
        note(f"profile: {out}; use it with `edgesim sim run SCENARIO --profile {out}`")


async def _measure(
    path: Path,
    app: AppSource,
    *,
    target: str | None,
    name: str | None,
    seconds: float,
    topology: Path | None,
    processes: int,
) -> Profile:
    """Inspect the components here, then measure them on an edge."""
    from edgesim.config.resources import resource_path
    from edgesim.config.topology import load_topology
    from edgesim.live.api_client import ApiClient
    from edgesim.live.private_edge import private_edge
    from edgesim.live.profiling import Measurement
    from edgesim.results.profile import Profile

    file = (topology or resource_path("topology.yaml")).absolute()
    world = load_topology(file)
    subjects = await _subjects(app, target)
    note(f"starting an edge of {len(world.pops)} PoPs to measure {', '.join(s.id for s in subjects)}")
    pops = [str(pop.id) for pop in world.pops]
    async with (
        private_edge("--topology", str(file), "--processes", str(processes)) as edge,
        ApiClient(edge.endpoint, edge.token) as api,
    ):
        measurement = Measurement(edge, api, say=note)
        try:
            await measurement.deploy(path, _APP)
            workers = tuple([await measurement.worker(_APP, subject, pops, seconds) for subject in subjects])
            measured = await measurement.edge(_APP, subjects[0].path, pops, seconds)
        finally:
            measurement.close()
    return Profile(
        name=name or app.name,
        measured_at=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        machine=machine(),
        versions=versions(),
        workers=workers,
        edge=measured,
    )


async def _subjects(app: AppSource, target: str | None) -> list[Subject]:
    """What is to be measured: every component but filters, each compiled once here. Raises BundleError."""
    from edgesim.wasm.runtime import Runtime

    sources = [source for source in app.components if source.id not in app.filters]
    if not sources:
        raise UsageError(f"{app.name} has only filters, which nothing measures yet", help="name an app with a worker")
    with tempfile.TemporaryDirectory(prefix="edgesim-profile-") as cache:
        runtime = Runtime(Path(cache))
        try:
            return [await _subject(runtime, app, source, target) for source in sources]
        finally:
            await runtime.close()


async def _subject(runtime: Runtime, app: AppSource, source: ComponentSource, target: str | None) -> Subject:
    from edgesim.live.profiling import Subject

    found = await runtime.inspect(source.file)
    patterns = [route.pattern for route in app.routes if route.component == source.id]
    path = target or (patterns[0].removesuffix("/...") or "/" if patterns else "/")
    return Subject(
        id=source.id,
        digest=found.digest,
        abi=found.abi,
        size_bytes=found.size_bytes,
        path=path,
        loaded_bytes=found.artifact_bytes,
        instance_bytes=await _instance_bytes(runtime, source, found, path),
        compile_s=found.compile_s,
    )


async def _instance_bytes(runtime: Runtime, source: ComponentSource, found: Inspection, path: str) -> int:
    """What an instance holds after one request; 0 for a worker that cannot serve it on its own."""
    from edgesim.errors import EdgesimError
    from edgesim.live.inspection import ended
    from edgesim.model.ids import Digest
    from edgesim.model.worker import Component
    from edgesim.wasm.guest import plain_get

    component = Component(id=source.id, digest=Digest(found.digest), size_bytes=found.size_bytes, abi=found.abi)
    loaded = await runtime.load(source.file, component)
    deadline_s = asyncio.get_running_loop().time() + source.limits.wall_s
    request = plain_get(deadline_s, path)
    try:
        answer = await loaded.run(request, source.limits)
        if not isinstance(answer.body, bytes):
            answer.body.close()
        await ended(answer)
    except EdgesimError:
        return 0
    finally:
        runtime.release(loaded)
    return answer.memory_bytes


def machine() -> dict[str, str]:
    """Where we are."""
    return {"cpu": _cpu(), "cores": str(os.cpu_count() or 1), "system": f"{platform.system()} {platform.machine()}"}


def versions() -> dict[str, str]:
    """What we run on."""
    from importlib.metadata import version

    from edgesim import __version__

    return {"edgesim": __version__, "python": platform.python_version(), "wasmtime": version("wasmtime")}


def _cpu() -> str:
    """The processor's name, where the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def show(profile: Profile) -> None:
    """Print a profile for people."""
    from edgesim.results.profile import PHASES, RUNS

    for worker in profile.workers:
        click.echo(f"{worker.id} ({worker.abi}, {worker.digest[:12]}, {worker.size_bytes / 1024:.0f} KiB)")
        rows = [
            (f"{kind}, {name}", count(parts[name].count), *(ms(parts[name].quantile(q)) for q in (0.5, 0.9, 0.99)))
            for kind, parts, names in (
                ("cold start", worker.cold, PHASES),
                ("fresh instance", worker.fresh, RUNS),
                ("reused instance", worker.reused, RUNS),
            )
            for name in names
            if name in parts
        ]
        print_table(("phase", "count", "p50", "p90", "p99"), rows, right=("count", "p50", "p90", "p99"))
        click.echo()
    edge = profile.edge
    if edge is not None:
        click.echo(
            f"the edge adds p50 {ms(edge.overhead.quantile(0.5))}, p99 {ms(edge.overhead.quantile(0.99))} to a request, and its client has the "
            f"answer {ms(edge.outside.quantile(0.5))} later; CPU: front "
            f"door {ms(edge.door_cpu_s)}, PoP host {ms(edge.host_cpu_s)}; a PoP host restarts in {ms(edge.start_host_s)}"
        )
    click.echo(f"measured {profile.measured_at} on {profile.machine['cpu']}, {profile.machine['cores']} cores")
