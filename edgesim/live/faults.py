"""Injected faults in a process: takes the control plane's orders, and puts the faults in the way of what they disturb.

A PoP host has the faults of origins, of the way to them, and of its PoPs' share of the bus; the front door those between
clients and PoPs. Nothing is in the way before the first order. Faults end by themselves, also when nobody is left to end them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from aiohttp import web

from edgesim.config.faults import FAULT_BYTES_MAX, FaultOrder, decode_fault
from edgesim.core.faults import FaultedNetwork, Faults, faulted_origin
from edgesim.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgesim.core.front_door import Door
    from edgesim.live.world import LiveWorld
    from edgesim.model.events import HealthReported
    from edgesim.model.ids import PopId

FAULTS_PATH: Final = "/-/faults"


class ProcessFaults:
    """The faults of one process."""

    def __init__(self, world: LiveWorld) -> None:
        self.faults = Faults()
        self._world = world
        self._fresh = True

    async def handle(self, request: web.BaseRequest) -> web.Response:
        """`POST /-/faults`; whoever calls has checked the token. Raises InputError."""
        if request.content_length is None or request.content_length > FAULT_BYTES_MAX:
            raise InputError(f"a fault has at most {FAULT_BYTES_MAX} bytes")
        self.take(decode_fault(FaultOrder, await request.read()))
        return web.json_response({})

    def take(self, order: FaultOrder) -> None:
        """Take a fault in, or end all."""
        now_s = self._world.now()
        wanted = order.link or order.origin
        if wanted is None:
            self.faults.clear()
            return
        self.faults.add(wanted.value(now_s), now_s)
        if self._fresh:
            self._fresh = False
            self._install()

    def _install(self) -> None:
        """Stand in the way; done with the first fault."""
        raise NotImplementedError


class HostFaults(ProcessFaults):
    """Those of a PoP host."""

    def __init__(self, world: LiveWorld, time_scale: float) -> None:
        super().__init__(world)
        self._time_scale = time_scale

    def _install(self) -> None:
        world = self._world
        world.fetch_origin = faulted_origin(world, world.fetch_origin, self.faults, time_scale=self._time_scale)

    def audible(self, event: HealthReported) -> HealthReported:
        """A beat without the PoPs that are cut off from the bus."""
        if self._fresh:
            return event
        now_s = self._world.now()
        return replace(event, pops=tuple(p for p in event.pops if not self._cut(p.pop, now_s)))

    def late(self, pop: PopId, deliver: Callable[[], None]) -> bool:
        """Whether a message from or to the PoP must wait; if so, `deliver` is called when it gets through."""
        if self._fresh:
            return False
        now_s = self._world.now()
        link = self.faults.link(pop, "control-plane", now_s)
        if link is None:
            return False
        late_s = link.until_s - now_s if link.cut else sum(link.extra_s(self.faults.stream)) * self._time_scale

        async def later() -> None:
            await self._world.sleep(late_s)
            deliver()

        self._world.spawn(later(), f"late:{pop}")
        return True

    def _cut(self, pop: PopId, now_s: float) -> bool:
        link = self.faults.link(pop, "control-plane", now_s)
        return link is not None and link.cut


class DoorFaults(ProcessFaults):
    """Those of a front door."""

    def __init__(self, world: LiveWorld, door: Door) -> None:
        super().__init__(world)
        self._door = door

    def _install(self) -> None:
        self._door.network = FaultedNetwork(self._door.network, self.faults, self._world.now)
