"""The path of a request at its PoP: route, slot, cold start, guest or origin.

What it does not do: choose the PoP and fail over (`core/front_door.py`), roll releases out (`core/rollout.py`), or any I/O
(`core/world.py`).
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Literal

from edgesim.core.filters import through_filters
from edgesim.core.keeper import give_back, left, take, watch
from edgesim.core.memory import make_room, unload
from edgesim.core.pop import Stage
from edgesim.core.request import CLIENT_GONE, Response
from edgesim.core.tail import WatchedBody
from edgesim.core.waiter import TimedOut, Waiter
from edgesim.errors import (
    DeadlineExceededError,
    EdgesimError,
    GuestError,
    OriginError,
    OverloadedError,
    PopUnreachableError,
    RequestError,
    StartError,
)
from edgesim.model.events import ColdStarted, RequestServed

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from edgesim.core.instances import Instance
    from edgesim.core.pool import Lease
    from edgesim.core.pop import Pop, Serving, Worker
    from edgesim.core.request import Request
    from edgesim.core.tail import End
    from edgesim.core.world import World
    from edgesim.model.ids import Outcome, PhaseName, Role, Start


class QueueTimeoutError(OverloadedError):
    """The request waited longer for a slot than the PoP's queue timeout."""


async def serve_at_pop(w: World, pop: Pop, request: Request) -> Response:
    """Serve one request at `pop`. Foreseen failures are responses; only a kill or a cancelled client raises."""
    began_s = w.now()
    life = pop.incarnation
    request.queue_s = request.start_s = 0.0
    response = CLIENT_GONE
    failing_version = 0
    try:
        serving = pop.apps.get(request.app)
        if serving is None:
            detail = f"no app {request.app} is deployed"
            response = Response(404, "no_app", pop.spec.id, error="destination_not_found", detail=detail)
        else:
            answer = _filtered if serving.filters else _answer
            response = await answer(w, pop, request, serving, began_s)
    except PopUnreachableError:  # the PoP was killed: the front door's business
        raise
    except EdgesimError as error:
        failing_version = serving.release.version if serving is not None else 0
        response = failure(error, pop)
        response.timings.queue_s, response.timings.start_s = request.queue_s, request.start_s
        if isinstance(error, GuestError) and error.cost is not None:
            response.timings.cpu_s = error.cost.cpu_s
            response.memory_bytes, response.subrequests = error.cost.memory_bytes, error.cost.subrequests
    finally:
        if w.tells_requests and pop.incarnation == life:
            served = _served(request, pop, response, w.now() - began_s)
            if failing_version:  # no version has answered; metrics say which one has not
                served.version = failing_version
            if isinstance(response.body, bytes):
                w.publish(served)
            else:
                response.body = WatchedBody(response.body, partial(_body_ended, w, pop, life, served))
    return response


def _served(request: Request, pop: Pop, response: Response, total_s: float) -> RequestServed:
    """What there is to tell when the head of an answer is there."""
    timings = response.timings
    return RequestServed(
        pop.spec.id,
        request.app,
        response.version,
        response.outcome,
        response.start,
        response.role,
        response.status,
        request.network_s,
        request.queue_s,
        request.start_s,
        timings.instantiate_s + timings.init_s + timings.execute_s,
        timings.origin_s,
        total_s,
        timings.instantiate_s,
        timings.init_s,
        timings.cpu_s,
        response.memory_bytes,
        response.subrequests,
    )


def _body_ended(w: World, pop: Pop, life: int, served: RequestServed, end: End) -> None:
    """Tell of a request whose answer was streamed, if the PoP has not been killed meanwhile."""
    if pop.incarnation == life:
        if isinstance(end, EdgesimError):
            served.outcome = _outcome(end)
        elif end == "left":
            served.outcome = "client_gone"
        w.publish(served)


_OUTCOMES: tuple[tuple[type[EdgesimError], Outcome], ...] = (
    (QueueTimeoutError, "queue_timeout"),
    (OverloadedError, "queue_full"),
    (DeadlineExceededError, "deadline"),
    (StartError, "start_failed"),
    (GuestError, "guest_error"),
    (OriginError, "origin_error"),
    (RequestError, "bad_request"),
)


def _outcome(error: EdgesimError) -> Outcome:
    for kind, outcome in _OUTCOMES:
        if isinstance(error, kind):
            return outcome
    return "guest_error"


def failure(error: EdgesimError, pop: Pop) -> Response:
    """The response for a request that failed at `pop`."""
    outcome = _outcome(error)
    return Response(
        error.status, outcome, pop.spec.id, error=error.proxy_error, detail=f"{error.code}: {error.message}"
    )  # fmt: skip


def _filtered(w: World, pop: Pop, request: Request, serving: Serving, now_s: float) -> Awaitable[Response]:
    """Through the app's filters; they take their time before `_answer` begins."""
    del now_s
    return through_filters(
        w,
        pop,
        request,
        serving.filters,
        hold=partial(_hold, w, pop, request),
        let_go=partial(_let_go, w, pop, pop.incarnation),
        serve=lambda: _answer(w, pop, request, serving, w.now()),
    )


async def _hold(w: World, pop: Pop, request: Request, worker: Worker) -> None:
    """Have a filter loaded, for as long as the request needs it. Raises StartError or DeadlineExceededError."""
    worker.users += 1
    worker.used_s = began_s = w.now()
    if worker.stage is not Stage.LOADED:
        start, role = await _wait_for_start(w, pop, worker, request)
        waited_s = w.now() - began_s
        request.start_s += waited_s
        phases: list[tuple[PhaseName, float]] = [*worker.phases] if role == "trigger" else [("shared", waited_s)]
        publish_cold_start(w, pop, worker, start=start, role=role, cause="request", phases=phases, total_s=waited_s)
    worker.requests += 1


def _let_go(w: World, pop: Pop, life: int, worker: Worker) -> None:
    """The request is through with a filter."""
    worker.users -= 1
    if pop.incarnation != life:
        return
    if worker.watched:
        left(w, pop, worker)
    if worker in pop.retired:
        drop_if_idle(w, pop, worker)


def _answer(w: World, pop: Pop, request: Request, serving: Serving, now_s: float) -> Awaitable[Response]:
    """By the worker that the path is routed to, else by the origin."""
    target = request.target
    worker = serving.worker(request.path if "?" in target else target)
    if worker is None:
        return _from_origin(w, pop, request, serving, now_s)
    return _run(w, pop, worker, request, now_s)


async def _from_origin(w: World, pop: Pop, request: Request, serving: Serving, arrived_s: float) -> Response:
    response = await w.fetch_origin(pop, request)
    response.timings.origin_s = w.now() - arrived_s
    response.pop, response.version = pop.spec.id, serving.release.version
    return response


async def _run(w: World, pop: Pop, worker: Worker, request: Request, arrived_s: float) -> Response:
    """Take a slot, start the worker if it is cold, run the guest."""
    lease = pop.pool.acquire()
    if lease is None:
        raise OverloadedError(f"the queue of {pop.spec.id} is full ({pop.pool.queue} waiting)")
    worker.users += 1
    start: Start = "fresh"
    role: Role = ""
    instance: Instance | None = None
    response: Response | None = None
    try:
        if lease.waiter is not None:
            await _wait_for_slot(w, pop, lease.waiter, request, arrived_s)
        worker.used_s = arrived_s
        if worker.stage is not Stage.LOADED:
            began_s = w.now()
            start, role = await _wait_for_start(w, pop, worker, request)
            request.start_s += w.now() - began_s
        worker.requests += 1
        if worker.watched:
            instance = take(w, pop, worker, request)
            if instance.uses > 1 and not role:
                start = "reused"
        response = await w.run_worker(pop, worker, request, instance)
        response.pop, response.version = pop.spec.id, worker.release.version
        response.start, response.role = start, role
        timings = response.timings
        timings.queue_s, timings.start_s = request.queue_s, request.start_s
        if role:
            timings.phases = tuple(worker.phases) if role == "trigger" else (("shared", timings.start_s),)
            _publish_cold_start(w, pop, worker, response, w.now() - arrived_s)
        return response
    finally:
        if response is not None and response.ended is not None and not response.ended.done:
            # The guest still writes its body: the slot is its own until it has ended.
            response.ended.parked.append(lambda: _finish(w, pop, worker, lease, instance))
        else:
            if instance is not None and response is None:
                instance.broken = True  # whatever ended the run: a guest that was stopped half-way never serves again
            _finish(w, pop, worker, lease, instance)


async def _wait_for_slot(w: World, pop: Pop, slot: Waiter[None], request: Request, arrived_s: float) -> None:
    """Wait in the queue. Raises QueueTimeoutError or DeadlineExceededError."""
    patience_s = arrived_s + pop.spec.queue_timeout_s
    got = await w.wait(slot, min(patience_s, request.deadline_s))
    request.queue_s = w.now() - arrived_s
    if isinstance(got, TimedOut):
        if request.deadline_s <= patience_s:
            raise DeadlineExceededError("the request's deadline passed in the queue")
        raise QueueTimeoutError(f"waited {pop.spec.queue_timeout_s:g} s for a slot of {pop.spec.id}")


def _finish(w: World, pop: Pop, worker: Worker, lease: Lease, instance: Instance | None) -> None:
    """Give slot and instance back, and the memory of a replaced worker whose last user this was."""
    lease.close()
    worker.users -= 1
    if not worker.watched:
        return
    same_life = lease.pool is pop.pool
    if instance is not None:
        give_back(w, pop, worker, instance, same_life=same_life)
    if not same_life:
        return
    left(w, pop, worker)
    if worker in pop.retired:
        drop_if_idle(w, pop, worker)


def drop_if_idle(w: World, pop: Pop, worker: Worker) -> None:
    """Let go of a replaced worker once nobody uses or starts it."""
    if worker.users == 0 and worker.starting is None:
        pop.retired.remove(worker)
        unload(w, pop, worker)


async def _wait_for_start(w: World, pop: Pop, worker: Worker, request: Request) -> tuple[Start, Role]:
    """Bring the worker to `loaded`; the start outlives a request that gives up on it.

    Raises StartError or DeadlineExceededError.
    """
    start: Start = "absent" if worker.stage is Stage.ABSENT else "disk"
    role: Role = "waiter"
    while worker.stage is not Stage.LOADED:  # a loaded worker can be evicted before its waiters run
        starting = worker.starting
        if starting is None:
            role = "trigger"
            starting = worker.starting = Waiter()
            w.spawn(start_worker(w, pop, worker), f"start:{pop.spec.id}:{worker.component.id}")
        failed = await w.wait(starting, request.deadline_s)
        if isinstance(failed, TimedOut):
            raise DeadlineExceededError("the request's deadline passed while its worker was being started")
        if failed is not None:
            raise failed
    return start, role


async def start_worker(w: World, pop: Pop, worker: Worker) -> None:
    """Fetch and load a worker, then resolve `worker.starting`. Never raises a foreseen error: waiters get it."""
    waiter = worker.starting
    assert waiter is not None
    life = pop.incarnation
    failed: EdgesimError | None = StartError(f"the start of {worker.component.id} was stopped")
    phases: list[tuple[PhaseName, float]] = []
    try:
        if worker.stage is Stage.ABSENT:
            began_s = w.now()
            name = await w.fetch_bundle(pop, worker)
            phases.append((name, w.now() - began_s))
            if pop.incarnation != life:
                return
            pop.disk.add(worker.component.digest)
            worker.stage = Stage.DISK
        phases.extend(await w.load_worker(pop, worker))
        if pop.incarnation == life:
            _admit(w, pop, worker)
            worker.stage = Stage.LOADED
            worker.used_s = w.now()
            worker.requests = 0
            pop.memory_bytes += worker.loaded_bytes
            watch(w, pop, worker)
            failed = None
        else:
            w.unload_worker(pop, worker)
    except EdgesimError as error:
        failed = error
    finally:
        worker.phases = list(phases)
        worker.starting = None
        waiter.resolve(failed)
        if worker in pop.retired:
            drop_if_idle(w, pop, worker)


def _admit(w: World, pop: Pop, newcomer: Worker) -> None:
    """Make room for a worker that the world has loaded. Raises StartError when there is none."""
    need = newcomer.loaded_bytes
    if not make_room(w, pop, need):
        w.unload_worker(pop, newcomer)
        raise StartError(
            f"{newcomer.component.id} needs {need} bytes of memory; {pop.spec.id} has "
            f"{max(0, pop.spec.memory_bytes - pop.memory_bytes)} of {pop.spec.memory_bytes} left",
            help="give the PoP more memory in topology.yaml",
        )


def _publish_cold_start(w: World, pop: Pop, worker: Worker, response: Response, total_s: float) -> None:
    """Tell metrics of a request's cold start: a trigger by phase, a waiter by the time it waited."""
    timings = response.timings
    phases: list[tuple[PhaseName, float]] = [*timings.phases, ("instantiate", timings.instantiate_s)]
    if timings.init_s:
        phases.append(("init", timings.init_s))
    phases.append(("first_call", timings.execute_s))
    publish_cold_start(
        w,
        pop,
        worker,
        start=response.start,
        role=response.role,
        cause="request",
        phases=phases,
        total_s=total_s,
    )


def publish_cold_start(
    w: World,
    pop: Pop,
    worker: Worker,
    *,
    start: Start,
    role: Role,
    cause: Literal["request", "deploy"],
    phases: list[tuple[PhaseName, float]],
    total_s: float,
) -> None:
    """Publish one ColdStarted."""
    w.publish(
        ColdStarted(
            pop=pop.spec.id,
            app=worker.release.app,
            version=worker.release.version,
            start=start,
            role=role,
            cause=cause,
            phases=tuple(phases),
            total_s=total_s,
        )
    )
