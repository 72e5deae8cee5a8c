"""Metrics over real HTTP: both endpoints, and merging across processes."""

from __future__ import annotations

import asyncio

import aiohttp
from aiohttp import web
from aiohttp.test_utils import TestServer
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from edgesim.live.metrics import (
    RecorderCollector,
    collect_stats,
    metrics_handler,
    stats_handler,
    watch_loop_lag,
)
from edgesim.observe import catalog
from edgesim.observe.exposition import CONTENT_TYPE, render
from edgesim.observe.history import History
from edgesim.observe.recorder import Recorder
from tests.parity.virtual_loop import VirtualLoop
from tests.support.events import traffic


def filled(pop: str, *, requests: int = 40) -> Recorder:
    """A recorder of a process with one PoP that has seen traffic."""
    recorder = Recorder(process=f"host-{pop}", version="0.1.0")
    recorder.add_pop(pop, slots=4)
    for event in traffic([pop], requests=requests):
        recorder.handle(event)
    return recorder


def serving(recorder: Recorder, *, token: str = "") -> TestServer:
    """A process that serves the recorder, and asks for a token when there is one."""

    @web.middleware
    async def authorised(request: web.Request, handler):
        if token and request.headers.get("Authorization") != f"Bearer {token}":
            raise web.HTTPUnauthorized
        return await handler(request)

    app = web.Application(middlewares=[authorised])
    app.router.add_get("/metrics", metrics_handler(recorder))
    app.router.add_get("/-/stats", stats_handler(recorder))
    return TestServer(app)


async def test_metrics_over_http_are_the_rendered_store() -> None:
    """`/metrics` has Prometheus' content type and the text of `render`."""
    recorder = filled("fra1")
    async with serving(recorder) as server, aiohttp.ClientSession() as session, session.get(server.make_url("/metrics")) as response:  # fmt: skip
        text = await response.text()

    assert response.headers["Content-Type"] == CONTENT_TYPE
    assert text == render(recorder.store)


async def test_a_scrape_lets_the_loop_run_between_chunks() -> None:
    """While a large scrape is written, another task gets its turn at least once per chunk."""
    recorder = Recorder(process="host1", version="0")
    for number in range(100):
        recorder.add_pop(f"p{number}", slots=1)
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async with serving(recorder) as server, aiohttp.ClientSession() as session:
        async with session.get(server.make_url("/-/stats")):
            pass
        task = asyncio.create_task(other())
        async with session.get(server.make_url("/metrics")) as response:
            text = await response.text()
        task.cancel()

    assert text.count("\n") > 20_000
    assert turns >= 10


async def test_statistics_of_all_processes_are_merged() -> None:
    """Each process is asked with the token; the summary holds the PoPs of all, and the caller's own."""
    one, two, own = filled("fra1"), filled("gru1", requests=7), filled("nrt1", requests=3)
    async with serving(one, token="t") as a, serving(two, token="t") as b, aiohttp.ClientSession() as session:
        targets = {"host1": str(a.make_url("/")), "host2": str(b.make_url(""))}
        summary = await collect_stats(targets, session, "t", own=[own])

    assert {pop: values.requests for pop, values in summary.pops.items()} == {"fra1": 40, "gru1": 7, "nrt1": 3}
    assert summary.requests == 50
    assert summary.missing == {}


async def test_processes_that_do_not_answer_are_named() -> None:
    """A dead process, a wrong token, a stranger and a slow process do not hide the others."""
    good = filled("fra1")

    async def stranger(_request: web.Request) -> web.Response:
        return web.json_response([1, 2])

    async def slow(_request: web.Request) -> web.Response:
        await asyncio.Event().wait()
        raise AssertionError

    odd, lazy = web.Application(), web.Application()
    odd.router.add_get("/-/stats", stranger)
    lazy.router.add_get("/-/stats", slow)
    async with (
        serving(good) as a,
        serving(filled("gru1"), token="secret") as b,
        TestServer(odd) as c,
        TestServer(lazy) as d,
        aiohttp.ClientSession() as session,
    ):
        targets = {name: str(server.make_url("")) for name, server in (("a", a), ("b", b), ("c", c), ("d", d))}
        summary = await collect_stats({**targets, "e": "http://127.0.0.1:1"}, session, "wrong", timeout_s=0.3)

    assert list(summary.pops) == ["fra1"]
    assert summary.missing["b"] == "answered 401"
    assert summary.missing["c"].startswith("no valid statistics")
    assert summary.missing["d"] == "no answer within 0.3 s"
    assert "127.0.0.1" in summary.missing["e"]
    assert "a" not in summary.missing


async def test_a_restarted_process_keeps_its_history() -> None:
    """With a history, the counts of a process's former life stay, also while nobody answers in its place."""
    history = History()
    lives = [filled("fra1", requests=5), filled("fra1", requests=2)]
    lives[1].boot = "second"
    totals = []
    async with aiohttp.ClientSession() as session:
        for recorder in lives:
            async with serving(recorder) as server:
                targets = {"host1": str(server.make_url(""))}
                summary = await collect_stats(targets, session, history=history)
                totals.append((summary.pops["fra1"].requests, summary.pops["fra1"].slots))
            summary = await collect_stats(targets, session, history=history)
            totals.append((summary.pops["fra1"].requests, summary.pops["fra1"].slots))
            assert list(summary.missing) == ["host1"]

    assert totals == [(5, 4), (5, 0), (7, 4), (7, 0)]


def test_the_collector_works_in_a_registry() -> None:
    """prometheus_client's own renderer writes the same samples from the collector."""
    recorder = filled("fra1")
    registry = CollectorRegistry()
    registry.register(RecorderCollector(recorder))

    def samples(text: str) -> dict[tuple[object, ...], float]:
        return {
            (sample.name, *sorted(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    assert samples(generate_latest(registry).decode()) == samples(render(recorder.store))


def test_loop_lag_is_how_late_the_timer_fired() -> None:
    """On virtual time: nine timers on time, then one that fires 31.25 ms late because something took long."""
    recorder = Recorder(process="host1", version="0")
    lag = recorder.store.histogram(catalog.LOOP_LAG)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        task = asyncio.create_task(watch_loop_lag(recorder, interval_s=0.125))
        await asyncio.sleep(1.1875)
        loop.now_s = 1.25 + 0.03125
        await asyncio.sleep(0.05)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    loop = VirtualLoop()
    try:
        loop.run_until_complete(main())
    finally:
        loop.close()

    assert lag.count == 10
    assert lag.sum_s == 0.03125
