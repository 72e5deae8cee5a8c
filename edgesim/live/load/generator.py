"""The open loop: send each request at its time, whether or not earlier ones have been answered.

Response times count from the intended send time, so that a server that stalls cannot hide behind the requests that it
kept from being sent (coordinated omission). What is late by the generator's own fault is reported as lag.
"""

from __future__ import annotations

import asyncio
from itertools import islice
from time import perf_counter
from typing import TYPE_CHECKING, Final, Protocol

from edgesim.live.load.answers import attribution
from edgesim.results.abort import failed_early
from edgesim.results.answered import NOBODY, Answered
from edgesim.results.collect import Results
from edgesim.results.durations import Durations
from edgesim.scenario.arrivals import arrivals, following

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from edgesim.live.load.client import Answer
    from edgesim.scenario.arrivals import Arrival
    from edgesim.scenario.spec import Expectation, Scenario
    from edgesim.scenario.timeline import Mark

LEAD_S: Final = 0.1
"""Time between the decision to start and the first phase, so that who watches can get ready."""


class Sender(Protocol):
    """Sends one request and says what became of it."""

    async def send(self, arrival: Arrival) -> Answer:
        """Send it now."""
        ...

    def close(self) -> None:
        """Drop all connections."""
        ...


class Generator:
    """One run of a scenario's load."""

    def __init__(
        self,
        scenario: Scenario,
        sender: Sender,
        *,
        clock: Callable[[], float] = perf_counter,
        lead_s: float = LEAD_S,
        began_s: float | None = None,
        share: tuple[int, int] = (0, 1),
    ) -> None:
        """Get ready.

        Args:
            scenario: what to send.
            sender: how.
            clock: seconds.
            lead_s: how long from now until the first phase begins.
            began_s: when it begins, on the clock, where somebody else has decided that.
            share: which of how many generators this one is; each sends every n-th arrival.
        """
        self.results = Results(scenario)
        self.recent = Durations()
        """Response times since the last look at them; whoever reports progress replaces it."""
        self.sent = 0
        self.began_s = clock() + lead_s if began_s is None else began_s
        """When the first phase begins, on the clock."""
        self.phase = 0
        self._scenario = scenario
        self._sender = sender
        self._clock = clock
        which, of = self._share = share
        self._limit = max(1, scenario.load.max_in_flight // of)
        self._arrivals: Iterator[Arrival] = islice(arrivals(scenario), which, None, of)
        self._due: Arrival | None = None
        self._live: set[asyncio.Task[None]] = set()
        """Requests without an answer, and sessions, also those that think."""
        self._open = 0
        self._timer: asyncio.TimerHandle | None = None
        self._over = asyncio.Event()
        self._failure: BaseException | None = None

    @property
    def in_flight(self) -> int:
        """Requests without an answer."""
        return self._open

    @property
    def elapsed_s(self) -> float:
        """Time since the first phase began; negative before."""
        return self._clock() - self.began_s

    async def run(self) -> Results:
        """Send everything, wait for the answers (each has a timeout), and return what was measured."""
        try:
            self._due = next(self._arrivals, None)
            self._send_due()
            await self._over.wait()
            if self._live and not (self.results.interrupted or self.results.aborted):
                await asyncio.wait(self._live)
        finally:
            self._cancel_timer()
            for task in self._live:
                task.cancel()
            if self._live:
                await asyncio.wait(self._live)
            self._sender.close()
        if self._failure is not None:
            raise self._failure
        self.results.elapsed_s = max(self.results.elapsed_s, self.elapsed_s)
        return self.results

    def stop(self) -> None:
        """End the run now: nothing more is sent, open requests are dropped and not counted."""
        self.results.interrupted = True
        self._end()

    def check(self) -> None:
        """End the run when a threshold with `abortOnFail` is missed. Whoever reports progress calls this.

        One of several generators sees a share of the requests: how many there are says nothing to it.
        """
        missed = failed_early(self.results, self.elapsed_s, counts=self._share[1] == 1)
        if missed is not None:
            self.abort(missed.text)

    def abort(self, threshold: str) -> None:
        """End the run now, since a threshold was missed."""
        if not self._over.is_set():
            self.results.aborted = threshold
            self._end()

    def _end(self) -> None:
        self._cancel_timer()
        self._over.set()
        self._open = 0
        for task in self._live:
            task.cancel()

    def mark(self, mark: Mark) -> None:
        """An action of the timeline begins or ends: what is sent from now on belongs to the next segment."""
        self.results.marks.append(mark)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _send_due(self) -> None:
        """Send what is due, then sleep until the next arrival."""
        loop = asyncio.get_running_loop()
        now_s = self.elapsed_s
        while self._due is not None and self._due.at_s <= now_s:
            arrival, self._due = self._due, next(self._arrivals, None)
            self.phase = arrival.phase
            if self._open >= self._limit:
                self.results.drop(arrival)
                continue
            self.sent += 1
            self._open += 1
            task = loop.create_task(self._visit(arrival))
            self._live.add(task)
            task.add_done_callback(self._ended)
        # The last phase lasts until its end, also when nothing more is to be sent in it.
        next_s = self._scenario.load.duration_s if self._due is None else self._due.at_s
        wait_s = next_s - self.elapsed_s
        if self._due is None and wait_s <= 0:
            self._over.set()
        else:
            self._timer = loop.call_later(max(0.0, wait_s), self._send_due)

    def _ended(self, task: asyncio.Task[None]) -> None:
        """A request is over. An exception here is a fault of this program, and ends the run."""
        self._live.discard(task)
        if not task.cancelled() and (failure := task.exception()) is not None:
            self._failure = failure
            self._over.set()

    async def _visit(self, arrival: Arrival) -> None:
        """Send a request, and after its answer and some thought the next one of its session. No answer ends a session."""
        step: Arrival | None = arrival
        while step is not None:
            answered = await self._one(step)
            self._open -= 1
            step = following(self._scenario, step, self.elapsed_s) if answered else None
            if step is None:
                return
            await asyncio.sleep(max(0.0, step.at_s - self.elapsed_s))
            if self._open >= self._limit:
                self.results.drop(step)
                return
            self.sent += 1
            self._open += 1

    async def _one(self, arrival: Arrival) -> bool:
        """Send one request and count it; whether it was answered. One that is cancelled by `stop` leaves no trace."""
        results, due_s = self.results, self.began_s + arrival.at_s
        lag_s = self._clock() - due_s
        segment = len(results.marks)
        answer = await self._sender.send(arrival)
        response_s = self._clock() - due_s
        if answer.error:
            outcome, about = str(answer.error), NOBODY
        else:
            request = self._scenario.requests[arrival.request]
            about = attribution(answer.headers)
            outcome = _outcome(request.expect, answer)
        self.recent.record(response_s)
        results.add(
            arrival,
            Answered(
                outcome=outcome,
                response_s=response_s,
                about=about,
                status=answer.status,
                body_bytes=answer.body_bytes,
                lag_s=lag_s,
                connect_s=answer.connect_s,
                retried=answer.retried,
                sent_segment=segment,
            ),
        )
        return not answer.error


def _outcome(expect: Expectation, answer: Answer) -> str:
    """`ok`, or what about an answer was not expected. A body that was too long to keep fails what looks at it."""
    if expect.looks_at_body and answer.body is None:
        return expect.violation(answer.status, answer.headers) or "body"
    return expect.violation(answer.status, answer.headers, answer.body) or "ok"
