"""One component of an app that `edgesim run` serves: its code, what it is granted, and the instances that serve again."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

from edgesim.core.instances import Instance, Instances
from edgesim.model.stream import Stream
from edgesim.model.worker import Reuse
from edgesim.wasm.keeping import KeptInstance

if TYPE_CHECKING:
    from edgesim.live.tally import Tally
    from edgesim.model.worker import Component
    from edgesim.wasm.guest import Grants, GuestRequest, GuestResponse
    from edgesim.wasm.runtime import LoadedWorker


@dataclass(slots=True, kw_only=True)
class Part:
    """One component of the app, ready to serve."""

    component: Component
    worker: LoadedWorker
    grants: Grants
    tally: Tally
    took_s: float
    """Time to compile and load it."""
    _instances: Instances = field(default_factory=Instances)
    _closed: bool = False

    async def run(self, request: GuestRequest) -> GuestResponse:
        """Serve one request, in a fresh instance or in one that may serve again. Raises GuestError."""
        instance = self._take()
        kept: KeptInstance | None = None
        if instance.again or instance.handle is not None:
            kept, instance.handle = instance.handle or KeptInstance(), None
        answer = await self.worker.run(request, self.component.limits, self.grants, kept=kept)
        if kept is not None:
            give_back = partial(self._give_back, instance, kept)
            if answer.ended is None or answer.ended.done:
                give_back()
            else:
                answer.ended.parked.append(give_back)
        return answer

    def close(self) -> None:
        """Free the instances that wait; those that serve end with their requests."""
        self._closed = True
        for instance in self._instances.idle:
            instance.handle.close()
        self._instances.idle.clear()

    def _take(self) -> Instance:
        """The instance that became idle last, or a new one."""
        if self._instances.idle:
            instance = self._instances.idle.pop()
        else:
            instance = Instance(0)
            instance.draw(reuse_of(self.component), Stream(random.getrandbits(64)))
        instance.uses += 1
        return instance

    def _give_back(self, instance: Instance, kept: KeptInstance) -> None:
        """Its request is over: it waits for another one, as long as it may."""
        if not kept:
            return
        if self._closed or not instance.again:
            kept.close()
            return
        instance.handle, loop = kept, asyncio.get_running_loop()
        instance.idle_since_s = loop.time()
        self._instances.idle.append(instance)
        loop.call_at(instance.expires_s, self._expire)

    def _expire(self) -> None:
        """Free those whose time is over."""
        now_s = asyncio.get_running_loop().time()
        for instance in [each for each in self._instances.idle if each.expires_s <= now_s]:
            self._instances.idle.remove(instance)
            instance.handle.close()


def reuse_of(component: Component) -> Reuse:
    """How long its instances can live here: a command ends with its request, and one instance serves one request at a time."""
    if component.abi in ("wasi-http", "wasi-http-p3"):
        return replace(component.reuse, max_instance_concurrent_reuse_count=(1, 1))
    return Reuse()
