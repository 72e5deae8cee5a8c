"""A filter's module: what it must look like, its imports resolved, and how a VM of it is made.

Filters import `env.proxy_*`, functions of preview 1 that SDKs need, and a few leftovers of their toolchains. Whatever else a
module imports is refused when it is deployed.
"""

from __future__ import annotations

from ctypes import addressof, c_size_t, c_uint64, c_void_p, sizeof
from typing import TYPE_CHECKING, Any, Final

import wasmtime

from edgesim.errors import BundleError
from edgesim.wasm import p1, raw
from edgesim.wasm.proxy import (  # noqa: F401 - each registers its host functions
    buffers,
    foreign,
    headers,
    http_call,
    logging,
    metrics,
    properties,
    shared,
    streams,
    timers,
)
from edgesim.wasm.proxy.table import TABLE, HostFunction, callback
from edgesim.wasm.proxy.vm import FUNCTIONS, MAX_PARAMS, Callback, Vm

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgesim.wasm.proxy.state import PluginState

VERSIONS: Final = ("proxy_abi_version_0_2_1", "proxy_abi_version_0_2_0", "proxy_abi_version_0_1_0")
"""Markers among the exports. 0.3 and `vNEXT` are other interfaces."""
_ALLOCATORS: Final = ("proxy_on_memory_allocate", "malloc")
CALLBACKS: Final[dict[str, bool]] = {
    "_initialize": False, "_start": False, "main": True, "malloc": True, "proxy_on_memory_allocate": True,
    "proxy_on_vm_start": True, "proxy_on_configure": True, "proxy_on_context_create": False,
    "proxy_on_request_headers": True, "proxy_on_request_body": True, "proxy_on_request_trailers": True,
    "proxy_on_response_headers": True, "proxy_on_response_body": True, "proxy_on_response_trailers": True,
    "proxy_on_http_call_response": False, "proxy_on_tick": False, "proxy_on_queue_ready": False, "proxy_on_done": True,
    "proxy_on_log": False, "proxy_on_delete": False,
}  # fmt: skip
"""Exports that are ever called, and whether they return an i32."""
_WASI: Final = (p1.MODULE, "wasi_unstable")
_INTEGERS: Final = {"i32": "i", "i64": "I"}
_callbacks: Final[dict[tuple[str, str, str], Any]] = {}
"""C callbacks by module, name and parameters; they live as long as the process."""


def _abort(vm: Vm, *_args: int) -> int:
    """AssemblyScript's `abort` without WASI."""
    raise RuntimeError("abort() was called" + vm.log.tail())


def _nothing(_vm: Vm, *_args: int) -> int:
    return 0


_LEFTOVERS: Final[dict[str, HostFunction]] = {
    "abort": HostFunction(_abort, "iiii"),
    "emscripten_notify_memory_growth": HostFunction(_nothing, "i"),
}
"""What AssemblyScript and Emscripten import besides."""
_P1: Final[dict[str, Callable[..., int]]] = {"fd_write": logging.fd_write}
"""Preview 1 where a filter has less than a worker: no input and no output, only a log."""


def _params(kind: Any) -> str:
    """The parameters of a function type as `i` and `I`; `?` for what the ABI does not have."""
    return "".join(_INTEGERS.get(str(p), "?") for p in kind.params)


def _find(module: str, name: str, kind: Any) -> Any:
    """The C callback for an import, or None when edgesim does not have it or has it with other parameters."""
    params = _params(kind)
    key = (p1.MODULE if module in _WASI else module, name, params)
    found = _callbacks.get(key)
    if found is not None:
        return found
    if module in _WASI:
        if p1.SIGNATURES.get(name) != params:
            return None
        made = p1.raw_callback(_P1.get(name) or p1.at_once(name), params)
    elif module == "env" and name in foreign.GRPC:
        made = callback(foreign.grpc, params)
    else:
        function = (TABLE.get(name) or _LEFTOVERS.get(name)) if module == "env" else None
        if function is None or function.params != params:
            return None
        made = callback(function.call, params)
    _callbacks[key] = made
    return made


def check(compiled: Any) -> None:
    """Whether a module with a version marker can be served. Raises BundleError, which names what is wrong."""
    exports = {export.name: export.type for export in compiled.exports}
    if not isinstance(exports.get("memory"), wasmtime.MemoryType):
        raise BundleError("the filter does not export its memory as `memory`", help="export it")
    for name, kind in exports.items():
        if name not in CALLBACKS:
            continue
        fits = isinstance(kind, wasmtime.FuncType) and set(_params(kind)) <= {"i"} and len(kind.params) <= MAX_PARAMS
        if not fits or [str(r) for r in kind.results] != ["i32"] * CALLBACKS[name]:
            raise BundleError(f"the filter's export {name} does not have the type that the ABI gives it")
    unknown = sorted(
        f"{i.module}.{i.name}"
        for i in compiled.imports
        if not isinstance(i.type, wasmtime.FuncType) or _find(i.module, i.name, i.type) is None
    )
    if unknown:
        raise BundleError(
            f"the filter imports what edgesim does not have: {', '.join(unknown[:8])}"
            + (f" and {len(unknown) - 8} more" if len(unknown) > 8 else ""),
            help="a filter may import what Proxy-Wasm ABI 0.2.1 lists",
        )


class ProxyModule:
    """A filter with its imports resolved. `instantiate` is the fast path that `benchmarks/core_module.py` measures."""

    def __init__(self, engine: Any, module: Any) -> None:
        linker, types = wasmtime.Linker(engine), []
        at = raw.address(linker.ptr())
        for each in module.imports:
            kind, encoded, name = each.type, each.module.encode(), each.name.encode()
            made = _find(each.module, each.name, kind)
            if made is None:
                raise BundleError(f"the filter imports {each.module}.{each.name}, which edgesim does not have")
            types.append(kind)
            raw.check(
                raw.linker_define_raw(
                    at, encoded, len(encoded), name, len(name), raw.address(kind.ptr()), raw.address(made), None, None
                )
            )
        self._keep = (engine, module, linker, types)
        self.engine = raw.address(engine.ptr())
        functions = [e for e in module.exports if isinstance(e.type, wasmtime.FuncType) and e.name in CALLBACKS]
        extern_bytes = sizeof(raw.Extern)
        self.callbacks: dict[str, Callback] = {}
        for number, each in enumerate(functions):
            encoded, offset = each.name.encode(), FUNCTIONS + extern_bytes * number
            params = len(each.type.params)
            self.callbacks[each.name] = Callback(
                encoded,
                c_size_t(len(encoded)),
                params,
                slice(0, 2 * params, 2),
                bool(each.type.results),
                offset // 8 + 1,
                offset,
            )
        """Those of its exports that are callbacks of the ABI."""
        self.block = c_uint64 * ((FUNCTIONS + extern_bytes * len(self.callbacks)) // 8)
        self.allocator = next((name for name in _ALLOCATORS if name in self.callbacks), _ALLOCATORS[0])
        pre = c_void_p()
        raw.check(raw.linker_instantiate_pre(at, raw.address(module.ptr()), addressof(pre)))
        self.pre = pre.value

    def instantiate(self, state: PluginState) -> Vm:
        """A new VM of the filter that `state` belongs to. Only the module's start function runs.

        Raises:
            wasmtime.Trap, wasmtime.WasmtimeError, EdgesimError: what ended it.
        """
        return Vm(self, state)

    def __del__(self) -> None:
        if getattr(self, "pre", None):
            raw.instance_pre_delete(self.pre)
