"""The numbers per PoP that people read."""

from __future__ import annotations

import json

import pytest

from edgesim.model.events import RequestRouted, RequestServed
from edgesim.model.ids import AppName, PopId
from edgesim.observe.histogram import EDGES_S, bucket_of
from edgesim.observe.recorder import Recorder
from edgesim.observe.summary import Latency, merged, summarise
from tests.support.events import traffic

POPS = ("fra1", "gru1")


def test_summary_of_two_processes_matches_the_events() -> None:
    """Counts are exact, and the p99 lies in the bucket of the sorted list's p99."""
    host, door = Recorder(process="host1", version="0"), Recorder(process="front-door", version="0")
    for pop in POPS:
        host.add_pop(pop, slots=4)
    door.add_routes(POPS)
    events = list(traffic(POPS, requests=300))
    for event in events:
        (door if isinstance(event, RequestRouted) else host).handle(event)

    summary = summarise(merged([host.snapshot(), door.snapshot()]))

    served = [event for event in events if isinstance(event, RequestServed) and event.pop == "gru1"]
    gru = summary.pops["gru1"]
    assert list(summary.pops) == sorted(POPS)
    assert (gru.requests, gru.errors) == (300, sum(event.outcome != "ok" for event in served))
    assert gru.starts == {"absent": 2, "fresh": 298}
    assert (gru.up, gru.slots) == (True, 4)
    p99 = sorted(event.duration_s for event in served)[296]
    assert gru.duration.p99_s is not None
    assert EDGES_S[bucket_of(p99) - 1] <= gru.duration.p99_s <= EDGES_S[bucket_of(p99)]
    assert [starts.role for starts in gru.cold_starts] == ["trigger", "waiter", "deploy"]
    trigger, waiter, deploy = gru.cold_starts
    assert list(trigger.phases) == ["fetch", "compile", "instantiate", "first_call"]
    assert list(waiter.phases) == ["shared", "instantiate", "first_call"]
    assert list(deploy.phases) == ["distribute"]
    assert (trigger.total.count, trigger.by_start, gru.cold.count) == (1, {"absent": 1}, 2)
    assert summary.requests == 600
    assert summary.errors == summary.outcomes["guest_error"]
    assert sum(summary.failovers.values()) == sum(len(e.failed) for e in events if isinstance(e, RequestRouted))
    assert sum(sum(reasons.values()) for reasons in summary.routed.values()) == 600
    assert json.loads(json.dumps(summary.to_json()))["pops"]["fra1"]["duration"]["count"] == 300


def test_a_client_that_leaves_is_not_an_error() -> None:
    """`client_gone` is counted as an outcome, not as a failure of the edge."""
    door = Recorder(process="front-door", version="0")
    for outcome in ("ok", "client_gone", "no_pop"):
        door.handle(
            RequestRouted(
                pop=PopId("fra1"), app=AppName("hello"), outcome=outcome, status=200, reason="first", failed=(),  # type: ignore[arg-type]
                network_s=0.0, duration_s=0.001, metro=0,
            )
        )  # fmt: skip

    summary = summarise(door.store)

    assert (summary.requests, summary.errors) == (3, 1)


def test_an_idle_pop_is_listed() -> None:
    """A PoP that has served nothing is there, with no quantiles."""
    host = Recorder(process="host1", version="0")
    host.add_pop("lab1", slots=2)

    idle = summarise(host.store).pops["lab1"]

    assert (idle.requests, idle.duration, idle.cold_starts) == (0, Latency(), ())


def test_what_is_not_a_snapshot_is_refused() -> None:
    """One bad state among good ones raises."""
    with pytest.raises(ValueError):
        merged([Recorder(process="a", version="0").snapshot(), {"hello": 1}])
