"""`edgesim run`: one app on a loopback port without an edge, or a single request to it."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import signal
import sys
import tempfile
import time
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgesim.cli._options import json_option
from edgesim.cli._output import note
from edgesim.errors import EdgesimError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgesim.cli._run_screen import RunScreen
    from edgesim.config.manifest import AppSource
    from edgesim.live.solo import Solo

_WATCH_S = 0.3
_VARIABLE = re.compile(r"([^=\x00]{1,256})=([^\x00]*)", re.DOTALL)


@click.command()
@click.argument("path", type=click.Path(path_type=Path), default=Path())
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True, envvar="EDGESIM_RUN_PORT",
              show_envvar=True, help="Port to listen on; 0 takes any free one.")  # fmt: skip
@click.option(
    "--env", "variables", multiple=True, metavar="NAME=VALUE", help="Set an environment variable of the worker."
)
@click.option("--allow-outbound", "allowed", multiple=True, metavar="HOST",
              help="Let the worker send requests there, as in allowed_outbound_hosts.")  # fmt: skip
@click.option("--limits-profile", metavar="NAME",
              help="Use the published limits of cloudflare-free, cloudflare-paid, fastly or akamai.")  # fmt: skip
@click.option("--watch", is_flag=True, help="Load the app again when one of its files changes.")
@click.option("--once", nargs=2, metavar="METHOD PATH", help="Serve this one request without a server; body to stdout.")
@click.option("--body", "data", metavar="TEXT|@FILE", help="Body of the request of --once.")
@click.option("-H", "--header", "headers", multiple=True, metavar="'NAME: VALUE'", help="Header field for --once.")
@json_option
def command(
    *, path: Path, port: int, variables: tuple[str, ...], allowed: tuple[str, ...], limits_profile: str | None, watch: bool,
    once: tuple[str, str] | None, data: str | None, headers: tuple[str, ...], as_json: bool,
) -> int:  # fmt: skip
    """Serve an app on this machine without an edge. Ctrl-C ends it, and shows what its requests cost.

    PATH is a .wasm file, a spin.toml or a folder with one; without it, the working directory. Instances have the limits and lives that they have in a PoP; the app's filters are in front. A filter alone has an origin behind it that says what reached it. With --once, exit code 1 says that the worker failed.
    """
    from edgesim.cli._run_screen import RunScreen

    app = Source(path, limits_profile)
    environment = _environment(variables)
    screen = RunScreen(as_json=as_json)
    if once is not None:
        from edgesim.cli._run_once import run_once

        if watch:
            raise UsageError("--once and --watch exclude each other")
        return run_once(
            app.load(), once, data=data, header_lines=headers, environment=environment, allowed=allowed, as_json=as_json
        )
    if data is not None or headers:
        raise UsageError("--body and --header belong to --once", help="write --once POST /path --body TEXT")
    from edgesim.live.supervisor import check_ports

    if port:
        check_ports([(port, "the worker", "--port")], "edgesim run")
    from edgesim.live.process import run

    logging.getLogger("edgesim.live.http_server").setLevel(logging.ERROR)  # what broke off is in the request's own line
    run(_serve(app, screen, port, environment, allowed, watch=watch))
    return 0


class Source:
    """Where the app comes from, and whether it has changed since it was loaded."""

    def __init__(self, path: Path, limits_profile: str | None) -> None:
        self._path = path
        self._profile = limits_profile
        self._seen: tuple[object, ...] = ()
        self._files: tuple[Path, ...] = ()

    def load(self) -> AppSource:
        """The app as it is now. Raises what is wrong with it."""
        from edgesim.cli._sources import app_source
        from edgesim.config.manifest import MANIFEST

        manifest = self._path / MANIFEST if self._path.is_dir() else self._path
        self._files = (manifest, *(file for file in self._files if file != manifest))
        self._seen = self._state()
        app = app_source(self._path, limits_profile=self._profile)
        self._files = (manifest, *app.files)
        self._seen = self._state()
        return app

    def changed(self) -> bool:
        """Whether a file is another one than at the last load."""
        return self._state() != self._seen

    def _state(self) -> tuple[object, ...]:
        states: list[object] = []
        for file in self._files:
            try:
                stat = file.stat()
            except OSError:
                states.append(None)
            else:
                states.append((stat.st_mtime_ns, stat.st_size, stat.st_ino))
        return tuple(states)


def _environment(variables: Sequence[str]) -> list[tuple[str, str]]:
    pairs = []
    for text in variables:
        match = _VARIABLE.fullmatch(text)
        if match is None:
            raise UsageError(f"not a variable: {text[:80]!r}", help="write --env NAME=VALUE")
        pairs.append((match[1], match[2]))
    return pairs


async def open_solo(
    stack: AsyncExitStack, screen: RunScreen, environment: Sequence[tuple[str, str]], allowed: Sequence[str]
) -> Solo:
    """A runtime and what serves with it. Compiled code goes to the edge's cache where there is one, else it is temporary."""
    from edgesim.live.solo import Solo
    from edgesim.live.state import find_state_dir
    from edgesim.wasm.runtime import Runtime

    state = find_state_dir()
    cache = state / "aot"
    if not cache.is_dir():
        cache = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="edgesim-run-")))
    runtime = Runtime(cache, threads=os.cpu_count() or 2)
    stack.push_async_callback(runtime.close)
    solo = Solo(runtime, on_request=screen.request, environment=environment, allowed=allowed)
    stack.push_async_callback(solo.close)
    return solo


async def _serve(
    source: Source,
    screen: RunScreen,
    port: int,
    environment: Sequence[tuple[str, str]],
    allowed: Sequence[str],
    *,
    watch: bool,
) -> None:
    """Serve until a signal comes."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for sig in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(sig, stop.set)
    async with AsyncExitStack() as stack:
        solo = await open_solo(stack, screen, environment, allowed)
        app = source.load()
        loading = asyncio.create_task(_first(solo, app, port))
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait({loading, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if not loading.done():  # Ctrl-C while it compiles
            loading.cancel()
            with suppress(asyncio.CancelledError, EdgesimError):
                await loading
            return
        real_port = await loading
        screen.components = len(solo.parts)
        _ready(solo, real_port, watch=watch)
        watching = asyncio.create_task(_watch(source, solo, screen)) if watch else None
        await stop.wait()
        if watching is not None:
            watching.cancel()
        tallies, loaded_s = solo.tallies(), solo.loaded_s
        await solo.close()
        screen.summary(tallies, time.monotonic() - loaded_s)


async def _first(solo: Solo, app: AppSource, port: int) -> int:
    """Listen, then load: requests that come in between wait, and the worker's own address is known."""
    real_port = await solo.listen(port)
    await solo.load(app)
    return real_port


def _ready(solo: Solo, port: int, *, watch: bool) -> None:
    for part in solo.parts.values():
        note(f"{part.component.id} ({part.component.abi}) loaded in {part.took_s:.1f} s")
    note(f"serving at http://127.0.0.1:{port}/{', and watching its files' if watch else ''}; Ctrl-C ends it", bold=True)


async def _watch(source: Source, solo: Solo, screen: RunScreen) -> None:
    """Load the app again when it changes; what is wrong with the new one is told, and the old one goes on."""
    from edgesim.cli._errors import show_error

    while True:
        await asyncio.sleep(_WATCH_S)
        if not source.changed():
            continue
        await asyncio.sleep(_WATCH_S)  # a build writes for a while
        try:
            await solo.load(source.load())
        except EdgesimError as error:
            show_error(error, as_json=False)
            note("the app goes on as it was", fg="yellow")
        else:
            screen.components = len(solo.parts)
            note("loaded again; its requests are counted from here", fg="green")
        sys.stderr.flush()
