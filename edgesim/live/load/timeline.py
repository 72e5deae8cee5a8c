"""Carries a scenario's timeline out: each action at its time, none waiting for the one before."""

from __future__ import annotations

import asyncio
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Final, Literal, Protocol

from edgesim.errors import EdgesimError
from edgesim.live.rollout import Rollout, follow, publish
from edgesim.scenario.steps import Action, Deploy, Power
from edgesim.scenario.timeline import Mark

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from edgesim.live.api_client import ApiClient
    from edgesim.scenario.spec import TimelineEntry

ROLLOUT_TIMEOUT_S: Final = 60.0
"""Longest time until every PoP has a version that the timeline deploys."""


class Edge(Protocol):
    """What a timeline can do to an edge."""

    async def power(self, kind: Literal["pop", "host"], ident: str, verb: Literal["kill", "restart"]) -> None:
        """Kill a PoP or a PoP host, or bring it back; returns when it is done."""
        ...

    async def deploy(self, path: str, *, prefetch: bool) -> None:
        """Deploy an app; returns when its rollout is over."""
        ...


class ControlledEdge:
    """An edge that is reached through its control plane."""

    def __init__(self, api: ApiClient, *, rollout_timeout_s: float = ROLLOUT_TIMEOUT_S) -> None:
        self._api = api
        self._rollout_timeout_s = rollout_timeout_s

    async def power(self, kind: Literal["pop", "host"], ident: str, verb: Literal["kill", "restart"]) -> None:
        """Kill a PoP or a PoP host, or bring it back."""
        await (self._api.pop_action(ident, verb) if kind == "pop" else self._api.host_action(ident, verb))

    async def deploy(self, path: str, *, prefetch: bool) -> None:
        """Deploy as `edgesim deploy` does. Raises RolloutError when a PoP is not ready in time."""
        rollout = Rollout(await publish(self._api, Path(path), prefetch=prefetch, message="load run"))
        await follow(self._api, rollout, self._rollout_timeout_s)
        rollout.judge(self._rollout_timeout_s)


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
            await edge.deploy(action.path, prefetch=action.prefetch)
        case Power():
            await edge.power(action.kind, action.id, action.verb)
