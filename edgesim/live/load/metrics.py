"""The metrics of a load run, for Prometheus while it goes on (`edgesim load run --prometheus 9464`).

They are what the run's progress says twice a second, so a scrape costs the generator nothing: it is another process. Exact
figures are in the run's summary.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from aiohttp import web

from edgesim.errors import PortInUseError
from edgesim.live.metrics import METRICS_PATH, metrics_handler
from edgesim.observe import catalog
from edgesim.observe.store import Store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from edgesim.live.load.run import Progress
    from edgesim.scenario.spec import Scenario


class RunMetrics:
    """The store of one run."""

    def __init__(self, scenario: Scenario) -> None:
        self.store = Store()
        self._name = scenario.name
        self._phases = tuple(phase.name for phase in scenario.load.phases)
        # All series exist from the start: one that appears with its first value has no increase for Prometheus.
        for metric in (catalog.LOAD_SENT, catalog.LOAD_ANSWERED, catalog.LOAD_FAILED, catalog.LOAD_DROPPED):
            self.store.number(metric, self._name)
        self.store.number(catalog.LOAD_IN_FLIGHT, self._name)
        for phase in self._phases:
            self.store.number(catalog.LOAD_PHASE, self._name, phase)

    def progress(self, progress: Progress) -> None:
        """Take in how the run goes."""
        store, name = self.store, self._name
        store.number(catalog.LOAD_SENT, name).value = progress.sent
        store.number(catalog.LOAD_ANSWERED, name).value += progress.done
        store.number(catalog.LOAD_FAILED, name).value = progress.failed
        store.number(catalog.LOAD_DROPPED, name).value = progress.dropped
        store.number(catalog.LOAD_IN_FLIGHT, name).value = progress.in_flight
        for quantile, seconds in (("0.5", progress.p50_s), ("0.99", progress.p99_s)):
            if seconds is not None:  # nothing was answered: the last value stays
                store.number(catalog.LOAD_RESPONSE, name, quantile).value = seconds
        if progress.lag_p99_s is not None:
            store.number(catalog.LOAD_LAG, name, "0.99").value = progress.lag_p99_s
        for number, phase in enumerate(self._phases):
            store.number(catalog.LOAD_PHASE, name, phase).value = int(number == progress.phase)


@asynccontextmanager
async def serving(metrics: RunMetrics, port: int, host: str = "127.0.0.1") -> AsyncIterator[str]:
    """Serve `/metrics` there until the block ends; the URL. Port 0 takes any free one.

    Raises:
        PortInUseError: somebody else listens there.
    """
    app = web.Application()
    app.router.add_get(METRICS_PATH, metrics_handler(metrics))
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port)
        try:
            await site.start()
        except OSError as exc:
            raise PortInUseError(
                f"cannot serve the run's metrics at {host}:{port}: {exc.strerror or exc}",
                help="name another port with --prometheus",
            ) from exc
        bound = runner.addresses[0][1]
        yield f"http://{host}:{bound}{METRICS_PATH}"
    finally:
        await runner.cleanup()
