"""The callbacks that bring a VM up, hand call responses to it, and end its stream (ABI section "Context lifecycle")."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edgesim.errors import GuestOutputError
from edgesim.wasm.proxy.spec import PLUGIN_CONTEXT, STREAM_CONTEXT

if TYPE_CHECKING:
    from edgesim.wasm.proxy.stream import CallResponse
    from edgesim.wasm.proxy.vm import Vm


def boot(vm: Vm) -> None:
    """Bring a new VM to where it takes streams. Raises GuestOutputError when the filter refuses its configuration."""
    if vm.call("_initialize") is not None:
        vm.call("main", 0, 0)
    else:
        vm.call("_start")
    vm.call("proxy_on_context_create", PLUGIN_CONTEXT, 0)
    if vm.call("proxy_on_vm_start", PLUGIN_CONTEXT, 0) == 0:
        raise GuestOutputError(f"it refused to start (proxy_on_vm_start){vm.log.tail()}")
    if vm.call("proxy_on_configure", PLUGIN_CONTEXT, len(vm.state.configuration)) == 0:
        raise GuestOutputError(
            f"it refused its configuration (proxy_on_configure){vm.log.tail()}",
            help="correct `configuration` in its manifest",
        )


def deliver(vm: Vm, response: CallResponse) -> None:
    """Hand the response of an HTTP call to the filter."""
    vm.calls.response = response
    try:
        vm.call(
            "proxy_on_http_call_response",
            PLUGIN_CONTEXT,
            response.id,
            len(response.fields),
            len(response.body),
            len(response.trailers),
        )
    finally:
        vm.calls.response = None


END: Final = frozenset({"proxy_on_done", "proxy_on_log", "proxy_on_delete"})


def finish(vm: Vm) -> None:
    """The last callbacks, then the store. What they raise concerns nobody: the response is out."""
    vm.begin()
    try:
        vm.call("proxy_on_done", STREAM_CONTEXT)
        vm.call("proxy_on_log", STREAM_CONTEXT)
        vm.call("proxy_on_delete", STREAM_CONTEXT)
    except Exception:  # noqa: BLE001, S110 - as above
        pass
    finally:
        vm.close()
