"""`wasi:http/handler@0.3` on the flat floor: one task of `handle` per request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from edgesim.errors import GuestOutputError
from edgesim.wasm.flat import Unsupported
from edgesim.wasm.flat import types as t
from edgesim.wasm.flat.async_guest import AsyncGuest
from edgesim.wasm.flat.async_link import AsyncLinkedPlan
from edgesim.wasm.flat.call import FlatCall
from edgesim.wasm.host.p3.http import Response, incoming_request, send_response

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgesim.model.worker import Limits
    from edgesim.wasm import linking
    from edgesim.wasm.flat.async_channel import HostFuture
    from edgesim.wasm.flat.plan import Lifted, Plan
    from edgesim.wasm.guest import Grants, GuestRequest
    from edgesim.wasm.values import Err

HANDLER: Final = "wasi:http/handler@0.3."


class P3HttpCall(FlatCall[AsyncGuest]):
    """One task of `handle`."""

    __slots__ = ("_linked", "_sent")

    kind = AsyncGuest

    def __init__(
        self, linked: LinkedP3, request: GuestRequest, limits: Limits, grants: Grants, instance: AsyncGuest | None
    ) -> None:
        super().__init__(linked, request, limits, grants, instance)
        self._linked = linked
        self._sent: HostFuture | None = None

    def call(self) -> int:
        """The future that runs the first part of `handle`."""
        guest, handler = self.guest, self._linked.handler
        guest.made = True
        incoming = incoming_request(guest.request, guest.input)
        handle = guest.tables[handler.options.instance].put(self._linked.request_type, incoming)
        return guest.start_task(handler, handle, self._answer)

    def _answer(self, result: Response | Err) -> None:
        send_response(self.guest, result)
        if isinstance(result, Response):
            self._sent = result.sent

    def finish(self) -> None:
        """The task is over, and has returned a response: it must be whole."""
        if self._sent is None or not self._sent.ready:
            raise GuestOutputError(
                f"the worker ended in the middle of its response body{self.guest.log.tail()}",
                help="drop the writable end of the body's stream before the task ends",
            )


class LinkedP3(AsyncLinkedPlan):
    """A component of WASI 0.3 that serves HTTP, as one core module with its imports resolved."""

    def __init__(
        self,
        engine: Any,
        module: Any,
        plan: Plan,
        functions: Mapping[tuple[str, str], linking.HostFunction],
        p3_functions: Mapping[tuple[str, str], linking.HostFunction],
    ) -> None:
        """Raises Unsupported when the plan has no handler that can be called here, or something else that is not there yet."""
        self.handler = _handler(plan)
        (request,) = (kind for _, kind in self.handler.type.params)
        assert isinstance(request, t.Own)
        self.request_type = request.resource
        self.p3_functions = p3_functions
        super().__init__(engine, module, plan, functions)

    def start(
        self, request: GuestRequest, limits: Limits, grants: Grants, instance: AsyncGuest | None = None
    ) -> P3HttpCall:
        """A new store for one request, or another request for an instance."""
        return P3HttpCall(self, request, limits, grants, instance)


def _handler(plan: Plan) -> Lifted:
    """The `handle` function that the plan exports."""
    for interface, functions in plan.exports:
        if interface.startswith(HANDLER):
            handler = plan.lifted[dict(functions)["handle"]]
            if [type(kind) for _, kind in handler.type.params] != [t.Own] or not isinstance(
                handler.type.result, t.Result
            ):
                raise Unsupported("a handle function with another type than that of wasi:http")
            if not handler.options.is_async:
                raise Unsupported("WASI 0.3 handle functions that are lifted without `async`")
            if handler.options.callback is None:
                raise Unsupported("WASI 0.3 handle functions that are lifted without a callback")
            return handler
    raise Unsupported("a component without wasi:http/handler")
