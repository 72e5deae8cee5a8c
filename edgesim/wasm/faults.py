"""What a guest's end means, in edgesim's errors: the one place where traps and engine errors are mapped."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import wasmtime

from edgesim.errors import EdgesimError, GuestMemoryError, GuestTrapError, OverloadedError
from edgesim.wasm.engine import MAX_GUESTS

if TYPE_CHECKING:
    from edgesim.model.worker import Limits
    from edgesim.wasm.guest_store import Guest

_NEAR_LIMIT: Final = 0.75
"""A trap with this share of the memory limit in use is taken for a failed allocation."""
_OUT_OF_MEMORY: Final = re.compile(
    r"memory allocation of \d+ bytes failed|out of memory|OutOfMemory|cannot allocate memory", re.IGNORECASE
)
_MEMORY_AT_START: Final = re.compile(
    r"memory minimum size|exceeds memory limits?|resource limit exceeded: memor", re.IGNORECASE
)
_POOL_IS_FULL: Final = re.compile(r"maximum concurrent .*limit of \d+")
_NO_MEMORY: Final = re.compile(r"Cannot allocate memory|os error 12")
"""ENOMEM from the kernel while an instance was being made."""
_WASM_TRAP: Final = re.compile(r"wasm trap: ([^\n]+)")


def as_guest_error(exc: Exception, guest: Guest, limits: Limits) -> Exception:
    """The error to report for `exc`. Errors of edgesim stay as they are, and so do defects of ours: no guest is to blame."""
    if isinstance(exc, EdgesimError):
        return exc
    mib = limits.memory_bytes / (1 << 20)
    help_memory = "use less memory per request, or raise memory in its manifest"
    text = str(exc)
    if not isinstance(exc, (wasmtime.Trap, wasmtime.WasmtimeError)):
        return exc
    refused = _no_room(text)
    if refused is not None:
        return refused
    if _MEMORY_AT_START.search(text):
        return GuestMemoryError(
            f"the worker's memory does not fit into its limit of {mib:g} MiB at start", help=help_memory
        )
    used = guest.memory_bytes()
    if used >= limits.memory_bytes * _NEAR_LIMIT or _OUT_OF_MEMORY.search(guest.log.text):
        return GuestMemoryError(f"the worker ran out of memory: its limit is {mib:g} MiB", help=help_memory)
    match = _WASM_TRAP.search(text)
    what = match.group(1) if match else text.strip().splitlines()[-1].strip() if text.strip() else type(exc).__name__
    return GuestTrapError(
        f"the worker trapped: {what}{guest.log.tail()}",
        help=f"a worker that cannot get memory also ends like this; its limit is {mib:g} MiB",
    )


def _no_room(text: str) -> OverloadedError | None:
    """The error when the guest is not to blame: there was no place for it."""
    if _NO_MEMORY.search(text):
        return OverloadedError(
            "the machine gives the PoP host no memory for another guest",
            help="wait, give its PoPs fewer slots, or give the machine more memory (or memory maps: vm.max_map_count)",
        )
    if _POOL_IS_FULL.search(text):
        return OverloadedError(
            f"the PoP host runs {MAX_GUESTS} guests already",
            help="wait, give its PoPs fewer slots, or start more PoP hosts",
        )
    return None


def unfit(exc: BaseException, name: str) -> BaseException:
    """What a host function raised; a label that the guest's own types do not have is the guest's fault.

    Types are taken from the worker's file, so a damaged name (`HTTP-request-denied`, say) shows when the host gives that value.
    """
    if not isinstance(exc, KeyError):
        return exc
    error = GuestTrapError(f"the worker's types are not those of {name}: they have no {exc}", help="build it again")
    error.__cause__ = exc
    return error
