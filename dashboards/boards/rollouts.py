"""Rollouts: which version is where, how fast desired documents and workers get to the PoPs, and what the new version does."""

from __future__ import annotations

from boards.model import (
    APP,
    OF_VERSION,
    POP,
    REGION,
    SINCE_START,
    VERSION,
    Board,
    Panel,
    failed_share,
    quantile_since_start_by_region,
    rate,
)
from edgesim.observe import catalog

DISTRIBUTED = '{pop=~"$pop", phase="distribute"}'
DEPLOYED = '{pop=~"$pop", role="deploy"}'

BOARD = Board(
    name="rollouts",
    title="Rollouts",
    description="Which version is where, how fast it got there, and how it does.",
    variables=(REGION, POP, APP, VERSION),
    rows=(
        (
            "Progress",
            (
                Panel(
                    title="PoPs by version",
                    description="PoPs by the version of an app that they serve.",
                    unit="short",
                    queries=(("{{app}}@{{version}}", f"sum by (app, version) ({catalog.ROLLOUT_POPS.name}{OF_VERSION})"),),
                ),
                Panel(
                    title="PoPs by reported state",
                    description="PoPs by the state that they report of their latest desired document, for each app that they serve.",
                    unit="short",
                    queries=(("{{app}} {{state}}", f"sum by (app, state) ({catalog.ROLLOUT_POPS.name}{OF_VERSION})"),),
                ),
                Panel(
                    title="Refused documents by PoP",
                    description="Desired documents that a PoP refused: not signed by this control plane, for another PoP, or old.",
                    unit="cps",
                    queries=(("{{pop}}", rate(catalog.REFUSED_DOCUMENTS, "pop")),),
                    width=24,
                ),
            ),
        ),
        (
            "Propagation",
            (
                Panel(
                    title="Document propagation p95 by region",
                    description="From the signing of a desired document to its arrival at the PoP, where it started a worker."
                    + SINCE_START,
                    unit="s",
                    queries=(
                        ("{{region}}", quantile_since_start_by_region(0.95, catalog.COLD_START_PHASE, DISTRIBUTED)),
                    ),
                ),
                Panel(
                    title="Time to readiness p95 by region",
                    description="From the signing of a desired document until its worker is loaded on the PoP." + SINCE_START,
                    unit="s",
                    queries=(("{{region}}", quantile_since_start_by_region(0.95, catalog.COLD_START, DEPLOYED)),),
                ),
            ),
        ),
        (
            "The versions at work",
            (
                Panel(
                    title="Requests by version",
                    description="Which version answers, over all PoPs.",
                    unit="reqps",
                    queries=(("{{app}}@{{version}}", rate(catalog.VERSION_REQUESTS, "app, version", OF_VERSION)),),
                ),
                Panel(
                    title="Share of failed requests by version",
                    description="Requests that ended with an error of worker, origin or edge, as a share of the version's, over all PoPs.",
                    unit="percentunit",
                    queries=(("{{app}}@{{version}}", failed_share(catalog.VERSION_REQUESTS, "app, version", OF_VERSION)),),
                ),
            ),
        ),
    ),
)  # fmt: skip
