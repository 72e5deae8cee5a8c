"""Events to metrics: one recorder per process, fed with what happens in that process.

Rules: each event is handled in the process in which it happened, and only there (a control plane that relays the reports of
others would count them twice). It reads no clock; durations and start times come in. Handling a served request costs about
1.5 µs (benchmarks/scrape.py measures it).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from edgesim.model.events import ColdStarted, Evicted, HealthReported, PopReported, RequestRouted, RequestServed
from edgesim.observe import catalog
from edgesim.observe.catalog import NONE
from edgesim.observe.store import Number, Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from edgesim.model.events import Event
    from edgesim.model.ids import HostId, PopId

DEPLOY_ROLE = "deploy"
"""The `role` of cold starts that no request caused."""
_BEAT_GAUGES = (
    catalog.POP_UP,
    catalog.INSTANCES_BUSY,
    catalog.INSTANCES_WARM,
    catalog.QUEUE_DEPTH,
    catalog.LOADED_BYTES,
)
"""What a beat says of a PoP, in the order of `_set_gauges`."""
FILTER_NAME_MAX: Final = 128
"""Characters of a filter's own name for a metric that become a label."""
_FILTER_METRICS: Final = {
    "counter": catalog.FILTER_COUNTER, "gauge": catalog.FILTER_GAUGE, "histogram": catalog.FILTER_RECORDED,
}  # fmt: skip
MAX_HOT_KEYS = 16_384
"""Label combinations of requests that are kept at hand; beyond, each look-up goes the slow way."""


class FilterValue(NamedTuple):
    """A metric of a Proxy-Wasm filter, as it stands."""

    pop: str
    app: str
    filter: str
    kind: Literal["counter", "gauge", "histogram"]
    name: str
    value: int
    """Of a histogram the sum of what was recorded."""
    records: int


class _PopHistograms:
    """The histograms that each request of one PoP goes into."""

    __slots__ = ("duration", "execute", "init", "instantiate", "network", "origin", "queue", "start")

    def __init__(self, store: Store, pop: str) -> None:
        part = store.histograms[catalog.REQUEST_PART.name].child
        self.duration = store.histogram(catalog.REQUEST_DURATION, pop).record
        self.network = part(pop, "network").record
        self.queue = part(pop, "queue").record
        self.start = part(pop, "start").record
        self.instantiate = part(pop, "instantiate").record
        self.init = part(pop, "init").record
        self.execute = part(pop, "execute").record
        self.origin = part(pop, "origin").record


class Recorder:
    """Counts events.

    Args:
        process: the process's name (`host1`, `front-door`), for `edgesim_build_info`.
        version: edgesim's version.
        python: version of the interpreter.
        started_s: when the process started, in seconds since 1970; 0 leaves the metric out.
        boot: an id of this life of the process, for `History`; `started_s` stands in for it when it is empty.
    """

    def __init__(self, *, process: str, version: str, python: str = "", started_s: float = 0.0, boot: str = "") -> None:
        self.process = process
        self.boot = boot or repr(started_s)
        self._store = Store()
        self._rollout_is_stale = False
        self._filters: Callable[[], Iterable[FilterValue]] = tuple
        self._requests: dict[tuple[str, str, int, str, str], tuple[Number, Number]] = {}
        self._routed: dict[tuple[str, str, str, str], tuple[Number, Number]] = {}
        self._pops: dict[str, _PopHistograms] = {}
        self._cpus: dict[tuple[str, str], tuple[Callable[[float], None], Number, Number]] = {}
        self._doors: dict[str, Callable[[float], None]] = {}
        self._network = self._store.histogram(catalog.FRONT_DOOR_NETWORK).record
        self._beats: dict[HostId, frozenset[PopId]] = {}
        self._reports: dict[PopId, PopReported] = {}
        self.loop_lag = self._store.histogram(catalog.LOOP_LAG).record
        """Record how late, in seconds, the event loop woke from a timer."""
        self._handlers: dict[type, Callable[[Any], None]] = {
            RequestServed: self._served,
            RequestRouted: self._routed_request,
            ColdStarted: self._cold_started,
            Evicted: self._evicted,
            PopReported: self._pop_reported,
            HealthReported: self._health_reported,
        }
        self._store.number(catalog.BUILD_INFO, process, version, python).value = 1
        if started_s:
            self._store.number(catalog.PROCESS_START, process).value = started_s

    def add_pop(self, pop: str, *, slots: int, region: str = "") -> None:
        """Announce a PoP that this process carries: its series exist from now on, at 0.

        A series that appears with its first value has no increase for Prometheus, so this must come before the traffic.
        """
        self._pops[pop] = _PopHistograms(self._store, pop)
        for metric in _BEAT_GAUGES:
            self._store.number(metric, pop).value = 0
        for what in ("instance", "module"):
            for why in ("idle", "memory"):
                self._store.number(catalog.EVICTIONS, pop, what, why)
        self._store.number(catalog.POP_INFO, pop, region).value = 1
        self._store.number(catalog.POOL_SLOTS, pop).value = slots
        self._store.number(catalog.REFUSED_DOCUMENTS, pop).value = 0
        for start in ("absent", "disk"):
            for role in ("trigger", "waiter", DEPLOY_ROLE):
                self._store.number(catalog.COLD_STARTS, pop, start, role)

    def add_routes(self, pops: Iterable[str]) -> None:
        """Announce the PoPs that this process's front door routes to, as `add_pop` does for PoPs."""
        for pop in pops:
            self._door(pop)
            self._store.number(catalog.FAILOVERS, pop)
            for reason in ("first", "skipped", "failover"):
                self._store.number(catalog.ROUTED_REQUESTS, pop, reason)

    @property
    def store(self) -> Store:
        """All values, up to date."""
        self._read_filters()
        if self._rollout_is_stale:
            self._rollout_is_stale = False
            # Counted afresh, so that a version that no PoP serves any more leaves no value and no label behind.
            pops = self._store.numbers[catalog.ROLLOUT_POPS.name]
            pops.clear()
            for report in self._reports.values():
                for app, version in report.apps.items():
                    pops.child(app, str(version), report.state).value += 1
        return self._store

    def watch_filters(self, read: Callable[[], Iterable[FilterValue]]) -> None:
        """Have the metrics of filters read whenever values are asked for. Those of an app's versions are added up."""
        self._filters = read

    def _read_filters(self) -> None:
        sums: dict[Number, int] = {}
        for each in self._filters():
            labels = each.pop, each.app, each.filter, each.name[:FILTER_NAME_MAX]
            if each.kind == "histogram":
                records = self._store.number(catalog.FILTER_RECORDS, *labels)
                sums[records] = sums.get(records, 0) + each.records
            number = self._store.number(_FILTER_METRICS[each.kind], *labels)
            sums[number] = sums.get(number, 0) + each.value
        for number, total in sums.items():
            number.value = total

    def handle(self, event: Event) -> None:
        """Count an event that happened in this process."""
        self._handlers[type(event)](event)

    def refused_document(self, pop: str) -> None:
        """Count a desired document that is not what it should be."""
        self._store.number(catalog.REFUSED_DOCUMENTS, pop).value += 1

    def snapshot(self) -> dict[str, Any]:
        """Everything that can be merged across processes, as JSON-able values."""
        return self.store.to_json(boot=self.boot)

    # -- requests, the hot path -----------------------------------------------------------------------------------------

    def _served(self, event: RequestServed) -> None:
        pop = event.pop
        start = event.start
        key = (pop, event.app, event.version, event.outcome, start)
        requests, of_version = self._requests.get(key) or self._request_counters(key)
        requests.value += 1
        of_version.value += 1
        histograms = self._pops.get(pop) or self._pop_histograms(pop)
        histograms.duration(event.duration_s)
        histograms.network(event.network_s)
        histograms.queue(event.queue_s)
        if start:
            histograms.execute(event.execute_s)
            if event.instantiate_s > 0.0:
                histograms.instantiate(event.instantiate_s)
            if event.init_s > 0.0:
                histograms.init(event.init_s)
        if event.cpu_s > 0.0:  # also of guests that were ended, whose requests name no start
            cpu, memory, subrequests = self._cpus.get((pop, event.app)) or self._cpu(pop, event.app)
            cpu(event.cpu_s)
            memory.value = max(memory.value, event.memory_bytes)
            subrequests.value = max(subrequests.value, event.subrequests)
        if event.start_s > 0.0:
            histograms.start(event.start_s)
        if event.origin_s > 0.0:
            histograms.origin(event.origin_s)

    def _routed_request(self, event: RequestRouted) -> None:
        key = (event.pop, event.app, event.outcome, event.reason)
        requests, routed = self._routed.get(key) or self._routed_counters(key)
        requests.value += 1
        routed.value += 1
        (self._doors.get(event.pop) or self._door(event.pop))(event.duration_s)
        self._network(event.network_s)
        for pop in event.failed:
            self._store.number(catalog.FAILOVERS, pop).value += 1

    def _request_counters(self, key: tuple[str, str, int, str, str]) -> tuple[Number, Number]:
        pop, app, version, outcome, start = key
        app = _known_app(app, outcome)
        counters = (
            self._store.number(catalog.REQUESTS, pop, app, outcome, start),
            self._store.number(catalog.VERSION_REQUESTS, app, str(version or ""), outcome),
        )
        if len(self._requests) >= MAX_HOT_KEYS:
            self._requests.clear()  # versions come and go: those that serve now are soon at hand again
        self._requests[key] = counters
        return counters

    def _routed_counters(self, key: tuple[str, str, str, str]) -> tuple[Number, Number]:
        pop, app, outcome, reason = key
        counters = (
            self._store.number(catalog.FRONT_DOOR_REQUESTS, _known_app(app, outcome), outcome),
            self._store.number(catalog.ROUTED_REQUESTS, pop, reason),
        )
        if len(self._routed) < MAX_HOT_KEYS:
            self._routed[key] = counters
        return counters

    def _pop_histograms(self, pop: str) -> _PopHistograms:
        histograms = self._pops[pop] = _PopHistograms(self._store, pop)
        return histograms

    def _cpu(self, pop: str, app: str) -> tuple[Callable[[float], None], Number, Number]:
        """What a guest of the app has cost there."""
        found = (
            self._store.histogram(catalog.WORKER_CPU, pop, app).record,
            self._store.number(catalog.WORKER_MEMORY, pop, app),
            self._store.number(catalog.WORKER_SUBREQUESTS, pop, app),
        )
        if len(self._cpus) < MAX_HOT_KEYS:
            self._cpus[pop, app] = found
        return found

    def _door(self, pop: str) -> Callable[[float], None]:
        record = self._doors[pop] = self._store.histogram(catalog.FRONT_DOOR_DURATION, pop).record
        return record

    # -- everything else ------------------------------------------------------------------------------------------------

    def _cold_started(self, event: ColdStarted) -> None:
        role = DEPLOY_ROLE if event.cause == "deploy" else event.role
        self._store.number(catalog.COLD_STARTS, event.pop, event.start, role).value += 1
        self._store.histogram(catalog.COLD_START, event.pop, event.start, role).record(event.total_s)
        for phase, seconds in event.phases:
            self._store.histogram(catalog.COLD_START_PHASE, event.pop, phase, role).record(seconds)

    def _evicted(self, event: Evicted) -> None:
        self._store.number(catalog.EVICTIONS, event.pop, event.what, event.why).value += 1

    def _pop_reported(self, event: PopReported) -> None:
        before = self._reports.get(event.pop)
        self._reports[event.pop] = event
        is_new = before is None or (before.epoch, before.gen) != (event.epoch, event.gen)
        if is_new and event.distribute_s > 0.0:
            phase = self._store.histogram(catalog.COLD_START_PHASE, event.pop, "distribute", DEPLOY_ROLE)
            phase.record(event.distribute_s)
        self._rollout_is_stale = True

    def _health_reported(self, event: HealthReported) -> None:
        gone = self._beats.get(event.host, frozenset()) - {pop.pop for pop in event.pops}
        self._beats[event.host] = frozenset(pop.pop for pop in event.pops)
        for pop in event.pops:
            self._set_gauges(pop.pop, int(pop.state == "ready"), pop.busy, pop.warm, pop.queued, pop.loaded_bytes)
        for name in gone:
            self._set_gauges(name, 0, 0, 0, 0, 0)

    def _set_gauges(self, pop: str, *values: int) -> None:
        for metric, value in zip(_BEAT_GAUGES, values, strict=True):
            self._store.number(metric, pop).value = value


def _known_app(app: str, outcome: str) -> str:
    """The app for a label: whoever sends a `Host` that is no app must not choose a label value."""
    return NONE if outcome in ("no_app", "bad_request") else app
