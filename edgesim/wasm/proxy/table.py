"""The table of host functions, and how one becomes a C callback.

A host function is `fn(vm, *unsigned integers) -> Status`, registered by its family's module. It never waits. A bad pointer
becomes INVALID_MEMORY_ACCESS, and anything that edgesim did not foresee ends the VM, not the process.
"""

from __future__ import annotations

from ctypes import c_uint64
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from edgesim.wasm import raw
from edgesim.wasm.proxy.fields import FieldError
from edgesim.wasm.proxy.spec import Status
from edgesim.wasm.proxy.vm import _LIVE, BadMemory, NoMemory, Vm

if TYPE_CHECKING:
    from collections.abc import Callable


class HostFunction(NamedTuple):
    """A host function and its parameters: `i` for i32, `I` for i64."""

    call: Callable[..., int]
    params: str


TABLE: Final[dict[str, HostFunction]] = {}
"""Host functions of the module `env`, by name."""


def host(name: str, params: str) -> Callable[[Callable[..., Status]], Callable[..., Status]]:
    """Decorator: this function is the import `env.<name>`."""

    def register(function: Callable[..., Status]) -> Callable[..., Status]:
        TABLE[name] = HostFunction(function, params)
        return function

    return register


def callback(function: Callable[..., int], params: str) -> Any:
    """A C callback for values of 16 bytes that sit where the result goes."""
    slots = c_uint64 * (2 * max(len(params), 1))
    masks = [(2 * i, 0xFFFFFFFF if p == "i" else 0xFFFFFFFFFFFFFFFF) for i, p in enumerate(params)]
    from_address, live, caller_context = slots.from_address, _LIVE, raw.caller_context

    def call(_env: int, caller: int, values: int, _n: int) -> int:
        vm: Vm = live[caller_context(caller)]
        try:
            a = from_address(values)
            try:
                status = function(vm, *[a[i] & mask for i, mask in masks])
            except BadMemory:
                status = Status.INVALID_MEMORY_ACCESS
            except FieldError:
                status = Status.BAD_ARGUMENT
            except NoMemory:
                status = Status.INTERNAL_FAILURE
            a[0] = status
        except BaseException as exc:  # noqa: BLE001 - nothing may pass through C; Vm._ended raises it
            vm.error = vm.error or exc
            text = str(exc).encode(errors="replace")
            trap: int = raw.trap_new(text, len(text))
            return trap
        return 0

    return raw.RAW_CALLBACK(call)
