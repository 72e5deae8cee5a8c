"""A guest's linear memory as the canonical ABI sees it: every pointer a guest passes goes through a `Context`.

Reads and writes go through a `memoryview` of the memory, so that Python's own bounds are the second line of defence behind
the checks here. The view is of the size that the memory had when it was last looked at: a linear memory only grows, and never
moves (`raw.forbid_moving_memory`), so an old view is too short at worst, and is renewed before a pointer is called bad.
"""

from __future__ import annotations

import struct
from ctypes import addressof, c_int, c_ssize_t, c_uint32, c_void_p, py_object, pythonapi
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from edgesim.errors import GuestTrapError
from edgesim.wasm import raw

if TYPE_CHECKING:
    from edgesim.wasm.flat.guest import FlatGuest
    from edgesim.wasm.flat.handles import Handle, HandleTable, Scope
    from edgesim.wasm.flat.plan import Encoding

MAX_LIFTED_BYTES: Final = 64 << 20
"""What one host call may take out of a guest's memory. Strings of a list may overlap, so the memory's size is no bound."""
ITEM_BYTES: Final = 64
"""What an item of a list counts beside its content: about the size of a Python object."""
MAX_BYTE_LENGTH: Final = (1 << 31) - 1
"""Of a string or list in memory (CanonicalABI.md)."""
_UTF16_TAG: Final = 1 << 31
_REALLOC_ARGS: Final = struct.Struct("<I12xI12xI12xI").pack_into
_WRITABLE: Final = 0x200  # PyBUF_WRITE

_view_of: Final = pythonapi["PyMemoryView_FromMemory"]  # by item: a function object of our own, so its types stay ours
_view_of.restype, _view_of.argtypes = py_object, (c_void_p, c_ssize_t, c_int)


class Context:
    """What lifting and lowering need: one memory, its realloc and its instance's handles, of one guest. UTF-8 strings."""

    __slots__ = (
        "_args", "_args_at", "_memory", "_realloc", "_realloc_at", "_trap", "_trap_at", "borrow", "guest", "handles",
        "instance", "lifted", "own", "put", "scope", "size", "view",
    )  # fmt: skip

    def __init__(self, guest: FlatGuest, instance: int, memory: Any, realloc: bytes | None, caller: int) -> None:
        self.guest = guest
        self.instance = instance
        self.handles: HandleTable = guest.tables[instance]
        self.own = self.handles.take
        self.put = self.handles.put
        self.borrow: Any = self.handles.rep
        self.scope: Scope | None = None
        self.lifted = 0
        """Bytes taken in the call under way."""
        self._memory = memory
        self._realloc: Any = realloc
        """Its name; the function itself when it has been looked up, which many guests never need."""
        self._realloc_at = 0
        if realloc is not None and not guest.made:
            self._find_realloc(caller)  # while the instance is being made, only its own calls show its exports
        self.size = 0
        if memory is None:
            self.view = memoryview(b"")
        else:
            self._look()

    def _look(self) -> None:
        """Renew the view."""
        context, memory = self.guest.context, addressof(self._memory.of)
        self.size = raw.memory_data_size(context, memory)
        self.view = _view_of(raw.memory_data(context, memory), self.size, _WRITABLE) if self.size else memoryview(b"")

    def lend_to(self, lenders: list[Handle] | None) -> None:
        """From now on, count the borrows that are lifted (None: do not)."""
        self.borrow = self.handles.rep if lenders is None else partial(self.handles.lend, lenders=lenders)

    def put_borrow(self, resource: int, rep: Any, definer: int | None) -> int:
        """A handle for the call under way; the instance that defines the resource gets its own number instead."""
        if definer == self.instance:
            number: int = rep
            return number
        assert self.scope is not None
        self.scope.borrows += 1
        return self.put(resource, rep, self.scope)

    # -- pointers -------------------------------------------------------------------------------------------------------

    def check(self, pointer: int, size: int, align: int) -> None:
        """Raise GuestTrapError unless this is aligned memory of the guest's, and the call has not taken too much."""
        if pointer % align:
            raise GuestTrapError(f"the worker passed the pointer {pointer:#x}, which must be a multiple of {align}")
        if pointer + size > self.size and self._memory is not None:
            self._look()
        if pointer + size > self.size:
            raise GuestTrapError(
                f"the worker passed a pointer out of bounds: {size} bytes at {pointer:#x}, its memory ends at {self.size:#x}"
            )
        if self.lifted > MAX_LIFTED_BYTES:
            raise GuestTrapError(
                f"the worker passed too much data to one host function: more than {MAX_LIFTED_BYTES >> 20} MiB"
            )

    def octets(self, pointer: int, count: int) -> bytes:
        """A `list<u8>`: one copy."""
        end = pointer + count
        self.lifted += count
        if end > self.size or self.lifted > MAX_LIFTED_BYTES:
            self.check(pointer, count, 1)
        return self.view[pointer:end].tobytes()

    def elements(self, pointer: int, count: int, size: int, align: int) -> bytes:
        """The content of a list of `count` elements of `size` bytes."""
        end = pointer + count * size
        self.lifted += count * (size + ITEM_BYTES)
        if pointer % align or end > self.size or self.lifted > MAX_LIFTED_BYTES:
            self.check(pointer, count * size, align)
        return self.view[pointer:end].tobytes()

    def text(self, pointer: int, size: int) -> str:
        """A string of `size` code units."""
        end = pointer + size
        self.lifted += size
        if end > self.size or self.lifted > MAX_LIFTED_BYTES:
            self.check(pointer, size, 1)
        try:
            return str(self.view[pointer:end], "utf-8")
        except UnicodeDecodeError as exc:
            raise _not_unicode("UTF-8", exc) from None

    # -- allocation -----------------------------------------------------------------------------------------------------

    def alloc(self, size: int, align: int) -> int:
        """Memory from the guest's realloc, checked. Nothing is asked for 0 bytes: no guest reads from there."""
        if not size:
            return align
        if size > MAX_BYTE_LENGTH:
            raise GuestTrapError(f"a value of {size} bytes does not fit into the worker's memory")
        if not self._realloc_at:
            self._find_realloc(0)
        args, guest = self._args, self.guest
        _REALLOC_ARGS(args, 0, 0, 0, align, size)
        guest.locked = True
        guest.nested += 1
        error = raw.func_call_raw(guest.context, self._realloc_at, self._args_at, 4, self._trap_at)
        guest.nested -= 1
        guest.locked = False
        if error or self._trap.value:
            guest.raise_trap(error, self._trap)
        pointer = args[0]
        if pointer % align or pointer + size > self.size:
            self.check(pointer, size, align)
        return pointer

    def _find_realloc(self, caller: int) -> None:
        """Look the realloc up, and make room for its arguments."""
        self._realloc = self.guest.export(self._realloc, caller)
        assert self._realloc is not None, "the engine has validated that there is one where it is needed"
        self._realloc_at = addressof(self._realloc.of)
        self._args = (c_uint32 * 16)()  # four wasmtime_val_raw_t
        self._args_at = addressof(self._args)
        self._trap = c_void_p()
        self._trap_at = addressof(self._trap)

    def put_octets(self, data: bytes) -> tuple[int, int]:
        """Pointer and length of a new `list<u8>`: one copy."""
        count = len(data)
        pointer = self.alloc(count, 1)
        if count:
            self.view[pointer : pointer + count] = data
        return pointer, count

    def put_elements(self, pointer: int, data: bytes) -> None:
        """Fill what `alloc` gave."""
        self.view[pointer : pointer + len(data)] = data

    def put_text(self, text: str) -> tuple[int, int]:
        """Pointer and length, in code units, of a new string. Lone surrogates are replaced: no guest may see them."""
        data = text.encode(errors="replace")
        count = len(data)
        pointer = self.alloc(count, 1)
        if count:
            self.view[pointer : pointer + count] = data
        return pointer, count


class Utf16Context(Context):
    """A guest whose strings are UTF-16."""

    __slots__ = ()

    def text(self, pointer: int, size: int) -> str:
        """A string of `size` code units."""
        if pointer % 2:
            self.check(pointer, 2 * size, 2)
        try:
            return self.octets(pointer, 2 * size).decode("utf-16-le")
        except UnicodeDecodeError as exc:
            raise _not_unicode("UTF-16", exc) from None

    def put_text(self, text: str) -> tuple[int, int]:
        """Pointer and length, in code units, of a new string."""
        data = text.encode("utf-16-le", errors="replace")
        pointer = self.alloc(len(data), 2)
        self.view[pointer : pointer + len(data)] = data
        return pointer, len(data) // 2


class Latin1Context(Utf16Context):
    """A guest whose strings are Latin-1 where that is enough, else UTF-16; the length's highest bit says which."""

    __slots__ = ()

    def text(self, pointer: int, size: int) -> str:
        """A string of `size` code units of either kind."""
        if size & _UTF16_TAG:
            return super().text(pointer, size ^ _UTF16_TAG)
        if pointer % 2:
            self.check(pointer, size, 2)
        return self.octets(pointer, size).decode("latin-1")

    def put_text(self, text: str) -> tuple[int, int]:
        """Pointer and tagged length of a new string."""
        try:
            data = text.encode("latin-1")
        except UnicodeEncodeError:
            pointer, count = super().put_text(text)
            return pointer, count | _UTF16_TAG
        pointer = self.alloc(len(data), 2)
        self.view[pointer : pointer + len(data)] = data
        return pointer, len(data)


CONTEXTS: Final[dict[Encoding, type[Context]]] = {
    "utf8": Context, "utf16": Utf16Context, "latin1+utf16": Latin1Context,
}  # fmt: skip


def _not_unicode(encoding: str, exc: UnicodeDecodeError) -> GuestTrapError:
    return GuestTrapError(f"the worker passed a string that is not {encoding}: {exc.reason} at byte {exc.start}")
