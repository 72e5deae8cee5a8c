"""Keeps instances: gives a request one, takes it back, lets idle ones go in time, and has some ready if the policy says so.

A worker whose instances are all thrown away after one request, under a policy that wants nothing, never comes here
(`Worker.watched`). Each worker that needs it has one flow of its own, `tend`, which sleeps until the next thing is due and
ends when nothing is. Memory is `core/memory.py`'s.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from edgesim.core.instances import Instance
from edgesim.core.memory import charge, drop_idle_one, evicted, make_room, unload
from edgesim.core.pop import Stage, Tender
from edgesim.core.waiter import Waiter
from edgesim.errors import EdgesimError, OverloadedError

if TYPE_CHECKING:
    from edgesim.core.pop import Pop, Worker
    from edgesim.core.request import Request
    from edgesim.core.world import World


def watch(w: World, pop: Pop, worker: Worker) -> None:
    """A worker has just been loaded: find out whether it needs this module, and begin to tend it."""
    # A filter lives beside the instance of the worker behind it; the world makes it for each request.
    worker.ready = 0 if worker.component.abi == "proxy-wasm" else pop.scaling.ready
    reuse = worker.reuse
    worker.once = (
        worker.ready == 0
        and reuse.max_instance_reuse_count[1] == 1
        and reuse.max_instance_concurrent_reuse_count == (1, 1)
        and reuse.idle_instance_timeout_s[0] == reuse.idle_instance_timeout_s[1]
    )
    worker.watched = (
        worker.retired
        or reuse.max_instance_reuse_count[1] > 1
        or worker.instance_bytes > 0
        or worker.ready > 0
        or pop.scaling.unload_after_s < inf
    )
    if worker.watched and not worker.retired:
        attend(w, pop, worker, w.now())


# -- requests -------------------------------------------------------------------------------------------------------------


def take(w: World, pop: Pop, worker: Worker, request: Request) -> Instance:
    """An instance for a request: an idle one, one that serves others beside, or a new one without a handle.

    Raises:
        OverloadedError: the memory budget has no room for another instance.
    """
    if worker.once:
        instance = _new(w, pop, worker)
        instance.max_uses = instance.uses = instance.active = 1
        return instance
    instance = _idle(w, pop, worker) or worker.instances.join() or _new(w, pop, worker)
    if not instance.max_uses:
        instance.draw(worker.reuse, request.stream)
    instance.uses += 1
    instance.active += 1
    if instance.max_active > 1 and instance.again:
        worker.instances.shared[instance] = None
    if len(worker.instances.idle) < worker.ready:
        attend(w, pop, worker, w.now())
    return instance


def _new(w: World, pop: Pop, worker: Worker) -> Instance:
    """A new instance, with its place in the memory budget."""
    need_bytes = worker.instance_bytes
    if pop.memory_bytes + need_bytes > pop.spec.memory_bytes and not make_room(w, pop, need_bytes):
        raise OverloadedError(
            f"the memory of {pop.spec.id} has no room for an instance of {worker.component.id}: it needs "
            f"{need_bytes} bytes, and {pop.memory_bytes} of {pop.spec.memory_bytes} are in use",
            help="give the PoP more memory or fewer slots in topology.yaml",
        )
    instance = Instance(need_bytes)
    instance.charged = need_bytes
    pop.memory_bytes += need_bytes
    return instance


def _idle(w: World, pop: Pop, worker: Worker) -> Instance | None:
    """The idle instance that was used last and is not over its time."""
    now_s, idle = w.now(), worker.instances.idle
    while idle:
        instance = idle.pop()
        if instance.expires_s > now_s or len(idle) < worker.ready:
            pop.warm -= 1
            return instance
        drop_idle_one(w, pop, worker, instance, "idle")
    return None


def give_back(w: World, pop: Pop, worker: Worker, instance: Instance, *, same_life: bool) -> None:
    """A request has ended; in the same life of the PoP in which it took the instance, or after a kill."""
    instance.active -= 1
    if (
        worker.once and instance.handle is None and instance.max_active == 1
    ):  # the usual case: it is gone, and nobody has taken note of it
        if same_life:
            pop.memory_bytes -= instance.charged
        return
    if instance.active == 0:
        worker.instances.shared.pop(instance, None)
    if not same_life:  # a kill has taken everything and reset the accounts
        if instance.active == 0:
            w.drop_instance(pop, worker, instance)
        return
    charge(pop, instance, instance.bytes)
    if instance.active == 0:
        if instance.again and instance.handle is not None and worker.stage is Stage.LOADED and not worker.retired:
            instance.idle_since_s = w.now()
            worker.instances.idle.append(instance)
            pop.warm += 1
            attend(w, pop, worker, instance.expires_s)
        else:
            charge(pop, instance, 0)
            w.drop_instance(pop, worker, instance)
    make_room(w, pop, 0)  # it may have grown while it served


def left(w: World, pop: Pop, worker: Worker) -> None:
    """A request of a watched worker is through: from now on it may be unused."""
    worker.used_s = now_s = w.now()
    if worker.users == 0 and worker.stage is Stage.LOADED and not worker.retired:
        if len(worker.instances.idle) < worker.ready:
            attend(w, pop, worker, now_s)
        elif pop.scaling.unload_after_s < inf:
            attend(w, pop, worker, now_s + pop.scaling.unload_after_s)


# -- between requests -----------------------------------------------------------------------------------------------------


def attend(w: World, pop: Pop, worker: Worker, due_s: float) -> None:
    """Have `tend` look at the worker at `due_s` at the latest."""
    tender = worker.tender
    if tender is None:
        worker.tender = tender = Tender()
        w.spawn(tend(w, pop, worker, tender), f"tend:{pop.spec.id}:{worker.component.id}")
    elif due_s < tender.due_s:
        tender.due_s = due_s
        tender.poke.resolve(None)


async def tend(w: World, pop: Pop, worker: Worker, tender: Tender) -> None:
    """Drop instances and modules whose time is over, and have instances ready, until nothing is due any more."""
    life = pop.incarnation
    while worker.tender is tender and pop.incarnation == life:
        tender.due_s = -inf  # while it looks, nobody needs to poke it
        tender.poke = Waiter()
        _expire(w, pop, worker)
        _rest(w, pop, worker)
        if worker.tender is not tender:
            return
        if len(worker.instances.idle) < worker.ready and await _prepare(w, pop, worker, tender):
            continue
        if worker.tender is not tender:
            return
        due_s = _next(pop, worker)
        if due_s == inf:
            worker.tender = None
            return
        tender.due_s = due_s
        await w.wait(tender.poke, due_s)


def _expire(w: World, pop: Pop, worker: Worker) -> None:
    """Drop idle instances whose time is over, the longest idle first; the policy's number of them stays."""
    now_s, instances = w.now(), worker.instances
    spare = len(instances.idle) - worker.ready
    for instance in list(instances.idle):
        if spare <= 0:
            return
        if instance.expires_s <= now_s:
            instances.idle.remove(instance)
            drop_idle_one(w, pop, worker, instance, "idle")
            spare -= 1


def _rest(w: World, pop: Pop, worker: Worker) -> None:
    """Unload a worker that nobody has used for as long as the policy says."""
    if worker.users == 0 and worker.used_s + pop.scaling.unload_after_s <= w.now():
        unload(w, pop, worker)
        evicted(w, pop, worker, "module", "idle")


def _next(pop: Pop, worker: Worker) -> float:
    """When the next thing is due; infinite for never."""
    idle = worker.instances.idle
    due_s = min((instance.expires_s for instance in idle), default=inf) if len(idle) > worker.ready else inf
    if worker.users == 0:
        due_s = min(due_s, worker.used_s + pop.scaling.unload_after_s)
    return due_s


async def _prepare(w: World, pop: Pop, worker: Worker, tender: Tender) -> bool:
    """Make one instance ahead of time, in free memory only. False when it cannot be had: the next request asks again."""
    if pop.memory_bytes + worker.instance_bytes > pop.spec.memory_bytes:
        return False
    life = pop.incarnation
    instance = Instance(worker.instance_bytes)
    charge(pop, instance, worker.instance_bytes)
    try:
        await w.make_instance(pop, worker, instance)
        if instance.handle is None and pop.incarnation == life:
            worker.ready = 0  # the world cannot keep such instances: it is not asked again
    except EdgesimError:
        pass  # a guest that cannot even be instantiated tells the next request why
    finally:
        kept = False
        if pop.incarnation == life:
            kept = instance.handle is not None and worker.tender is tender
            charge(pop, instance, instance.bytes if kept else 0)
        if kept:
            instance.idle_since_s = w.now()
            instance.idle_timeout_s = worker.reuse.idle_instance_timeout_s[0]  # until its first request draws one
            # At the start of the list: instances that have served are taken first and reach the end of their lives.
            worker.instances.idle.insert(0, instance)
            pop.warm += 1
        elif instance.handle is not None:
            w.drop_instance(pop, worker, instance)
    return kept
