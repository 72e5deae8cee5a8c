"""Scenarios on the virtual clock: what happens to them, and that they repeat to the byte."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from edgesim.errors import UsageError
from edgesim.model.geo import LatLon, Metro
from edgesim.model.ids import AppName, Digest
from edgesim.model.topology import NetworkSpec, OriginSpec, RoutingSpec, Topology
from edgesim.model.worker import Component, Release, Route
from edgesim.results.durations import Durations
from edgesim.results.profile import EdgeProfile, WorkerProfile
from edgesim.results.summary import summarise
from edgesim.scenario.spec import (
    Clients,
    Expectation,
    Load,
    Phase,
    Population,
    RequestSpec,
    Scenario,
    Target,
    TimelineEntry,
)
from edgesim.scenario.steps import deploy, drain, kill, latency, origin, partition, restart, rollback
from edgesim.sim.costs import Measured
from edgesim.sim.scenario import check_scenario, run_scenario
from tests.support.request_path import FRA, GRU, LHR, Nearest, spec

TOPOLOGY = Topology(
    name="t",
    pops=tuple(spec(p, memory_bytes=1 << 30, slots=8, queue=64) for p in (FRA, LHR, GRU)),
    regions={"r": (FRA, LHR, GRU)},
    origins={"demo": OriginSpec(name="demo", kind="builtin", at=LatLon(0.0, 0.0), latency_s=0.125, capacity=64)},
    network=NetworkSpec(),
    routing=RoutingSpec(),
)
BERLIN = Metro(id=7, city="Berlin", country="DE", at=LatLon(52.5, 13.4), weight=1.0, timezone="Europe/Berlin")


class Legs:
    """Every way takes 8 ms, to clients and to origins."""

    def legs(self, place, pop, bits):
        """Up and down."""
        return 0.0078125, 0.0078125

    def pop_origin_rtt_s(self, pop, origin):
        """There and back."""
        return 0.0625


def took(*seconds):
    """A histogram."""
    durations = Durations()
    for each in seconds:
        durations.record(each)
    return durations


def worker(digest, **changes):
    """What a component costs: 4 ms a request."""
    values = {
        "id": "w", "digest": digest, "abi": "wasi-http", "size_bytes": 9,
        "cold": {"fetch": took(0.5), "load": took(0.25), "shared": took(0.002), "first_call": took(0.032)},
        "fresh": {"instantiate": took(0.001), "execute": took(0.004)}, "loaded_bytes": 1 << 20,
    }  # fmt: skip
    return WorkerProfile(**{**values, **changes})


def release(version=1, *, prefetch=True):
    """One component for every path but those of the origin."""
    component = Component(id="w", digest=Digest(f"{version:064x}"), size_bytes=9, abi="wasi-http")
    return Release(
        app=AppName("hello"), version=version, digest=Digest(f"{version:063x}a"), components=(component,),
        routes=(Route(pattern="/w", component="w"),), prefetch=prefetch,
    )  # fmt: skip


class Apps:
    """The second version, whatever the path."""

    def release(self, path, version, *, prefetch):
        """Version 2."""
        return release(version(AppName("hello")), prefetch=prefetch)


def scenario(*timeline, target="/w", seconds=20.0, expect=None, **load):
    """Fifty requests a second from Berlin."""
    entries = tuple(TimelineEntry(at_s=at_s, step=step, label=f"{step}") for at_s, step in timeline)
    return Scenario(
        name="s", target=Target(app="hello"),
        load=Load(phases=(Phase(name="p", duration_s=seconds, rate_from=50, rate_to=50),), **load),
        populations=(Population(name="all", weight=1.0, clients=(Clients(metro=BERLIN, access="cable", weight=1.0),)),),
        requests=(RequestSpec(name="r", weight=1.0, method="GET", target=target, expect=expect or Expectation()),),
        timeline=entries,
    )  # fmt: skip


def run(what, *, edge=None, first=None, measured=True, topology=TOPOLOGY):
    """Results of a scenario, with both versions measured."""
    digests = [c.digest for r in (release(1), release(2)) for c in r.components]
    return run_scenario(
        what, topology, network=Legs(), policy=Nearest(), release=first or release(), apps=Apps(), access=("fttp", "cable"),
        measured={d: Measured(worker(d)) for d in digests} if measured else {}, edge=edge,
    )  # fmt: skip


def test_a_quiet_run():
    """Every request is answered by the nearest PoP; time is the network's, a handshake for new connections, and the worker's."""
    results = run(scenario(arrivals="constant"))
    totals = results.select()

    assert totals.outcomes == {"ok": 1000}
    assert set(results.pops) == {FRA}
    assert results.starts == {"fresh": 1000}
    assert abs(totals.response.quantile(0.5) - 0.020625) < 0.0004
    assert totals.network.quantile(1.0) > 0.045  # the first has opened a connection


def test_a_run_repeats_to_the_byte():
    """The same scenario gives the same document, another seed another one."""
    documents = [json.dumps(summarise(run(scenario(seed=seed)))) for seed in (1, 1, 2)]

    assert documents[0] == documents[1]
    assert documents[0] != documents[2]


def test_a_pop_dies_and_comes_back():
    """Its neighbour answers meanwhile, and the summary has the incident."""
    results = run(scenario((5.0, kill.Step(pop="fra1")), (10.0, restart.Step(pop="fra1"))))
    incident = summarise(results)["incidents"][0]

    assert results.pops[LHR].requests > 200
    assert results.pops[FRA].requests > 600
    assert incident["windows"]["during"]["origins"][0]["pops"].keys() == {"lhr1"}


def test_a_host_takes_its_time_to_come_back():
    """As long as the profile says."""
    edge = EdgeProfile(
        overhead=took(0.002),
        outside=took(0.0),
        connect=took(0.001),
        door_cpu_s=0.0,
        host_cpu_s=0.0,
        start_host_s=2.0,
        deploy_s=1.0,
    )
    results = run(scenario((5.0, kill.Step(host="host1")), (8.0, restart.Step(host="host1"))), edge=edge)

    assert [(m.edge, m.at_s) for m in results.marks] == [("begin", 5.0), ("end", 5.0), ("begin", 8.0), ("end", 10.0)]
    assert set(results.pops) == {FRA, LHR}


def test_the_first_requests_start_the_worker():
    """Without prefetch one request triggers the start with its measured phases, and those behind it wait."""
    results = run(scenario(seconds=2.0), first=release(prefetch=False))

    assert results.starts["absent trigger"] == 1
    assert results.starts["absent waiter"] == 7  # the PoP has eight slots; the others wait in its queue
    assert abs(results.cold["trigger", "fetch"].mean_s - 0.5) < 0.02
    assert abs(results.cold["trigger", "load"].mean_s - 0.25) < 0.01
    assert abs(results.cold["trigger", "first_call"].mean_s - 0.032) < 0.002


def test_a_rollout_and_the_way_back():
    """The action ends when every PoP has the version; a rollback brings the one before."""
    results = run(scenario((5.0, deploy.Step(path="x")), (10.0, rollback.Step())))
    labels = [(m.entry, m.edge, m.error) for m in results.marks]

    assert labels == [(0, "begin", ""), (0, "end", ""), (1, "begin", ""), (1, "end", "")]
    assert results.marks[1].at_s > 5.7  # fetched and loaded first
    assert results.marks[3].at_s < 11.0


def test_a_version_that_never_was():
    """A rollback to it is a failure of the timeline, not of the run."""
    results = run(scenario((5.0, rollback.Step(version=9))))

    assert results.marks[1].error.startswith("E0103")
    assert summarise(results)["conclusion"] == "inconclusive"


def test_drained_pops_get_nothing_new():
    """As live."""
    results = run(scenario((5.0, drain.Step(pop="fra1"))))

    assert results.pops[LHR].requests > 600


def test_links_and_origins_can_fail():
    """A slow link is slow for as long as it is, a cut one is failed over, a failing origin fails."""
    slow = run(scenario((5.0, latency.Step(pop="fra1", add=0.5, for_=5.0))))
    cut = run(scenario((5.0, partition.Step(pop="fra1", from_="clients", for_=5.0))))
    failing = run(scenario((5.0, origin.Step(status=503, for_=5.0)), target="/o"))

    assert 150 < sum(n for low, _, n in slow.select().response.buckets() if low > 0.4) < 350
    assert cut.select().outcomes["ok"] == cut.select().requests
    assert cut.pops[LHR].requests > 150
    assert 150 < failing.select().outcomes["status"] < 350


def test_the_origin_has_its_own_time():
    """The way there and its latency; beyond its capacity requests wait in line."""
    one = replace(TOPOLOGY, origins={"demo": replace(TOPOLOGY.origins["demo"], capacity=1)})
    free, crowded = run(scenario(target="/o")), run(scenario(target="/o"), topology=one)

    assert abs(free.select().response.quantile(0.5) - (0.0625 + 0.125 + 0.015625)) < 0.005
    assert crowded.select().response.quantile(0.5) > 1.0


def test_the_edge_takes_its_share():
    """What was measured of it comes on top, and waiting for its one loop at high load."""
    calm = EdgeProfile(
        overhead=took(0.003), outside=took(0.001), connect=took(0.0), door_cpu_s=0.0, host_cpu_s=0.0, start_host_s=0.0
    )
    busy = replace(calm, door_cpu_s=0.018)  # 50 requests a second keep it busy for 0.9 s
    none, some, much = (run(scenario(), edge=edge).select().response.mean_s for edge in (None, calm, busy))

    assert abs(some - none - 0.004) < 0.0005
    assert much - some > 0.02  # M/D/1 at 0.9: 81 ms on average, in a short run


def test_too_many_at_once_are_dropped():
    """As live: beyond `maxInFlight` nothing is sent."""
    results = run(scenario(target="/o", max_in_flight=4))

    assert results.dropped.total() > 100


def test_expectations():
    """Status and the edge's own fields are known; what the worker would say is taken for granted."""
    fine = Expectation(headers=(("x-edge-pop", None), ("x-own", "1")))
    wrong = Expectation(headers=(("x-edge-pop", "gru1"),))

    assert run(scenario(seconds=2.0, expect=fine)).select().failed == 0
    assert set(run(scenario(seconds=2.0, expect=wrong)).select().outcomes) == {"header"}
    assert set(run(scenario(seconds=2.0, expect=Expectation(statuses=frozenset({201})))).select().outcomes) == {
        "status"
    }


def test_only_apps_can_be_simulated():
    """A URL is somebody's own server."""
    with pytest.raises(UsageError, match="nobody can simulate"):
        check_scenario(replace(scenario(), target=Target(url="http://127.0.0.1:1")))
