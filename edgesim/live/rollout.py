"""Deploying through the API: publish an app, follow its rollout, judge the outcome.

For the CLI, load runs and the demo. What a rollout looks like on a screen is not its affair.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Final

from edgesim.config.manifest import load_app
from edgesim.errors import BundleError, RolloutError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from edgesim.live.api_client import ApiClient, Json

_SHOWN_MAX: Final = 10
"""PoPs that an error lists one by one."""


class Rollout:
    """How far a version has come, from the API's answer and its events."""

    def __init__(self, made: Mapping[str, Any]) -> None:
        self.app = str(made["app"])
        self.version = int(made["version"])
        self.pops: dict[str, dict[str, Any]] = {}
        """Rows of the API by PoP: `state`, `why`, `host`, `distribute_s`."""
        self.ready_s: dict[str, float] = {}
        """By PoP: seconds from the API's answer until the PoP was seen to be ready."""
        self.done = False
        self._began_s = time.monotonic()
        self.take(made)

    @property
    def name(self) -> str:
        """`hello@2`."""
        return f"{self.app}@{self.version}"

    def take(self, event: Mapping[str, Any]) -> None:
        """Take in one event."""
        now_s = time.monotonic() - self._began_s
        for row in event.get("pops") or ():
            pop = str(row.get("pop"))
            self.pops[pop] = dict(row)
            if row.get("state") == "ready":
                self.ready_s.setdefault(pop, now_s)
        self.done = bool(event.get("done"))

    def in_state(self, *states: str) -> list[str]:
        """The PoPs in one of these states."""
        return [pop for pop, row in self.pops.items() if row.get("state") in states]

    def p95_s(self) -> float | None:
        """Time to readiness that 95 % of the PoPs kept (nearest rank); None when none is ready."""
        return _p95(list(self.ready_s.values()))

    def document_p95_s(self) -> float | None:
        """The same for the arrival of the signed document alone, as the PoPs measured it."""
        return _p95([row.get("distribute_s") or 0.0 for row in self.pops.values() if row.get("distribute_s")])

    def judge(self, timeout_s: float) -> None:
        """Say what went wrong, if anything did.

        Raises:
            RolloutError: a PoP failed, or was not ready in time; with the reason of each.
        """
        failed = self.in_state("failed")
        settled = {*failed, *self.in_state("ready", "superseded")}
        missing = [pop for pop in self.pops if pop not in settled]
        if not failed and not missing:
            return
        bad = [*failed, *missing]
        reasons = [f"\n    {pop:<6} {_reason(self.pops[pop])}" for pop in bad[:_SHOWN_MAX]]
        if len(bad) > _SHOWN_MAX:
            reasons.append(f"\n    and {len(bad) - _SHOWN_MAX} more")
        what = f"failed on {len(failed)}" if failed else f"is not ready within {timeout_s:g} s on {len(missing)}"
        raise RolloutError(
            f"{self.name} {what} of {len(self.pops)} PoPs{''.join(reasons)}",
            help="those PoPs serve what they had; see `edgesim pops list`, or fix the app and deploy again",
        )

    def to_json(self) -> Json:
        """The rollout as JSON-able values."""
        states = [str(row.get("state")) for row in self.pops.values()]
        return {
            "done": self.done,
            "counts": {state: states.count(state) for state in sorted(set(states))},
            "ok": not self.in_state("failed") and len(self.in_state("ready", "superseded")) == len(self.pops),
            "pops": list(self.pops.values()),
            "ready_s": self.ready_s,
            "propagation_p95_s": self.p95_s(),
            "document_p95_s": self.document_p95_s(),
        }


async def publish(
    api: ApiClient,
    path: Path,
    *,
    app: str | None = None,
    prefetch: bool = True,
    message: str = "",
    limits_profile: str | None = None,
) -> Json:
    """Upload the app in `path` and make a new version of it: the API's deployment. The rollout has begun then.

    `limits_profile` names a platform of `model.profiles` whose limits hold where the manifest has none of its own.

    Raises:
        ManifestError, BundleError: the app is wrong. Nothing is changed.
        ControlPlaneError: the API cannot be reached.
    """
    bundle = load_app(path, name=app, limits_profile=limits_profile)
    request = bundle.request(prefetch=prefetch, message=message)  # reads the files: what is wrong with them shows here
    files = {await api.put_blob(file): file for file in bundle.files}
    try:
        return await api.deploy(bundle.name, request)
    except BundleError as exc:  # the control plane knows a file by its digest alone
        exc.where = next((str(file) for digest, file in files.items() if digest in exc.where), exc.where)
        raise


async def roll_back(api: ApiClient, app: str, version: int = 0, *, message: str = "") -> Json:
    """Have every PoP run an earlier version again: the API's deployment. The rollout has begun then.

    Args:
        api: the control plane.
        app: name of a deployed app.
        version: which; 0 for the one before the one in force.
        message: why.

    Raises:
        NotFoundError: there is no such app or version.
        UsageError: there is no version before the one in force.
    """
    if not version:
        row = next((row for row in await api.apps() if row.get("app") == app), {})
        current = int(row.get("version") or 0)
        earlier = [int(v["version"]) for v in row.get("versions") or () if int(v["version"]) < current]
        if not earlier and row:
            raise UsageError(
                f"{app} has no version before {current}", help="deploy another one, or name a version that it has"
            )
        version = max(earlier, default=1)  # for an app that is not there, the API says so
    return await api.rollback(app, version, message)


async def follow(
    api: ApiClient, rollout: Rollout, timeout_s: float, *, on_change: Callable[[Rollout], None] = lambda _: None
) -> None:
    """Take in events until every PoP is ready, failed or superseded, or the time is up. `Rollout.judge` tells which."""
    on_change(rollout)
    try:
        async with asyncio.timeout(timeout_s):
            async for event in api.deployment_events(rollout.app, rollout.version):
                rollout.take(event)
                on_change(rollout)
                if rollout.done:
                    return
    except TimeoutError:
        return


def _reason(row: Mapping[str, Any]) -> str:
    if row.get("state") == "down":
        return f"its host {row.get('host')} is not there; see `edgesim hosts list`"
    return str(row.get("why") or row.get("state"))


def _p95(values: list[float]) -> float | None:
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * 95 // 100) - 1)] if ordered else None
