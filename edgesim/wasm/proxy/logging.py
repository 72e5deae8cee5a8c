"""Host functions for the log (ABI section "Logging"), and what preview 1 writes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edgesim.wasm.p1 import EBADF, SUCCESS
from edgesim.wasm.proxy.spec import Level, Status
from edgesim.wasm.proxy.table import host

if TYPE_CHECKING:
    from edgesim.wasm.proxy.vm import Vm

LOG_LEVEL: Final = Level.INFO
"""What is less important is dropped."""


def _write(vm: Vm, level: Level, message: bytes) -> None:
    if message and level >= LOG_LEVEL:
        vm.log.write(b"[%s] %s\n" % (level.name.lower().encode(), message.rstrip(b"\n")))


@host("proxy_log", "iii")
def log(vm: Vm, level: int, message: int, size: int) -> Status:
    """One message."""
    vm.check(message, size)
    if level > Level.CRITICAL:
        return Status.BAD_ARGUMENT
    if level >= LOG_LEVEL:
        _write(vm, Level(level), vm.read(message, min(size, vm.limits.log_bytes)))
    return Status.OK


@host("proxy_get_log_level", "i")
def get_log_level(vm: Vm, level_out: int) -> Status:
    """What is worth a message."""
    vm.write_u32(level_out, LOG_LEVEL)
    return Status.OK


def fd_write(vm: Vm, fd: int, iovs: int, count: int, out: int) -> int:
    """Preview 1: stdout is logged as INFO, stderr as ERROR."""
    if fd not in (1, 2):
        return EBADF
    total, left = 0, vm.limits.log_bytes
    parts = []
    for pointer, size in vm.iovecs(iovs, count):
        vm.check(pointer, size)
        parts.append(vm.read(pointer, min(size, left)))
        left -= len(parts[-1])
        total = min(total + size, 0xFFFFFFFF)
    _write(vm, Level.INFO if fd == 1 else Level.ERROR, b"".join(parts))
    vm.write_u32(out, total)
    return SUCCESS
