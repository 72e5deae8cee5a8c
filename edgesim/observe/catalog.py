"""Every metric of edgesim, once: name, type, help, labels. The recorder, the dashboards, the docs and the tests read this.

Names are `edgesim_<noun>_<unit>[_total]` in base units. Labels are bounded: each label takes at most `LABEL_LIMITS` values in
one process, further ones are counted under `OTHER`. Values are not kept here: see `store.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Kind = Literal["counter", "gauge", "histogram"]
Scope = Literal["pop", "front door", "process", "load run"]

OTHER: Final = "other"
"""Label value for everything beyond a label's limit."""
NONE: Final = "none"
"""Label value for what does not apply; Prometheus cannot tell an empty label from a missing one."""

LABEL_LIMITS: Final = {"app": 64, "version": 512, "scenario": 8, "phase": 64, "filter": 64, "metric": 256}
"""Values that a label takes at most, for labels that users choose freely."""
DEFAULT_LABEL_LIMIT: Final = 8192
"""The limit of the other labels. They are closed sets, or the PoPs of the topology."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One family of metrics."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...]
    scope: Scope
    """Which part of the edge counts it."""
    mergeable: bool = True
    """Whether adding the values of all processes makes sense; others stay out of `/-/stats`."""


REQUESTS: Final = Metric(
    name="edgesim_requests_total",
    kind="counter",
    help="Requests that a PoP has dealt with, by outcome and by how the worker was started (none: no guest ran).",
    labels=("pop", "app", "outcome", "start"),
    scope="pop",
)
VERSION_REQUESTS: Final = Metric(
    name="edgesim_version_requests_total",
    kind="counter",
    help="Requests that PoPs have dealt with, by the version of the app that answered or failed to (none: no such app).",
    labels=("app", "version", "outcome"),
    scope="pop",
)
REQUEST_DURATION: Final = Metric(
    name="edgesim_request_duration_seconds",
    kind="histogram",
    help="Measured time of a request at its PoP, from arrival there to its answer.",
    labels=("pop",),
    scope="pop",
)
REQUEST_PART: Final = Metric(
    name="edgesim_request_part_seconds",
    kind="histogram",
    help="Where requests spent their time: network is modelled, both ways and unscaled; queue, start, execute and origin"
    " are measured at the PoP. Instantiate and init are the parts of execute that a reused instance saves. Network and queue"
    " count each request, the others those in which they occurred.",
    labels=("pop", "part"),
    scope="pop",
)
WORKER_MEMORY: Final = Metric(
    name="edgesim_worker_memory_max_bytes",
    kind="gauge",
    help="Most linear memory that a guest of the worker has had when the head of its answer was out, since the process started.",
    labels=("pop", "app"),
    scope="pop",
)
WORKER_SUBREQUESTS: Final = Metric(
    name="edgesim_worker_subrequests_max",
    kind="gauge",
    help="Most requests that a guest of the worker had sent by then.",
    labels=("pop", "app"),
    scope="pop",
)
_FILTER: Final = ("pop", "app", "filter", "metric")
FILTER_COUNTER: Final = Metric(
    name="edgesim_filter_counted_total",
    kind="counter",
    help="Counters that Proxy-Wasm filters have defined, by the filter's component and its own name for them.",
    labels=_FILTER,
    scope="pop",
)
FILTER_GAUGE: Final = Metric(
    name="edgesim_filter_value",
    kind="gauge",
    help="Gauges that Proxy-Wasm filters have defined.",
    labels=_FILTER,
    scope="pop",
)
FILTER_RECORDS: Final = Metric(
    name="edgesim_filter_records_total",
    kind="counter",
    help="Values that Proxy-Wasm filters have recorded into histograms of theirs.",
    labels=_FILTER,
    scope="pop",
)
FILTER_RECORDED: Final = Metric(
    name="edgesim_filter_recorded_total",
    kind="counter",
    help="Sum of those values; divided by their number, their mean.",
    labels=_FILTER,
    scope="pop",
)
WORKER_CPU: Final = Metric(
    name="edgesim_worker_cpu_seconds",
    kind="histogram",
    help="CPU time that a worker's guest used for one request, the start of its instance included, until its head was out.",
    labels=("pop", "app"),
    scope="pop",
)
COLD_STARTS: Final = Metric(
    name="edgesim_cold_starts_total",
    kind="counter",
    help="Cold starts, by the worker's state before (absent, disk) and by role: the request that triggered the start,"
    " one that waited for it, or a deploy.",
    labels=("pop", "start", "role"),
    scope="pop",
)
COLD_START: Final = Metric(
    name="edgesim_cold_start_seconds",
    kind="histogram",
    help="How long cold starts took as a whole, by the worker's state before and by role.",
    labels=("pop", "start", "role"),
    scope="pop",
)
COLD_START_PHASE: Final = Metric(
    name="edgesim_cold_start_phase_seconds",
    kind="histogram",
    help="Phases of cold starts as this PoP really waited for them; shared stands for work that was done for another PoP.",
    labels=("pop", "phase", "role"),
    scope="pop",
)
POP_UP: Final = Metric(
    name="edgesim_pop_up",
    kind="gauge",
    help="1 when the PoP was alive and ready in its host's last beat, else 0.",
    labels=("pop",),
    scope="pop",
)
POP_INFO: Final = Metric(
    name="edgesim_pop_info",
    kind="gauge",
    help="Always 1; the labels say where the PoP is. Other metrics are joined with it by pop.",
    labels=("pop", "region"),
    scope="pop",
    mergeable=False,
)
POOL_SLOTS: Final = Metric(
    name="edgesim_pool_slots",
    kind="gauge",
    help="Guests that the PoP may run at the same time.",
    labels=("pop",),
    scope="pop",
)
INSTANCES_BUSY: Final = Metric(
    name="edgesim_instances_busy",
    kind="gauge",
    help="Guests that ran at the PoP's last beat.",
    labels=("pop",),
    scope="pop",
)
QUEUE_DEPTH: Final = Metric(
    name="edgesim_queue_requests",
    kind="gauge",
    help="Requests that waited for a slot at the PoP's last beat.",
    labels=("pop",),
    scope="pop",
)
INSTANCES_WARM: Final = Metric(
    name="edgesim_instances_warm",
    kind="gauge",
    help="Instances that stood ready for a request at the PoP's last beat.",
    labels=("pop",),
    scope="pop",
)
LOADED_BYTES: Final = Metric(
    name="edgesim_loaded_bytes",
    kind="gauge",
    help="Memory that the PoP's budget counts for loaded modules and for instances.",
    labels=("pop",),
    scope="pop",
)
EVICTIONS: Final = Metric(
    name="edgesim_evictions_total",
    kind="counter",
    help="What the PoP has taken out of memory (instance, module) although it could have served on: after its time without a"
    " request (idle), or because something else needed the room (memory).",
    labels=("pop", "what", "why"),
    scope="pop",
)
ROLLOUT_POPS: Final = Metric(
    name="edgesim_rollout_pops",
    kind="gauge",
    help="PoPs by the version of an app that they serve and by the state of their latest desired document.",
    labels=("app", "version", "state"),
    scope="pop",
)
FRONT_DOOR_REQUESTS: Final = Metric(
    name="edgesim_front_door_requests_total",
    kind="counter",
    help="Requests that the front door has finished, also those that no PoP answered.",
    labels=("app", "outcome"),
    scope="front door",
)
ROUTED_REQUESTS: Final = Metric(
    name="edgesim_routed_requests_total",
    kind="counter",
    help="Routing decisions by the PoP that answered: first choice, better ones skipped, failover, or none.",
    labels=("pop", "reason"),
    scope="front door",
)
REFUSED_DOCUMENTS: Final = Metric(
    name="edgesim_refused_documents_total",
    kind="counter",
    help="Desired documents that a PoP refused: not signed by this control plane, for another PoP, or older than its own.",
    labels=("pop",),
    scope="pop",
)
FAILOVERS: Final = Metric(
    name="edgesim_failovers_total",
    kind="counter",
    help="Attempts that failed at a PoP during a request, before the first byte of an answer.",
    labels=("from_pop",),
    scope="front door",
)
FRONT_DOOR_DURATION: Final = Metric(
    name="edgesim_front_door_duration_seconds",
    kind="histogram",
    help="Measured time of a request at the front door, with the network time that was waited for.",
    labels=("pop",),
    scope="front door",
)
FRONT_DOOR_NETWORK: Final = Metric(
    name="edgesim_front_door_network_seconds",
    kind="histogram",
    help="Modelled network time of a request between client and PoP, unscaled, over all attempts.",
    labels=(),
    scope="front door",
)
LOOP_LAG: Final = Metric(
    name="edgesim_loop_lag_seconds",
    kind="histogram",
    help="How late the process's event loop woke from its timer.",
    labels=(),
    scope="process",
)
LABEL_OVERFLOWS: Final = Metric(
    name="edgesim_label_overflows_total",
    kind="counter",
    help="Updates that were counted under the label value other, because the label has too many values.",
    labels=("label",),
    scope="process",
)
PROCESS_START: Final = Metric(
    name="edgesim_process_start_time_seconds",
    kind="gauge",
    help="When the process started, in seconds since 1970.",
    labels=("process",),
    scope="process",
    mergeable=False,
)
BUILD_INFO: Final = Metric(
    name="edgesim_build_info",
    kind="gauge",
    help="Always 1; the labels say what runs.",
    labels=("process", "version", "python"),
    scope="process",
    mergeable=False,
)
LOAD_SENT: Final = Metric(
    name="edgesim_load_sent_total",
    kind="counter",
    help="Requests that the load run has sent.",
    labels=("scenario",),
    scope="load run",
)
LOAD_ANSWERED: Final = Metric(
    name="edgesim_load_answered_total",
    kind="counter",
    help="Requests of the load run that have ended, with an answer or without.",
    labels=("scenario",),
    scope="load run",
)
LOAD_FAILED: Final = Metric(
    name="edgesim_load_failed_total",
    kind="counter",
    help="Requests of the load run without an answer, or with one that was not expected.",
    labels=("scenario",),
    scope="load run",
)
LOAD_DROPPED: Final = Metric(
    name="edgesim_load_dropped_total",
    kind="counter",
    help="Arrivals of the load run that were not sent, because as many as may be were in flight.",
    labels=("scenario",),
    scope="load run",
)
LOAD_IN_FLIGHT: Final = Metric(
    name="edgesim_load_in_flight",
    kind="gauge",
    help="Requests of the load run that have no answer yet.",
    labels=("scenario",),
    scope="load run",
)
LOAD_RESPONSE: Final = Metric(
    name="edgesim_load_response_seconds",
    kind="gauge",
    help="Quantiles of the load run's response times from the intended send time, of the last half second.",
    labels=("scenario", "quantile"),
    scope="load run",
)
LOAD_LAG: Final = Metric(
    name="edgesim_load_lag_seconds",
    kind="gauge",
    help="Quantile of how late the load generator sent, of the whole run: its own fault, not the edge's.",
    labels=("scenario", "quantile"),
    scope="load run",
)
LOAD_PHASE: Final = Metric(
    name="edgesim_load_phase",
    kind="gauge",
    help="1 for the phase that the load run is in, 0 for the others.",
    labels=("scenario", "phase"),
    scope="load run",
)

CATALOG: Final = {
    metric.name: metric
    for metric in (
        REQUESTS,
        VERSION_REQUESTS,
        REQUEST_DURATION,
        REQUEST_PART,
        WORKER_CPU,
        WORKER_MEMORY,
        WORKER_SUBREQUESTS,
        FILTER_COUNTER,
        FILTER_GAUGE,
        FILTER_RECORDS,
        FILTER_RECORDED,
        COLD_STARTS,
        COLD_START,
        COLD_START_PHASE,
        POP_UP,
        POP_INFO,
        POOL_SLOTS,
        INSTANCES_BUSY,
        INSTANCES_WARM,
        QUEUE_DEPTH,
        LOADED_BYTES,
        EVICTIONS,
        ROLLOUT_POPS,
        FRONT_DOOR_REQUESTS,
        ROUTED_REQUESTS,
        REFUSED_DOCUMENTS,
        FAILOVERS,
        FRONT_DOOR_DURATION,
        FRONT_DOOR_NETWORK,
        LOOP_LAG,
        LABEL_OVERFLOWS,
        PROCESS_START,
        BUILD_INFO,
        LOAD_SENT,
        LOAD_ANSWERED,
        LOAD_FAILED,
        LOAD_DROPPED,
        LOAD_IN_FLIGHT,
        LOAD_RESPONSE,
        LOAD_LAG,
        LOAD_PHASE,
    )
}
"""All metrics by name, in the order in which they are exported."""


def sample_names(metric: Metric) -> tuple[str, ...]:
    """The names that queries may use for this metric."""
    if metric.kind == "histogram":
        return tuple(metric.name + suffix for suffix in ("_bucket", "_sum", "_count"))
    return (metric.name,)
