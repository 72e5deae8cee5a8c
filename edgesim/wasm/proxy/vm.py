"""One instance of a filter: its store, its memory, calls into it, and its CPU limit.

Calls are plain synchronous calls of the unchecked C API, without a fiber: a filter cannot wait inside a host function. What
ends a VM is final; its store is freed and never used again. A VM belongs to one thread at a time.
"""

from __future__ import annotations

import struct
from ctypes import addressof, c_size_t, c_uint8, c_uint64, memmove, sizeof, string_at
from time import thread_time
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from edgesim.errors import GuestCpuError
from edgesim.wasm import raw
from edgesim.wasm.faults import as_guest_error
from edgesim.wasm.guest import Exited, Log
from edgesim.wasm.guest_store import LIVE
from edgesim.wasm.p1 import EFAULT, EINVAL, P1Error
from edgesim.wasm.proxy.stream import Calls
from edgesim.wasm.raw import (  # by name: looking them up in the module would cost 0.1 µs a VM
    epoch_callback,
    func_call_raw,
    instance_export,
    instance_pre_instantiate_sync,
    set_epoch_deadline,
    store_context,
    store_delete,
    store_delete_short,
    store_limiter,
    store_new_short,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgesim.model.worker import Limits
    from edgesim.wasm.proxy.module import ProxyModule
    from edgesim.wasm.proxy.state import PluginState
    from edgesim.wasm.proxy.stream import Stream

_LIVE: Final = cast("dict[int, Any]", LIVE)
"""Store context to its VM, as for other guests: host functions of preview 1 serve both."""
MAX_PARAMS: Final = 10
_TRAP_SLOT: Final = 2 * MAX_PARAMS
_TRAP: Final = 8 * _TRAP_SLOT
_INSTANCE: Final = _TRAP + 8
_MEMORY: Final = _INSTANCE + sizeof(raw.Instance)
FUNCTIONS: Final = _MEMORY + sizeof(raw.Extern)
"""Layout of a VM's block, in bytes: arguments and result (16 bytes each), trap, instance, then externs."""
_OF: Final = raw.Extern.of.offset
_U32_MAX: Final = 0xFFFFFFFF
_SLOTS: Final = c_size_t(MAX_PARAMS)
_ONE_TICK: Final = c_uint64(1)
"""Converted once: each conversion costs as much as a small call."""
_SHORT_CPU_S: Final = 0.001
"""A step that takes longer may have touched much memory, which takes time to clear."""
_MAX_IOVECS: Final = 1024
_U32_PAIR: Final = struct.Struct("<II")


class Callback(NamedTuple):
    """An exported function of a module."""

    encoded: bytes
    size: c_size_t
    """Of `encoded`."""
    params: int
    places: slice
    """Of the arguments in a VM's block."""
    returns: bool
    slot: int
    """Of the function's store in a VM's block: 0 while it has not been looked up."""
    offset: int
    """Of its extern in a VM's block, in bytes."""


class BadMemory(P1Error):  # noqa: N818 - it becomes a status
    """A guest pointer that does not lie in the guest's memory."""

    def __init__(self) -> None:
        super().__init__(EFAULT)


class NoMemory(Exception):  # noqa: N818 - it becomes a status
    """The guest's allocator has given nothing, or nothing usable."""


class Vm:
    """See the module. `instantiate` of a `ProxyModule` makes one; `close` frees it."""

    # Defaults stand in the class, and what is seldom needed is made late: a new VM costs little more than its engine's calls.
    stream: Stream | None = None
    """The request that this VM filters; None for the plugin's own VM."""
    may_call = False
    """Whether there is a way out for HTTP calls."""
    args: Sequence[bytes] = ()
    """For preview 1: there are none."""
    error: BaseException | None = None
    """The first exception of a host function; it is what ended the VM, whatever the engine says."""
    cancelled = False
    """Set from another thread: end at the next tick."""
    cpu_s = 0.0
    """CPU time of the steps that are over, of the start and then of the request."""
    began_s = 0.0
    """Begin of the step under way on its thread's CPU clock; 0: not known, and set by the first tick."""
    cpu_limit_s = 0.0
    """Of the request, once it has begun; 0: the start's."""
    _allocating = False
    _long = False
    _memory = 0
    _log: Log | None = None
    _calls: Calls | None = None

    def __init__(self, module: ProxyModule, state: PluginState) -> None:
        """Make the store and the instance. Runs the module's start function. Raises what ended it."""
        self.module = module
        self.state = state
        """What the VMs of this filter on this PoP share."""
        self._block = block = module.block()  # one block for all that C writes to: each ctypes object costs
        self._base = base = addressof(block)
        self.store = store = store_new_short(module.engine, None, None)
        self.context = context = store_context(store)
        _LIVE[context] = self
        store_limiter(store, *state.limiter)
        set_epoch_deadline(context, _ONE_TICK)
        epoch_callback(store, _TICK_ADDRESS, None, None)
        error = instance_pre_instantiate_sync(module.pre, context, base + _INSTANCE, base + _TRAP)
        if error or block[_TRAP_SLOT]:
            exc = self._ended(error)
            mapped = as_guest_error(exc, cast("Any", self), state.limits) if isinstance(exc, Exception) else exc
            self.close()
            raise mapped

    @property
    def limits(self) -> Limits:
        """What it may use."""
        return self.state.limits

    @property
    def environ(self) -> Sequence[bytes]:
        """For preview 1: `NAME=value`."""
        return self.state.environ

    # -- calls --------------------------------------------------------------------------------------------------------

    def call(self, name: str, *args: int) -> int | None:
        """Call an export with u32 values; its u32 result, 0 for none. None when the module has no such export.

        Arguments beyond what the export takes are left out: older versions of the ABI have fewer.

        Raises:
            Exited, EdgesimError, wasmtime.Trap, wasmtime.WasmtimeError: what ended the VM.
        """
        callback = self.module.callbacks.get(name)
        if callback is None:
            return None
        encoded, size, params, places, returns, slot, offset = callback
        block, base = self._block, self._base
        if not block[slot]:
            there = instance_export(self.context, base + _INSTANCE, encoded, size, base + offset)
            assert there, "listed among the module's exports"
        if len(args) != params:
            args = (*args[:params], *(0,) * (params - len(args)))
        # A tuple will do for the slice, and costs less than half of a loop.
        block[places] = args  # type: ignore[call-overload]
        error = func_call_raw(self.context, base + offset + _OF, base, _SLOTS, base + _TRAP)
        if error or block[_TRAP_SLOT]:
            raise self._ended(error)
        return block[0] & _U32_MAX if returns else 0

    def _ended(self, error: int | None) -> BaseException:
        """The exception for a call that failed."""
        trap, self._block[_TRAP_SLOT] = self._block[_TRAP_SLOT], 0
        cause = raw.take_error(error) if error else raw.take_trap(trap)
        if self.error is None:
            return cause
        self.error.__cause__ = None if isinstance(self.error, Exited) else cause
        return self.error

    # -- memory -------------------------------------------------------------------------------------------------------

    def _at(self, pointer: int, size: int) -> int:
        """The host address of a guest range. Raises BadMemory when it is not all inside the memory."""
        memory = self._memory or self._find_memory()
        if pointer + size > raw.memory_data_size(self.context, memory):
            raise BadMemory
        base: int = raw.memory_data(self.context, memory)
        return base + pointer

    def _find_memory(self) -> int:
        if not self._block[_INSTANCE // 8]:
            raise BadMemory  # a start function calls before there is an instance; the engine would abort the process
        at = self._base + _MEMORY
        if not raw.instance_export(self.context, self._base + _INSTANCE, b"memory", 6, at):
            raise BadMemory
        self._memory = at + _OF
        return self._memory

    def read(self, pointer: int, size: int) -> bytes:
        """Bytes of the guest's memory. Raises BadMemory."""
        return string_at(self._at(pointer, size), size)

    def check(self, pointer: int, size: int) -> None:
        """Raise BadMemory when a range is not all inside the memory."""
        self._at(pointer, size)

    def read_some(self, pointer: int, size: int, most: int) -> bytes | None:
        """Bytes of the guest's memory; None when there are more than `most`. Raises BadMemory."""
        at = self._at(pointer, size)
        return string_at(at, size) if size <= most else None

    def write(self, pointer: int, data: bytes) -> None:
        """Copy into the guest's memory. Raises BadMemory."""
        memmove(self._at(pointer, len(data)), data, len(data))

    def write_u32(self, pointer: int, value: int) -> None:
        """Store a little-endian u32. Raises BadMemory."""
        self.write(pointer, value.to_bytes(4, "little"))

    def iovecs(self, pointer: int, count: int) -> list[tuple[int, int]]:
        """A scatter/gather list of preview 1: (pointer, length)."""
        if count > _MAX_IOVECS:
            raise P1Error(EINVAL)
        return list(_U32_PAIR.iter_unpack(self.read(pointer, 8 * count)))

    def give(self, data: bytes, pointer_out: int, size_out: int) -> None:
        """Hand bytes to the guest in memory of its own allocator. Raises BadMemory or NoMemory."""
        self._at(pointer_out, 4)
        self._at(size_out, 4)
        at = 0
        if data:
            if self._allocating:
                raise NoMemory  # its allocator asks for data that must be allocated: there would be no end to it
            self._allocating = True
            try:
                at = self.call(self.module.allocator, len(data)) or 0
            finally:
                self._allocating = False
            if not at:
                raise NoMemory
            self.write(at, data)
        self.write_u32(pointer_out, at)
        self.write_u32(size_out, len(data))

    def memory_bytes(self) -> int:
        """Size of the linear memory."""
        if not self.store:
            return 0
        try:
            size: int = raw.memory_data_size(self.context, self._memory or self._find_memory())
        except BadMemory:
            return 0
        return size

    # -- log, CPU, end ------------------------------------------------------------------------------------------------

    @property
    def calls(self) -> Calls:
        """Its HTTP calls."""
        if self._calls is None:
            self._calls = Calls()
        return self._calls

    @property
    def log(self) -> Log:
        """What the filter has logged."""
        if self._log is None:
            self._log = Log(self.limits.log_bytes)
        return self._log

    def begin(self) -> None:
        """A step begins on this thread: its CPU time counts from here."""
        self.began_s = thread_time()

    def started(self) -> None:
        """The start is over: from now on the CPU time is the request's."""
        self.cpu_s, self.cpu_limit_s = 0.0, self.state.limits.cpu_ms / 1000.0

    def end(self) -> float:
        """The step is over; its CPU time in seconds."""
        seconds = thread_time() - self.began_s
        self.cpu_s += seconds
        self.began_s = 0.0
        self._long = self._long or seconds > _SHORT_CPU_S
        return seconds

    def close(self) -> None:
        """Free the store. Idempotent. No call may be under way."""
        if self.store:
            del _LIVE[self.context]
            (store_delete if self._long else store_delete_short)(self.store)
            self.store = None


@raw.EPOCH_CALLBACK  # type: ignore[untyped-decorator]
def _tick(context: int, _data: int, ticks_out: int, kind_out: int) -> int:
    """A tick is over: go on, unless the CPU limit is reached or nobody waits for the result any more."""
    vm: Vm = _LIVE[context]
    c_uint64.from_address(ticks_out).value = 1
    c_uint8.from_address(kind_out).value = 0
    now_s = thread_time()
    vm.began_s = vm.began_s or now_s
    limit_s = vm.cpu_limit_s or vm.limits.startup_ms / 1000.0
    if vm.cancelled or vm.cpu_s + now_s - vm.began_s > limit_s:
        vm.error = vm.error or GuestCpuError(
            f"it used more than its limit of {limit_s * 1000.0:g} ms CPU time",
            help="make it do less per request, or raise cpu_ms in its manifest",
        )
        error: int = raw.error_new(b"CPU limit")
        return error
    return 0


_TICK_ADDRESS: Final = raw.address(_tick)
