"""Events become the right values, and labels stay bounded."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from edgesim.model.events import (
    ColdStarted,
    Evicted,
    HealthReported,
    PopHealth,
    PopReported,
    RequestRouted,
    RequestServed,
)
from edgesim.model.ids import AppName, HostId, PopId
from edgesim.observe import catalog
from edgesim.observe.recorder import FilterValue, Recorder
from edgesim.observe.store import Store
from tests.support.events import traffic

FRA, GRU = PopId("fra1"), PopId("gru1")


def recorder() -> Recorder:
    """A recorder of a process with two PoPs and a front door."""
    made = Recorder(process="host1", version="0.1.0", python="3.11", started_s=1000.0)
    for pop in (FRA, GRU):
        made.add_pop(pop, slots=8)
    made.add_routes([FRA, GRU])
    return made


def served(**changes: object) -> RequestServed:
    """A request that went well at fra1."""
    values: dict[str, object] = {
        "pop": FRA, "app": AppName("hello"), "version": 1, "outcome": "ok", "start": "fresh", "role": "", "status": 200,
        "network_s": 0.03, "queue_s": 0.0, "start_s": 0.0, "execute_s": 0.0005, "origin_s": 0.0, "duration_s": 0.0007,
    }  # fmt: skip
    return RequestServed(**{**values, **changes})  # type: ignore[arg-type]


def routed(**changes: object) -> RequestRouted:
    """The same request at the front door."""
    values: dict[str, object] = {
        "pop": FRA, "app": AppName("hello"), "outcome": "ok", "status": 200, "reason": "first", "failed": (),
        "network_s": 0.03, "duration_s": 0.04, "metro": 7,
    }  # fmt: skip
    return RequestRouted(**{**values, **changes})  # type: ignore[arg-type]


def values(store: Store, metric: catalog.Metric) -> dict[tuple[str, ...], float]:
    """The non-zero numbers of a metric by its labels."""
    return {labels: child.value for labels, child in store.numbers[metric.name].children.items() if child.value}


def test_where_a_pop_is() -> None:
    """An info metric carries the region, so that it is not a label of every series."""
    made = Recorder(process="host1", version="0.1.0")
    made.add_pop(FRA, slots=8, region="europe")
    made.add_pop(GRU, slots=8)

    assert values(made.store, catalog.POP_INFO) == {(FRA, "europe"): 1, (GRU, catalog.NONE): 1}


def test_requests_are_counted_by_version() -> None:
    """A canary's errors are told apart from those of the version that it replaces; whoever asks for no app has none."""
    made = recorder()
    for changes in ({}, {"version": 2}, {"version": 2, "outcome": "guest_error"}, {"version": 0, "outcome": "no_app"}):
        made.handle(served(**changes))

    assert values(made.store, catalog.VERSION_REQUESTS) == {
        ("hello", "1", "ok"): 1,
        ("hello", "2", "ok"): 1,
        ("hello", "2", "guest_error"): 1,
        (catalog.NONE, catalog.NONE, "no_app"): 1,
    }


def test_a_served_request_is_counted_with_its_parts() -> None:
    """Counter, duration and those parts that occurred."""
    made = recorder()
    made.handle(served())
    made.handle(served(start="", execute_s=0.0, origin_s=0.05, outcome="origin_error"))

    parts = made.store.histograms[catalog.REQUEST_PART.name].children

    assert values(made.store, catalog.REQUESTS) == {
        ("fra1", "hello", "ok", "fresh"): 1,
        ("fra1", "hello", "origin_error", "none"): 1,
    }
    assert made.store.histogram(catalog.REQUEST_DURATION, "fra1").count == 2
    assert {part: parts["fra1", part].count for part in ("network", "queue", "start", "execute", "origin")} == {
        "network": 2, "queue": 2, "start": 0, "execute": 1, "origin": 1,
    }  # fmt: skip


def test_cpu_time_is_counted_by_app_where_it_was_measured() -> None:
    """Also of a guest that was ended; not of requests that no guest served."""
    made = recorder()
    made.handle(served(cpu_s=0.002))
    made.handle(served(start="", outcome="guest_error", cpu_s=0.05))
    made.handle(served(start="", execute_s=0.0, outcome="queue_full"))
    (cpu,) = made.store.histograms[catalog.WORKER_CPU.name].children.items()

    assert cpu[0] == ("fra1", "hello")
    assert (cpu[1].count, round(cpu[1].sum_s, 6)) == (2, 0.052)


def test_a_routed_request_is_counted_with_its_failovers() -> None:
    """Decision, outcome and each PoP that failed on the way."""
    made = recorder()
    made.handle(routed())
    made.handle(routed(pop=GRU, reason="failover", failed=(FRA,)))
    made.handle(routed(pop=PopId(""), reason="none", outcome="unreachable", failed=(GRU, FRA)))

    assert values(made.store, catalog.ROUTED_REQUESTS) == {
        ("fra1", "first"): 1,
        ("gru1", "failover"): 1,
        ("none", "none"): 1,
    }
    assert values(made.store, catalog.FAILOVERS) == {("fra1",): 2, ("gru1",): 1}
    assert values(made.store, catalog.FRONT_DOOR_REQUESTS) == {("hello", "ok"): 2, ("hello", "unreachable"): 1}


@pytest.mark.parametrize(
    ("cause", "role", "expected"), [("request", "trigger", "trigger"), ("request", "waiter", "waiter"), ("deploy", "", "deploy")]
)  # fmt: skip
def test_cold_starts_are_split_by_phase_and_role(cause: str, role: str, expected: str) -> None:
    """A start that a deploy caused has a role of its own."""
    made = recorder()
    made.handle(
        ColdStarted(
            pop=FRA, app=AppName("hello"), version=1, start="absent", role=role, cause=cause,  # type: ignore[arg-type]
            phases=(("fetch", 0.004), ("compile", 0.06)), total_s=0.07,
        )
    )  # fmt: skip

    phases = made.store.histograms[catalog.COLD_START_PHASE.name].children

    assert values(made.store, catalog.COLD_STARTS) == {("fra1", "absent", expected): 1}
    assert {labels: child.sum_s for labels, child in phases.items()} == {
        ("fra1", "fetch", expected): 0.004,
        ("fra1", "compile", expected): 0.06,
    }
    assert made.store.histogram(catalog.COLD_START, "fra1", "absent", expected).sum_s == 0.07


def test_a_generation_is_distributed_once() -> None:
    """The phase `distribute` comes with the first report of a generation, not with the ones that follow."""
    made = recorder()
    for state in ("pending", "downloading", "ready"):
        made.handle(PopReported(pop=FRA, epoch=1, gen=4, state=state, apps={}, distribute_s=0.01))  # type: ignore[arg-type]

    assert made.store.histogram(catalog.COLD_START_PHASE, "fra1", "distribute", "deploy").count == 1


def test_rollout_shows_only_versions_that_are_served() -> None:
    """When the last PoP has moved on, the old version has no value left."""
    made = recorder()
    for version in range(1, 200):
        for pop in (FRA, GRU):
            made.handle(PopReported(pop=pop, epoch=1, gen=version, state="ready", apps={"hello": version}))
        assert values(made.store, catalog.ROLLOUT_POPS) == {("hello", str(version), "ready"): 2}

    assert not values(made.store, catalog.LABEL_OVERFLOWS)


def test_gauges_follow_the_beat_and_a_killed_pop_goes_down() -> None:
    """A PoP that is missing in its host's next beat is down and empty."""
    made = recorder()
    both = tuple(PopHealth(pop=pop, state="ready", busy=3, queued=1, loaded_bytes=4096, warm=2) for pop in (FRA, GRU))
    made.handle(HealthReported(host=HostId("host1"), boot="b", pops=both))
    made.handle(HealthReported(host=HostId("host1"), boot="b", pops=both[:1]))

    assert values(made.store, catalog.POP_UP) == {("fra1",): 1}
    assert values(made.store, catalog.INSTANCES_BUSY) == {("fra1",): 3}
    assert values(made.store, catalog.INSTANCES_WARM) == {("fra1",): 2}
    assert values(made.store, catalog.QUEUE_DEPTH) == {("fra1",): 1}
    assert values(made.store, catalog.LOADED_BYTES) == {("fra1",): 4096}
    assert values(made.store, catalog.POOL_SLOTS) == {("fra1",): 8, ("gru1",): 8}


def test_evictions_by_what_and_why() -> None:
    """Each combination is there from the start, so that the first one is an increase."""
    made = recorder()
    assert len(made.store.numbers[catalog.EVICTIONS.name].children) == 8
    for what, why in (("instance", "idle"), ("instance", "idle"), ("module", "memory")):
        made.handle(Evicted(pop=FRA, app=AppName("hello"), version=1, what=what, why=why))  # type: ignore[arg-type]

    assert values(made.store, catalog.EVICTIONS) == {("fra1", "instance", "idle"): 2, ("fra1", "module", "memory"): 1}


def test_what_an_instance_cost_is_a_part_of_the_run() -> None:
    """A reused instance has no `instantiate`; a guest that says so has an `init`."""
    made = recorder()
    made.handle(served(start="fresh", execute_s=0.5, instantiate_s=0.25, init_s=0.125))
    made.handle(served(start="reused", execute_s=0.25))
    parts = {
        part: histogram.count
        for (_, part), histogram in made.store.histograms[catalog.REQUEST_PART.name].children.items()
        if part in ("instantiate", "init", "execute") and histogram.count
    }

    assert parts == {"execute": 2, "instantiate": 1, "init": 1}
    assert values(made.store, catalog.REQUESTS)["fra1", "hello", "ok", "reused"] == 1


def test_labels_are_bounded() -> None:
    """Apps beyond the limit are counted under `other`, and that is counted too."""
    made = recorder()
    for number in range(100):
        made.handle(served(app=AppName(f"app{number}")))
        made.handle(served(app=AppName(f"app{number}")))

    requests = values(made.store, catalog.REQUESTS)

    assert len(requests) == catalog.LABEL_LIMITS["app"] + 1
    assert requests["fra1", "other", "ok", "fresh"] == 2 * (100 - catalog.LABEL_LIMITS["app"])
    assert sum(requests.values()) == 200
    assert values(made.store, catalog.LABEL_OVERFLOWS).keys() == {("app",)}


def test_strangers_do_not_choose_label_values() -> None:
    """The app of a request that named none of ours is not a label."""
    made = recorder()
    for number in range(100):
        made.handle(routed(app=AppName(f"probe{number}"), outcome="no_app", pop=PopId(""), reason="none"))

    assert values(made.store, catalog.FRONT_DOOR_REQUESTS) == {("none", "no_app"): 100}


def test_many_versions_stay_at_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many versions have come and gone, the counters of those that serve now are kept, and all are right."""
    monkeypatch.setattr("edgesim.observe.recorder.MAX_HOT_KEYS", 4)
    made = recorder()
    for version in range(1, 11):
        for _ in range(3):
            made.handle(served(version=version))

    assert len(made._requests) <= 4
    assert ("fra1", "hello", 10, "ok", "fresh") in made._requests
    assert values(made.store, catalog.REQUESTS) == {(FRA, "hello", "ok", "fresh"): 30}
    assert set(values(made.store, catalog.VERSION_REQUESTS).values()) == {3}


def test_snapshots_of_processes_add_up() -> None:
    """Two processes' snapshots merge to what one process would have counted."""
    events = list(traffic([FRA, GRU], requests=50))
    one, two, all_of_it = recorder(), recorder(), recorder()
    for event in events:
        all_of_it.handle(event)
        (one if getattr(event, "pop", FRA) == FRA else two).handle(event)

    total = Store.from_json(json.loads(json.dumps(one.snapshot())))
    total.merge(Store.from_json(json.loads(json.dumps(two.snapshot()))))

    for name, family in all_of_it.store.histograms.items():
        assert {k: (h.counts, h.sum_us) for k, h in total.histograms[name].children.items()} == {
            k: (h.counts, h.sum_us) for k, h in family.children.items() if h.count
        }
    for metric in (catalog.REQUESTS, catalog.ROUTED_REQUESTS, catalog.FAILOVERS, catalog.ROLLOUT_POPS):
        assert values(total, metric) == values(all_of_it.store, metric)
    assert values(total, catalog.POOL_SLOTS) == {("fra1",): 16, ("gru1",): 16}
    assert not total.numbers[catalog.BUILD_INFO.name].children


def test_the_snapshot_in_pieces_is_the_snapshot() -> None:
    """However it is cut, the JSON text is that of the snapshot; an empty store is one too."""
    made = recorder()
    for event in traffic([FRA, GRU], requests=20):
        made.handle(event)

    for size in (1, 7, 10_000):
        assert json.loads("".join(made.store.json_chunks(boot=made.boot, per_chunk=size))) == made.snapshot()
    assert Store.from_json(json.loads("".join(Store().json_chunks()))).to_json()["metrics"] == []


@pytest.mark.parametrize(
    "state",
    [
        None,
        {},
        {"schema": "edgesim.stats/0", "metrics": []},
        {"schema": "edgesim.stats/1"},
        {"schema": "edgesim.stats/1", "metrics": [["edgesim_requests_total"]]},
        {"schema": "edgesim.stats/1", "metrics": [["edgesim_requests_total", ["fra1"], 1]]},
        {"schema": "edgesim.stats/1", "metrics": [["edgesim_requests_total", ["a", "b", "c", 4], 1]]},
        {"schema": "edgesim.stats/1", "metrics": [["edgesim_request_duration_seconds", ["a"], 1]]},
    ],
)
def test_malformed_snapshots_are_refused(state: object) -> None:
    """What is no snapshot raises ValueError, whatever it is."""
    with pytest.raises(ValueError):
        Store.from_json(state)


def test_unknown_metrics_of_newer_processes_are_left_out() -> None:
    """A process of another version may count more than we know."""
    store = Store.from_json({"schema": "edgesim.stats/1", "metrics": [["edgesim_new_total", [], 1]]})

    assert Counter(family.metric.name for family in store.families()) == {}


def test_metrics_of_filters() -> None:
    """Read when asked for; an app's versions are added up; names beyond the limit are counted together."""
    recorder = Recorder(process="host1", version="0")
    values = [
        FilterValue("fra1", "shop", "auth", "counter", "seen", 3, 0),
        FilterValue("fra1", "shop", "auth", "counter", "seen", 4, 0),
        FilterValue("fra1", "shop", "auth", "gauge", "open", 7, 1),
        FilterValue("fra1", "shop", "auth", "histogram", "sizes", 90, 2),
    ]
    recorder.watch_filters(lambda: values)
    key = ("fra1", "shop", "auth")

    assert recorder.store.number(catalog.FILTER_COUNTER, *key, "seen").value == 7
    assert recorder.store.number(catalog.FILTER_COUNTER, *key, "seen").value == 7
    assert recorder.store.number(catalog.FILTER_GAUGE, *key, "open").value == 7
    assert recorder.store.number(catalog.FILTER_RECORDED, *key, "sizes").value == 90
    assert recorder.store.number(catalog.FILTER_RECORDS, *key, "sizes").value == 2

    values[:] = [FilterValue("fra1", "shop", "auth", "counter", f"n{n}", 1, 0) for n in range(300)]
    assert recorder.store.number(catalog.FILTER_COUNTER, *key, catalog.OTHER).value > 40


def test_the_most_that_a_guest_has_had() -> None:
    """Memory and requests of its own, by app; what is not measured stays 0."""
    made = Recorder(process="host1", version="0")
    for memory, sent in ((5, 3), (9, 0), (2, 7)):
        made.handle(served(cpu_s=0.001, memory_bytes=memory, subrequests=sent))
    made.handle(served(app=AppName("other"), cpu_s=0.001))

    assert values(made.store, catalog.WORKER_MEMORY) == {(FRA, "hello"): 9}
    assert values(made.store, catalog.WORKER_SUBREQUESTS) == {(FRA, "hello"): 7}
