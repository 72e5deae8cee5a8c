"""Trampolines for `resource.new`, `resource.rep` and `resource.drop` (CanonicalABI.md)."""

from __future__ import annotations

from ctypes import c_uint32, c_uint64, c_void_p
from typing import TYPE_CHECKING, Any, Final

from edgesim.errors import GuestTrapError
from edgesim.wasm.flat.guest import find_guest
from edgesim.wasm.flat.link_host import Trampoline
from edgesim.wasm.guest_store import LIVE

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgesim.wasm.flat.guest import FlatGuest
    from edgesim.wasm.flat.plan import Plan, Resource, ResourceOp

_word_at: Final = c_void_p.from_address
_u32_at: Final = c_uint32.from_address


def resource_function(plan: Plan, op: ResourceOp) -> Trampoline:
    """The trampoline of one operation on one resource type, in one component instance."""
    number, instance, resource = op.resource, op.instance, plan.resources[op.resource]
    live: dict[int | None, Any] = LIVE  # type: ignore[assignment]
    name = f"resource.{op.op} of {resource.name}"

    def new(guest: FlatGuest, rep: int) -> int:
        guest.check_may_leave()
        return guest.tables[instance].put(number, rep)

    def rep(guest: FlatGuest, handle: int) -> int:
        found: int = guest.tables[instance].rep(handle, number)
        return found

    def drop(guest: FlatGuest, handle: int) -> int:
        if guest.locked:
            guest.check_may_leave()
        dropped = guest.tables[instance].drop(handle, number)
        if dropped.scope is None:
            destroy(guest, resource, dropped.rep, instance)
        return 0

    act: Callable[[FlatGuest, int], int] = {"new": new, "rep": rep, "drop": drop}[op.op]
    has_result = op.op != "drop"

    def call(_env: int, caller: int, args: int, _n: int) -> int:
        guest: FlatGuest = live.get(_word_at(caller).value) or find_guest(caller)
        try:
            cell = _u32_at(args)
            value = act(guest, cell.value)
            if has_result:
                cell.value = value
        except BaseException as exc:  # noqa: BLE001 - nothing may pass through C; Guest.check raises it
            return guest.fail(exc, name)
        return 0

    return Trampoline(call, ("i32",), ("i32",) if has_result else ())


def destroy(guest: FlatGuest, resource: Resource, rep: Any, instance: int) -> None:
    """The owner has dropped a resource: tell the host's object, or call the destructor of the guest that defines it."""
    if resource.interface is not None:
        dropped = getattr(rep, "drop", None)
        if dropped is not None:
            dropped()
        return
    if resource.destructor is None:
        return
    function = guest.named(resource.destructor)
    args = (c_uint64 * 2)(rep, 0)
    if resource.instance == instance:  # its own code, which runs already
        guest.enter(function, args, 1)
        return
    if guest.entered[resource.instance]:
        raise GuestTrapError("the worker's component instance cannot be entered for a destructor")
    guest.entered[resource.instance] = True
    guest.enter(function, args, 1)
    guest.entered[resource.instance] = False
