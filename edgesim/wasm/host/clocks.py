"""wasi:clocks: real clocks, timers that wait on the event loop, and a timezone, which is UTC everywhere."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from edgesim.wasm.host.io import Pollable
from edgesim.wasm.linking import HostTable

if TYPE_CHECKING:
    from edgesim.wasm.component import ComponentGuest

TABLE: Final = HostTable()
_MONOTONIC, _WALL = "wasi:clocks/monotonic-clock", "wasi:clocks/wall-clock"
_ZONE: Final = "wasi:clocks/timezone"
_RESOLUTION_NS: Final = 1000


@TABLE.add(_MONOTONIC, "now")
def now(_guest: ComponentGuest) -> int:
    """Nanoseconds of a clock that never goes back."""
    return time.monotonic_ns()


@TABLE.add(_MONOTONIC, "resolution")
def resolution(_guest: ComponentGuest) -> int:
    """Nanoseconds."""
    return _RESOLUTION_NS


@TABLE.add(_MONOTONIC, "subscribe-instant")
def subscribe_instant(_guest: ComponentGuest, when_ns: int) -> Pollable:
    """Ready at a time of this clock."""
    return Pollable(due_s=when_ns / 1e9)


@TABLE.add(_MONOTONIC, "subscribe-duration")
def subscribe_duration(_guest: ComponentGuest, duration_ns: int) -> Pollable:
    """Ready after a while."""
    return Pollable(due_s=time.monotonic() + duration_ns / 1e9)


@TABLE.add(_WALL, "now")
def wall_now(_guest: ComponentGuest) -> dict[str, int]:
    """Time since 1970."""
    seconds, nanoseconds = divmod(time.time_ns(), 1_000_000_000)
    return {"seconds": seconds, "nanoseconds": nanoseconds}


@TABLE.add(_WALL, "resolution")
def wall_resolution(_guest: ComponentGuest) -> dict[str, int]:
    """A microsecond."""
    return {"seconds": 0, "nanoseconds": _RESOLUTION_NS}


@TABLE.add(_ZONE, "display")
def timezone_display(_guest: ComponentGuest, _when: dict[str, int]) -> dict[str, object]:
    """UTC: where a PoP is says nothing about its users."""
    return {"utc-offset": 0, "name": "UTC", "in-daylight-saving-time": False}


@TABLE.add(_ZONE, "utc-offset")
def utc_offset(_guest: ComponentGuest, _when: dict[str, int]) -> int:
    """Seconds."""
    return 0
