"""The front door: what becomes of requests, where they are routed, and what failing PoPs cost."""

from __future__ import annotations

from boards.model import APP, OF_APP, POP, REGION, Board, Panel, failed_share, quantile, rate
from edgesim.observe import catalog

BOARD = Board(
    name="front-door",
    title="Front door",
    description="What becomes of requests at the front door, where they are routed, and failovers.",
    variables=(REGION, POP, APP),
    rows=(
        (
            "Requests",
            (
                Panel(
                    title="Requests by outcome",
                    description="Requests that the front door has finished, also those that no PoP answered.",
                    unit="reqps",
                    queries=(("{{outcome}}", rate(catalog.FRONT_DOOR_REQUESTS, "outcome", OF_APP)),),
                ),
                Panel(
                    title="Share of failed requests by app",
                    description="Requests that ended with an error of worker, origin or edge, as a share of all.",
                    unit="percentunit",
                    queries=(("{{app}}", failed_share(catalog.FRONT_DOOR_REQUESTS, "app", OF_APP)),),
                ),
                Panel(
                    title="p99 by answering PoP",
                    description="99th percentile of the measured time at the front door, with the network time that was waited for.",
                    unit="s",
                    queries=(("{{pop}}", quantile(0.99, catalog.FRONT_DOOR_DURATION, "pop")),),
                ),
                Panel(
                    title="Modelled network time",
                    description="Network time between clients and PoPs by the model, unscaled, over all PoPs.",
                    unit="s",
                    queries=(
                        ("p50", quantile(0.5, catalog.FRONT_DOOR_NETWORK, "", "")),
                        ("p99", quantile(0.99, catalog.FRONT_DOOR_NETWORK, "", "")),
                    ),
                ),
            ),
        ),
        (
            "Routing",
            (
                Panel(
                    title="Routing decisions",
                    description="first: the best-ranked PoP answered; skipped: better ones were out; failover: one failed meanwhile.",
                    unit="reqps",
                    queries=(("{{reason}}", rate(catalog.ROUTED_REQUESTS, "reason")),),
                ),
                Panel(
                    title="Failovers by failing PoP",
                    description="Attempts that failed at a PoP before the first byte of an answer.",
                    unit="reqps",
                    queries=(("{{from_pop}}", rate(catalog.FAILOVERS, "from_pop", '{from_pop=~"$pop"}')),),
                ),
            ),
        ),
    ),
)
