"""WASI preview 1 as our own host functions: what a WAGI guest may call.

wasmtime's native functions ignore epoch deadlines and memory caps (a guest slept 4 s in `poll_oneoff` past a 50 ms deadline,
and wrote 264 MB to stdout in 0.5 s), so none of them is linked. stdin streams from the request, stdout goes to the CGI
parser, stderr to a bounded log, clocks and randomness are real, files are those of the bundle (`p1_files.py`); there are no
sockets. Guest pointers are checked before each copy. `fd_read`, `fd_write` and `poll_oneoff` may wait on the event loop; the others never do.

Source: WASI snapshot preview 1, `typenames.witx` and `wasi_snapshot_preview1.witx`.
"""

from __future__ import annotations

import os
import struct
import time
from ctypes import addressof, c_char, c_uint64, memmove, string_at
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import wasmtime

from edgesim.wasm import p1_files, raw
from edgesim.wasm.guest import CHUNK_BYTES, Exited, Suspend
from edgesim.wasm.guest_store import LIVE, Guest, finish_at_once
from edgesim.wasm.p1_errno import EBADF, EFAULT, EINVAL, ENOSYS, SUCCESS, P1Error
from edgesim.wasm.p1_files import OpenFiles, read_file
from edgesim.wasm.p1_poll import poll_oneoff

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edgesim.model.worker import Limits
    from edgesim.wasm.guest import Grants, GuestRequest

__all__ = ["EBADF", "EFAULT", "EINVAL", "ENOSYS", "SUCCESS", "P1Error"]  # for modules that speak it (`proxy/`)

MODULE: Final = "wasi_snapshot_preview1"

_MAX_IOVECS: Final = 1024
_MAX_RANDOM_BYTES: Final = 1 << 20

SIGNATURES: Final[dict[str, str]] = {
    "args_get": "ii", "args_sizes_get": "ii", "environ_get": "ii", "environ_sizes_get": "ii", "clock_res_get": "ii",
    "clock_time_get": "iIi", "fd_advise": "iIIi", "fd_allocate": "iII", "fd_close": "i", "fd_datasync": "i",
    "fd_fdstat_get": "ii", "fd_fdstat_set_flags": "ii", "fd_fdstat_set_rights": "iII", "fd_filestat_get": "ii",
    "fd_filestat_set_size": "iI", "fd_filestat_set_times": "iIIi", "fd_pread": "iiiIi", "fd_prestat_get": "ii",
    "fd_prestat_dir_name": "iii", "fd_pwrite": "iiiIi", "fd_read": "iiii", "fd_readdir": "iiiIi", "fd_renumber": "ii",
    "fd_seek": "iIii", "fd_sync": "i", "fd_tell": "ii", "fd_write": "iiii", "path_create_directory": "iii",
    "path_filestat_get": "iiiii", "path_filestat_set_times": "iiiiIIi", "path_link": "iiiiiii", "path_open": "iiiiiIIii",
    "path_readlink": "iiiiii", "path_remove_directory": "iii", "path_rename": "iiiiii", "path_symlink": "iiiii",
    "path_unlink_file": "iii", "poll_oneoff": "iiii", "proc_exit": "i", "proc_raise": "i", "sched_yield": "",
    "random_get": "ii", "sock_accept": "iii", "sock_recv": "iiiiii", "sock_send": "iiiii", "sock_shutdown": "ii",
}  # fmt: skip
"""Parameters of each function, `i` for i32 and `I` for i64. All return an i32 error number, except `proc_exit`."""


class P1Guest(Guest):
    """A guest with preview 1's view of the world. `stdout` is what takes its output."""

    __slots__ = ("_base", "_files", "_size", "instance", "memory", "stdout")

    def __init__(self, engine: int, request: GuestRequest, limits: Limits, grants: Grants) -> None:
        super().__init__(engine, request, limits, grants)
        self._files: OpenFiles | None = None
        self.stdout: Callable[[bytes], None] = self.output.write
        self.instance = raw.Instance()
        self.memory: Any = None
        """The `wasmtime_extern_t` of the exported memory, once the instance is there."""
        self._base = self._size = 0
        """Of the memory when it was last looked at: it never moves (`raw.forbid_moving_memory`), and only grows."""

    @property
    def files(self) -> OpenFiles:
        """Its descriptors from 3 on."""
        if self._files is None:
            self._files = OpenFiles(self.grants.files)
        return self._files

    @property
    def args(self) -> Sequence[bytes]:
        """The command line."""
        return ()

    @property
    def environ(self) -> Sequence[bytes]:
        """Environment variables, `NAME=value`."""
        return ()

    def _at(self, pointer: int, size: int) -> int:
        """The host address of a guest range. Raises P1Error(EFAULT) when it is not all inside the memory."""
        if self.memory is None:
            raise P1Error(EFAULT)
        if pointer + size > self._size:
            memory = addressof(self.memory.of)
            self._size, self._base = raw.memory_data_size(self.context, memory), raw.memory_data(self.context, memory)
            if pointer + size > self._size:
                raise P1Error(EFAULT)
        return self._base + pointer

    def read(self, pointer: int, size: int) -> bytes:
        """Bytes of the guest's memory."""
        return string_at(self._at(pointer, size), size)

    def write(self, pointer: int, data: bytes) -> None:
        """Copy into the guest's memory."""
        memmove(self._at(pointer, len(data)), data, len(data))

    def write_u32(self, pointer: int, value: int) -> None:
        """Store a little-endian u32."""
        self.write(pointer, value.to_bytes(4, "little"))

    def iovecs(self, pointer: int, count: int) -> list[tuple[int, int]]:
        """A scatter/gather list: (pointer, length)."""
        if count > _MAX_IOVECS:
            raise P1Error(EINVAL)
        return list(struct.iter_unpack("<II", self.read(pointer, 8 * count)))

    def memory_bytes(self) -> int:
        """Size of the linear memory."""
        if self.memory is None or not self.store:
            return 0
        size: int = raw.memory_data_size(self.context, addressof(self.memory.of))
        return size


# -- functions that never wait: fn(guest, *unsigned ints) -> error number ----------------------------------------------


def _strings_get(guest: P1Guest, strings: Sequence[bytes], pointers: int, buffer: int) -> int:
    guest._at(buffer, sum(len(s) + 1 for s in strings))  # before offsets are packed: none may pass 2^32
    offsets = []
    at = buffer
    for string in strings:
        offsets.append(at)
        at += len(string) + 1
    guest.write(pointers, struct.pack(f"<{len(offsets)}I", *offsets))
    guest.write(buffer, b"".join(s + b"\0" for s in strings))
    return SUCCESS


def _strings_sizes(guest: P1Guest, strings: Sequence[bytes], count: int, size: int) -> int:
    guest.write_u32(count, len(strings))
    guest.write_u32(size, sum(len(s) + 1 for s in strings))
    return SUCCESS


def _args_get(guest: P1Guest, pointers: int, buffer: int) -> int:
    return _strings_get(guest, guest.args, pointers, buffer)


def _args_sizes_get(guest: P1Guest, count: int, size: int) -> int:
    return _strings_sizes(guest, guest.args, count, size)


def _environ_get(guest: P1Guest, pointers: int, buffer: int) -> int:
    return _strings_get(guest, guest.environ, pointers, buffer)


def _environ_sizes_get(guest: P1Guest, count: int, size: int) -> int:
    return _strings_sizes(guest, guest.environ, count, size)


def _now_ns(clock: int) -> int:
    if clock == 0:
        return time.time_ns()
    if clock == 1:
        return time.monotonic_ns()
    raise P1Error(EINVAL)


def _clock_res_get(guest: P1Guest, clock: int, out: int) -> int:
    _now_ns(clock)
    guest.write(out, (1000).to_bytes(8, "little"))
    return SUCCESS


def _clock_time_get(guest: P1Guest, clock: int, _precision: int, out: int) -> int:
    guest.write(out, _now_ns(clock).to_bytes(8, "little"))
    return SUCCESS


def _proc_exit(_guest: P1Guest, code: int) -> int:
    raise Exited(code)


def _sched_yield(_guest: P1Guest) -> int:
    return SUCCESS


def _random_get(guest: P1Guest, pointer: int, size: int) -> int:
    if size > _MAX_RANDOM_BYTES:
        return EINVAL
    guest.write(pointer, os.urandom(size))
    return SUCCESS


# -- functions that may wait: they return an error number or a Suspend ---------------------------------------------------


def _fd_read(guest: P1Guest, fd: int, iovs: int, count: int, out: int) -> int | Suspend:
    targets = guest.iovecs(iovs, count)
    if fd != 0:
        return read_file(guest, fd, targets, out) if fd > 2 else EBADF

    def copy(_nothing: object = None) -> int:
        wanted = min(CHUNK_BYTES, sum(size for _, size in targets))
        data = guest.input.take(wanted)
        at = 0
        for pointer, size in targets:
            piece = data[at : at + size]
            if not piece:
                break
            guest.write(pointer, piece)
            at += len(piece)
        guest.write_u32(out, at)
        return SUCCESS

    return copy() if guest.input.ready else Suspend(guest.input.fill, copy)


def _fd_write(guest: P1Guest, fd: int, iovs: int, count: int, out: int) -> int | Suspend:
    if fd not in (1, 2):
        return EBADF
    sources = guest.iovecs(iovs, count)
    if fd == 2:
        data = _gather(guest, sources, CHUNK_BYTES)
        guest.log.write(data)
        guest.write_u32(out, len(data))
        return SUCCESS
    if not guest.output.room:
        return Suspend(guest.output.wait_room, lambda _: _to_stdout(guest, sources, out))
    return _to_stdout(guest, sources, out)


def _to_stdout(guest: P1Guest, sources: list[tuple[int, int]], out: int) -> int:
    data = _gather(guest, sources, min(CHUNK_BYTES, guest.output.room))
    guest.stdout(data)
    guest.write_u32(out, len(data))
    return SUCCESS


def _gather(guest: P1Guest, sources: list[tuple[int, int]], limit: int) -> bytes:
    """What still fits of a gather list."""
    parts = []
    for pointer, size in sources:
        fits = min(size, limit)
        if fits:
            parts.append(guest.read(pointer, fits))
            limit -= fits
    return b"".join(parts)


_AT_ONCE: Final[dict[str, Callable[..., int]]] = {
    "args_get": _args_get, "args_sizes_get": _args_sizes_get, "environ_get": _environ_get,
    "environ_sizes_get": _environ_sizes_get, "clock_res_get": _clock_res_get, "clock_time_get": _clock_time_get,
    "proc_exit": _proc_exit, "sched_yield": _sched_yield, "random_get": _random_get, **p1_files.AT_ONCE,
}  # fmt: skip
_MAY_WAIT: Final[dict[str, Callable[..., int | Suspend]]] = {
    "fd_read": _fd_read,
    "fd_write": _fd_write,
    "poll_oneoff": poll_oneoff,
}


def _not_supported(_guest: P1Guest, *_args: int) -> int:
    return ENOSYS


# -- linking ------------------------------------------------------------------------------------------------------------


def make_linker(engine: Any) -> tuple[Any, list[Any]]:
    """A `wasmtime.Linker` with all of preview 1, and the callbacks to keep alive as long as it."""
    linker, keep = wasmtime.Linker(engine), []
    module = MODULE.encode()
    for name, params in SIGNATURES.items():
        types = [wasmtime.ValType.i64() if p == "I" else wasmtime.ValType.i32() for p in params]
        function_type = wasmtime.FuncType(types, [] if name == "proc_exit" else [wasmtime.ValType.i32()])
        if name in _MAY_WAIT:
            callback, define = _async_callback(_MAY_WAIT[name], params), raw.linker_define_async
        else:
            callback, define = raw_callback(at_once(name), params), raw.linker_define_raw
        keep.append((callback, function_type))
        encoded = name.encode()
        raw.check(
            define(
                raw.address(linker.ptr()), module, len(module), encoded, len(encoded),
                raw.address(function_type.ptr()), raw.address(callback), None, None,
            )
        )  # fmt: skip
    return linker, keep


def at_once(name: str) -> Callable[..., int]:
    """The host function of this name, if it never waits; else one that says that it is not supported."""
    return _AT_ONCE.get(name, _not_supported)


def raw_callback(function: Callable[..., int], params: str) -> Any:
    """A C callback for values of 16 bytes that sit where the result goes."""
    cells_at = (c_char * (16 * max(len(params), 1))).from_address
    unpack = struct.Struct("<" + "".join("I12x" if p == "i" else "Q8x" for p in params)).unpack_from
    pack, live, caller_context = struct.Struct("<Q").pack_into, LIVE, raw.caller_context

    def call(_env: int, caller: int, values: int, _n: int) -> int:
        guest = live[caller_context(caller)]
        try:
            cells = cells_at(values)
            try:
                pack(cells, 0, function(guest, *unpack(cells)))
            except P1Error as exc:
                pack(cells, 0, exc.errno)
        except BaseException as exc:  # noqa: BLE001 - nothing may pass through C; Guest.check raises it
            return _fail(guest, exc)
        return 0

    return raw.RAW_CALLBACK(call)


def _async_callback(function: Callable[..., int | Suspend], params: str) -> Any:
    """A C callback for values of 32 bytes (kind, then the payload at +8) that may finish later."""
    chars_at = (c_char * (raw.VAL_BYTES * max(len(params), 1))).from_address
    unpack = struct.Struct("<" + "".join("8xI20x" if p == "i" else "8xQ16x" for p in params)).unpack_from
    live, caller_context = LIVE, raw.caller_context

    def call(
        _env: int, caller: int, args: int, _n: int, results: int, _m: int, trap_out: int, continuation_out: int
    ) -> None:
        guest = live[caller_context(caller)]
        finish_at_once(continuation_out)
        try:
            result = function(guest, *unpack(chars_at(args)))
            if isinstance(result, Suspend):
                guest.suspend(result, partial(_deliver, guest, results, trap_out), continuation_out)
            else:
                _put_i32(results, result)
        except P1Error as exc:
            _put_i32(results, exc.errno)
        except BaseException as exc:  # noqa: BLE001 - as above
            c_uint64.from_address(trap_out).value = _fail(guest, exc)

    return raw.ASYNC_CALLBACK(call)


def _deliver(guest: Guest, results: int, trap_out: int, suspended: Suspend) -> None:
    """The end of a call that had to wait."""
    try:
        _put_i32(results, suspended.result())
    except P1Error as exc:
        _put_i32(results, exc.errno)
    except BaseException as exc:  # noqa: BLE001 - as in the callbacks
        c_uint64.from_address(trap_out).value = _fail(guest, exc)


def _put_i32(result: int, value: int) -> None:
    _RESULT(_RESULT_AT(result), 0, 0, value)  # the kind of an i32 is 0


_RESULT: Final = struct.Struct("<QQ").pack_into
_RESULT_AT: Final = (c_char * 16).from_address


def _fail(guest: Guest, exc: BaseException) -> int:
    """Keep the exception in the guest and make the trap that ends it."""
    guest.error = guest.error or exc
    text = str(exc).encode()
    trap: int = raw.trap_new(text, len(text))
    return trap
