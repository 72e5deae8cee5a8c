"""Carrying out a timeline: at its times, none waiting for another, errors reported."""

from __future__ import annotations

import asyncio

from edgesim.errors import NotFoundError
from edgesim.live.load.timeline import carry_out
from edgesim.scenario.spec import TimelineEntry
from edgesim.scenario.steps import deploy, kill, restart
from edgesim.scenario.timeline import Mark

DEPLOY = TimelineEntry(at_s=1.0, step=deploy.Step(path="app", prefetch=False), label="deploy app")
KILL = TimelineEntry(at_s=2.0, step=kill.Step(pop="gru1"), label="kill pop gru1")
RESTART = TimelineEntry(at_s=3.0, step=restart.Step(host="host1"), label="restart host host1")


class Edge:
    """Records what is done; a deploy lasts until `finish` is set."""

    def __init__(self) -> None:
        self.done: list[object] = []
        self.finish = asyncio.Event()

    async def power(self, kind: str, ident: str, verb: str) -> None:
        """Kill or restart; `nowhere` does not exist."""
        if ident == "nowhere":
            raise NotFoundError("no such PoP")
        self.done.append((kind, ident, verb))

    async def deploy(self, path: str, *, prefetch: bool) -> None:
        """Deploy slowly."""
        await self.finish.wait()
        self.done.append((path, prefetch))


async def run(edge: Edge, *timeline: TimelineEntry, late_s: float = 0.0) -> tuple[list[Mark], list[float]]:
    """The marks, and how long each entry waited for its time."""
    marks: list[Mark] = []
    waited: list[float] = []

    async def mark(mark: Mark) -> None:
        marks.append(mark)

    async def sleep(seconds: float) -> None:
        waited.append(seconds)
        await asyncio.sleep(0)

    await carry_out(timeline, edge, 100.0, mark, clock=lambda: 100.0 + late_s, sleep=sleep)
    return marks, waited


async def test_each_action_waits_for_its_own_time() -> None:
    """Times count from the beginning of the first phase."""
    edge = Edge()

    marks, waited = await run(edge, KILL, RESTART)

    assert waited == [2.0, 3.0]
    assert edge.done == [("pop", "gru1", "kill"), ("host", "host1", "restart")]
    assert [(m.entry, m.edge) for m in marks if m.entry == 0] == [(0, "begin"), (0, "end")]


async def test_a_slow_deploy_delays_nothing() -> None:
    """The kill after a rollout that hangs comes at its time."""
    edge = Edge()
    task = asyncio.create_task(run(edge, DEPLOY, KILL))
    while not edge.done:
        await asyncio.sleep(0)
    edge.finish.set()
    await task

    assert edge.done == [("pop", "gru1", "kill"), ("app", False)]


async def test_an_action_that_fails_is_marked_with_its_error() -> None:
    """And the next one is done all the same."""
    edge = Edge()
    lost = TimelineEntry(at_s=1.0, step=kill.Step(pop="nowhere"), label="kill pop nowhere")

    marks, _ = await run(edge, lost, RESTART)

    assert [m.error for m in marks if m.entry == 0] == ["", "E0103: no such PoP"]
    assert edge.done == [("host", "host1", "restart")]


async def test_who_is_late_acts_at_once() -> None:
    """No negative sleeps, and marks say when it really was."""
    marks, waited = await run(Edge(), KILL, late_s=7.0)

    assert waited == [0.0]
    assert [m.at_s for m in marks] == [7.0, 7.0]
