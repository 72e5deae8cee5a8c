"""The first look: is the edge well, where is the traffic, which region is slow."""

from __future__ import annotations

from boards.model import (
    APP,
    AT_POP_OF_APP,
    OF_APP,
    POP,
    REGION,
    Board,
    Panel,
    failed_share,
    gauge,
    quantile,
    quantile_by_region,
    rate,
    rate_by_region,
)
from edgesim.observe import catalog

BOARD = Board(
    name="overview",
    title="Overview",
    description="An edge CDN on one machine: traffic, errors and latency by region.",
    variables=(REGION, POP, APP),
    rows=(
        (
            "Now",
            (
                Panel(
                    title="PoPs that are up",
                    description="PoPs that were alive and ready in their hosts' last beats.",
                    unit="short",
                    queries=(("up", f'sum ({catalog.POP_UP.name}{{pop=~"$pop"}})'),),
                    kind="stat",
                    width=6,
                ),
                Panel(
                    title="Requests now",
                    description="Requests per second that the front door finishes.",
                    unit="reqps",
                    queries=(("requests", rate(catalog.FRONT_DOOR_REQUESTS, "", OF_APP)),),
                    kind="stat",
                    width=6,
                ),
                Panel(
                    title="Failed now",
                    description="Requests that end with an error of worker, origin or edge, as a share of all.",
                    unit="percentunit",
                    queries=(("failed", failed_share(catalog.FRONT_DOOR_REQUESTS, "", OF_APP)),),
                    kind="stat",
                    width=6,
                ),
                Panel(
                    title="p99 now",
                    description="99th percentile of the measured time at the chosen PoPs.",
                    unit="s",
                    queries=(("p99", quantile(0.99, catalog.REQUEST_DURATION, "")),),
                    kind="stat",
                    width=6,
                ),
            ),
        ),
        (
            "Traffic",
            (
                Panel(
                    title="Requests by region",
                    description="Where requests are served.",
                    unit="reqps",
                    queries=(("{{region}}", rate_by_region(catalog.REQUESTS, AT_POP_OF_APP)),),
                ),
                Panel(
                    title="Requests by app and outcome",
                    description="What became of requests at the front door. Anything but ok is an error of worker, origin or edge.",
                    unit="reqps",
                    queries=(("{{app}} {{outcome}}", rate(catalog.FRONT_DOOR_REQUESTS, "app, outcome", OF_APP)),),
                ),
                Panel(
                    title="p99 by region",
                    description="99th percentile of the measured time at the PoPs of a region.",
                    unit="s",
                    queries=(("{{region}}", quantile_by_region(0.99, catalog.REQUEST_DURATION)),),
                ),
                Panel(
                    title="p50 by region",
                    description="Median of the measured time at the PoPs of a region.",
                    unit="s",
                    queries=(("{{region}}", quantile_by_region(0.5, catalog.REQUEST_DURATION)),),
                ),
            ),
        ),
        (
            "PoPs and processes",
            (
                Panel(
                    title="Busiest PoPs",
                    description="Busy instances as a share of the slots, as of the last beat; sort by the value.",
                    unit="percentunit",
                    queries=(("", f"{gauge(catalog.INSTANCES_BUSY)} / {gauge(catalog.POOL_SLOTS)}"),),
                    kind="table",
                ),
                Panel(
                    title="Event loop lag p99",
                    description="How late each process's event loop woke from its timer.",
                    unit="s",
                    queries=(("{{process}}", quantile(0.99, catalog.LOOP_LAG, "process", "")),),
                ),
            ),
        ),
    ),
)
