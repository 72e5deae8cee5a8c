"""`edgesim rollback`: every PoP runs an earlier version of an app again."""

from __future__ import annotations

import time
from typing import Any

import click

from edgesim.cli._options import api_client, endpoint_options, json_option, run_async
from edgesim.cli._output import echo_json


@click.command()
@click.argument("app")
@click.argument("version", type=click.IntRange(1), required=False)
@click.option("--timeout", "timeout_s", type=click.FloatRange(0.1, 600), default=60.0, show_default=True,
              help="Seconds to wait for all PoPs.")  # fmt: skip
@click.option("-m", "--message", default="", help="Why.")
@endpoint_options
@json_option
def command(*, app: str, version: int | None, timeout_s: float, message: str, as_json: bool, **options: Any) -> None:
    """Roll APP back to VERSION; without it, to the version before the one in force.

    PoPs keep what they have served before, so this is faster than a deploy. Exit code 4 when a PoP cannot run it.
    """
    document = run_async(_roll_back(app, version or 0, timeout_s, message, quiet=as_json, **options))
    if as_json:
        echo_json("rollback.v1", document)


async def _roll_back(
    app: str, version: int, timeout_s: float, message: str, *, quiet: bool, **options: Any
) -> dict[str, Any]:
    from edgesim.live.rollout import Rollout, follow, roll_back

    began_s = time.monotonic()
    async with api_client(**options) as api:
        made = await roll_back(api, app, version, message=message)
        rollout = Rollout(made)
        await follow(api, rollout, timeout_s)
    rollout.judge(timeout_s)
    if not quiet:
        ready = len(rollout.in_state("ready"))
        click.echo(
            f"{rollout.name} runs again on {ready} of {len(rollout.pops)} PoPs, {time.monotonic() - began_s:.1f} s"
        )
    return {**made, **rollout.to_json()}
