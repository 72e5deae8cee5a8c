"""Workers: how they are started, what cold starts cost by phase and role, and the CPU time that guests use."""

from __future__ import annotations

from boards.model import (
    APP,
    AT_POP_OF_APP,
    OF_VERSION,
    POP,
    REGION,
    SINCE_START,
    VERSION,
    Board,
    Panel,
    gauge,
    quantile,
    quantile_since_start,
    quantile_since_start_by_region,
    rate,
)
from edgesim.observe import catalog

BOARD = Board(
    name="workers",
    title="Workers and cold starts",
    description="How workers are started, what cold starts cost, and what guests use.",
    variables=(REGION, POP, APP, VERSION),
    rows=(
        (
            "Workers",
            (
                Panel(
                    title="Requests by start",
                    description="How the worker was started: absent and disk are cold starts, none means that no guest ran.",
                    unit="reqps",
                    queries=(("{{start}}", rate(catalog.REQUESTS, "start", AT_POP_OF_APP)),),
                ),
                Panel(
                    title="Requests by version",
                    description="Which version of an app answers, over all PoPs.",
                    unit="reqps",
                    queries=(("{{app}}@{{version}}", rate(catalog.VERSION_REQUESTS, "app, version", OF_VERSION)),),
                ),
                Panel(
                    title="CPU time per request p99 by app",
                    description="99th percentile of the CPU time of a guest until its head was out, its start included.",
                    unit="s",
                    queries=(("{{app}}", quantile(0.99, catalog.WORKER_CPU, "app", AT_POP_OF_APP)),),
                ),
                Panel(
                    title="Warm instances by PoP",
                    description="Instances that stand ready for a request, as of the last beat.",
                    unit="short",
                    queries=(("{{pop}}", gauge(catalog.INSTANCES_WARM)),),
                ),
            ),
        ),
        (
            "Cold starts",
            (
                Panel(
                    title="Cold starts by PoP and role",
                    description="Cold starts per second: of the requests that caused one, of those that waited, and of deploys.",
                    unit="cps",
                    queries=(("{{pop}} {{role}}", rate(catalog.COLD_STARTS, "pop, role")),),
                ),
                Panel(
                    title="Cold-start p99 by PoP and role",
                    description="99th percentile of whole cold starts." + SINCE_START,
                    unit="s",
                    queries=(("{{pop}} {{role}}", quantile_since_start(0.99, catalog.COLD_START, "pop, role")),),
                ),
                Panel(
                    title="Cold-start p99 by region",
                    description="99th percentile of whole cold starts, of requests and deploys." + SINCE_START,
                    unit="s",
                    queries=(("{{region}}", quantile_since_start_by_region(0.99, catalog.COLD_START)),),
                ),
                Panel(
                    title="Cold-start p99 by phase and role",
                    description="99th percentile of each phase over the chosen PoPs." + SINCE_START,
                    unit="s",
                    queries=(("{{phase}} {{role}}", quantile_since_start(0.99, catalog.COLD_START_PHASE, "phase, role")),),
                ),
                Panel(
                    title="Cold-start p99 by phase and role, each PoP",
                    description="99th percentile of each phase on each PoP." + SINCE_START,
                    unit="s",
                    queries=(("", quantile_since_start(0.99, catalog.COLD_START_PHASE, "pop, phase, role")),),
                    kind="table",
                    width=24,
                ),
            ),
        ),
    ),
)  # fmt: skip
