"""One load run, seen from `edgesim load run`: starts the generator's process, does what the timeline says, collects.

The timeline is carried out here and not in the generator, so that hashing and uploading a worker cannot delay requests.
Both processes use the system's monotonic clock, which `time.perf_counter` reads on Linux and macOS.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from edgesim.errors import ProcessError
from edgesim.live.error_json import error_from_dict
from edgesim.live.load.sender import job
from edgesim.live.load.timeline import Edge, carry_out
from edgesim.results.collect import Results

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from edgesim.live.load.sender import Server
    from edgesim.scenario.spec import Scenario
    from edgesim.scenario.timeline import Mark

RESULT_BYTES_MAX: Final = 64 << 20
"""Longest line that the generator may write: its result."""
STOP_GRACE_S: Final = 10.0
TIMELINE_GRACE_S: Final = 60.0
"""How long actions of the timeline may go on after the last answer: a restart that is under way should end."""
_TAIL_BYTES: Final = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How a run goes, twice a second."""

    t_s: float
    phase: int
    sent: int
    done: int
    """Answers since the last progress."""
    failed: int
    dropped: int
    in_flight: int
    p50_s: float | None
    """Of the answers since the last progress, from the intended send time."""
    p99_s: float | None
    lag_p99_s: float | None
    """Of the whole run."""


async def run_load(
    path: Path,
    scenario: Scenario,
    server: Server,
    *,
    edge: Edge | None,
    regions: Mapping[str, str],
    stop: asyncio.Event,
    on_progress: Callable[[Progress], None],
    on_mark: Callable[[Mark], None],
) -> Results:
    """Run a scenario from beginning to end.

    Args:
        path: the scenario's file, which the generator reads for itself.
        scenario: what is in it.
        server: where requests go.
        edge: what the timeline acts on; may be None when there is no timeline.
        regions: the region of each PoP, for thresholds about regions.
        stop: when it is set, the run ends early with what there is.
        on_progress: told twice a second.
        on_mark: told when an action of the timeline begins and ends.

    Raises:
        ProcessError: the generator's process ended without a result.
    """
    assert edge is not None or not scenario.timeline, "a timeline needs an edge"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "edgesim.live.load"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
        limit=RESULT_BYTES_MAX,
    )
    run = _Run(process, scenario, edge, on_progress, on_mark)
    stopper = asyncio.create_task(run.stop_when(stop))
    try:
        await run.say(job(str(path), server, regions))
        return await run.listen()
    finally:
        stopper.cancel()
        await run.close()


class _Run:
    """The conversation with the generator's process."""

    def __init__(
        self,
        process: Process,
        scenario: Scenario,
        edge: Edge | None,
        on_progress: Callable[[Progress], None],
        on_mark: Callable[[Mark], None],
    ) -> None:
        self._process = process
        self._scenario = scenario
        self._edge = edge
        self._on_progress = on_progress
        self._on_mark = on_mark
        self._timeline: asyncio.Task[None] | None = None
        self._marks: list[Mark] = []
        self._stderr = asyncio.create_task(self._tail())

    async def say(self, document: dict[str, Any]) -> None:
        """One line to the generator; nothing happens when it is gone, `listen` finds out why."""
        assert self._process.stdin is not None
        with contextlib.suppress(ConnectionError):
            self._process.stdin.write(json.dumps(document).encode() + b"\n")
            await self._process.stdin.drain()

    async def stop_when(self, stop: asyncio.Event) -> None:
        """Tell the generator to stop when somebody wants that."""
        await stop.wait()
        if self._timeline is not None:
            self._timeline.cancel()
        await self.say({"stop": True})

    async def listen(self) -> Results:
        """Follow the generator until its result."""
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            message = json.loads(line)
            match message.pop("event"):
                case "started":
                    self._start_timeline(message["began_s"])
                case "progress":
                    self._on_progress(Progress(**message))
                case "result":
                    return await self._finish(Results.from_json(self._scenario, message["results"]))
                case "error":
                    raise error_from_dict(message["error"])
        code = await self._process.wait()
        tail = (await self._stderr).decode(errors="replace").strip()
        raise ProcessError(
            f"the load generator ended without a result (exit code {code}){': ' + tail[-500:] if tail else ''}",
            help="run the scenario again; when it happens again, please report it",
        )

    async def _finish(self, results: Results) -> Results:
        """Wait for what the timeline still does, and take our own marks: the last ones came too late for the generator."""
        if self._timeline is not None and results.aborted:
            self._timeline.cancel()  # what is under way is undone in `close`
        elif self._timeline is not None:
            await asyncio.wait({self._timeline}, timeout=TIMELINE_GRACE_S)
            if self._timeline.done() and not self._timeline.cancelled():
                self._timeline.result()
        results.marks = list(self._marks)
        return results

    async def close(self) -> None:
        """End the timeline and the process."""
        if self._timeline is not None:
            self._timeline.cancel()
            await asyncio.gather(self._timeline, return_exceptions=True)
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            await asyncio.wait_for(self._process.wait(), STOP_GRACE_S)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
        await self._stderr

    def _start_timeline(self, began_s: float) -> None:
        if self._edge is not None and self._scenario.timeline:
            work = carry_out(self._scenario.timeline, self._edge, began_s, self._mark)
            self._timeline = asyncio.create_task(work, name="timeline")

    async def _mark(self, mark: Mark) -> None:
        self._marks.append(mark)
        self._on_mark(mark)
        await self.say({"mark": asdict(mark)})

    async def _tail(self) -> bytes:
        """Read all of the process's stderr and keep its end."""
        assert self._process.stderr is not None
        tail = b""
        while chunk := await self._process.stderr.read(_TAIL_BYTES):
            tail = (tail + chunk)[-_TAIL_BYTES:]
        return tail
