"""Carries a scenario's timeline out: each action at its time, none waiting for the one before."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Final, Protocol

from pydantic import ValidationError

from edgesim.config.faults import FaultRequest, LinkRequest, OriginOrder
from edgesim.config.messages import explain
from edgesim.errors import EdgesimError, InputError
from edgesim.live.rollout import Rollout as LiveRollout
from edgesim.live.rollout import follow, publish, roll_back
from edgesim.scenario.steps import Action, BreakLink, BreakOrigin, Deploy, Power, Rollback, Steer
from edgesim.scenario.timeline import Mark

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from edgesim.live.api_client import ApiClient, Json
    from edgesim.scenario.spec import TimelineEntry

ROLLOUT_TIMEOUT_S: Final = 60.0
"""Longest time until every PoP has a version that the timeline deploys."""


class Edge(Protocol):
    """What a timeline can do to an edge. Each method returns when it is done."""

    async def power(self, action: Power) -> None:
        """Kill a PoP or a PoP host, or bring it back."""
        ...

    async def steer(self, action: Steer) -> None:
        """Take a PoP out of service, or put it back."""
        ...

    async def deploy(self, action: Deploy) -> None:
        """Deploy an app; returns when its rollout is over."""
        ...

    async def roll_back(self, action: Rollback) -> None:
        """Roll an app back; returns when that rollout is over."""
        ...

    async def break_for(self, action: BreakOrigin | BreakLink) -> None:
        """Inject a fault; returns when its time is over."""
        ...


class ControlledEdge:
    """An edge that is reached through its control plane."""

    def __init__(self, api: ApiClient, *, app: str = "", rollout_timeout_s: float = ROLLOUT_TIMEOUT_S) -> None:
        """Name the edge's API, and the app that a rollback without a name is about."""
        self._api = api
        self._app = app
        self._rollout_timeout_s = rollout_timeout_s

    async def power(self, action: Power) -> None:
        """Kill a PoP or a PoP host, or bring it back."""
        if action.kind == "pop":
            await self._api.pop_action(action.id, action.verb)
        else:
            await self._api.host_action(action.id, action.verb)

    async def steer(self, action: Steer) -> None:
        """Drain or undrain a PoP."""
        await self._api.pop_action(action.pop, action.verb)

    async def deploy(self, action: Deploy) -> None:
        """Deploy as `edgesim deploy` does. Raises RolloutError when a PoP is not ready in time."""
        await self._follow(await publish(self._api, Path(action.path), prefetch=action.prefetch, message="load run"))

    async def roll_back(self, action: Rollback) -> None:
        """As `edgesim rollback` does. Raises RolloutError when a PoP is not ready in time."""
        await self._follow(await roll_back(self._api, action.app or self._app, action.version, message="load run"))

    async def break_for(self, action: BreakOrigin | BreakLink) -> None:
        """Inject a fault and wait; who is cancelled meanwhile ends all faults."""
        await self._api.add_fault(_fault(action))
        try:
            await asyncio.sleep(action.for_s)
        except asyncio.CancelledError:
            with contextlib.suppress(EdgesimError):  # they end by themselves too
                await self._api.end_faults()
            raise

    async def _follow(self, made: Json) -> None:
        rollout = LiveRollout(made)
        await follow(self._api, rollout, self._rollout_timeout_s)
        rollout.judge(self._rollout_timeout_s)


def _fault(action: BreakOrigin | BreakLink) -> FaultRequest:
    """An action as the API takes it. Raises InputError when it is out of the API's bounds."""
    try:
        if isinstance(action, BreakOrigin):
            return FaultRequest(
                origin=OriginOrder(
                    origin=action.origin,
                    for_s=action.for_s,
                    refuse=action.refuse,
                    status=action.status,
                    delay_s=action.delay_s,
                )
            )
        fields = {name: getattr(action, name) for name in LinkRequest.model_fields}
        return FaultRequest(link=LinkRequest(**fields))
    except ValidationError as exc:
        raise InputError(f"fault: {explain(exc)}") from exc


async def carry_out(
    timeline: Sequence[TimelineEntry],
    edge: Edge,
    began_s: float,
    mark: Callable[[Mark], Awaitable[None]],
    *,
    clock: Callable[[], float] = perf_counter,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> None:
    """Do everything on the timeline. An action that fails is marked with its error and stops nothing else.

    Args:
        timeline: in order of time.
        edge: what it is done to.
        began_s: when the first phase began, on the clock.
        mark: told before and after each action.
        clock: seconds, the one that `began_s` is of.
        sleep: waits that many seconds.
    """

    async def one(index: int, entry: TimelineEntry) -> None:
        await sleep(max(0.0, began_s + entry.at_s - clock()))
        await mark(Mark(entry=index, edge="begin", at_s=clock() - began_s))
        error = ""
        try:
            await perform(edge, entry.step.action())
        except EdgesimError as exc:
            error = f"{exc.code}: {exc.message}"
        await mark(Mark(entry=index, edge="end", at_s=clock() - began_s, error=error))

    async with asyncio.TaskGroup() as group:
        for index, entry in enumerate(timeline):
            group.create_task(one(index, entry), name=f"timeline {entry.label}")


async def perform(edge: Edge, action: Action) -> None:
    """Do one thing to the edge."""
    match action:
        case Deploy():
            await edge.deploy(action)
        case Rollback():
            await edge.roll_back(action)
        case Power():
            await edge.power(action)
        case Steer():
            await edge.steer(action)
        case BreakOrigin() | BreakLink():
            await edge.break_for(action)
