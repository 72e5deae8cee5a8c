"""Canonical definitions as they are written: functions that the canonical ABI lifts, lowers or brings along.

How values cross is the matter of `canon.py`. Source: Binary.md, "Canonical Definitions", as wasmtime 50 reads it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from edgesim.wasm.flat import Unsupported, syntax
from edgesim.wasm.flat.plan import Builtin, Lifted, Lower, Options, ResourceOp

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgesim.wasm.flat.binary import Reader
    from edgesim.wasm.flat.merge import Source
    from edgesim.wasm.flat.plan import Encoding, Trampoline
    from edgesim.wasm.flat.scope import Scope, TypeTable

_ENCODINGS: Final[dict[int, Encoding]] = {0: "utf8", 1: "utf16", 2: "latin1+utf16"}
_RESOURCE_OPS: Final[dict[int, Any]] = {0x02: "new", 0x03: "drop", 0x04: "rep"}
# Built-ins of WASI 0.3 and their immediates: r result list, o options, v value type's index, a async flag, c cancel flag,
# m memory, k core value type and slot.
_BUILTINS: Final = {
    0x05: ("task.cancel", ""), 0x06: ("subtask.cancel", "a"), 0x09: ("task.return", "ro"), 0x0A: ("context.get", "k"),
    0x0B: ("context.set", "k"), 0x0C: ("thread.yield", "c"), 0x0D: ("subtask.drop", ""), 0x0E: ("stream.new", "v"),
    0x0F: ("stream.read", "vo"), 0x10: ("stream.write", "vo"), 0x11: ("stream.cancel-read", "va"),
    0x12: ("stream.cancel-write", "va"), 0x13: ("stream.drop-readable", "v"), 0x14: ("stream.drop-writable", "v"),
    0x15: ("future.new", "v"), 0x16: ("future.read", "vo"), 0x17: ("future.write", "vo"),
    0x18: ("future.cancel-read", "va"), 0x19: ("future.cancel-write", "va"), 0x1A: ("future.drop-readable", "v"),
    0x1B: ("future.drop-writable", "v"), 0x1C: ("error-context.new", "o"), 0x1D: ("error-context.debug-message", "o"),
    0x1E: ("error-context.drop", ""), 0x1F: ("waitable-set.new", ""), 0x20: ("waitable-set.wait", "cm"),
    0x21: ("waitable-set.poll", "cm"), 0x22: ("waitable-set.drop", ""), 0x23: ("waitable.join", ""),
    0x24: ("backpressure.inc", ""), 0x25: ("backpressure.dec", ""),
}  # fmt: skip


class CanonReader:
    """Reads canonical definitions in a scope. `export` has a core definition exported, and names it."""

    def __init__(self, scope: Scope, types: TypeTable, export: Callable[[Source], str]) -> None:
        self._scope = scope
        self._types = types
        self._export = export

    def read(self, reader: Reader) -> Lifted | Trampoline:
        """One definition."""
        form = reader.byte()
        if form == 0:
            self._func_sort(reader)
            function = self._core(syntax.CORE_FUNC, reader.u32())
            options = self._options(reader)
            return Lifted(function=function, type=self._types.function(self._scope, reader.u32()), options=options)
        if form == 1:
            self._func_sort(reader)
            func = self._scope.get(syntax.FUNC, reader.u32())
            callee = func.source if hasattr(func, "source") else func.number
            return Lower(callee=callee, type=func.type, options=self._options(reader))
        if form in _RESOURCE_OPS:
            resource = self._types.resource(self._scope, reader.u32())
            return ResourceOp(op=_RESOURCE_OPS[form], resource=resource, instance=self._scope.instance)
        if form in _BUILTINS:
            return self._builtin(*_BUILTINS[form], reader)
        raise Unsupported(f"canonical definition {form:#x}")

    def _func_sort(self, reader: Reader) -> None:
        if reader.byte():
            raise Unsupported("a canonical definition of what is no function")

    def _core(self, sort: int, index: int) -> str:
        return self._export(self._scope.get(sort, index))

    def _options(self, reader: Reader) -> Options:
        found: dict[str, Any] = {"instance": self._scope.instance}
        for _ in range(reader.count()):
            kind = reader.byte()
            if kind in _ENCODINGS:
                found["encoding"] = _ENCODINGS[kind]
            elif kind == 3:
                found["memory"] = self._core(syntax.CORE_MEMORY, reader.u32())
            elif kind in {4, 5, 7}:
                field = {4: "realloc", 5: "post_return", 7: "callback"}[kind]
                found[field] = self._core(syntax.CORE_FUNC, reader.u32())
            elif kind == 6:
                found["is_async"] = True
            else:
                raise Unsupported(f"canonical option {kind:#x}")
        return Options(**found)

    def _builtin(self, name: str, immediates: str, reader: Reader) -> Builtin:
        options = Options(instance=self._scope.instance)
        types: tuple[object, ...] = ()
        for immediate in immediates:
            if immediate == "r":
                types = (self._types.optional(self._scope, syntax.result_list(reader)),)
            elif immediate == "o":
                options = self._options(reader)
            elif immediate == "v":
                types = (self._types.value(self._scope, reader.u32()),)
            elif immediate == "k":
                types = (reader.byte(), reader.u32())
            elif immediate == "m":
                options = Options(instance=self._scope.instance, memory=self._core(syntax.CORE_MEMORY, reader.u32()))
            elif reader.byte():
                if immediate == "c":
                    raise Unsupported(f"cancellable {name}")
                options = Options(instance=self._scope.instance, is_async=True)
        return Builtin(name=name, options=options, types=types)
