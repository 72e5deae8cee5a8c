"""Links a plan and its merged module to the host's functions: one C callback per trampoline, compiled once per worker.

Callbacks find their guest through the caller's store. No exception passes through C: the first one stays in `Guest.error`,
and the guest ends with a trap. What calls the host is in `link_host.py`, what calls another component instance in
`link_guest.py`, resource operations in `link_resource.py`.
"""

from __future__ import annotations

from ctypes import addressof, c_void_p
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import wasmtime

from edgesim.wasm import raw
from edgesim.wasm.flat import Unsupported
from edgesim.wasm.flat.canon import Codecs
from edgesim.wasm.flat.guest import find_guest
from edgesim.wasm.flat.link_guest import guest_function
from edgesim.wasm.flat.link_host import Trampoline, host_function
from edgesim.wasm.flat.link_resource import resource_function
from edgesim.wasm.flat.plan import HostFunction, Lower, ResourceOp
from edgesim.wasm.guest_store import LIVE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgesim.wasm import linking
    from edgesim.wasm.flat.plan import Encoding, Options, Plan

Realm: TypeAlias = "tuple[int, bytes | None, bytes | None, Encoding]"
"""Component instance, memory export, realloc export and encoding: what a `Context` is made from."""

_CORE_TYPES: Final = {
    "i32": wasmtime.ValType.i32, "i64": wasmtime.ValType.i64, "f32": wasmtime.ValType.f32, "f64": wasmtime.ValType.f64,
}  # fmt: skip


class LinkedPlan:
    """A merged module with its imports resolved, for any number of stores of one engine."""

    def __init__(
        self, engine: Any, module: Any, plan: Plan, functions: Mapping[tuple[str, str], linking.HostFunction]
    ) -> None:
        """Connect the host functions. One that is not in the table traps when it is called.

        Raises:
            Unsupported: this floor cannot run the plan.
            wasmtime.WasmtimeError: the module does not fit the plan.
        """
        self.plan = plan
        self.engine: int = raw.address(engine.ptr())
        self.functions = functions
        self.realms: list[Realm] = []
        self.codecs = Codecs(plan.resources)
        self.codecs.namespace |= {"live": LIVE, "find": find_guest, "word_at": c_void_p.from_address}
        self._find_realms()
        linker = wasmtime.Linker(engine)
        trampolines = [self._trampoline(number, entry) for number, entry in enumerate(plan.trampolines)]
        self.codecs.build()
        self._keep = [engine, module, linker, *(self._define(linker, n, one) for n, one in enumerate(trampolines))]
        self.memories = sorted({realm[1] for realm in self.realms if realm[1] is not None})
        self._check_exports(module)
        pre = c_void_p()
        raw.check(raw.linker_instantiate_pre(raw.address(linker.ptr()), raw.address(module.ptr()), addressof(pre)))
        self.pre = pre.value

    def realm(self, options: Options) -> int:
        """The number of a context that serves these options. It may know more than they ask for."""
        realm = (options.instance, _encoded(options.memory), _encoded(options.realloc), options.encoding)
        for number, known in enumerate(self.realms):
            if _covers(known, realm):
                return number
        self.realms.append(realm)
        return len(self.realms) - 1

    def _find_realms(self) -> None:
        """Those that know most first, so that a guest needs few contexts: each costs it about 4 µs."""
        lowers = [entry for entry in self.plan.trampolines if isinstance(entry, Lower)]
        options = [entry.options for entry in lowers]
        options += [self.plan.lifted[entry.callee].options for entry in lowers if isinstance(entry.callee, int)]
        for one in sorted(options, key=lambda o: (o.realloc is None, o.memory is None)):
            self.realm(one)

    def _trampoline(self, number: int, entry: object) -> Trampoline:
        match entry:
            case Lower(callee=HostFunction() as callee):
                function = self.functions.get((callee.interface.partition("@")[0], callee.name))
                return host_function(self.codecs, number, entry, self.realm(entry.options), function)
            case Lower():
                return guest_function(self, number, entry)
            case ResourceOp():
                return resource_function(self.plan, entry)
        raise Unsupported(f"the built-in {getattr(entry, 'name', type(entry).__name__)}")

    def _define(self, linker: Any, number: int, trampoline: Trampoline) -> tuple[Any, Any]:
        """Give a trampoline to the linker; what to keep alive with it."""
        call = trampoline.call if callable(trampoline.call) else self.codecs.namespace[trampoline.call]
        callback = (raw.ASYNC_CALLBACK if trampoline.waits else raw.RAW_CALLBACK)(call)
        kind = wasmtime.FuncType(
            [_CORE_TYPES[core]() for core in trampoline.params], [_CORE_TYPES[core]() for core in trampoline.results]
        )
        name = str(number).encode()
        define = raw.linker_define_async if trampoline.waits else raw.linker_define_raw
        raw.check(
            define(
                raw.address(linker.ptr()),
                b"h",
                1,
                name,
                len(name),
                raw.address(kind.ptr()),
                raw.address(callback),
                None,
                None,
            )
        )
        return callback, kind

    def _check_exports(self, module: Any) -> None:
        """Every export that the plan names must be there. Raises Unsupported."""
        exports = {export.name: export.type for export in module.exports}
        functions = {one.destructor for one in self.plan.resources} | {one.function for one in self.plan.lifted}
        functions |= {one.options.post_return for one in self.plan.lifted}
        functions |= {realm[2].decode() for realm in self.realms if realm[2]}
        memories = {name.decode() for name in self.memories}
        for names, kind in ((functions - {None}, wasmtime.FuncType), (memories, wasmtime.MemoryType)):
            for name in names:
                if not isinstance(exports.get(name or ""), kind):
                    raise Unsupported(f"a merged module without its export {name}")

    def __del__(self) -> None:
        if getattr(self, "pre", None):
            raw.instance_pre_delete(self.pre)


def _covers(known: Realm, wanted: Realm) -> bool:
    """Whether a context of one realm serves another."""
    (instance, memory, realloc, encoding), (its_instance, its_memory, its_realloc, its_encoding) = known, wanted
    if instance != its_instance:
        return False
    return its_memory is None or (memory == its_memory and its_realloc in (None, realloc) and encoding == its_encoding)


def _encoded(name: str | None) -> bytes | None:
    return None if name is None else name.encode()
