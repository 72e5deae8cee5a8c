# ruff: noqa: PLR0917 - the signatures of the ABI
"""Host functions for bodies and configurations (ABI section "Buffers")."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edgesim.errors import GuestOutputError
from edgesim.wasm.proxy.spec import Buffer, Status
from edgesim.wasm.proxy.table import host

if TYPE_CHECKING:
    from edgesim.wasm.proxy.vm import Vm

_KNOWN: Final = max(Buffer)


def readable(vm: Vm, number: int) -> bytes | bytearray | None:
    """The buffer of this number, if it is there now."""
    if number == Buffer.PLUGIN_CONFIGURATION:
        return vm.state.configuration
    if number == Buffer.VM_CONFIGURATION:
        return b""
    if number == Buffer.CALL_RESPONSE_BODY:
        return None if vm.calls.response is None else vm.calls.response.body
    return None if vm.stream is None else vm.stream.buffers.get(Buffer(number))


@host("proxy_get_buffer_bytes", "iiiii")
def get_bytes(vm: Vm, number: int, start: int, size: int, data_out: int, size_out: int) -> Status:
    """A part of a buffer."""
    if number > _KNOWN:
        return Status.BAD_ARGUMENT
    buffer = readable(vm, number)
    if buffer is None:
        return Status.NOT_FOUND
    if start > len(buffer) or start + size > 0xFFFFFFFF:
        return Status.BAD_ARGUMENT
    vm.give(bytes(buffer[start : start + size]), data_out, size_out)
    return Status.OK


@host("proxy_get_buffer_status", "iii")
def get_status(vm: Vm, number: int, size_out: int, flags_out: int) -> Status:
    """The size of a buffer."""
    if number > _KNOWN:
        return Status.BAD_ARGUMENT
    buffer = readable(vm, number)
    if buffer is None:
        return Status.NOT_FOUND
    vm.write_u32(size_out, len(buffer))
    vm.write_u32(flags_out, 0)
    return Status.OK


@host("proxy_set_buffer_bytes", "iiiii")
def set_bytes(vm: Vm, number: int, start: int, size: int, value: int, value_size: int) -> Status:
    """Replace a part of a body; beyond its end: append."""
    if number > _KNOWN:
        return Status.BAD_ARGUMENT
    stream = vm.stream
    if stream is None or stream.writable_buffer != number:
        vm.check(value, value_size)
        return Status.NOT_FOUND
    buffer = stream.buffers[Buffer(number)]
    limit = vm.limits.body_bytes if number == Buffer.REQUEST_BODY else vm.limits.response_bytes
    start = min(start, len(buffer))
    if len(buffer) - min(size, len(buffer) - start) + value_size > limit:
        raise GuestOutputError(
            f"it made a body larger than {limit} bytes", help="make it write less, or raise the filter's body limit"
        )
    buffer[start : start + size] = vm.read(value, value_size)
    return Status.OK


@host("proxy_get_configuration", "ii")
def get_configuration(vm: Vm, data_out: int, size_out: int) -> Status:
    """The plugin's configuration, as ABI 0.1.0 asked for it."""
    vm.give(vm.state.configuration, data_out, size_out)
    return Status.OK
