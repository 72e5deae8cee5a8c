"""A guest on the flat floor: one instance of a merged core module, with the state that the canonical ABI keeps about it."""

from __future__ import annotations

from ctypes import addressof, c_void_p
from typing import TYPE_CHECKING, Any, NoReturn

from edgesim.errors import GuestTrapError
from edgesim.wasm import raw
from edgesim.wasm.faults import unfit
from edgesim.wasm.flat.handles import HandleTable
from edgesim.wasm.flat.memory import CONTEXTS, Context
from edgesim.wasm.guest_store import LIVE, Guest

if TYPE_CHECKING:
    from edgesim.model.worker import Limits
    from edgesim.wasm.flat.link import LinkedPlan
    from edgesim.wasm.guest import Grants, GuestRequest


class FlatGuest(Guest):
    """One store with one instance. Everything here is touched by the thread that polls the guest only."""

    __slots__ = (
        "contexts",
        "entered",
        "environment",
        "functions",
        "instance",
        "linked",
        "locked",
        "made",
        "memories",
        "tables",
    )

    def __init__(self, linked: LinkedPlan, request: GuestRequest, limits: Limits, grants: Grants) -> None:
        super().__init__(linked.engine, request, limits, grants)
        self.linked = linked
        self.environment: Any = grants.environment
        self.instance = raw.Instance()
        self.functions: dict[str, Any] = {}
        """Exported functions that were called before, by name."""
        self.memories: list[Any] = []
        self.made = False
        """Whether `instance` is there."""
        self.contexts: list[Context | None] = [None] * len(linked.realms)
        """By index in `LinkedPlan.realms`; made when they are first needed."""
        self.tables = [HandleTable(linked.plan.resources) for _ in range(linked.plan.instances)]
        self.entered = [False] * linked.plan.instances
        """Per component instance: a call into it is under way, so it cannot be entered."""
        self.locked = False
        """A realloc or post-return runs, which must not call out (may-leave in CanonicalABI.md)."""

    @property
    def guest(self) -> FlatGuest:
        """Itself: between two requests it is the instance that is kept."""
        return self

    def begin(self, request: GuestRequest, limits: Limits, grants: Grants) -> None:
        """Turn to another request of an instance that lives on."""
        super().begin(request, limits, grants)
        self.environment = grants.environment

    def open(self, realm: int, caller: int = 0) -> Context:
        """The context of a realm. During instantiation the exports can be had through the `caller` of a host function only."""
        instance, memory, realloc, encoding = self.linked.realms[realm]
        context = CONTEXTS[encoding](self, instance, self.export(memory, caller), realloc, caller)
        self.contexts[realm] = context
        return context

    def export(self, name: bytes | None, caller: int = 0) -> Any:
        """An export of the instance, as a `wasmtime_extern_t`; None for no name."""
        if name is None:
            return None
        item = raw.Extern()
        if caller:
            found = raw.caller_export(caller, name, len(name), addressof(item))
        else:
            found = raw.instance_export(self.context, addressof(self.instance), name, len(name), addressof(item))
        assert found, "checked by LinkedPlan"
        return item

    def named(self, name: str, caller: int = 0) -> Any:
        """An exported function, as a `wasmtime_extern_t`."""
        function = self.functions.get(name)
        if function is None:
            function = self.functions[name] = self.export(name.encode(), caller)
        return function

    def memory_bytes(self) -> int:
        """Size of all linear memories; 0 before the instance is there."""
        if not self.made or not self.store:
            return 0
        if not self.memories:
            self.memories = [self.export(name) for name in self.linked.memories]
        return sum([raw.memory_data_size(self.context, addressof(memory.of)) for memory in self.memories])

    def close(self) -> None:
        """Free the store, and what refers back to this guest: nothing is left for the collector of cycles."""
        super().close()
        self.contexts.clear()
        self.tables.clear()

    # -- calls into the guest from a host function ------------------------------------------------------------------------

    def enter_locked(self, function: Any, args: Any, count: int) -> None:
        """Call the guest's realloc or post-return, which must not call out."""
        self.locked = True
        self.enter(function, args, count)
        self.locked = False

    def enter(self, function: Any, args: Any, count: int) -> None:
        """Call a core function of the guest with `count` raw values; results come back in their place.

        Python frames are below it on the fiber, so it cannot be suspended: see `Guest.nested`.

        Raises:
            GuestError: it reached its CPU limit, or a host function that it called failed.
            wasmtime.Trap, wasmtime.WasmtimeError: it trapped.
        """
        trap = c_void_p()
        self.nested += 1
        error = raw.func_call_raw(self.context, addressof(function.of), addressof(args), count, addressof(trap))
        self.nested -= 1
        if error or trap.value:
            self.raise_trap(error, trap)

    def raise_trap(self, error: int | None, trap: c_void_p) -> NoReturn:
        """Raise what ended a call into the guest: a host function's exception, the CPU limit, or the engine's own."""
        cause = raw.take_error(error) if error else raw.take_trap(trap.value or 0)
        trap.value = None
        if self.error is not None:
            raise self.error from cause
        raise cause

    def check_may_leave(self) -> None:
        """Raise GuestTrapError while a realloc or post-return runs."""
        if self.locked:
            raise GuestTrapError("the worker called out of a realloc or post-return function")

    def check_may_wait(self) -> None:
        """Raise GuestTrapError while Python frames are on the fiber: it cannot be suspended then."""
        if self.nested:
            raise GuestTrapError("the worker waited inside a call that the host has to finish, such as a destructor")

    def fail(self, exc: BaseException, name: str) -> int:
        """Keep what a host function raised, and make the trap that ends the guest."""
        self.error = self.error or unfit(exc, name)
        message = f"{name}: {exc}".replace("\0", "").encode(errors="replace")
        trap: int = raw.trap_new(message, len(message))
        return trap


def find_guest(caller: int) -> FlatGuest:
    """The guest of a callback's caller.

    Callbacks look at the first word of the caller themselves, where wasmtime 50 has the store's context: reading it costs a
    quarter of this call. A word that is no live store's context leads here.
    """
    guest: Any = LIVE[raw.caller_context(caller)]
    return guest  # type: ignore[no-any-return]
