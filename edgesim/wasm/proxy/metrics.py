"""Host functions for metrics (ABI section "Metrics")."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edgesim.wasm.proxy.fields import decode
from edgesim.wasm.proxy.spec import MAX_KEY_BYTES, Metric, Status
from edgesim.wasm.proxy.table import host

if TYPE_CHECKING:
    from edgesim.wasm.proxy.vm import Vm

_SIGN: Final = 1 << 63


@host("proxy_define_metric", "iiii")
def define_metric(vm: Vm, kind: int, name: int, size: int, id_out: int) -> Status:
    """Open a metric, and make it if it is not there."""
    key = vm.read_some(name, size, MAX_KEY_BYTES)
    vm.check(id_out, 4)
    if kind > Metric.HISTOGRAM or key is None:
        return Status.BAD_ARGUMENT
    metric = vm.state.define_metric(Metric(kind), decode(key))
    if metric is None:
        return Status.BAD_ARGUMENT
    vm.write_u32(id_out, metric)
    return Status.OK


@host("proxy_increment_metric", "iI")
def increment_metric(vm: Vm, metric: int, delta: int) -> Status:
    """Change a counter or gauge by a signed number."""
    return vm.state.increment(metric, delta - (1 << 64) if delta >= _SIGN else delta)


@host("proxy_record_metric", "iI")
def record_metric(vm: Vm, metric: int, value: int) -> Status:
    """Set a gauge, or record a value."""
    return vm.state.record(metric, value)


@host("proxy_get_metric", "ii")
def get_metric(vm: Vm, metric: int, value_out: int) -> Status:
    """The value of a metric."""
    vm.check(value_out, 8)
    found = vm.state.metric(metric)
    if found is None:
        return Status.NOT_FOUND
    vm.write(value_out, found.value.to_bytes(8, "little"))
    return Status.OK
