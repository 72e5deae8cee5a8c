"""Passes faults that somebody injects on to the processes that carry them out: every PoP host and front door.

The control plane keeps none of them: they end by themselves, and a process that starts later does not have them.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import aiohttp

from edgesim.config.faults import FaultOrder, FaultRequest, LinkOrder, LinkRequest
from edgesim.config.validation import did_you_mean
from edgesim.errors import ControlPlaneError, NotFoundError
from edgesim.live import hop
from edgesim.live.control import views
from edgesim.live.faults import FAULTS_PATH

if TYPE_CHECKING:
    from edgesim.live.control.service import ControlPlane

_TIMEOUT: Final = aiohttp.ClientTimeout(total=10)


def order_of(control: ControlPlane, request: FaultRequest) -> FaultOrder:
    """The request with its places looked up. Raises NotFoundError, saying what there is."""
    if request.link is None:
        assert request.origin is not None, "checked by the model"
        known = set(control.topology.origins)
        if request.origin.origin and request.origin.origin not in known:
            hint = did_you_mean(request.origin.origin, known, what="origins")
            raise NotFoundError(f"there is no origin '{request.origin.origin}'", help=hint)
        return FaultOrder(origin=request.origin)
    link = request.link
    fields = link.model_dump(exclude={"pop", "region"})
    return FaultOrder(link=LinkOrder(pops=_pops(control, link), **fields))


def _pops(control: ControlPlane, link: LinkRequest) -> tuple[str, ...]:
    if link.pop:
        return (views.require_pop(control, link.pop),)
    pops = {spec.id: spec.region for spec in control.topology.pops if spec.id in control.assignment}
    if link.region and link.region not in pops.values():
        hint = did_you_mean(link.region, set(pops.values()), what="regions")
        raise NotFoundError(f"there is no region '{link.region}'", help=hint)
    return tuple(pop for pop, region in pops.items() if link.region in {"", region})


async def pass_on(control: ControlPlane, session: aiohttp.ClientSession, token: str, order: FaultOrder) -> list[str]:
    """Tell every process that is up; their names.

    Raises:
        ControlPlaneError: one of them did not take it.
    """
    body = order.model_dump_json().encode()
    targets = {
        name: (presence.data_url if presence.kind == "pop-host" else presence.metrics_url)
        for name, presence in control.observed.presences.items()
        if presence.up and presence.metrics_url
    }

    async def tell(name: str, url: str) -> None:
        try:
            async with session.post(
                url + FAULTS_PATH, data=body, headers={hop.TOKEN: token}, timeout=_TIMEOUT
            ) as response:
                if response.status >= 400:
                    text = (await response.content.read(500)).decode(errors="replace")
                    raise ControlPlaneError(f"{name} refused the fault: {text}")
        except (aiohttp.ClientError, TimeoutError) as exc:
            raise ControlPlaneError(f"{name} does not answer: {str(exc) or 'timeout'}", where=url) from exc

    await asyncio.gather(*(tell(name, url) for name, url in targets.items()))
    return sorted(targets)
