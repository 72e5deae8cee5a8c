"""Trampolines of WASI 0.3: functions that are lowered `async`, and the built-ins of the async canonical ABI.

A built-in that cannot be had here is refused when the worker is deployed (`Unsupported`), never when it is called.
Source: CanonicalABI.md ("canon lower", "canon task.return" and the sections after it).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edgesim.wasm.flat import Unsupported, async_builtins, async_channel
from edgesim.wasm.flat import types as t
from edgesim.wasm.flat.async_state import RETURNED
from edgesim.wasm.flat.canon_layout import core_params
from edgesim.wasm.flat.link import LinkedPlan
from edgesim.wasm.flat.link_host import CELL, Signature, Trampoline, catch, chars, host_function, missing
from edgesim.wasm.flat.plan import Builtin, HostFunction, Lower
from edgesim.wasm.guest import Suspend

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgesim.wasm.flat.canon import Codecs
    from edgesim.wasm.linking import HostFunction as Function

MAX_FLAT_ASYNC_PARAMS: Final = 4
_P3: Final = "0.3."


class AsyncSignature(Signature):
    """The core side of a function that is lowered `async`: its result always goes to memory, its core result is a subtask."""

    def __init__(self, codecs: Codecs, kind: t.FuncType) -> None:
        super().__init__(codecs, kind)
        flat = core_params(self.kinds)
        self.spilled = len(flat) > MAX_FLAT_ASYNC_PARAMS
        self.by_pointer = kind.result is not None
        self.params = (("i32",) if self.spilled else flat) + (("i32",) if self.by_pointer else ())
        self.results = ("i32",)
        self.names = [f"a{n}" for n in range(len(self.params))]


class AsyncLinkedPlan(LinkedPlan):
    """A merged module whose guests are `AsyncGuest`s."""

    p3_functions: Mapping[tuple[str, str], Function]

    def _trampoline(self, number: int, entry: object) -> Trampoline:
        self.codecs.namespace |= {"take_end": async_channel.take_end, "put_end": async_channel.put_end}
        match entry:
            case Builtin():
                return async_builtins.builtin(self, number, entry)
            case Lower(callee=HostFunction()) if entry.options.is_async:
                return self._async_lower(number, entry)
            case Lower(callee=HostFunction() as callee):
                return host_function(self.codecs, number, entry, self.realm(entry.options), self.host(callee))
            case Lower(callee=int() as lifted) if entry.options.is_async or self.plan.lifted[lifted].options.is_async:
                raise Unsupported("an async call from one component instance to another")
        return super()._trampoline(number, entry)

    def host(self, callee: HostFunction) -> Function | None:
        """The host's function, of the table for its version."""
        base, _, version = callee.interface.partition("@")
        table = self.p3_functions if version.startswith(_P3) else self.functions
        return table.get((base, callee.name))

    def _async_lower(self, number: int, lower: Lower) -> Trampoline:
        """A host function that the guest does not wait for."""
        codecs, callee = self.codecs, lower.callee
        assert isinstance(callee, HostFunction)
        signature = AsyncSignature(codecs, lower.type)
        function, realm = self.host(callee), self.realm(lower.options)
        name = f"{callee.interface}#{callee.name}"
        if function is None:
            return Trampoline(missing(name), signature.params, signature.results)
        codecs.namespace |= {"Suspend": Suspend, f"fn_{number}": function.call}
        before, values = signature.lift()
        call, result = [f"v = fn_{number}({', '.join(['guest', *values])})"], ["v = call.result()"]
        if isinstance(signature.result, t.Result):
            call, result = catch(call[0]), catch(result[0])
        lowered = signature.lower(lambda _value: []) or ["pass"]
        buffer = "raw" if signature.params else f"{chars(codecs, 16)}(args)"
        codecs.write(
            f"def call_{number}(_env, caller, args, _n):",
            "    guest = live.get(word_at(caller).value) or find(caller)",
            "    try:",
            "        guest.check_may_leave()",
            f"        cx = guest.contexts[{realm}] or guest.open({realm}, caller)",
            *[f"        {line}" for line in (*signature.unpack(CELL, 16), *before, *call)],
            "        if v.__class__ is Suspend:",
            "            def deliver(call):",
            *[f"                {line}" for line in (*result, *lowered)],
            "            state = guest.subtask(cx, v, deliver)",
            "        else:",
            *[f"            {line}" for line in lowered],
            f"            state = {RETURNED}",
            f"        in{codecs.format('I')}({buffer}, 0, state)",
            "    except BaseException as error:",
            f"        return guest.fail(error, {name!r})",
            "    return 0",
        )
        return Trampoline(f"call_{number}", signature.params, signature.results)
