# ruff: noqa: PLR0917 - the signatures of the ABI
"""The host function for HTTP calls (ABI section "HTTP calls"). It only notes what is wanted; `calls.py` sends it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edgesim.wasm.proxy.fields import Fields, decode
from edgesim.wasm.proxy.spec import MAX_CALLS, MAX_CALLS_IN_ALL, MAX_FIELDS_BYTES, MAX_KEY_BYTES, Status
from edgesim.wasm.proxy.stream import HttpCall
from edgesim.wasm.proxy.table import host

if TYPE_CHECKING:
    from edgesim.wasm.proxy.vm import Vm

_REQUIRED: Final = (":authority", ":method", ":path")


@host("proxy_http_call", "iiiiiiiiii")
def http_call(
    vm: Vm, upstream: int, upstream_size: int, headers: int, headers_size: int, body: int, body_size: int,
    trailers: int, trailers_size: int, timeout_ms: int, id_out: int,
) -> Status:  # fmt: skip
    """Want a request to be sent. Its response comes as `proxy_on_http_call_response`."""
    name = vm.read_some(upstream, upstream_size, MAX_KEY_BYTES)
    serialized = vm.read_some(headers, headers_size, 2 * MAX_FIELDS_BYTES)
    vm.check(body, body_size)
    vm.check(trailers, trailers_size)
    vm.check(id_out, 4)
    if not name or serialized is None:
        return Status.BAD_ARGUMENT
    fields = Fields()
    fields.load(serialized)
    if any(fields.get(required) is None for required in _REQUIRED):
        return Status.BAD_ARGUMENT
    calls = vm.calls
    too_many = calls.under_way + len(calls.wanted) >= MAX_CALLS
    too_many = too_many or calls.in_all >= min(MAX_CALLS_IN_ALL, vm.limits.subrequests)
    if too_many or body_size > vm.limits.body_bytes or not vm.may_call:
        return Status.INTERNAL_FAILURE
    calls.in_all += 1
    call = HttpCall(
        id=calls.in_all,
        upstream=decode(name),
        fields=fields,
        body=vm.read(body, body_size),
        timeout_s=timeout_ms / 1000.0,
    )
    calls.wanted.append(call)
    vm.write_u32(id_out, call.id)
    return Status.OK
