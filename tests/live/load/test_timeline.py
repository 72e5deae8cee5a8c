"""Carrying out a timeline: at its times, none waiting for another, errors reported."""

from __future__ import annotations

import asyncio

import pytest

from edgesim.config.faults import FaultRequest
from edgesim.errors import InputError, NotFoundError
from edgesim.live.load.timeline import ControlledEdge, carry_out, perform
from edgesim.scenario.spec import TimelineEntry
from edgesim.scenario.steps import (
    BreakLink,
    BreakOrigin,
    Deploy,
    Power,
    Rollback,
    Steer,
    deploy,
    drain,
    kill,
    latency,
    origin,
    restart,
    rollback,
)
from edgesim.scenario.timeline import Mark

DEPLOY = TimelineEntry(at_s=1.0, step=deploy.Step(path="app", prefetch=False), label="deploy app")
KILL = TimelineEntry(at_s=2.0, step=kill.Step(pop="gru1"), label="kill pop gru1")
RESTART = TimelineEntry(at_s=3.0, step=restart.Step(host="host1"), label="restart host host1")


class Edge:
    """Records what is done; a deploy lasts until `finish` is set."""

    def __init__(self) -> None:
        self.done: list[object] = []
        self.finish = asyncio.Event()

    async def power(self, action: Power) -> None:
        """Kill or restart; `nowhere` does not exist."""
        if action.id == "nowhere":
            raise NotFoundError("no such PoP")
        self.done.append((action.kind, action.id, action.verb))

    async def deploy(self, action: Deploy) -> None:
        """Deploy slowly."""
        await self.finish.wait()
        self.done.append((action.path, action.prefetch))

    async def steer(self, action: Steer) -> None:
        """Drain or undrain."""
        self.done.append((action.pop, action.verb))

    async def roll_back(self, action: Rollback) -> None:
        """Roll back at once."""
        self.done.append((action.app, action.version))

    async def break_for(self, action: BreakOrigin | BreakLink) -> None:
        """Break it for no time."""
        self.done.append(action)


class Api:
    """A control plane that records what it is asked."""

    def __init__(self) -> None:
        self.asked: list[object] = []

    async def pop_action(self, pop: str, action: str) -> None:
        """Kill, restart, drain or undrain."""
        self.asked.append((action, pop))

    async def add_fault(self, fault: FaultRequest) -> None:
        """Take a fault."""
        self.asked.append(fault)

    async def end_faults(self) -> None:
        """End all."""
        self.asked.append("end")


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


async def test_every_action_reaches_the_edge() -> None:
    """Each kind has its verb."""
    edge = Edge()
    for step in (drain.Step(pop="gru1"), rollback.Step(app="hello", version=2), origin.Step(for_=1.0, refuse=True)):
        await perform(edge, step.action())

    assert edge.done[:2] == [("gru1", "drain"), ("hello", 2)]
    assert isinstance(edge.done[2], BreakOrigin)


async def test_faults_are_asked_for_with_their_place_and_time() -> None:
    """The step's values arrive as the API takes them; a drain is an action of a PoP."""
    api = Api()
    edge = ControlledEdge(api)
    slow = latency.Step(region="apac", add=0.08, jitter=0.02, for_=1e-6)

    await perform(edge, slow.action())
    await perform(edge, origin.Step(status=503, for_=1e-6).action())
    await perform(edge, drain.Step(pop="gru1").action())

    link, broken, drained = api.asked
    assert link.link.region == "apac"
    assert (link.link.add_s, link.link.jitter_s, link.link.peer) == (0.08, 0.02, "clients")
    assert broken.origin.status == 503
    assert drained == ("drain", "gru1")


async def test_who_is_stopped_within_a_fault_ends_it() -> None:
    """An interrupted run leaves no faults behind."""
    api = Api()
    task = asyncio.create_task(perform(ControlledEdge(api), origin.Step(refuse=True, for_=3600.0).action()))
    while not api.asked:
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert api.asked[-1] == "end"


async def test_a_fault_beyond_the_limits_says_so() -> None:
    """More than the API takes is a mistake of the scenario, not a crash."""
    with pytest.raises(InputError, match="add_s"):
        await perform(ControlledEdge(Api()), latency.Step(add=1e6, for_=1.0).action())
