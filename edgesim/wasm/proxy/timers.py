"""Host functions for time (ABI sections "Clocks", "Timers")."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from edgesim.wasm.proxy.spec import MIN_TICK_S, Status
from edgesim.wasm.proxy.table import host

if TYPE_CHECKING:
    from edgesim.wasm.proxy.vm import Vm


@host("proxy_set_tick_period_milliseconds", "i")
def set_tick_period(vm: Vm, period_ms: int) -> Status:
    """How often the plugin is called. The VM of a request ends with it, so only the plugin's own VM has a timer."""
    if vm.stream is None:
        vm.state.tick_s = max(MIN_TICK_S, period_ms / 1000.0) if period_ms else 0.0
    return Status.OK


@host("proxy_get_current_time_nanoseconds", "i")
def get_current_time(vm: Vm, time_out: int) -> Status:
    """Nanoseconds since 1970."""
    vm.write(time_out, time.time_ns().to_bytes(8, "little"))
    return Status.OK
