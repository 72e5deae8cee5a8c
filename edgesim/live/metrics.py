"""Metrics over HTTP: `/metrics` for Prometheus, `/-/stats` for merging across processes, and a prometheus_client collector.

What is measured and how it is written lives in `edgesim/observe`; here it meets the event loop and the network. Who may call
the handlers is decided where they are mounted.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any, Final, Protocol

import aiohttp
from aiohttp import web
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from edgesim.observe.exposition import CONTENT_TYPE, LE, chunks
from edgesim.observe.histogram import Histogram
from edgesim.observe.history import History, added
from edgesim.observe.store import Store
from edgesim.observe.summary import Summary, summarise

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping

    from prometheus_client.metrics_core import Metric as ClientMetric

    from edgesim.observe.catalog import Metric
    from edgesim.observe.recorder import Recorder
    from edgesim.observe.store import Labels

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

METRICS_PATH: Final = "/metrics"
STATS_PATH: Final = "/-/stats"
MAX_STATS_BYTES: Final = 64 << 20
"""Largest answer of `/-/stats` that is read: a process with 4,200 PoPs writes about a third of it."""
LAG_INTERVAL_S: Final = 0.1


class Measured(Protocol):
    """Whatever has values: a recorder, or the metrics of a load run."""

    @property
    def store(self) -> Store:
        """All values, up to date."""
        ...


def metrics_handler(measured: Measured) -> Handler:
    """An aiohttp handler for `/metrics`. Between chunks the loop serves others."""

    async def handle(request: web.Request) -> web.StreamResponse:
        return await _send(request, CONTENT_TYPE, chunks(measured.store))

    return handle


def stats_handler(recorder: Recorder) -> Handler:
    """An aiohttp handler for `/-/stats`: the text of `Recorder.snapshot()`. Between chunks the loop serves others."""

    async def handle(request: web.Request) -> web.StreamResponse:
        return await _send(request, "application/json", recorder.store.json_chunks(boot=recorder.boot))

    return handle


async def collect_stats(
    targets: Mapping[str, str],
    session: aiohttp.ClientSession,
    token: str = "",
    *,
    own: Iterable[Recorder] = (),
    history: History | None = None,
    timeout_s: float = 2.0,
) -> Summary:
    """Ask all processes for their snapshots and merge them.

    Args:
        targets: base URL (`http://127.0.0.1:40001`) by process name.
        session: the client to ask with.
        token: sent as bearer token when not empty.
        own: recorders of the calling process, when it is not among the targets.
        history: where processes that have ended since are remembered; without it, only what runs now is counted.
        timeout_s: how long one process may take.

    Returns:
        The summary; processes that did not answer stand in `missing` with the reason.
    """
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    timeout = aiohttp.ClientTimeout(total=timeout_s)

    async def ask(base: str) -> tuple[str, Store] | str:
        try:
            async with session.get(base.rstrip("/") + STATS_PATH, headers=headers, timeout=timeout) as response:
                if response.status != 200:
                    return f"answered {response.status}"
                body = await _read_at_most(response, MAX_STATS_BYTES)
            return await asyncio.to_thread(_parse, body)
        except TimeoutError:
            return f"no answer within {timeout_s:g} s"
        except aiohttp.ClientError as exc:
            return f"{type(exc).__name__}: {exc}"
        except ValueError as exc:
            return f"no valid statistics: {exc}"

    answers = dict(zip(targets, await asyncio.gather(*map(ask, targets.values())), strict=True))
    missing = {process: answer for process, answer in answers.items() if isinstance(answer, str)}
    alive = set(answers) - set(missing)
    lives = history or History()
    for process, answer in answers.items():
        if not isinstance(answer, str):
            lives.update(process, *answer)
    for recorder in own:
        lives.update(recorder.process, recorder.boot, added([(recorder.store, True)]))
        alive.add(recorder.process)
    parts = lives.parts(alive=alive)
    # In a thread: a large edge takes tens of milliseconds, and the caller may share its loop with a front door.
    return await asyncio.to_thread(lambda: summarise(added(parts), missing=missing))


async def watch_loop_lag(recorder: Recorder, *, interval_s: float = LAG_INTERVAL_S) -> None:
    """Record how late the running event loop wakes this task, until it is cancelled."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + interval_s
        await asyncio.sleep(interval_s)
        recorder.loop_lag(loop.time() - due)


class RecorderCollector(Collector):
    """A recorder as a prometheus_client collector, for programs that have a registry of their own."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    def collect(self) -> Iterable[ClientMetric]:
        """The recorder's families with the samples that `/metrics` has."""
        for family in self._recorder.store.families():
            yield _client_metric(family.metric, family.children)


def _client_metric(metric: Metric, children: Mapping[Labels, Any]) -> ClientMetric:
    if metric.kind == "histogram":
        histograms = HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)
        for labels, child in children.items():
            assert isinstance(child, Histogram)
            buckets = list(zip(LE, map(float, child.cumulative()), strict=True))
            histograms.add_metric(labels, buckets=buckets, sum_value=child.sum_s)
        return histograms
    family = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
    numbers = family(metric.name.removesuffix("_total"), metric.help, labels=metric.labels)
    for labels, child in children.items():
        numbers.add_metric(labels, child.value)
    return numbers


def _parse(body: bytes) -> tuple[str, Store]:
    """The boot id and the store of a `/-/stats` answer. Raises ValueError on anything else."""
    state = json.loads(body)
    store = Store.from_json(state)
    return str(state.get("boot", "")), store


async def _send(request: web.Request, content_type: str, pieces: Iterable[str]) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": content_type})
    await response.prepare(request)
    for piece in pieces:
        await response.write(piece.encode())
        await asyncio.sleep(0)
    await response.write_eof()
    return response


async def _read_at_most(response: aiohttp.ClientResponse, limit: int) -> bytes:
    """The response's body.

    Raises:
        ValueError: it is larger than `limit` bytes.
    """
    body = bytearray()
    async for chunk in response.content.iter_chunked(1 << 16):
        body += chunk
        if len(body) > limit:
            raise ValueError(f"larger than {limit} bytes")
    return bytes(body)
