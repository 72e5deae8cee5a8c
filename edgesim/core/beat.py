"""A PoP host's heartbeat: at a fixed rate, every PoP that is alive in it. A killed PoP just stops being there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgesim.model.events import HealthReported, PopHealth

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgesim.core.pop import Pop
    from edgesim.core.world import World
    from edgesim.model.ids import HostId


def health(host: HostId, boot: str, pops: Sequence[Pop]) -> HealthReported:
    """The host's health now."""
    return HealthReported(
        host=host,
        boot=boot,
        pops=tuple(
            PopHealth(
                pop=pop.spec.id,
                state="draining" if pop.draining else "ready" if pop.ready else "starting",
                busy=pop.pool.busy,
                queued=pop.pool.queued,
                loaded_bytes=pop.memory_bytes,
                warm=pop.warm,
            )
            for pop in pops
            if pop.alive
        ),
    )


async def beat(w: World, host: HostId, boot: str, pops: Sequence[Pop], interval_s: float) -> None:
    """Publish the host's health every `interval_s`, for ever."""
    while True:
        w.publish(health(host, boot, pops))
        await w.sleep(interval_s)
