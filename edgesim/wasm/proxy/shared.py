# ruff: noqa: PLR0917 - the signatures of the ABI
"""Host functions for shared data and shared queues (ABI sections "Shared Key-Value Store", "Shared Queues")."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgesim.wasm.proxy.spec import MAX_KEY_BYTES, MAX_QUEUE_BYTES, MAX_SHARED_BYTES, Status
from edgesim.wasm.proxy.table import host

if TYPE_CHECKING:
    from edgesim.wasm.proxy.vm import Vm


@host("proxy_get_shared_data", "iiiii")
def get_shared_data(vm: Vm, key: int, key_size: int, data_out: int, size_out: int, cas_out: int) -> Status:
    """A shared value and its compare-and-swap number."""
    name = vm.read_some(key, key_size, MAX_KEY_BYTES)
    vm.check(cas_out, 4)
    found = None if name is None else vm.state.get_data(name)
    if found is None:
        return Status.NOT_FOUND
    vm.give(found[0], data_out, size_out)
    vm.write_u32(cas_out, found[1])
    return Status.OK


@host("proxy_set_shared_data", "iiiii")
def set_shared_data(vm: Vm, key: int, key_size: int, value: int, value_size: int, cas: int) -> Status:
    """Set a shared value."""
    name, data = vm.read_some(key, key_size, MAX_KEY_BYTES), vm.read_some(value, value_size, MAX_SHARED_BYTES)
    if name is None or data is None:
        return Status.INTERNAL_FAILURE
    return vm.state.set_data(name, data, cas)


@host("proxy_register_shared_queue", "iii")
def register_queue(vm: Vm, name: int, size: int, id_out: int) -> Status:
    """Open a queue, and make it if it is not there."""
    key = vm.read_some(name, size, MAX_KEY_BYTES)
    vm.check(id_out, 4)
    queue = None if key is None else vm.state.register_queue(key)
    if queue is None:
        return Status.INTERNAL_FAILURE
    if vm.stream is None:
        vm.state.registered.add(queue)
    vm.write_u32(id_out, queue)
    return Status.OK


@host("proxy_resolve_shared_queue", "iiiii")
def resolve_queue(vm: Vm, vm_id: int, vm_id_size: int, name: int, size: int, id_out: int) -> Status:
    """Open a queue that is there. Filters share nothing with each other, so the VM id must be their own or empty."""
    owner, key = vm.read_some(vm_id, vm_id_size, MAX_KEY_BYTES), vm.read_some(name, size, MAX_KEY_BYTES)
    vm.check(id_out, 4)
    mine = owner in (b"", vm.state.name.encode())
    queue = vm.state.resolve_queue(key) if mine and key is not None else None
    if queue is None:
        return Status.NOT_FOUND
    vm.write_u32(id_out, queue)
    return Status.OK


@host("proxy_enqueue_shared_queue", "iii")
def enqueue(vm: Vm, queue: int, value: int, size: int) -> Status:
    """Append to a queue."""
    data = vm.read_some(value, size, MAX_QUEUE_BYTES)
    return Status.INTERNAL_FAILURE if data is None else vm.state.enqueue(queue, data)


@host("proxy_dequeue_shared_queue", "iii")
def dequeue(vm: Vm, queue: int, data_out: int, size_out: int) -> Status:
    """Take the first item of a queue."""
    vm.check(data_out, 4)
    vm.check(size_out, 4)
    item = vm.state.dequeue(queue)
    if isinstance(item, Status):
        return item
    vm.give(item, data_out, size_out)
    return Status.OK
