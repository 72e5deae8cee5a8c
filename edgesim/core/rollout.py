"""A PoP brings itself to a desired document: fetch and load first, switch when ready, report.

The last good release stays in force until the new one is loaded; a release that cannot be started leaves it there. What
wants to know whether a document is genuine or newer decides before (`live/signing.py`, `core/desired.py`).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final, Literal

from edgesim.core.desired import AlreadyThere, Apply, Stale, decide
from edgesim.core.memory import drop_idle, forget
from edgesim.core.pop import Serving, Stage
from edgesim.core.serve import drop_if_idle, publish_cold_start, start_worker
from edgesim.core.waiter import TimedOut, Waiter
from edgesim.errors import EdgesimError
from edgesim.model.events import PopReported

if TYPE_CHECKING:
    from edgesim.core.desired import Decision, DesiredDocument
    from edgesim.core.pop import Pop, Worker
    from edgesim.core.world import World
    from edgesim.model.ids import AppName, PhaseName, Start

START_TIMEOUT_S: Final = 600.0
"""How long a rollout waits for a start that a request has begun; compiling large components takes minutes."""


async def apply_desired(w: World, pop: Pop, document: DesiredDocument, distribute_s: float = 0.0) -> Decision:
    """Bring `pop` to `document` and report on the way.

    Args:
        w: the world.
        pop: the PoP, alive.
        document: what it shall run; verified.
        distribute_s: how long the document took to get here; the first phase of the starts that it causes.

    Returns:
        What was decided, after it has been carried out or another document has replaced it.
    """
    in_force = _in_force(pop)
    decision = decide(in_force, document)
    if isinstance(decision, Stale):
        return decision
    if isinstance(decision, AlreadyThere):
        if pop.reported is None or in_force is None or pop.reported.state != "failed":
            if pop.reported is not None:
                w.publish(pop.reported)  # again as it is: its start may be under way
            return decision
        # The same document once more is another try: the control plane may have been away when its bundle was wanted.
        decision = Apply(start=tuple(r for r in document.apps if r not in in_force.apps), stop=())
    pop.document = document
    await _carry_out(w, pop, document, decision, distribute_s)
    return decision


def _in_force(pop: Pop) -> DesiredDocument | None:
    """The newest document, with the releases that really serve: a start may have failed, or be under way still."""
    document = pop.document
    return document and replace(document, apps=tuple(serving.release for serving in pop.apps.values()))


async def _carry_out(w: World, pop: Pop, document: DesiredDocument, todo: Apply, distribute_s: float) -> None:
    life = pop.incarnation
    if not todo.start:
        distribute_s = 0.0  # it is the first phase of a start; without one there is nothing to tell
    for app in todo.stop:
        _retire(w, pop, pop.apps.pop(app, None))
    waiting = _begin(w, pop, todo)
    if waiting:
        _report(w, pop, document, "downloading", distribute_s=distribute_s)
    failures: list[str] = []
    for serving in waiting:
        failed = await _prefetch(w, pop, serving, distribute_s)
        if pop.incarnation != life:
            _forget(w, pop, serving)
            return
        if pop.document is not document:
            _discard(w, pop, serving)
            return
        if failed is None:
            serving.pending = False
            _activate(w, pop, serving)
        else:
            _give_up(w, pop, serving)
            failures.append(f"{serving.release.app}@{serving.release.version}: {failed.message}")
    state: Literal["ready", "failed"] = "failed" if failures else "ready"
    _report(w, pop, document, state, distribute_s=distribute_s, why="; ".join(failures))


def _begin(w: World, pop: Pop, todo: Apply) -> list[Serving]:
    """Serve what may be served at once; the releases that are to be started first."""
    # What an earlier document put in force before it was started is this one's business now.
    replaced = {release.app for release in todo.start}
    waiting = [s for app, s in pop.apps.items() if s.pending and app not in replaced]
    for release in todo.start:
        serving = Serving(release, pop.disk)
        if release.prefetch:
            waiting.append(serving)
        if not release.prefetch or release.app not in pop.apps:
            # Nothing good to go on with: requests may come, and queue behind the start.
            _activate(w, pop, serving)
    return waiting


async def _prefetch(w: World, pop: Pop, serving: Serving, distribute_s: float) -> EdgesimError | None:
    """Start every worker of a release; why that failed, or None."""
    for worker in serving.workers.values():
        if worker.stage is Stage.LOADED:
            continue
        began_s = w.now()
        start: Start = "absent" if worker.stage is Stage.ABSENT else "disk"
        failed = await _start(w, pop, worker)
        if failed is not None:
            return failed
        phases: list[tuple[PhaseName, float]] = [*worker.phases]
        if distribute_s:
            phases.insert(0, ("distribute", distribute_s))
        publish_cold_start(
            w,
            pop,
            worker,
            start=start,
            role="trigger",
            cause="deploy",
            phases=phases,
            total_s=distribute_s + w.now() - began_s,
        )
    return None


async def _start(w: World, pop: Pop, worker: Worker) -> EdgesimError | None:
    """Start one worker, or wait for the start that a request has begun."""
    starting = worker.starting
    if starting is not None:
        got = await w.wait(starting, w.now() + START_TIMEOUT_S)
        return EdgesimError("the start took too long") if isinstance(got, TimedOut) else got
    starting = worker.starting = Waiter()
    await start_worker(w, pop, worker)
    return starting.value


def _activate(w: World, pop: Pop, serving: Serving) -> None:
    """Serve requests from `serving` from now on."""
    before = pop.apps.get(serving.release.app)
    if before is serving:
        return
    pop.apps[serving.release.app] = serving
    _retire(w, pop, before)


def _retire(w: World, pop: Pop, serving: Serving | None) -> None:
    """Let a replaced release go as soon as its last request is through."""
    if serving is not None:
        for worker in serving.workers.values():
            if worker not in pop.retired:
                pop.retired.append(worker)
            worker.retired = worker.watched = True
            worker.untend()
            drop_idle(w, pop, worker)
            drop_if_idle(w, pop, worker)


def _forget(w: World, pop: Pop, serving: Serving) -> None:
    """Let a release of an earlier life go: the kill has reset the PoP's accounts, only the world holds its modules."""
    for worker in serving.workers.values():
        if worker.stage is Stage.LOADED:
            forget(w, pop, worker)


def _discard(w: World, pop: Pop, serving: Serving) -> None:
    """Let a release go that was started but never served."""
    if pop.apps.get(serving.release.app) is not serving:
        _retire(w, pop, serving)


def _give_up(w: World, pop: Pop, serving: Serving) -> None:
    """Let a release go that could not be started; with none before it, the app is not served."""
    if pop.apps.get(serving.release.app) is serving:
        _retire(w, pop, pop.apps.pop(serving.release.app))
    else:
        _retire(w, pop, serving)


def _report(
    w: World,
    pop: Pop,
    document: DesiredDocument,
    state: Literal["downloading", "ready", "failed"],
    *,
    distribute_s: float,
    why: str = "",
) -> None:
    # What has still to be started does not count: it may fail yet.
    apps: dict[AppName, int] = {app: s.release.version for app, s in pop.apps.items() if not s.pending}
    pop.reported = PopReported(
        pop=pop.spec.id,
        epoch=document.epoch,
        gen=document.gen,
        state=state,
        apps=apps,
        why=why,
        distribute_s=distribute_s,
    )
    w.publish(pop.reported)
