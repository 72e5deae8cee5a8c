# ruff: noqa: PLR0917 - the signatures of the ABI
"""Host functions for the life of a stream and of its context (ABI sections "Common stream operations", "Context lifecycle")."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edgesim.model.http import HOP_BY_HOP
from edgesim.wasm.proxy.fields import Fields, decode
from edgesim.wasm.proxy.spec import MAX_FIELDS_BYTES, PLUGIN_CONTEXT, STREAM_CONTEXT, Side, Status
from edgesim.wasm.proxy.stream import LocalResponse
from edgesim.wasm.proxy.table import host

if TYPE_CHECKING:
    from edgesim.wasm.proxy.vm import Vm

_HTTP: Final = (Side.REQUEST, Side.RESPONSE)
_OTHERS: Final = (Side.DOWNSTREAM, Side.UPSTREAM)
_MAX_DETAILS: Final = 1024
_FRAMING: Final = HOP_BY_HOP | {"content-length"}


@host("proxy_continue_stream", "i")
def continue_stream(vm: Vm, side: int) -> Status:
    """Resume a paused request or response."""
    if side in _OTHERS:
        return Status.UNIMPLEMENTED
    if side not in _HTTP:
        return Status.BAD_ARGUMENT
    if vm.stream is not None:
        vm.stream.paused[Side(side)] = False
    return Status.OK


@host("proxy_continue_request", "")
def continue_request(vm: Vm) -> Status:
    """As ABI 0.1.0 named it."""
    return continue_stream(vm, Side.REQUEST)


@host("proxy_continue_response", "")
def continue_response(vm: Vm) -> Status:
    """As ABI 0.1.0 named it."""
    return continue_stream(vm, Side.RESPONSE)


@host("proxy_close_stream", "i")
def close_stream(vm: Vm, side: int) -> Status:
    """Reset the exchange."""
    if side not in (*_HTTP, *_OTHERS):
        return Status.BAD_ARGUMENT
    if vm.stream is not None and side in _HTTP:
        vm.stream.closed = True
    return Status.OK


@host("proxy_send_local_response", "iiiiiiii")
def send_local_response(
    vm: Vm, status: int, details: int, details_size: int, body: int, body_size: int, headers: int, headers_size: int, _grpc: int
) -> Status:  # fmt: skip
    """Answer in the place of worker or origin."""
    vm.check(details, details_size)
    vm.check(body, body_size)
    serialized = vm.read(headers, headers_size)
    stream = vm.stream
    if (
        stream is None
        or stream.answer is not None
        or not stream.can_answer
        or not 200 <= status <= 599
        or body_size > vm.limits.response_bytes
        or headers_size > 2 * MAX_FIELDS_BYTES
    ):
        return Status.BAD_ARGUMENT
    fields = Fields()
    fields.load(serialized)
    stream.answer = LocalResponse(
        status=status,
        headers=tuple((n, v) for n, v in fields.items if n not in _FRAMING and n[0] != ":"),
        body=vm.read(body, body_size),
        details=decode(vm.read(details, min(details_size, _MAX_DETAILS))),
    )
    return Status.OK


@host("proxy_get_status", "iii")
def get_status(vm: Vm, code_out: int, message_out: int, size_out: int) -> Status:
    """The status of the HTTP call whose response is being handled; 0 else."""
    response = vm.calls.response
    code = (response.fields.get(":status") if response is not None else None) or "0"
    vm.write_u32(code_out, int(code))
    vm.give(b"", message_out, size_out)
    return Status.OK


@host("proxy_clear_route_cache", "")
def clear_route_cache(_vm: Vm) -> Status:
    """Nothing to do: the route is looked up after the filters."""
    return Status.OK


@host("proxy_set_effective_context", "i")
def set_effective_context(vm: Vm, context: int) -> Status:
    """Which context the next calls are about. A VM has one stream, so there is nothing to switch."""
    known = context == PLUGIN_CONTEXT or (context == STREAM_CONTEXT and vm.stream is not None)
    return Status.OK if known else Status.BAD_ARGUMENT


@host("proxy_done", "")
def done(_vm: Vm) -> Status:
    """No context is ever held back after `proxy_on_done`: a VM ends with its request."""
    return Status.NOT_FOUND
