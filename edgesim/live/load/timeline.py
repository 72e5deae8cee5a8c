"""Carries a scenario's timeline out: each action at its time, none waiting for the one before."""

from __future__ import annotations

import asyncio
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Literal, Protocol

from edgesim.errors import EdgesimError
from edgesim.scenario.steps import Action, Deploy, Power
from edgesim.scenario.timeline import Mark

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from edgesim.live.api_client import ApiClient
    from edgesim.scenario.spec import TimelineEntry


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

    def __init__(self, client: ApiClient, deploy: Callable[[ApiClient, Path, bool], Awaitable[None]]) -> None:
        """Wrap a client.

        Args:
            client: entered.
            deploy: deploys the app in a folder, with or without prefetch, and waits for its rollout.
        """
        self._client = client
        self._deploy = deploy

    async def power(self, kind: Literal["pop", "host"], ident: str, verb: Literal["kill", "restart"]) -> None:
        """Kill a PoP or a PoP host, or bring it back."""
        await (self._client.pop_action(ident, verb) if kind == "pop" else self._client.host_action(ident, verb))

    async def deploy(self, path: str, *, prefetch: bool) -> None:
        """Deploy as `edgesim deploy` does."""
        await self._deploy(self._client, Path(path), prefetch)


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
