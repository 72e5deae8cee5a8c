"""`edgesim deploy`: uploads an app, makes a new version of it, and follows the rollout to every PoP."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import click

from edgesim.cli._options import api_client, endpoint_options, json_option, run_async
from edgesim.cli._output import console, echo_json, is_terminal, ms, note

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from rich.progress import Progress, TaskID

    from edgesim.live.rollout import Rollout

_LISTED_MAX: Final = 12


@click.command()
@click.argument("path", type=click.Path(path_type=Path), default=Path())
@click.option("--app", help="Name of the app.  [default: the manifest's]")
@click.option("--prefetch/--no-prefetch", default=True, show_default=True,
              help="Load the worker on every PoP now, or with the first request there (a cold start).")  # fmt: skip
@click.option("--wait/--no-wait", default=True, show_default=True, help="Follow the rollout to its end.")
@click.option("--timeout", "timeout_s", type=click.FloatRange(0.1, 600), default=60.0, show_default=True,
              help="Seconds to wait for all PoPs.")  # fmt: skip
@click.option("--limits-profile", metavar="NAME",
              help="Give it the published limits of cloudflare-free, cloudflare-paid, fastly or akamai.")  # fmt: skip
@click.option("-m", "--message", default="", help="What this version is about.")
@endpoint_options
@json_option
def command(*, path: Path, as_json: bool, **options: Any) -> None:
    """Deploy an app to every PoP.

    PATH is a folder with spin.toml, such a manifest, or a .wasm file; without it, the working directory. Exit code 2 when the app is wrong, 4 when a PoP cannot run it.
    """
    document = run_async(_deploy(path, quiet=as_json, **options))
    if as_json:
        echo_json("deploy.v1", document)


async def _deploy(
    path: Path, *, app: str | None, prefetch: bool, wait: bool, timeout_s: float, message: str, quiet: bool,
    limits_profile: str | None, state: Path | None, endpoint: str | None, token: str | None,
) -> dict[str, Any]:  # fmt: skip
    from edgesim.live.rollout import Rollout, follow, publish

    began_s = time.monotonic()
    async with api_client(state, endpoint, token) as api:
        made = await publish(api, path, app=app, prefetch=prefetch, message=message, limits_profile=limits_profile)
        rollout = Rollout(made)
        if not quiet:
            note(f"{rollout.name} made: {', '.join(_component(c) for c in made.get('components') or ())}")
        if not wait:
            if not quiet:
                click.echo(
                    f"{rollout.name} is being rolled out to {len(rollout.pops)} PoP{'s' * (len(rollout.pops) != 1)}"
                )
            return made
        regions = {str(row.get("pop")): str(row.get("region") or "-") for row in await api.pops()}
        with _Regions(regions, quiet=quiet) as screen:
            await follow(api, rollout, timeout_s, on_change=screen.show)
    rollout.judge(timeout_s)
    if not quiet:
        click.echo(_summary(rollout, prefetch=prefetch, took_s=time.monotonic() - began_s))
    return {**made, **rollout.to_json()}


def _component(component: Mapping[str, Any]) -> str:
    return f"{component.get('id')} ({component.get('abi')}, {component.get('size_bytes', 0) / 1024:.0f} KiB)"


class _Regions:
    """One row per region: in a terminal with a bar that grows, elsewhere a line when the region is complete."""

    def __init__(self, regions: Mapping[str, str], *, quiet: bool) -> None:
        self._regions = regions
        self._live = not quiet and is_terminal(sys.stderr)
        self._lines = not quiet and not self._live
        self._progress: Progress | None = None
        self._rows: dict[str, TaskID] = {}
        self._complete: set[str] = set()

    def __enter__(self) -> Self:
        if self._live:
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

            columns = (
                TextColumn("{task.description:<6}"),
                BarColumn(24),
                MofNCompleteColumn(),
                TextColumn("{task.fields[note]}"),
            )
            self._progress = Progress(*columns, console=console(sys.stderr))
            self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._progress is not None:
            self._progress.stop()

    def show(self, rollout: Rollout) -> None:
        """Show how far each region is."""
        for region, pops in self._by_region(rollout):
            ready = sum(rollout.pops[pop].get("state") in {"ready", "superseded"} for pop in pops)
            failed = sum(rollout.pops[pop].get("state") == "failed" for pop in pops)
            if self._progress is not None:
                if region not in self._rows:
                    self._rows[region] = self._progress.add_task(region, total=len(pops), note="")
                text = f"[red]{failed} failed[/]" if failed else _listed(pops)
                self._progress.update(self._rows[region], completed=ready, note=text)
            elif self._lines and ready + failed == len(pops) and region not in self._complete:
                self._complete.add(region)
                note(
                    f"{region:<6} {ready} of {len(pops)} ready{f', {failed} failed' if failed else ''}  {_listed(pops)}"
                )

    def _by_region(self, rollout: Rollout) -> Iterator[tuple[str, list[str]]]:
        by_region: dict[str, list[str]] = {}
        for pop in rollout.pops:
            by_region.setdefault(self._regions.get(pop, "-"), []).append(pop)
        yield from sorted(by_region.items())


def _listed(pops: list[str]) -> str:
    """The PoPs of a region; only the first ones where there are many."""
    return " ".join(pops) if len(pops) <= _LISTED_MAX else f"{' '.join(pops[:_LISTED_MAX])} …"


def _summary(rollout: Rollout, *, prefetch: bool, took_s: float) -> str:
    ready, superseded = len(rollout.in_state("ready")), len(rollout.in_state("superseded"))
    how = "loaded on" if prefetch else "made known (to be fetched by the first request) to"
    text = f"{rollout.name} {how} {ready} of {len(rollout.pops)} PoPs in {took_s:.1f} s"
    if superseded:
        text += f" ({superseded} run a later version already)"
    return f"{text}; propagation p95 {ms(rollout.p95_s())} (document {ms(rollout.document_p95_s())})"
