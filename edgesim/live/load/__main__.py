"""The generator's process: `python -m edgesim.live.load`, started by `edgesim load run`.

It speaks JSON lines. In, on stdin: a job; `{"begin_s": …}`, when the first phase begins on the system's monotonic clock;
then `{"mark": …}` for each beginning and end of a timeline action, `{"abort": threshold}` when another generator missed it,
and `{"stop": true}`; the end of stdin also stops it, so that it never outlives who started it. Out, on stdout: `ready` before
it waits for the beginning, `progress` twice a second, `result` at the end, or `error`.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import resource
import signal
import sys
from pathlib import Path
from time import perf_counter
from typing import Any, Final

import uvloop

from edgesim.config.scenario import load_scenario
from edgesim.errors import EdgesimError, UsageError
from edgesim.live.error_json import error_to_dict
from edgesim.live.load.generator import Generator
from edgesim.live.load.sender import EdgeSender, Server
from edgesim.results.durations import Durations
from edgesim.scenario.timeline import Mark

PROGRESS_S: Final = 0.5
LINE_BYTES_MAX: Final = 1 << 16
DESCRIPTORS: Final = 16_384


def main() -> int:
    """Run one job; 0 when its result was written."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for who started us; it sends `stop`
    try:
        job = _object(sys.stdin.buffer.readline(LINE_BYTES_MAX))
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(job))
    except EdgesimError as exc:
        _say({"event": "error", "error": error_to_dict(exc)})
        return exc.exit_code
    return 0


async def _serve(job: dict[str, Any]) -> None:
    _raise_descriptor_limit()
    path = Path(str(job.get("scenario")))
    scenario = load_scenario(path)
    server = Server(host=str(job["host"]), port=int(job["port"]), authority=str(job["authority"]))
    sender = EdgeSender(scenario, server)
    reader = asyncio.StreamReader(limit=LINE_BYTES_MAX)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    # The garbage of loading would be looked through again and again while we measure.
    gc.collect()
    gc.freeze()
    _say({"event": "ready"})
    begin = _object(await reader.readline())
    which, of = (int(number) for number in job["share"])
    generator = Generator(scenario, sender, began_s=float(begin.get("begin_s", perf_counter())), share=(which, of))
    if "begin_s" not in begin:  # told to stop before it began
        generator.stop()
    generator.results.regions = {str(pop): str(region) for pop, region in dict(job.get("regions") or {}).items()}
    helpers = [asyncio.create_task(_obey(generator, reader)), asyncio.create_task(_report(generator))]
    try:
        results = await generator.run()
    finally:
        for task in helpers:
            task.cancel()
        await asyncio.gather(*helpers, return_exceptions=True)
    _say({"event": "result", "results": results.to_json()})


async def _obey(generator: Generator, reader: asyncio.StreamReader) -> None:
    """Take marks, and the orders to abort and to stop, from stdin."""
    while line := await reader.readline():
        message = _object(line)
        if message.get("stop"):
            break
        if message.get("abort"):
            generator.abort(str(message["abort"]))
        mark = message.get("mark")
        if isinstance(mark, dict):
            generator.mark(Mark(**mark))
    generator.stop()


async def _report(generator: Generator) -> None:
    """Say how it goes, until cancelled."""
    while True:
        await asyncio.sleep(PROGRESS_S)
        generator.check()
        results = generator.results
        recent, generator.recent = generator.recent, Durations()
        _say(
            {
                "event": "progress",
                "t_s": generator.elapsed_s,
                "phase": generator.phase,
                "sent": generator.sent,
                "failed": sum(cell.failed for cell in results.cells.values()),
                "dropped": results.dropped.total(),
                "in_flight": generator.in_flight,
                "recent": recent.to_json(),
                "lag_p99_s": results.lag.quantile(0.99),
            }
        )


def _say(document: dict[str, Any]) -> None:
    """One line on stdout. It may block when nobody reads, which ends with the reader."""
    with contextlib.suppress(BrokenPipeError):
        sys.stdout.write(json.dumps(document, separators=(",", ":")) + "\n")
        sys.stdout.flush()


def _object(line: bytes) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except ValueError as exc:
        raise UsageError(
            "not a job of the load generator", help="this program is started by `edgesim load run`"
        ) from exc
    if not isinstance(value, dict):
        raise UsageError("not a job of the load generator", help="this program is started by `edgesim load run`")
    return value


def _raise_descriptor_limit() -> None:
    """Each connection takes a descriptor, and many systems start processes with 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(DESCRIPTORS, hard)
    if soft < wanted:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


if __name__ == "__main__":
    sys.exit(main())
