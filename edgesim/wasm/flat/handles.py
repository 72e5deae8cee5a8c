"""Handle tables of the canonical ABI: one per component instance and guest, with lending and scopes.

An entry owns a resource or borrows it for one call. What it stands for is the host's own object, or for a guest's resource
the number (`rep`) that the guest gave it. Source: CanonicalABI.md ("Resource State", "Lifting and Lowering").

Lends are counted only where a guest could notice: while a call into another component instance runs, and in calls that take
one resource both ways. During a plain host call no code of the guest runs that could drop a handle.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from edgesim.errors import GuestMemoryError, GuestTrapError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgesim.wasm.flat.plan import Resource

MAX_HANDLES: Final = 8192
"""Resources that one component instance may hold at the same time."""


class Scope:
    """One call into a guest: how many borrowed handles that it was given are still in its table."""

    __slots__ = ("borrows",)

    def __init__(self) -> None:
        self.borrows = 0

    def leave(self) -> None:
        """The call returns. Raises GuestTrapError when it kept what it only borrowed."""
        if self.borrows:
            raise GuestTrapError(
                f"the worker returned from a call while it still held {self.borrows} borrowed handles of it"
            )


class Handle:
    """An entry of a table."""

    __slots__ = ("lends", "rep", "resource", "scope")

    def __init__(self, resource: int, rep: Any, scope: Scope | None) -> None:
        self.resource = resource
        """Index in `Plan.resources`."""
        self.rep = rep
        self.scope = scope
        """None: the handle owns the resource."""
        self.lends = 0


class HandleTable:
    """The handles of one component instance. Every number that a guest passes is checked here."""

    __slots__ = ("_free", "_resources", "entries")

    def __init__(self, resources: Sequence[Resource]) -> None:
        self._resources = resources
        self.entries: list[Handle | None] = [None]
        """Index 0 is no handle."""
        self._free: list[int] = []

    def put(self, resource: int, rep: Any, scope: Scope | None = None) -> int:
        """A new handle. Raises GuestMemoryError when there are too many."""
        handle = Handle(resource, rep, scope)
        if self._free:
            number = self._free.pop()
            self.entries[number] = handle
            return number
        entries = self.entries
        number = len(entries)
        if number > MAX_HANDLES:
            raise GuestMemoryError(
                f"the worker holds more than {MAX_HANDLES} resources", help="drop resources when they are done with"
            )
        entries.append(handle)
        return number

    def rep(self, number: int, resource: int) -> Any:
        """What a handle of this type stands for."""
        try:
            handle = self.entries[number]
        except IndexError:
            handle = None
        if handle is None or handle.resource != resource:
            raise self._wrong(number, resource)
        return handle.rep

    def lend(self, number: int, resource: int, lenders: list[Handle]) -> Any:
        """As `rep`, and the handle cannot be dropped or given away until the call is over (`give_back`)."""
        rep = self.rep(number, resource)
        handle = self.entries[number]
        assert handle is not None
        handle.lends += 1
        lenders.append(handle)
        return rep

    def take(self, number: int, resource: int) -> Any:
        """Give the resource away: the handle ends. Raises GuestTrapError unless it owns and is not lent."""
        rep = self.rep(number, resource)
        handle = self.entries[number]
        assert handle is not None
        if handle.scope is not None:
            raise GuestTrapError(
                f"the worker gave away the {self._name(resource)} handle {number}, which it only borrows"
            )
        self._remove(number, handle)
        return rep

    def drop(self, number: int, resource: int) -> Handle:
        """End a handle of either kind. Who owns the resource with it must destroy it."""
        self.rep(number, resource)
        handle = self.entries[number]
        assert handle is not None
        self._remove(number, handle)
        if handle.scope is not None:
            handle.scope.borrows -= 1
        return handle

    def _remove(self, number: int, handle: Handle) -> None:
        if handle.lends:
            raise GuestTrapError(
                f"the worker gave up the {self._name(handle.resource)} handle {number} while it was lent to a call"
            )
        self.entries[number] = None
        self._free.append(number)

    def _name(self, resource: int) -> str:
        return "waitable" if resource < 0 else self._resources[resource].name

    def _wrong(self, number: int, resource: int) -> GuestTrapError:
        known = self.entries[number] if number < len(self.entries) else None
        what = "no handle" if known is None else f"a {self._name(known.resource)}"
        return GuestTrapError(f"the worker passed {number} as a {self._name(resource)} handle, but it is {what}")


def give_back(lenders: list[Handle]) -> None:
    """The call that these handles were lent to is over."""
    for handle in lenders:
        handle.lends -= 1
