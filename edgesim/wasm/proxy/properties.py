"""Host functions for properties (ABI section "Properties"): paths of segments between NULs, after Envoy's attributes.

Numbers are 8 bytes, little-endian; everything else is bytes as they are. Source of the names: Envoy, "Attributes".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edgesim.wasm.proxy.fields import encode
from edgesim.wasm.proxy.spec import MAX_KEY_BYTES, MAX_PROPERTIES, MAX_PROPERTY_BYTES, Buffer, Map, Status
from edgesim.wasm.proxy.table import host

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgesim.wasm.proxy.fields import Fields
    from edgesim.wasm.proxy.stream import Stream
    from edgesim.wasm.proxy.vm import Vm


def number(value: int) -> bytes:
    """A number as properties carry it."""
    return value.to_bytes(8, "little", signed=True)


def _field(name: str) -> Callable[[Stream], bytes | None]:
    def get(stream: Stream) -> bytes | None:
        value = stream.maps[Map.REQUEST_HEADERS].get(name)
        return None if value is None else encode(value)

    return get


def _size(fields: Fields) -> int:
    return sum(len(n) + len(v) for n, v in fields.items)


def _host(stream: Stream) -> bytes:
    return encode(stream.maps[Map.REQUEST_HEADERS].get(":authority") or "")


def _target(stream: Stream) -> bytes:
    return encode(stream.maps[Map.REQUEST_HEADERS].get(":path") or "")


_STREAM: Final[dict[bytes, Callable[[Stream], bytes | None]]] = {
    b"request\0id": _field("x-edge-request-id"),
    b"request\0method": _field(":method"),
    b"request\0path": _target,
    b"request\0url_path": lambda s: _target(s).partition(b"?")[0],
    b"request\0query": lambda s: _target(s).partition(b"?")[2],
    b"request\0host": _host,
    b"request\0scheme": _field(":scheme"),
    b"request\0protocol": lambda _: b"HTTP/1.1",
    b"request\0referer": _field("referer"),
    b"request\0useragent": _field("user-agent"),
    b"request\0size": lambda s: number(len(s.buffers.get(Buffer.REQUEST_BODY, b""))),
    b"request\0total_size": lambda s: number(
        len(s.buffers.get(Buffer.REQUEST_BODY, b"")) + _size(s.maps[Map.REQUEST_HEADERS])
    ),
    b"request\0time": lambda s: number(s.created_ns),
    b"response\0code": lambda s: number(s.status) if s.status else None,
    b"response\0size": lambda s: number(len(s.buffers.get(Buffer.RESPONSE_BODY, b""))) if s.status else None,
    b"source\0address": lambda s: s.request.client_address.encode(),
    b"connection\0mtls": lambda _: b"\0",
}
"""What is known of a stream. `request.headers.<name>` and `response.headers.<name>` are looked up in the maps."""
_MAPS: Final = {
    b"request": {b"headers": Map.REQUEST_HEADERS, b"trailers": Map.REQUEST_TRAILERS},
    b"response": {b"headers": Map.RESPONSE_HEADERS, b"trailers": Map.RESPONSE_TRAILERS},
}


def lookup(vm: Vm, path: bytes) -> bytes | None:
    """The value of a property, or None."""
    stream = vm.stream
    if stream is not None:
        own = stream.properties.get(path)
        if own is not None:
            return own
        known = _STREAM.get(path)
        if known is not None:
            return known(stream)
        segments = path.split(b"\0", 2)
        if len(segments) == 3 and segments[1] in _MAPS.get(segments[0], ()):
            fields = stream.maps.get(_MAPS[segments[0]][segments[1]])
            value = None if fields is None else fields.get(segments[2].decode(errors="replace"))
            return None if value is None else encode(value)
    return vm.state.identity.get(path)


@host("proxy_get_property", "iiii")
def get_property(vm: Vm, path: int, size: int, data_out: int, size_out: int) -> Status:
    """The value of a property."""
    key = vm.read_some(path, size, MAX_KEY_BYTES)
    vm.check(data_out, 4)
    vm.check(size_out, 4)
    value = None if key is None else lookup(vm, key.rstrip(b"\0"))
    if value is None:
        return Status.NOT_FOUND
    vm.give(value, data_out, size_out)
    return Status.OK


@host("proxy_set_property", "iiii")
def set_property(vm: Vm, path: int, size: int, value: int, value_size: int) -> Status:
    """Set a property of this stream, for later calls of this filter."""
    key, data = vm.read_some(path, size, MAX_KEY_BYTES), vm.read_some(value, value_size, MAX_PROPERTY_BYTES)
    stream = vm.stream
    if stream is None:
        return Status.NOT_FOUND
    if key is None or data is None or (key not in stream.properties and len(stream.properties) >= MAX_PROPERTIES):
        return Status.BAD_ARGUMENT
    stream.properties[key.rstrip(b"\0")] = data
    return Status.OK
