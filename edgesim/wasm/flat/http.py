"""`wasi:http/incoming-handler@0.2` on the flat floor: one call of `handle` per request."""

from __future__ import annotations

import struct
from ctypes import addressof, c_char, c_uint64
from time import thread_time
from typing import TYPE_CHECKING, Any, Final

from edgesim.errors import GuestOutputError
from edgesim.wasm import raw
from edgesim.wasm.flat import Unsupported
from edgesim.wasm.flat import types as t
from edgesim.wasm.flat.call import FlatCall
from edgesim.wasm.flat.guest import FlatGuest
from edgesim.wasm.flat.link import LinkedPlan
from edgesim.wasm.host.http import IncomingRequest, ResponseOutparam

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgesim.model.worker import Limits
    from edgesim.wasm import linking
    from edgesim.wasm.flat.plan import Lifted, Plan
    from edgesim.wasm.guest import Grants, GuestRequest
    from edgesim.wasm.guest_store import Guest

HANDLER: Final = "wasi:http/incoming-handler@0.2."
_ARGS: Final = struct.Struct("<B7xI20xB7xI20x")  # two wasmtime_val_t: i32 is kind 0
_CHARS: Final = c_char * _ARGS.size


class FlatHttpCall(FlatCall[FlatGuest]):
    """One call of `handle`."""

    __slots__ = ("_args", "_linked", "_outparam")

    kind = FlatGuest

    def __init__(
        self, linked: LinkedFlat, request: GuestRequest, limits: Limits, grants: Grants, instance: FlatGuest | None
    ) -> None:
        super().__init__(linked, request, limits, grants, instance)
        self._linked = linked
        self._outparam = ResponseOutparam()
        self._args: Any = None

    def call(self) -> int:
        """The future that runs `handle`."""
        guest, handler = self.guest, self._linked.handler
        guest.made = True
        function, instance = guest.named(handler.function), handler.options.instance
        guest.entered[instance] = True
        put, (request_type, outparam_type) = guest.tables[instance].put, self._linked.param_types
        handles = put(request_type, IncomingRequest(guest.request)), put(outparam_type, self._outparam)
        self._args = _CHARS.from_buffer_copy(_ARGS.pack(0, handles[0], 0, handles[1]))
        future: int = raw.func_call(
            guest.context,
            addressof(function.of),
            addressof(self._args),
            2,
            None,
            0,
            addressof(guest.trap_out),
            addressof(guest.error_out),
        )
        return future

    def finish(self) -> None:
        """`handle` has returned: there must be a whole response."""
        options = self._linked.handler.options
        if options.post_return is not None:
            self._post_return(options.post_return)
        self.guest.entered[options.instance] = False
        check_response(self.guest, self._outparam)

    def _post_return(self, name: str) -> None:
        """Let the guest clean up, outside of a fiber: it cannot call out, and has `NESTED_INLINE_CPU_S`."""
        guest = self.guest
        begin = guest.slice_began_s = thread_time()
        guest.enter_locked(guest.named(name), (c_uint64 * 2)(), 0)
        guest.cpu_s += thread_time() - begin


class LinkedFlat(LinkedPlan):
    """A component that serves HTTP, as one core module with its imports resolved."""

    def __init__(
        self, engine: Any, module: Any, plan: Plan, functions: Mapping[tuple[str, str], linking.HostFunction]
    ) -> None:
        """Raises Unsupported when the plan has no handler that can be called here."""
        self.handler = _handler(plan)
        first, second = (kind for _, kind in self.handler.type.params)
        assert isinstance(first, t.Own)
        assert isinstance(second, t.Own)
        self.param_types = first.resource, second.resource
        super().__init__(engine, module, plan, functions)

    def start(
        self, request: GuestRequest, limits: Limits, grants: Grants, instance: FlatGuest | None = None
    ) -> FlatHttpCall:
        """A new store for one request, or another request for an instance."""
        return FlatHttpCall(self, request, limits, grants, instance)


def _handler(plan: Plan) -> Lifted:
    """The `handle` function that the plan exports."""
    for interface, functions in plan.exports:
        if interface.startswith(HANDLER):
            handler = plan.lifted[dict(functions)["handle"]]
            kinds = [type(kind) for _, kind in handler.type.params]
            if kinds != [t.Own, t.Own] or handler.type.result is not None:
                raise Unsupported("a handle function with another type than that of wasi:http")
            return handler
    raise Unsupported("a component without wasi:http/incoming-handler")


def check_response(guest: Guest, outparam: ResponseOutparam) -> None:
    """`handle` has returned. Raises GuestOutputError unless it has answered, and completely."""
    tail = guest.log.tail()
    if outparam.error:
        raise GuestOutputError(f"the worker answered with the error {outparam.error}{tail}")
    response = outparam.response
    if response is None:
        raise GuestOutputError(
            f"the worker ended without a response{tail}", help="call response-outparam.set before returning"
        )
    if response.body_taken and not response.body.finished:
        raise GuestOutputError(
            f"the worker ended in the middle of its response body{tail}", help="call outgoing-body.finish"
        )
