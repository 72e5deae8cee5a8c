"""`poll_oneoff` of WASI preview 1: waits for clocks, for stdin and for room on stdout, on the event loop.

Layouts (little-endian): a subscription is userdata u64, tag u8 at 8, clock id or descriptor u32 at 16, timeout u64 at 24,
flags u16 at 40, 48 bytes in all; an event is userdata u64, errno u16, type u8, bytes u64 at 16, flags u16, 32 bytes in all.
"""

from __future__ import annotations

import struct
import time
from typing import TYPE_CHECKING, Final, NamedTuple

from edgesim.wasm.guest import Suspend
from edgesim.wasm.host.waits import wait_any
from edgesim.wasm.p1_files import is_open

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from edgesim.wasm.p1 import P1Guest

_SUCCESS, _EBADF, _EINVAL = 0, 8, 28
MAX_SUBSCRIPTIONS: Final = 64
_CLOCK, _READ, _WRITE = 0, 1, 2
_ABSOLUTE: Final = 1
_STDIN, _STDOUT, _STDERR = 0, 1, 2
_SUBSCRIPTION: Final = struct.Struct("<8sB7xI4xQ8xH6x")
_EVENT: Final = struct.Struct("<8sHB5xQH6x")


class _Wait(NamedTuple):
    """One subscription. `due_s` is on the monotonic clock, for clocks only."""

    userdata: bytes
    tag: int
    fd: int
    due_s: float

    def event(self, errno: int = _SUCCESS, size: int = 0) -> bytes:
        """That it has come true."""
        return _EVENT.pack(self.userdata, errno, self.tag, size, 0)


def poll_oneoff(guest: P1Guest, subscriptions: int, events: int, count: int, out: int) -> int | Suspend:
    """Wait for the first of some events; all that have come true are written."""
    if not 0 < count <= MAX_SUBSCRIPTIONS:
        return _EINVAL
    guest.read(events, _EVENT.size * count)  # the range must exist before anything is waited for
    waits = []
    for userdata, tag, which, timeout_ns, flags in _SUBSCRIPTION.iter_unpack(
        guest.read(subscriptions, _SUBSCRIPTION.size * count)
    ):
        if tag > _WRITE or (tag == _CLOCK and which > 1):
            return _EINVAL
        waits.append(_Wait(userdata, tag, which, _due_s(which, timeout_ns, flags) if tag == _CLOCK else 0.0))

    def collect(_nothing: object = None) -> int:
        done = [event for wait in waits if (event := _fired(guest, wait)) is not None]
        if not done:  # the loop's clock is coarser than ours: the earliest timer has rung
            done = [min((w for w in waits if w.tag == _CLOCK), key=lambda w: w.due_s).event()]
        guest.write(events, b"".join(done))
        guest.write_u32(out, len(done))
        return _SUCCESS

    def start() -> Awaitable[None]:
        tags = {wait.tag for wait in waits}
        conditions = [guest.input.fill] if _READ in tags else []
        if _WRITE in tags:
            conditions.append(guest.output.wait_room)
        return wait_any(conditions, min((wait.due_s for wait in waits if wait.tag == _CLOCK), default=None))

    if any(_fired(guest, wait) is not None for wait in waits):
        return collect()
    return Suspend(start, collect)


def _due_s(clock: int, timeout_ns: int, flags: int) -> float:
    """When a timer rings, on the monotonic clock."""
    now_ns = time.monotonic_ns() if clock else time.time_ns()
    left_ns = timeout_ns - now_ns if flags & _ABSOLUTE else timeout_ns
    return time.monotonic() + max(0, left_ns) / 1e9


def _fired(guest: P1Guest, wait: _Wait) -> bytes | None:
    """The event of a subscription that has come true, or None."""
    if wait.tag == _CLOCK:
        return wait.event() if time.monotonic() >= wait.due_s else None
    if wait.fd > _STDERR and wait.tag == _READ and is_open(guest, wait.fd):
        return wait.event(size=1)  # a file never makes anybody wait
    if wait.fd > _STDERR or (wait.tag == _READ) != (wait.fd == _STDIN):
        return wait.event(_EBADF)
    if wait.fd == _STDIN:
        return wait.event(size=1) if guest.input.ready else None
    if wait.fd == _STDOUT:
        return wait.event(size=guest.output.room) if guest.output.room else None
    return wait.event(size=1)
