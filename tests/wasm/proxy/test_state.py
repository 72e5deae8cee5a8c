"""What the VMs of one filter share."""

import pytest

from edgesim.model.worker import Limits
from edgesim.wasm.proxy.spec import (
    MAX_METRICS,
    MAX_QUEUE_ITEMS,
    MAX_QUEUES,
    MAX_SHARED_BYTES,
    MAX_SHARED_KEYS,
    Metric,
    Status,
)
from edgesim.wasm.proxy.state import PluginState


@pytest.fixture
def state():
    """A fresh state."""
    return PluginState("guest", Limits())


def test_compare_and_swap(state):
    """A number that is not the value's own is refused; zero always wins."""
    assert state.set_data(b"k", b"1", 0) is Status.OK
    value, cas = state.get_data(b"k")
    assert state.set_data(b"k", b"2", cas) is Status.OK
    assert state.set_data(b"k", b"3", cas) is Status.CAS_MISMATCH
    assert state.set_data(b"new", b"3", 9) is Status.CAS_MISMATCH
    assert state.set_data(b"k", b"4", 0) is Status.OK

    assert value == b"1"
    assert state.get_data(b"k")[0] == b"4"
    assert state.get_data(b"missing") is None


def test_shared_data_is_bounded(state):
    """By keys and by bytes; what is there can still be changed and shrunk."""
    for i in range(MAX_SHARED_KEYS):
        assert state.set_data(b"%d" % i, b"", 0) is Status.OK

    assert state.set_data(b"one more", b"", 0) is Status.INTERNAL_FAILURE
    assert state.set_data(b"0", b"x" * MAX_SHARED_BYTES, 0) is Status.INTERNAL_FAILURE
    assert state.set_data(b"0", b"x" * (MAX_SHARED_BYTES - 5000), 0) is Status.OK
    assert state.set_data(b"0", b"", 0) is Status.OK


def test_queues(state):
    """First in, first out; opened twice it is the same queue."""
    queue = state.register_queue(b"jobs")
    assert state.register_queue(b"jobs") == queue == state.resolve_queue(b"jobs")
    assert state.dequeue(queue) is Status.EMPTY
    assert [state.enqueue(queue, item) for item in (b"a", b"b")] == [Status.OK, Status.OK]
    assert (state.dequeue(queue), state.dequeue(queue)) == (b"a", b"b")

    assert state.enqueue(9, b"") is state.dequeue(0) is Status.NOT_FOUND
    assert state.resolve_queue(b"other") is None


def test_queues_are_bounded(state):
    """In number, in items and in bytes."""
    queues = [state.register_queue(b"%d" % i) for i in range(MAX_QUEUES)]
    for _ in range(MAX_QUEUE_ITEMS):
        assert state.enqueue(queues[0], b"") is Status.OK

    assert state.register_queue(b"one more") is None
    assert state.enqueue(queues[0], b"") is Status.INTERNAL_FAILURE
    assert state.enqueue(queues[1], b"x" * (2 << 20)) is Status.INTERNAL_FAILURE


def test_a_listener_is_told_once(state):
    """Items that come before the plugin has looked are one event."""
    queue = state.register_queue(b"jobs")
    state.registered.add(queue)
    state.enqueue(queue, b"a")
    state.enqueue(queue, b"b")

    assert list(state.ready) == [queue]


def test_metrics(state):
    """Counters only grow, gauges take any value, nothing goes below zero."""
    counter, gauge = state.define_metric(Metric.COUNTER, "c"), state.define_metric(Metric.GAUGE, "g")
    assert state.define_metric(Metric.COUNTER, "c") == counter
    assert state.define_metric(Metric.GAUGE, "c") is None
    assert state.increment(counter, 2) is state.increment(gauge, -5) is Status.OK
    assert state.increment(counter, -1) is Status.BAD_ARGUMENT
    assert state.record(gauge, 7) is Status.OK
    assert state.increment(99, 1) is state.record(0, 1) is Status.NOT_FOUND

    assert [(m.name, m.value) for m in state.metrics()] == [("c", 2), ("g", 7)]


def test_metrics_are_bounded(state):
    """In number."""
    for i in range(MAX_METRICS):
        assert state.define_metric(Metric.GAUGE, str(i))

    assert state.define_metric(Metric.GAUGE, "one more") is None
