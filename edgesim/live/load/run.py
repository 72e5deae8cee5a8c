"""One load run, seen from `edgesim load run`: starts the generator's processes, does what the timeline says, collects.

The timeline is carried out here and not in a generator, so that hashing and uploading a worker cannot delay requests. All
processes use the system's monotonic clock, which `time.perf_counter` reads on Linux and macOS: they begin together, and each
of n generators sends every n-th arrival.
"""

from __future__ import annotations

import asyncio
from dataclasses import asdict, dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

from edgesim.live.error_json import error_from_dict
from edgesim.live.load.generator import LEAD_S
from edgesim.live.load.sender import job
from edgesim.live.load.timeline import Edge, carry_out
from edgesim.live.load.worker import Worker
from edgesim.results.collect import Results
from edgesim.results.durations import Durations

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from edgesim.live.load.sender import Server
    from edgesim.scenario.spec import Scenario
    from edgesim.scenario.timeline import Mark

TIMELINE_GRACE_S: Final = 60.0
"""How long actions of the timeline may go on after the last answer: a restart that is under way should end."""


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
    """Of the whole run; the worst of the generators'."""


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
    workers: int = 1,
) -> Results:
    """Run a scenario from beginning to end.

    Args:
        path: the scenario's file, which the generators read for themselves.
        scenario: what is in it.
        server: where requests go.
        edge: what the timeline acts on; may be None when there is no timeline.
        regions: the region of each PoP, for thresholds about regions.
        stop: when it is set, the run ends early with what there is.
        on_progress: told twice a second.
        on_mark: told when an action of the timeline begins and ends.
        workers: how many processes share the requests.

    Raises:
        ProcessError: a generator's process ended without a result.
    """
    assert edge is not None or not scenario.timeline, "a timeline needs an edge"
    started: list[Worker] = []
    run = _Run(started, scenario, edge, on_progress, on_mark)
    stopper = asyncio.create_task(run.stop_when(stop))
    try:
        for number in range(workers):
            worker = await Worker.start()
            started.append(worker)
            await worker.say(job(str(path), server, regions, (number, workers)))
        return await run.listen()
    finally:
        stopper.cancel()
        await run.close()


class _Run:
    """The conversation with the generators' processes."""

    def __init__(
        self,
        workers: Sequence[Worker],
        scenario: Scenario,
        edge: Edge | None,
        on_progress: Callable[[Progress], None],
        on_mark: Callable[[Mark], None],
    ) -> None:
        self._workers = workers
        self._scenario = scenario
        self._edge = edge
        self._on_progress = on_progress
        self._on_mark = on_mark
        self._timeline: asyncio.Task[None] | None = None
        self._marks: list[Mark] = []
        self._ready = 0
        self._said: dict[int, dict[str, Any]] = {}
        """The last progress of each generator."""
        self._recent = Durations()

    async def listen(self) -> Results:
        """Follow the generators until their results, which make one."""
        tasks = [asyncio.create_task(self._follow(n, w), name=f"worker {n}") for n, w in enumerate(self._workers)]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
            for task in tasks:
                if task.done():
                    task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        first, *others = (task.result() for task in tasks)
        for other in others:
            first.merge(other)
        return await self._finish(first)

    async def stop_when(self, stop: asyncio.Event) -> None:
        """Tell the generators to stop when somebody wants that."""
        await stop.wait()
        if self._timeline is not None:
            self._timeline.cancel()
        await self._tell({"stop": True})

    async def close(self) -> None:
        """End the timeline and the processes."""
        if self._timeline is not None:
            self._timeline.cancel()
            await asyncio.gather(self._timeline, return_exceptions=True)
        await asyncio.gather(*(worker.close() for worker in self._workers))

    async def _tell(self, message: dict[str, Any]) -> None:
        await asyncio.gather(*(worker.say(message) for worker in self._workers))

    async def _follow(self, number: int, worker: Worker) -> Results:
        """One generator until its result."""
        async for message in worker.messages():
            match message.pop("event"):
                case "ready":
                    self._ready += 1
                    if self._ready == len(self._workers):
                        await self._begin()
                case "progress":
                    self._recent.merge(Durations.from_json(message.pop("recent")))
                    self._said[number] = message
                    if number == min(self._said):
                        self._on_progress(self._progress())
                case "result":
                    results = Results.from_json(self._scenario, message["results"])
                    if results.aborted:
                        await self._tell({"abort": results.aborted})
                    return results
                case "error":
                    raise error_from_dict(message["error"])
        raise AssertionError("messages end with an error")

    async def _begin(self) -> None:
        """Everybody is ready: say when the first phase begins."""
        began_s = perf_counter() + LEAD_S
        await self._tell({"begin_s": began_s})
        if self._edge is not None and self._scenario.timeline:
            work = carry_out(self._scenario.timeline, self._edge, began_s, self._mark)
            self._timeline = asyncio.create_task(work, name="timeline")

    def _progress(self) -> Progress:
        """What the generators have said last, as one."""
        said, recent, self._recent = list(self._said.values()), self._recent, Durations()
        lags = [s["lag_p99_s"] for s in said if s["lag_p99_s"] is not None]
        return Progress(
            t_s=max(s["t_s"] for s in said),
            phase=max(s["phase"] for s in said),
            sent=sum(s["sent"] for s in said),
            done=recent.count,
            failed=sum(s["failed"] for s in said),
            dropped=sum(s["dropped"] for s in said),
            in_flight=sum(s["in_flight"] for s in said),
            p50_s=recent.quantile(0.5),
            p99_s=recent.quantile(0.99),
            lag_p99_s=max(lags, default=None),
        )

    async def _finish(self, results: Results) -> Results:
        """Wait for what the timeline still does, and take our own marks: the last ones came too late for the generators."""
        if self._timeline is not None and results.aborted:
            self._timeline.cancel()  # what is under way is undone in `close`
        elif self._timeline is not None:
            await asyncio.wait({self._timeline}, timeout=TIMELINE_GRACE_S)
            if self._timeline.done() and not self._timeline.cancelled():
                self._timeline.result()
        results.marks = list(self._marks)
        return results

    async def _mark(self, mark: Mark) -> None:
        self._marks.append(mark)
        self._on_mark(mark)
        await self._tell({"mark": asdict(mark)})
