"""What the edge did, per PoP: from the merged snapshots of its processes to the numbers that people read.

Used by `/v1/pops`, the demo and load reports. Quantiles follow Prometheus' rule (`histogram.py`), so that a dashboard and
these tables agree. All of it counts since the processes started.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from edgesim.model.ids import PHASES
from edgesim.observe import catalog
from edgesim.observe.histogram import Histogram
from edgesim.observe.history import added
from edgesim.observe.recorder import DEPLOY_ROLE
from edgesim.observe.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

NOT_ERRORS: Final = frozenset({"ok", "client_gone"})
"""Outcomes that are not the edge's failure: it answered, or the client left before it could."""
ROLES: Final = ("trigger", "waiter", DEPLOY_ROLE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """A histogram in short. Quantiles in seconds, None when nothing was recorded."""

    count: int = 0
    mean_s: float | None = None
    p50_s: float | None = None
    p99_s: float | None = None

    @classmethod
    def of(cls, histogram: Histogram) -> Latency:
        """The short form of `histogram`."""
        count = histogram.count
        return cls(
            count=count,
            mean_s=histogram.sum_s / count if count else None,
            p50_s=histogram.quantile(0.5),
            p99_s=histogram.quantile(0.99),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ColdStarts:
    """Cold starts of one PoP in one role (`trigger`, `waiter` or `deploy`): as a whole, and by phase."""

    role: str
    total: Latency
    by_start: Mapping[str, int]
    """How many began at `absent` and at `disk`."""
    phases: Mapping[str, Latency]
    """By phase, in the order in which phases follow each other; only those that occurred."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PopSummary:
    """One PoP since its process started."""

    pop: str
    requests: int
    errors: int
    outcomes: Mapping[str, int]
    starts: Mapping[str, int]
    """Requests by `start`; `none` where no guest ran."""
    duration: Latency
    """Measured at the PoP, without network."""
    duration_histogram: Mapping[str, Any]
    """The same as `Histogram.to_json()`: the difference of two of them is what happened between (`edgesim top`)."""
    parts: Mapping[str, Latency]
    cpu: Mapping[str, Latency]
    """CPU time of a request by app, where guests have run."""
    most: Mapping[str, Mapping[str, int]]
    """By app, the most that a guest has had: `memory_bytes` (0: not seen), `subrequests`."""
    cold: Latency
    """Whole cold starts that requests saw, as triggers or waiters."""
    cold_starts: tuple[ColdStarts, ...]
    """By role, deploys included."""
    up: bool
    slots: int
    busy: int
    warm: int
    """Instances that stood ready at the last beat."""
    queued: int
    loaded_bytes: int
    evictions: Mapping[str, int]
    """By what and why: `instance idle`, `module memory`; only those that occurred."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """The whole edge."""

    pops: Mapping[str, PopSummary]
    """By PoP id, sorted."""
    requests: int
    """Finished at the front doors."""
    errors: int
    outcomes: Mapping[str, int]
    """At the front doors, where also requests end that no PoP answered."""
    routed: Mapping[str, Mapping[str, int]]
    """Requests by answering PoP and reason of the routing decision."""
    failovers: Mapping[str, int]
    """Failed attempts by the PoP that failed; only PoPs that did."""
    duration: Latency
    """At the front doors."""
    missing: Mapping[str, str]
    """Processes that did not answer, and why: what they counted is not in here."""

    def to_json(self) -> dict[str, Any]:
        """The summary as JSON-able values."""
        return asdict(self)


def summarise(store: Store, *, missing: Mapping[str, str] | None = None) -> Summary:
    """The summary of a store: one process's, or several merged (`merged`)."""
    outcomes = _by_label(store, catalog.FRONT_DOOR_REQUESTS, 1)
    duration = Histogram()
    for histogram in store.histograms[catalog.FRONT_DOOR_DURATION.name].children.values():
        duration.merge(histogram)
    routed: dict[str, dict[str, int]] = {}
    for (pop, reason), number in store.numbers[catalog.ROUTED_REQUESTS.name].children.items():
        if number.value:
            routed.setdefault(pop, {})[reason] = int(number.value)
    failovers = _by_label(store, catalog.FAILOVERS, 0)
    return Summary(
        pops=_pops(store),
        requests=sum(outcomes.values()),
        errors=_errors(outcomes),
        outcomes=outcomes,
        routed=routed,
        failovers=failovers,
        duration=Latency.of(duration),
        missing=dict(missing or {}),
    )


def merged(states: Iterable[object]) -> Store:
    """One store with the sum of several processes' `Recorder.snapshot()`.

    Raises:
        ValueError: one of them is not a snapshot.
    """
    return added((Store.from_json(state), True) for state in states)


def _pops(store: Store) -> dict[str, PopSummary]:
    requests: dict[str, tuple[dict[str, int], dict[str, int]]] = {}
    for (pop, _app, outcome, start), number in store.numbers[catalog.REQUESTS.name].children.items():
        outcomes, starts = requests.setdefault(pop, ({}, {}))
        outcomes[outcome] = outcomes.get(outcome, 0) + int(number.value)
        starts[start] = starts.get(start, 0) + int(number.value)
    parts, cpu = _latencies(store, catalog.REQUEST_PART), _latencies(store, catalog.WORKER_CPU)
    durations = store.histograms[catalog.REQUEST_DURATION.name].children
    cold = _cold_starts(store)
    seen: dict[str, Histogram] = {}
    for (pop, _start, role), histogram in store.histograms[catalog.COLD_START.name].children.items():
        if role != DEPLOY_ROLE:
            seen.setdefault(pop, Histogram()).merge(histogram)

    evictions: dict[str, dict[str, int]] = {}
    for (pop, what, why), number in store.numbers[catalog.EVICTIONS.name].children.items():
        if number.value:
            evictions.setdefault(pop, {})[f"{what} {why}"] = int(number.value)

    def gauge(metric: catalog.Metric, pop: str) -> int:
        number = store.numbers[metric.name].children.get((pop,))
        return int(number.value) if number else 0

    result = {}
    known = {pop for (pop,) in [*durations, *store.numbers[catalog.POP_UP.name].children]}
    for pop in sorted(known):
        outcomes, starts = requests.get(pop, ({}, {}))
        result[pop] = PopSummary(
            pop=pop,
            requests=sum(outcomes.values()),
            errors=_errors(outcomes),
            outcomes=outcomes,
            starts=starts,
            duration=Latency.of(durations[pop,]) if (pop,) in durations else Latency(),
            duration_histogram=durations[pop,].to_json() if (pop,) in durations else {},
            parts=parts.get(pop, {}),
            cpu=cpu.get(pop, {}),
            most={app: _most(store, pop, app) for app in cpu.get(pop, {})},
            cold=Latency.of(seen.get(pop, Histogram())),
            cold_starts=cold.get(pop, ()),
            up=bool(gauge(catalog.POP_UP, pop)),
            slots=gauge(catalog.POOL_SLOTS, pop),
            busy=gauge(catalog.INSTANCES_BUSY, pop),
            warm=gauge(catalog.INSTANCES_WARM, pop),
            queued=gauge(catalog.QUEUE_DEPTH, pop),
            loaded_bytes=gauge(catalog.LOADED_BYTES, pop),
            evictions=evictions.get(pop, {}),
        )
    return result


def _most(store: Store, pop: str, app: str) -> dict[str, int]:
    """What a guest of the app has had at most."""
    metrics = {"memory_bytes": catalog.WORKER_MEMORY, "subrequests": catalog.WORKER_SUBREQUESTS}
    children = {name: store.numbers[metric.name].children.get((pop, app)) for name, metric in metrics.items()}
    return {name: int(number.value) if number else 0 for name, number in children.items()}


def _latencies(store: Store, metric: catalog.Metric) -> dict[str, dict[str, Latency]]:
    """A histogram with two labels by them, the first being the PoP; only what occurred."""
    found: dict[str, dict[str, Latency]] = {}
    for (pop, other), histogram in store.histograms[metric.name].children.items():
        if histogram.count:
            found.setdefault(pop, {})[other] = Latency.of(histogram)
    return found


def _cold_starts(store: Store) -> dict[str, tuple[ColdStarts, ...]]:
    """Cold starts by PoP, one entry per role that occurred, in the order of `ROLES`."""
    totals: dict[tuple[str, str], Histogram] = {}
    by_start: dict[tuple[str, str], dict[str, int]] = {}
    for (pop, start, role), histogram in store.histograms[catalog.COLD_START.name].children.items():
        if histogram.count:
            totals.setdefault((pop, role), Histogram()).merge(histogram)
            by_start.setdefault((pop, role), {})[start] = histogram.count
    phases: dict[tuple[str, str], dict[str, Latency]] = {}
    for (pop, phase, role), histogram in store.histograms[catalog.COLD_START_PHASE.name].children.items():
        if histogram.count:
            phases.setdefault((pop, role), {})[phase] = Latency.of(histogram)
    rows: dict[str, tuple[ColdStarts, ...]] = {}
    for pop, role in sorted({*totals, *phases}, key=lambda key: (key[0], _rank(ROLES, key[1]))):
        found = phases.get((pop, role), {})
        entry = ColdStarts(
            role=role,
            total=Latency.of(totals.get((pop, role), Histogram())),
            by_start=by_start.get((pop, role), {}),
            phases={phase: found[phase] for phase in sorted(found, key=lambda name: _rank(PHASES, name))},
        )
        rows[pop] = (*rows.get(pop, ()), entry)
    return rows


def _by_label(store: Store, metric: catalog.Metric, index: int) -> dict[str, int]:
    """A counter's sums by one of its labels, without zeros."""
    sums: dict[str, int] = {}
    for labels, number in store.numbers[metric.name].children.items():
        if number.value:
            sums[labels[index]] = sums.get(labels[index], 0) + int(number.value)
    return sums


def _errors(outcomes: Mapping[str, int]) -> int:
    return sum(count for outcome, count in outcomes.items() if outcome not in NOT_ERRORS)


def _rank(order: tuple[str, ...], value: str) -> int:
    return order.index(value) if value in order else len(order)
