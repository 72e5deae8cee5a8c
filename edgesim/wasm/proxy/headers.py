# ruff: noqa: PLR0917 - the signatures of the ABI
"""Host functions for HTTP fields (ABI section "HTTP fields")."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edgesim.wasm.proxy.fields import Fields, decode, encode
from edgesim.wasm.proxy.spec import MAX_FIELDS_BYTES, Map, Status
from edgesim.wasm.proxy.table import host

if TYPE_CHECKING:
    from edgesim.wasm.proxy.vm import Vm

_EMPTY_UNTIL_THERE: Final = (Map.REQUEST_TRAILERS, Map.RESPONSE_TRAILERS)
_MAX_SERIALIZED: Final = MAX_FIELDS_BYTES + 16 * 1024
_CALL_RESPONSE: Final = (Map.CALL_RESPONSE_HEADERS, Map.CALL_RESPONSE_TRAILERS)


def readable(vm: Vm, number: int) -> Fields | None:
    """The map of this number, if it is there now."""
    response = vm.calls.response
    if number in _CALL_RESPONSE:
        if response is None:
            return None
        return response.fields if number == Map.CALL_RESPONSE_HEADERS else response.trailers
    stream = vm.stream
    if stream is None or number > Map.CALL_RESPONSE_TRAILERS:
        return None
    found = stream.maps.get(Map(number))
    return Fields() if found is None and number in _EMPTY_UNTIL_THERE else found


def writable(vm: Vm, number: int) -> Fields | None:
    """The map of this number, if it may be changed now."""
    stream = vm.stream
    if stream is None or number not in stream.writable:
        return None
    return stream.maps.get(Map(number))


@host("proxy_get_header_map_size", "ii")
def get_size(vm: Vm, number: int, size_out: int) -> Status:
    """Size of a map in its serialized form."""
    fields = readable(vm, number)
    if fields is None:
        return Status.BAD_ARGUMENT
    vm.write_u32(size_out, len(fields.serialize()))
    return Status.OK


@host("proxy_get_header_map_pairs", "iii")
def get_pairs(vm: Vm, number: int, data_out: int, size_out: int) -> Status:
    """A whole map."""
    fields = readable(vm, number)
    if fields is None:
        return Status.BAD_ARGUMENT
    vm.give(fields.serialize(), data_out, size_out)
    return Status.OK


@host("proxy_set_header_map_pairs", "iii")
def set_pairs(vm: Vm, number: int, data: int, size: int) -> Status:
    """Replace a whole map."""
    serialized = vm.read(data, size)
    fields = writable(vm, number)
    if fields is None or size > _MAX_SERIALIZED:
        return Status.BAD_ARGUMENT
    fields.load(serialized)
    return Status.OK


@host("proxy_get_header_map_value", "iiiii")
def get_value(vm: Vm, number: int, key: int, key_size: int, data_out: int, size_out: int) -> Status:
    """The value of one field."""
    name = vm.read(key, key_size)
    fields = readable(vm, number)
    if fields is None:
        return Status.BAD_ARGUMENT
    value = fields.get(decode(name))
    if value is None:
        return Status.NOT_FOUND
    vm.give(encode(value), data_out, size_out)
    return Status.OK


@host("proxy_add_header_map_value", "iiiii")
def add_value(vm: Vm, number: int, key: int, key_size: int, value: int, value_size: int) -> Status:
    """Append a field."""
    name, text = vm.read_some(key, key_size, MAX_FIELDS_BYTES), vm.read_some(value, value_size, MAX_FIELDS_BYTES)
    fields = writable(vm, number)
    if fields is None or name is None or text is None:
        return Status.BAD_ARGUMENT
    fields.add(decode(name), decode(text))
    return Status.OK


@host("proxy_replace_header_map_value", "iiiii")
def replace_value(vm: Vm, number: int, key: int, key_size: int, value: int, value_size: int) -> Status:
    """Set a field."""
    name, text = vm.read_some(key, key_size, MAX_FIELDS_BYTES), vm.read_some(value, value_size, MAX_FIELDS_BYTES)
    fields = writable(vm, number)
    if fields is None or name is None or text is None:
        return Status.BAD_ARGUMENT
    fields.replace(decode(name), decode(text))
    return Status.OK


@host("proxy_remove_header_map_value", "iii")
def remove_value(vm: Vm, number: int, key: int, key_size: int) -> Status:
    """Drop a field."""
    name = vm.read_some(key, key_size, MAX_FIELDS_BYTES)
    fields = writable(vm, number)
    if fields is None:
        return Status.BAD_ARGUMENT
    if name is not None:
        fields.remove(decode(name))
    return Status.OK
