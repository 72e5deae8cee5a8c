"""The private C layer of the wasmtime wheel: typed prototypes, and nothing else.

The wheel's public wrappers cost 20-100 µs a call and have no fibers, so the hot path uses the C API through ctypes. All
of it is declared here, pinned to one exact version, with struct sizes asserted at import. Rules for callers:

- `FAST` functions keep the GIL: only for calls that are short and never re-enter Python. All others release it.
- Pointers are plain integers. The Python object that owns one must be kept alive by name during the call.
- A pointer that a guest passes is hostile: check it against `memory_data_size` before any copy.
"""

from __future__ import annotations

import ctypes
from ctypes import CFUNCTYPE, POINTER, c_bool, c_char_p, c_int64, c_size_t, c_uint8, c_uint32, c_uint64, c_void_p, cast
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final

import wasmtime
from wasmtime import _bindings, _ffi

if TYPE_CHECKING:
    from collections.abc import Callable

WASMTIME_VERSION: Final = version("wasmtime")
VAL_BYTES: Final = 32
"""Size of `wasmtime_val_t` and of `wasmtime_component_val_t`."""

assert WASMTIME_VERSION == "50.0.1", f"edgesim uses private parts of wasmtime 50.0.1, found {WASMTIME_VERSION}"
assert ctypes.sizeof(_bindings.wasmtime_val_raw) == 16
assert ctypes.sizeof(_bindings.wasmtime_val) == VAL_BYTES
assert ctypes.sizeof(_bindings.wasmtime_component_val) == VAL_BYTES
assert ctypes.sizeof(_bindings.wasmtime_component_valunion) == 24
assert ctypes.sizeof(_bindings.wasmtime_component_valrecord_entry) == 48

_SLOW: Final = _ffi.dll
_FAST: Final = ctypes.PyDLL(str(_ffi.filename))

P: Final = c_void_p


def _proto(name: str, result: Any, *args: Any, fast: bool = False) -> Callable[..., Any]:
    """A function object of our own, so that the wheel's argument types stay as they are."""
    dll = _FAST if fast else _SLOW
    function = dll._FuncPtr((name, dll))
    function.restype, function.argtypes = result, args
    return function


# -- store and memory -------------------------------------------------------------------------------------------------
store_new = _proto("wasmtime_store_new", P, P, P, P)
store_delete = _proto("wasmtime_store_delete", None, P)
store_new_short = _proto("wasmtime_store_new", P, P, P, P, fast=True)
store_delete_short = _proto("wasmtime_store_delete", None, P, fast=True)
"""Of a store with one small core instance: to give the GIL away would cost more than the call."""
store_context = _proto("wasmtime_store_context", P, P, fast=True)
store_limiter = _proto("wasmtime_store_limiter", None, P, c_int64, c_int64, c_int64, c_int64, c_int64, fast=True)
set_epoch_deadline = _proto("wasmtime_context_set_epoch_deadline", None, P, c_uint64, fast=True)
epoch_callback = _proto("wasmtime_store_epoch_deadline_callback", None, P, P, P, P, fast=True)
epoch_yield = _proto("wasmtime_context_epoch_deadline_async_yield_and_update", None, P, c_uint64, fast=True)
caller_context = _proto("wasmtime_caller_context", P, P, fast=True)
memory_data = _proto("wasmtime_memory_data", P, P, P, fast=True)
memory_data_size = _proto("wasmtime_memory_data_size", c_size_t, P, P, fast=True)

# -- futures ----------------------------------------------------------------------------------------------------------
future_poll = _proto("wasmtime_call_future_poll", c_bool, P)
future_delete = _proto("wasmtime_call_future_delete", None, P)

# -- core modules -----------------------------------------------------------------------------------------------------
linker_define_raw = _proto(
    "wasmtime_linker_define_func_unchecked", P, P, c_char_p, c_size_t, c_char_p, c_size_t, P, P, P, P
)
linker_define_async = _proto(
    "wasmtime_linker_define_async_func", P, P, c_char_p, c_size_t, c_char_p, c_size_t, P, P, P, P
)
linker_instantiate_pre = _proto("wasmtime_linker_instantiate_pre", P, P, P, P)
instance_pre_delete = _proto("wasmtime_instance_pre_delete", None, P)
instance_pre_instantiate = _proto("wasmtime_instance_pre_instantiate_async", P, P, P, P, P, P)
instance_pre_instantiate_sync = _proto("wasmtime_instance_pre_instantiate", P, P, P, P, P)
instance_export = _proto("wasmtime_instance_export_get", c_bool, P, P, c_char_p, c_size_t, P, fast=True)
caller_export = _proto("wasmtime_caller_export_get", c_bool, P, c_char_p, c_size_t, P, fast=True)
func_call_raw = _proto("wasmtime_func_call_unchecked", P, P, P, P, c_size_t, P)
func_call = _proto("wasmtime_func_call_async", P, P, P, P, c_size_t, P, c_size_t, P, P)
trap_new = _proto("wasmtime_trap_new", P, c_char_p, c_size_t)

# -- components -------------------------------------------------------------------------------------------------------
component_instantiate = _proto("wasmtime_component_linker_instantiate_async", P, P, P, P, P, P)
component_get_func = _proto("wasmtime_component_instance_get_func", c_bool, P, P, P, P, fast=True)
component_call = _proto("wasmtime_component_func_call_async", P, P, P, P, c_size_t, P, c_size_t, P)
component_add_func = _proto("wasmtime_component_linker_instance_add_func", P, P, c_char_p, c_size_t, P, P, P)
component_add_async = _proto("wasmtime_component_linker_instance_add_func_async", P, P, c_char_p, c_size_t, P, P, P)
component_add_resource = _proto("wasmtime_component_linker_instance_add_resource", P, P, c_char_p, c_size_t, P, P, P, P)
resource_any_to_host = _proto("wasmtime_component_resource_any_to_host", P, P, P, P, fast=True)
resource_host_to_any = _proto("wasmtime_component_resource_host_to_any", P, P, P, P, fast=True)
resource_host_new = _proto("wasmtime_component_resource_host_new", P, c_bool, c_uint32, c_uint32, fast=True)
resource_host_rep = _proto("wasmtime_component_resource_host_rep", c_uint32, P, fast=True)
resource_host_delete = _proto("wasmtime_component_resource_host_delete", None, P, fast=True)
resource_any_delete = _proto("wasmtime_component_resource_any_delete", None, P, fast=True)
byte_vec_new = _proto("wasm_byte_vec_new", None, P, c_size_t, c_char_p, fast=True)
vallist_new = _proto("wasmtime_component_vallist_new_uninit", None, P, c_size_t, fast=True)
valrecord_new = _proto("wasmtime_component_valrecord_new_uninit", None, P, c_size_t, fast=True)
valflags_new = _proto("wasmtime_component_valflags_new_uninit", None, P, c_size_t, fast=True)
val_new = _proto("wasmtime_component_val_new", P, P, fast=True)
val_clone = _proto("wasmtime_component_val_clone", None, P, P, fast=True)
val_delete = _proto("wasmtime_component_val_delete", None, P, fast=True)
error_new = _proto("wasmtime_error_new", P, c_char_p)

# -- callbacks --------------------------------------------------------------------------------------------------------
RAW_CALLBACK: Final = CFUNCTYPE(c_size_t, P, P, P, c_size_t)
"""`wasmtime_func_unchecked_callback_t`: env, caller, values of 16 bytes, their number; returns a trap or 0."""
ASYNC_CALLBACK: Final = CFUNCTYPE(None, P, P, P, c_size_t, P, c_size_t, P, P)
"""`wasmtime_func_async_callback_t`: env, caller, args, n, results, n, trap out, continuation out."""
COMPONENT_CALLBACK: Final = CFUNCTYPE(c_size_t, P, P, P, P, c_size_t, P, c_size_t)
"""Component function: env, context, type, args, n, results, n; returns an error or 0."""
COMPONENT_ASYNC_CALLBACK: Final = CFUNCTYPE(None, P, P, P, P, c_size_t, P, c_size_t, P, P)
"""Component function: env, context, type, args, n, results, n, error out, continuation out."""
CONTINUATION: Final = CFUNCTYPE(c_bool, P)
FINALIZER: Final = CFUNCTYPE(None, P)
EPOCH_CALLBACK: Final = CFUNCTYPE(c_size_t, P, P, P, P)
"""At an epoch deadline: context, data, ticks out (u64), kind out (u8: 0 go on, 1 yield); returns an error or 0."""
DESTRUCTOR: Final = CFUNCTYPE(c_size_t, P, P, c_uint32)

Extern: Final = _ffi.wasmtime_extern_t
Instance: Final = _ffi.wasmtime_instance_t
ComponentInstance: Final = _ffi.wasmtime_component_instance_t
ComponentFunc: Final = _ffi.wasmtime_component_func_t


def address(pointer: Any) -> int:
    """The address in a ctypes pointer or callback. The object it comes from must stay alive."""
    value = cast(pointer, P).value
    assert value is not None
    return value


def take_error(pointer: int) -> Exception:
    """The public exception for a `wasmtime_error_t *` that we own."""
    error: Exception = wasmtime.WasmtimeError._from_ptr(cast(pointer, POINTER(_ffi.wasmtime_error_t)))
    return error


def take_trap(pointer: int) -> Exception:
    """The public exception for a `wasm_trap_t *` that we own."""
    trap: Exception = wasmtime.Trap._from_ptr(cast(pointer, POINTER(_ffi.wasm_trap_t)))
    return trap


def check(error: int | None) -> None:
    """Raise what a C function reported.

    Raises:
        wasmtime.WasmtimeError: the function failed.
    """
    if error:
        raise take_error(error)


def set_component_model_async(config: Any, *, enabled: bool) -> None:
    """Switch the component model's async proposal, which has no public setter."""
    _ffi.wasmtime_config_wasm_component_model_async_set(config.ptr(), enabled)


def set_concurrency_support(config: Any, *, enabled: bool) -> None:
    """Switch the bookkeeping for component-model tasks, which only the async proposal needs."""
    _ffi.wasmtime_config_concurrency_support_set(config.ptr(), enabled)


def set_strategy(config: Any, strategy: int) -> None:
    """Choose the compiler by number: the public setter does not know Winch."""
    _ffi.wasmtime_config_strategy_set(config.ptr(), strategy)


def forbid_moving_memory(config: Any) -> None:
    """A linear memory stays where it is when it grows, so that addresses inside it stay valid."""
    _ffi.wasmtime_config_memory_may_move_set(config.ptr(), False)


def set_pool(config: Any, sizes: dict[str, int]) -> None:
    """Use the pooling allocator, with these of its settings."""
    pool = _ffi.wasmtime_pooling_allocation_config_new()
    for name, value in sizes.items():
        getattr(_ffi, f"wasmtime_pooling_allocation_config_{name}_set")(pool, value)
    _ffi.wasmtime_pooling_allocation_strategy_set(config.ptr(), pool)
    _ffi.wasmtime_pooling_allocation_config_delete(pool)


__all__ = [name for name in globals() if not name.startswith("_")]
_ = c_uint8
