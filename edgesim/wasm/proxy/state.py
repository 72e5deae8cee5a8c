"""What the VMs of one filter on one PoP share: shared data, queues, metrics and the timer's period. All of it bounded.

VMs of one filter may run on several threads at once; each operation holds the lock.
"""

from __future__ import annotations

from collections import deque
from ctypes import c_int64
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING, Final

from edgesim.wasm.proxy.spec import (
    MAX_METRICS,
    MAX_QUEUE_BYTES,
    MAX_QUEUE_ITEMS,
    MAX_QUEUES,
    MAX_SHARED_BYTES,
    MAX_SHARED_KEYS,
    Metric,
    Status,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgesim.model.worker import Limits

_U64: Final = (1 << 64) - 1


@dataclass(slots=True)
class Queue:
    """A shared queue."""

    name: bytes
    items: deque[bytes] = field(default_factory=deque)
    size_bytes: int = 0


@dataclass(slots=True)
class MetricValue:
    """A metric. A histogram keeps the last recorded value, for the filter, and sum and number of all, for others."""

    kind: Metric
    name: str
    value: int = 0
    sum: int = 0
    records: int = 0


class PluginState:
    """See the module."""

    def __init__(self, name: str, limits: Limits, *, configuration: bytes = b"", environ: Sequence[bytes] = ()) -> None:
        self.limits = limits
        self.environ = tuple(environ)
        """`NAME=value` for preview 1."""
        self.limiter = tuple(map(c_int64, (limits.memory_bytes, limits.table_elements, 1, limits.tables, 1)))
        """For `wasmtime_store_limiter`, converted once."""
        self.name = name
        """Id of the component: `plugin_name`, `plugin_root_id` and `plugin_vm_id`."""
        self.configuration = configuration
        self.identity: dict[bytes, bytes] = {}
        """Properties that do not depend on the request: the PoP, the app."""
        self.tick_s = 0.0
        """Period of `proxy_on_tick` as the plugin's own VM has set it; 0: no timer."""
        self.ready: deque[int] = deque()
        """Queues that got an item which the plugin has not been told of."""
        self.registered: set[int] = set()
        """Queues that the plugin's own VM listens to."""
        self._lock = Lock()
        self._data: dict[bytes, tuple[bytes, int]] = {}
        self._data_bytes = 0
        self._cas = 0
        self._queues: list[Queue] = []
        self._metrics: list[MetricValue] = []

    # -- shared data --------------------------------------------------------------------------------------------------

    def get_data(self, key: bytes) -> tuple[bytes, int] | None:
        """The value and its compare-and-swap number, or None."""
        return self._data.get(key)

    def set_data(self, key: bytes, value: bytes, cas: int) -> Status:
        """Set a value if `cas` is 0 or the number of the value there is now."""
        with self._lock:
            old, number = self._data.get(key, (b"", 0))
            if cas and cas != number:
                return Status.CAS_MISMATCH
            grown = len(value) - len(old) + (0 if number else len(key))
            if self._data_bytes + grown > MAX_SHARED_BYTES or (not number and len(self._data) >= MAX_SHARED_KEYS):
                return Status.INTERNAL_FAILURE
            self._data_bytes += grown
            self._cas = self._cas % 0xFFFFFFFF + 1
            self._data[key] = (value, self._cas)
            return Status.OK

    # -- queues -------------------------------------------------------------------------------------------------------

    def register_queue(self, name: bytes) -> int | None:
        """The id of a queue, which is made if it is not there; None when there are too many."""
        with self._lock:
            found = self._find(name)
            if found is None and len(self._queues) < MAX_QUEUES:
                self._queues.append(Queue(name))
                found = len(self._queues)
            return found

    def resolve_queue(self, name: bytes) -> int | None:
        """The id of a queue that is there, or None."""
        with self._lock:
            return self._find(name)

    def _find(self, name: bytes) -> int | None:
        return next((i for i, queue in enumerate(self._queues, 1) if queue.name == name), None)

    def enqueue(self, queue_id: int, item: bytes) -> Status:
        """Append to a queue."""
        with self._lock:
            if not 0 < queue_id <= len(self._queues):
                return Status.NOT_FOUND
            queue = self._queues[queue_id - 1]
            if len(queue.items) >= MAX_QUEUE_ITEMS or queue.size_bytes + len(item) > MAX_QUEUE_BYTES:
                return Status.INTERNAL_FAILURE
            queue.items.append(item)
            queue.size_bytes += len(item)
            if queue_id in self.registered and queue_id not in self.ready:
                self.ready.append(queue_id)
            return Status.OK

    def peek(self, queue_id: int) -> bytes | Status:
        """The first item of a queue, which stays."""
        with self._lock:
            if not 0 < queue_id <= len(self._queues):
                return Status.NOT_FOUND
            queue = self._queues[queue_id - 1]
            return queue.items[0] if queue.items else Status.EMPTY

    def dequeue(self, queue_id: int) -> bytes | Status:
        """Take the first item of a queue."""
        with self._lock:
            if not 0 < queue_id <= len(self._queues):
                return Status.NOT_FOUND
            queue = self._queues[queue_id - 1]
            if not queue.items:
                return Status.EMPTY
            item = queue.items.popleft()
            queue.size_bytes -= len(item)
            return item

    # -- metrics ------------------------------------------------------------------------------------------------------

    def define_metric(self, kind: Metric, name: str) -> int | None:
        """The id of a metric, which is made if it is not there; None when there are too many or its kind is another."""
        with self._lock:
            for i, metric in enumerate(self._metrics, 1):
                if metric.name == name:
                    return i if metric.kind is kind else None
            if len(self._metrics) >= MAX_METRICS:
                return None
            self._metrics.append(MetricValue(kind, name))
            return len(self._metrics)

    def metric(self, metric_id: int) -> MetricValue | None:
        """A metric by id, or None."""
        return self._metrics[metric_id - 1] if 0 < metric_id <= len(self._metrics) else None

    def increment(self, metric_id: int, delta: int) -> Status:
        """Change a counter or gauge. A counter does not go down, and nothing goes below zero."""
        metric = self.metric(metric_id)
        if metric is None:
            return Status.NOT_FOUND
        if metric.kind is Metric.HISTOGRAM or (metric.kind is Metric.COUNTER and delta < 0):
            return Status.BAD_ARGUMENT
        with self._lock:
            metric.value = min(max(0, metric.value + delta), _U64)
        return Status.OK

    def record(self, metric_id: int, value: int) -> Status:
        """Set a gauge, record into a histogram, or add to a counter as Envoy does."""
        metric = self.metric(metric_id)
        if metric is None:
            return Status.NOT_FOUND
        with self._lock:
            metric.value = min(metric.value + value, _U64) if metric.kind is Metric.COUNTER else value
            metric.sum += value
            metric.records += 1
        return Status.OK

    def metrics(self) -> list[MetricValue]:
        """Every metric, in the order of their definition."""
        return list(self._metrics)
