"""A load run beside the edge that it loads: is it the generator, the edge or the worker that is slow."""

from __future__ import annotations

from boards.model import (
    POP,
    REGION,
    SCENARIO,
    Board,
    Panel,
    gauge,
    quantile_by_region,
    rate,
    rate_by_region,
)
from edgesim.observe import catalog

OF_RUN = '{scenario=~"$scenario"}'

BOARD = Board(
    name="load-run",
    title="Load run",
    description="What a run of `edgesim load run --prometheus 9464` sends and sees, beside the edge.",
    variables=(SCENARIO, REGION, POP),
    rows=(
        (
            "Seen by the load generator",
            (
                Panel(
                    title="Requests sent, answered, failed and dropped",
                    description="What the run sends and gets. Dropped arrivals were not sent: too many requests were in flight.",
                    unit="reqps",
                    queries=(
                        ("sent", rate(catalog.LOAD_SENT, "", OF_RUN)),
                        ("answered", rate(catalog.LOAD_ANSWERED, "", OF_RUN)),
                        ("failed", rate(catalog.LOAD_FAILED, "", OF_RUN)),
                        ("dropped", rate(catalog.LOAD_DROPPED, "", OF_RUN)),
                    ),
                ),
                Panel(
                    title="Response time",
                    description="Quantiles of the last half second, counted from the intended send time.",
                    unit="s",
                    queries=(
                        ("{{scenario}} p{{quantile}}", gauge(catalog.LOAD_RESPONSE, "scenario, quantile", OF_RUN)),
                    ),
                ),
                Panel(
                    title="Generator lag p99",
                    description="How late the generator sent, of the whole run. Where it is large, the run proves nothing.",
                    unit="s",
                    queries=(("{{scenario}}", gauge(catalog.LOAD_LAG, "scenario", OF_RUN)),),
                    width=8,
                ),
                Panel(
                    title="Requests in flight",
                    description="Requests of the run that have no answer yet.",
                    unit="short",
                    queries=(("{{scenario}}", gauge(catalog.LOAD_IN_FLIGHT, "scenario", OF_RUN)),),
                    width=8,
                ),
                Panel(
                    title="Phase",
                    description="1 for the phase that the run is in.",
                    unit="bool_on_off",
                    queries=(("{{scenario}} {{phase}}", gauge(catalog.LOAD_PHASE, "scenario, phase", OF_RUN)),),
                    width=8,
                ),
            ),
        ),
        (
            "Seen by the edge",
            (
                Panel(
                    title="Requests by region",
                    description="Where requests are served, those of others included.",
                    unit="reqps",
                    queries=(("{{region}}", rate_by_region(catalog.REQUESTS)),),
                ),
                Panel(
                    title="p99 by region",
                    description="99th percentile of the measured time at the PoPs of a region.",
                    unit="s",
                    queries=(("{{region}}", quantile_by_region(0.99, catalog.REQUEST_DURATION)),),
                ),
                Panel(
                    title="Cold starts by role",
                    description="Cold starts per second: of the requests that caused one, of those that waited, and of deploys.",
                    unit="cps",
                    queries=(("{{role}}", rate(catalog.COLD_STARTS, "role")),),
                ),
                Panel(
                    title="Queue depth by PoP",
                    description="Requests that wait for a slot, as of the last beat.",
                    unit="short",
                    queries=(("{{pop}}", gauge(catalog.QUEUE_DEPTH)),),
                ),
            ),
        ),
    ),
)
