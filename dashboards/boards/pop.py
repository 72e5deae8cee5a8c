"""PoPs one by one: what they serve, how fast, and how full they are."""

from __future__ import annotations

from boards.model import APP, AT_POP_OF_APP, POP, REGION, Board, Panel, gauge, quantile, rate
from edgesim.observe import catalog

BOARD = Board(
    name="pop",
    title="PoP",
    description="What PoPs serve, how fast, and how full they are.",
    variables=(REGION, POP, APP),
    rows=(
        (
            "Requests",
            (
                Panel(
                    title="Requests by PoP",
                    description="Where requests are served.",
                    unit="reqps",
                    queries=(("{{pop}}", rate(catalog.REQUESTS, "pop", AT_POP_OF_APP)),),
                ),
                Panel(
                    title="Requests by outcome",
                    description="Requests that PoPs have dealt with. Anything but ok is an error of worker, origin or edge.",
                    unit="reqps",
                    queries=(("{{outcome}}", rate(catalog.REQUESTS, "outcome", AT_POP_OF_APP)),),
                ),
                Panel(
                    title="p99 by PoP",
                    description="99th percentile of the measured time at the PoP, from arrival there to its answer.",
                    unit="s",
                    queries=(("{{pop}}", quantile(0.99, catalog.REQUEST_DURATION, "pop")),),
                ),
                Panel(
                    title="p50 by PoP",
                    description="Median of the measured time at the PoP, from arrival there to its answer.",
                    unit="s",
                    queries=(("{{pop}}", quantile(0.5, catalog.REQUEST_DURATION, "pop")),),
                ),
                Panel(
                    title="p99 by part",
                    description="Where requests spend their time: network (modelled), queue, start, execute, origin.",
                    unit="s",
                    queries=(("{{part}}", quantile(0.99, catalog.REQUEST_PART, "part")),),
                ),
                Panel(
                    title="PoPs that are up",
                    description="1 while the PoP was alive and ready in its host's last beat.",
                    unit="bool_on_off",
                    queries=(("{{pop}}", f'max by (pop) ({catalog.POP_UP.name}{{pop=~"$pop"}})'),),
                ),
            ),
        ),
        (
            "Pools",
            (
                Panel(
                    title="Busy instances by PoP",
                    description="Guests that run, as of the last beat.",
                    unit="short",
                    queries=(("{{pop}}", gauge(catalog.INSTANCES_BUSY)),),
                    width=8,
                ),
                Panel(
                    title="Pool use by PoP",
                    description="Busy instances as a share of the PoP's slots.",
                    unit="percentunit",
                    queries=(("{{pop}}", f"{gauge(catalog.INSTANCES_BUSY)} / {gauge(catalog.POOL_SLOTS)}"),),
                    width=8,
                ),
                Panel(
                    title="Queue depth by PoP",
                    description="Requests that wait for a slot, as of the last beat.",
                    unit="short",
                    queries=(("{{pop}}", gauge(catalog.QUEUE_DEPTH)),),
                    width=8,
                ),
                Panel(
                    title="Memory by PoP",
                    description="What the PoP's budget counts for loaded modules and instances.",
                    unit="bytes",
                    queries=(("{{pop}}", gauge(catalog.LOADED_BYTES)),),
                ),
                Panel(
                    title="Evictions by what and why",
                    description="Instances and modules that leave memory: idle for too long, or because of the memory budget.",
                    unit="cps",
                    queries=(("{{what}} {{why}}", rate(catalog.EVICTIONS, "what, why")),),
                ),
            ),
        ),
    ),
)
