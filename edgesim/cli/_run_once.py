"""`edgesim run --once`: one request to an app, without a server."""

from __future__ import annotations

import asyncio
import base64
import re
import sys
import time
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import click

from edgesim.cli._http_options import body_of, fields_of, method_of
from edgesim.cli._output import echo_json, note
from edgesim.errors import EdgesimError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgesim.config.manifest import AppSource
    from edgesim.live.solo import Solo
    from edgesim.live.tally import Served
    from edgesim.model.http import Headers

_TARGET = re.compile(r"/[!-~]*")


def run_once(
    app: AppSource,
    once: tuple[str, str],
    *,
    data: str | None,
    header_lines: Sequence[str],
    environment: Sequence[tuple[str, str]],
    allowed: Sequence[str],
    as_json: bool,
) -> int:
    """Serve the request; the body goes to stdout, the rest to stderr. Returns the exit code: 1 when the worker failed.

    Raises:
        UsageError: the request is none, or no route leads to it.
        EdgesimError: the app cannot be loaded.
    """
    method, target = method_of(once[0]), once[1]
    if not _TARGET.fullmatch(target):
        raise UsageError(f"not a path: {target[:80]!r}", help="a path begins with / and has no spaces: --once GET /")
    headers: Headers = tuple((name.lower(), value) for name, value in fields_of(header_lines))
    body = body_of(data)
    if body is not None:
        headers = (*headers, ("content-length", str(len(body))))
    from edgesim.live.tally import Served

    served = Served(method=method, target=target)
    answer_headers, content = asyncio.run(_run(app, served, headers, body, environment=environment, allowed=allowed))
    if as_json:
        _echo_document(served, answer_headers, content)
    else:
        _show(served, content)
    return 1 if served.error else 0


async def _run(
    app: AppSource,
    served: Served,
    headers: Headers,
    body: bytes | None,
    *,
    environment: Sequence[tuple[str, str]],
    allowed: Sequence[str],
) -> tuple[Headers, bytes]:
    """Load the app, serve the request, and fill in `served`."""
    from edgesim.cli._run_screen import RunScreen
    from edgesim.cli.run import open_solo
    from edgesim.live.solo import note_error

    async with AsyncExitStack() as stack:
        solo = await open_solo(stack, RunScreen(as_json=False), environment, allowed)
        await solo.load(app)
        answer_headers: Headers = ()
        content = bytearray()
        began_s = time.perf_counter()
        try:
            answer_headers = await _exchange(solo, served, headers, body, content)
        except EdgesimError as error:
            served.status = error.status
            note_error(served, error)
        served.wall_s = time.perf_counter() - began_s
        served.response_bytes = len(content)
        return answer_headers, bytes(content)


async def _exchange(solo: Solo, served: Served, headers: Headers, body: bytes | None, content: bytearray) -> Headers:
    """Serve it, and collect the body of the answer."""
    from edgesim.live.inspection import ended
    from edgesim.live.solo import note_cost
    from edgesim.model.http import BytesBody

    served.body_bytes = len(body or b"")
    answer = await solo.run(served, (("host", "localhost"), *headers), None if body is None else BytesBody(body))
    try:
        if isinstance(answer.body, bytes):
            content += answer.body
        else:
            while (chunk := await answer.body.next()) is not None:
                content += chunk
    finally:
        if not isinstance(answer.body, bytes):
            answer.body.close()
        if answer.guest is not None:
            await ended(answer.guest)
            note_cost(served, answer.guest)
    return answer.headers


def _show(served: Served, content: bytes) -> None:
    from edgesim.cli._inspect_screen import size
    from edgesim.cli._output import ms, printable
    from edgesim.cli._run_screen import show_log

    sys.stdout.buffer.write(content)
    sys.stdout.flush()
    if content and not content.endswith(b"\n") and sys.stdout.isatty():
        click.echo()
    show_log(served)
    cost = ""
    if served.ran:
        memory = f", memory {size(served.memory_bytes)}" if served.memory_bytes else ""
        cost = f", CPU {ms(served.cpu_s)} (start {ms(served.start_cpu_s)}){memory}"
    failed = served.status >= 400 or bool(served.error)
    note(f"{served.status} {served.method} {printable(served.target)} in {ms(served.wall_s)}{cost}",
         fg="red" if failed else "green")  # fmt: skip
    if served.error:
        note(printable(served.error))
        if served.help:
            note(f"help: {printable(served.help)}")


def _echo_document(served: Served, headers: Headers, content: bytes) -> None:
    from edgesim.cli._run_screen import served_document

    try:
        body: dict[str, object] = {"body": content.decode()}
    except UnicodeDecodeError:
        body = {"body_base64": base64.b64encode(content).decode()}
    echo_json("run.once.v1", {**served_document(served), "headers": [list(pair) for pair in headers], **body})
