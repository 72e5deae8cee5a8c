"""A PoP's memory budget: what loaded modules and instances take, and who goes when something else needs the room.

Idle instances go before modules, the longest idle first; modules in the order of the PoP's eviction policy; nothing that
serves a request or is being started goes. What never fits evicts nobody.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from edgesim.core.pop import Stage
from edgesim.model.events import Evicted

if TYPE_CHECKING:
    from edgesim.core.instances import Instance
    from edgesim.core.pop import Pop, Worker
    from edgesim.core.world import World


def make_room(w: World, pop: Pop, need_bytes: int) -> bool:
    """Evict until `need_bytes` more fit into the budget; False, with nothing evicted, when they cannot."""
    over_bytes = pop.memory_bytes + need_bytes - pop.spec.memory_bytes
    if over_bytes <= 0:
        return True
    loaded = pop.loaded()
    instances = [(instance, worker) for worker in loaded for instance in worker.instances.idle]
    unused = [worker for worker in loaded if worker.users == 0 and worker.starting is None]
    # Asked first: what never fits must not cost its neighbours their memory, again with each of its requests.
    if sum(i.charged for i, _ in instances) + sum(worker.loaded_bytes for worker in unused) < over_bytes:
        return False
    limit_bytes = pop.spec.memory_bytes - need_bytes
    for instance, worker in sorted(instances, key=lambda pair: pair[0].idle_since_s):
        if pop.memory_bytes <= limit_bytes:
            return True
        if instance.charged:
            worker.instances.idle.remove(instance)
            drop_idle_one(w, pop, worker, instance, "memory")
    for worker in pop.eviction.order(unused):
        if pop.memory_bytes <= limit_bytes:
            return True
        unload(w, pop, worker)
        evicted(w, pop, worker, "module", "memory")
    return pop.memory_bytes <= limit_bytes


def charge(pop: Pop, instance: Instance, to_bytes: int) -> None:
    """Count `to_bytes` for an instance from now on."""
    pop.memory_bytes += to_bytes - instance.charged
    instance.charged = to_bytes


def drop_idle_one(w: World, pop: Pop, worker: Worker, instance: Instance, why: Literal["idle", "memory"]) -> None:
    """Drop an instance that was just taken from `idle`, because of `why`."""
    pop.warm -= 1
    charge(pop, instance, 0)
    w.drop_instance(pop, worker, instance)
    evicted(w, pop, worker, "instance", why)


def drop_idle(w: World, pop: Pop, worker: Worker) -> None:
    """Drop all idle instances of a worker that nobody will ask for them."""
    idle, worker.instances.idle = worker.instances.idle, []
    pop.warm -= len(idle)
    for instance in idle:
        charge(pop, instance, 0)
        w.drop_instance(pop, worker, instance)


def unload(w: World, pop: Pop, worker: Worker) -> None:
    """Take a loaded worker and its idle instances out of memory; it is still on disk."""
    if worker.stage is Stage.LOADED:
        drop_idle(w, pop, worker)
        pop.memory_bytes -= worker.loaded_bytes
        forget(w, pop, worker)


def forget(w: World, pop: Pop, worker: Worker) -> None:
    """Let the world free a loaded worker, without touching the PoP's accounts: a kill may have reset them."""
    worker.stage = Stage.DISK
    worker.untend()
    for instance in worker.instances.idle:
        w.drop_instance(pop, worker, instance)
    worker.instances.idle.clear()
    w.unload_worker(pop, worker)


def evicted(
    w: World, pop: Pop, worker: Worker, what: Literal["instance", "module"], why: Literal["idle", "memory"]
) -> None:
    """Publish one Evicted."""
    release = worker.release
    w.publish(Evicted(pop=pop.spec.id, app=release.app, version=release.version, what=what, why=why))
