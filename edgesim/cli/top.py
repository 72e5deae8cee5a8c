"""`edgesim top`: the PoPs of the running edge, the slowest first, as they are now."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from edgesim.cli._options import api_client, endpoint_options
from edgesim.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path


@click.command()
@click.option(
    "--interval", type=click.FloatRange(0.2, 60), default=2.0, show_default=True, help="Seconds between looks."
)
@click.option("--window", type=click.FloatRange(1, 300), default=10.0, show_default=True,
              help="Seconds that rates and quantiles are of.")  # fmt: skip
@click.option(
    "--filter",
    "text",
    default="",
    metavar="TEXT",
    help="Show only PoPs with these words: id, city, region, state, app.",
)
@endpoint_options
def command(
    *, interval: float, window: float, text: str, state: Path | None, endpoint: str | None, token: str | None
) -> None:
    """Show every PoP, the slowest first: p99, requests, cold starts, queue, memory.

    Keys and clicks on headers sort, / filters, Enter opens a PoP, q ends. Needs the extra tui: pip install 'edgesim[tui]'.
    """
    client = api_client(state, endpoint, token)
    if not (sys.stdout.isatty() and sys.stdin.isatty()):
        raise UsageError(
            "`edgesim top` needs a terminal", help="use `edgesim status --watch` or `edgesim pops list --json` instead"
        )
    try:
        from edgesim.cli._top_app import TopApp
    except ModuleNotFoundError as exc:
        if not (exc.name or "").startswith("textual"):
            raise
        raise UsageError(
            "`edgesim top` needs Textual, which is not installed", help="pip install 'edgesim[tui]'"
        ) from exc

    import asyncio

    from edgesim.cli._top_data import Top

    async def run() -> None:
        async with client as api:
            # What cannot be reached at the beginning is a mistake; what goes away later is shown.
            await api.pops()
            await TopApp(api.pops, Top(window), interval_s=interval, text=text).run_async()

    asyncio.run(run())
