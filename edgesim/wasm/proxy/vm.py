"""One instance of a filter: its store, its memory, calls into it, and its CPU limit.

Calls are plain synchronous calls of the unchecked C API, without a fiber: a filter cannot wait inside a host function. What
ends a VM is final; its store is freed and never used again. A VM belongs to one thread at a time.
"""

from __future__ import annotations

import struct
from ctypes import addressof, c_uint8, c_uint64, memmove, sizeof, string_at
from time import thread_time
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from edgesim.errors import GuestCpuError
from edgesim.wasm import raw
from edgesim.wasm.execution import LIVE
from edgesim.wasm.faults import as_guest_error
from edgesim.wasm.guest import Exited, Log
from edgesim.wasm.p1 import EFAULT, EINVAL, P1Error
from edgesim.wasm.proxy.stream import Calls

if TYPE_CHECKING:
    from collections.abc import Sequence

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
_MAX_IOVECS: Final = 1024
_U32_PAIR: Final = struct.Struct("<II")


class Callback(NamedTuple):
    """An exported function of a module."""

    encoded: bytes
    params: int
    returns: bool
    offset: int
    """Of its extern in a VM's block."""


class BadMemory(P1Error):  # noqa: N818 - it becomes a status
    """A guest pointer that does not lie in the guest's memory."""

    def __init__(self) -> None:
        super().__init__(EFAULT)


class NoMemory(Exception):  # noqa: N818 - it becomes a status
    """The guest's allocator has given nothing, or nothing usable."""


class Vm:
    """See the module. `instantiate` of a `ProxyModule` makes one; `close` frees it."""

    __slots__ = (
        "_allocating", "_base", "_block", "_calls", "_found", "_log", "_memory", "args", "began_s", "cancelled", "context",
        "cpu_limit_s", "cpu_s", "environ", "error", "limits", "may_call", "module", "state", "store", "stream",
    )  # fmt: skip

    def __init__(self, module: ProxyModule, state: PluginState) -> None:
        """Make the store and the instance. Runs the module's start function. Raises what ended it."""
        self.module = module
        self.limits = limits = state.limits
        self.state = state
        """What the VMs of this filter on this PoP share."""
        self.stream: Stream | None = None
        """The request that this VM filters; None for the plugin's own VM."""
        self.may_call = False
        """Whether there is a way out for HTTP calls."""
        self.args: Sequence[bytes] = ()
        self.environ: Sequence[bytes] = state.environ
        self.error: BaseException | None = None
        """The first exception of a host function; it is what ended the VM, whatever the engine says."""
        self.cancelled = False
        """Set from another thread: end at the next tick."""
        self.cpu_s = self.began_s = 0.0
        self.cpu_limit_s = limits.startup_ms / 1000.0
        """Of the start; `started` sets the request's."""
        self._allocating = False
        self._found: dict[str, tuple[int, int, bool]] = {}
        self._memory = 0
        self._log: Log | None = None
        self._calls: Calls | None = None
        self._block = module.block()  # one block for all that C writes to: each ctypes object costs
        self._base = base = addressof(self._block)
        self.store = raw.store_new(module.engine, None, None)
        self.context: int = raw.store_context(self.store)
        _LIVE[self.context] = self
        raw.store_limiter(self.store, *state.limiter)
        raw.set_epoch_deadline(self.context, 1)
        raw.epoch_callback(self.store, _TICK_ADDRESS, None, None)
        error = raw.instance_pre_instantiate_sync(module.pre, self.context, base + _INSTANCE, base + _TRAP)
        if error or self._block[_TRAP_SLOT]:
            exc = self._ended(error)
            mapped = as_guest_error(exc, cast("Any", self), limits) if isinstance(exc, Exception) else exc
            self.close()
            raise mapped

    # -- calls --------------------------------------------------------------------------------------------------------

    def call(self, name: str, *args: int) -> int | None:
        """Call an export with u32 values; its u32 result, 0 for none. None when the module has no such export.

        Arguments beyond what the export takes are left out: older versions of the ABI have fewer.

        Raises:
            Exited, EdgesimError, wasmtime.Trap, wasmtime.WasmtimeError: what ended the VM.
        """
        found = self._found.get(name) or self._find(name)
        if found is None:
            return None
        at, params, returns = found
        block, i = self._block, 0
        for arg in args:
            if i == params:
                break
            block[i] = arg
            i += 2
        error = raw.func_call_raw(self.context, at, self._base, MAX_PARAMS, self._base + _TRAP)
        if error or block[_TRAP_SLOT]:
            raise self._ended(error)
        result: int = block[0] & 0xFFFFFFFF if returns else 0
        return result

    def _find(self, name: str) -> tuple[int, int, bool] | None:
        """Where an exported function is, how many slots its parameters take, and whether it returns something."""
        callback = self.module.callbacks.get(name)
        if callback is None:
            return None
        encoded, params, returns, offset = callback
        at = self._base + offset
        there = raw.instance_export(self.context, self._base + _INSTANCE, encoded, len(encoded), at)
        assert there, "listed among the module's exports"
        found = self._found[name] = (at + _OF, 2 * params, returns)
        return found

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
        at = self._base + _MEMORY
        if not raw.instance_export(self.context, self._base + _INSTANCE, b"memory", 6, at):
            raise BadMemory  # a start function calls before there are exports
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
        self.cpu_s, self.cpu_limit_s = 0.0, self.limits.cpu_ms / 1000.0

    def end(self) -> float:
        """The step is over; its CPU time in seconds."""
        seconds = thread_time() - self.began_s
        self.cpu_s += seconds
        self.began_s = 0.0
        return seconds

    def close(self) -> None:
        """Free the store. Idempotent. No call may be under way."""
        if self.store:
            _LIVE.pop(self.context, None)
            raw.store_delete(self.store)
            self.store = None


@raw.EPOCH_CALLBACK  # type: ignore[untyped-decorator]
def _tick(context: int, _data: int, ticks_out: int, kind_out: int) -> int:
    """A tick is over: go on, unless the CPU limit is reached or nobody waits for the result any more."""
    vm: Vm = _LIVE[context]
    c_uint64.from_address(ticks_out).value = 1
    c_uint8.from_address(kind_out).value = 0
    now_s = thread_time()
    vm.began_s = vm.began_s or now_s
    if vm.cancelled or vm.cpu_s + now_s - vm.began_s > vm.cpu_limit_s:
        vm.error = vm.error or GuestCpuError(
            f"it used more than its limit of {vm.cpu_limit_s * 1000.0:g} ms CPU time",
            help="make it do less per request, or raise cpu_ms in its manifest",
        )
        error: int = raw.error_new(b"CPU limit")
        return error
    return 0


_TICK_ADDRESS: Final = raw.address(_tick)
