"""Trampolines from one component instance to another of the same component (composed components).

Values are lifted from the caller's memory and lowered into the callee's. The callee runs on a fiber of its own, which the
caller's fiber polls as it would a host function that waits: so it may use its CPU slices and wait like any guest, and no Python
frame is on a fiber that is suspended.
"""

from __future__ import annotations

from ctypes import addressof, c_char, c_void_p
from itertools import count
from typing import TYPE_CHECKING, Any, Final

from edgesim.errors import GuestTrapError
from edgesim.wasm import raw
from edgesim.wasm.flat.canon import CORE_CODES
from edgesim.wasm.flat.canon_layout import align_to, layout, offsets
from edgesim.wasm.flat.handles import Handle, Scope, give_back
from edgesim.wasm.flat.link_host import KINDS, VAL, Signature, Trampoline, chars, check
from edgesim.wasm.guest_store import finish_at_once

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgesim.wasm.flat.canon import Codecs
    from edgesim.wasm.flat.guest import FlatGuest
    from edgesim.wasm.flat.link import LinkedPlan
    from edgesim.wasm.flat.memory import Context
    from edgesim.wasm.flat.plan import Lifted, Lower

_CALLS: Final[dict[int, GuestCall]] = {}
_NUMBERS: Final = count(1)


def guest_function(linked: LinkedPlan, number: int, lower: Lower) -> Trampoline:
    """The trampoline to a function that another component instance lifts."""
    assert isinstance(lower.callee, int)
    codecs, lifted = linked.codecs, linked.plan.lifted[lower.callee]
    signature = Signature(codecs, lower.type)
    name = f"{lifted.function} of component instance {lifted.options.instance}"
    before, values = signature.lift()
    below = linked.realm(lower.options)
    above = linked.realm(lifted.options)
    codecs.namespace |= {
        "finish_at_once": finish_at_once, "trap_at": c_void_p.from_address, "GuestCall": GuestCall,
        f"lifted_{number}": lifted,
    }  # fmt: skip
    write_arguments(codecs, f"args_{number}", lifted)
    write_result(codecs, f"result_{number}", lifted)

    def direct(value: str) -> list[str]:
        core = signature.results[0]
        codes = f"B7x{CORE_CODES[core]}"
        return [f"in{codecs.format(codes)}({chars(codecs, 16)}(results), 0, {KINDS[core]}, {value})"]

    codecs.write(
        f"def call_{number}(_env, caller, args, _n, results, _m, trap_out, continuation):",
        "    guest = live.get(word_at(caller).value) or find(caller)",
        "    finish_at_once(continuation)",
        "    try:",
        "        guest.check_may_leave()",
        f"        cx = guest.contexts[{below}] or guest.open({below}, caller)",
        f"        to = guest.contexts[{above}] or guest.open({above}, caller)",
        f"        call = GuestCall(guest, to, lifted_{number}, {name!r}, trap_out)",
        *[f"        {line}" for line in (*signature.unpack(VAL, 32), *before)],
        "        cx.lend_to(call.lenders)",
        f"        values = {', '.join(values)}," if values else "        values = ()",
        "        cx.lend_to(None)",
        "        def deliver(v):",
        *[f"            {line}" for line in signature.lower(direct) or ["pass"]],
        f"        function = guest.named({lifted.function!r}, caller)",
        f"        lower = lambda cx: args_{number}(cx, values)",
        f"        call.start(lower, result_{number}, deliver, function, continuation)",
        "    except BaseException as error:",
        f"        trap_at(trap_out).value = guest.fail(error, {name!r})",
    )
    return Trampoline(f"call_{number}", signature.params, signature.results, waits=True)


def write_arguments(codecs: Codecs, name: str, lifted: Lifted) -> None:
    """Write `name(cx, v)`: the bytes of the core arguments, as `wasmtime_val_t`s, for the values in `v`."""
    callee = Signature(codecs, lifted.type)
    cores = callee.params[:-1] if callee.by_pointer else callee.params
    lines = []
    if callee.spilled:
        places, end, align = offsets(callee.kinds)
        lines.append(f"p = cx.alloc({align_to(end, align)}, {align})")
        lines += [
            codecs.store(k, f"p + {at}", f"v[{i}]") for i, (k, at) in enumerate(zip(callee.kinds, places, strict=True))
        ]
        names = ["p"]
    else:
        names = [f"a{n}" for n in range(len(cores))]
        values = [part for i, kind in enumerate(callee.kinds) for part in codecs.lower(kind, f"v[{i}]", flat=True)]
        if names:
            lines.append(f"{', '.join(names)}, = {', '.join(values)},")
    codes = "".join(f"B7x{CORE_CODES[core]}{'20x' if core in ('i32', 'f32') else '16x'}" for core in cores)
    packed = ", ".join(f"{KINDS[core]}, {one}" for core, one in zip(cores, names, strict=True))
    codecs.write(f"def {name}(cx, v):", *[f"    {line}" for line in lines])
    codecs.write(f"    return {codecs.format(codes)}.pack({packed})" if cores else "    return b''")


def write_result(codecs: Codecs, name: str, lifted: Lifted) -> None:
    """Write `name(cx, raw)`: the value of the callee's one `wasmtime_val_t`."""
    callee = Signature(codecs, lifted.type)
    codecs.write(f"def {name}(cx, raw):")
    if callee.result is None:
        codecs.write("    return None")
        return
    core = "i32" if callee.by_pointer else callee.results[0]
    codecs.write("    cx.lifted = 0", f"    r, = un{codecs.format(VAL[core])}(raw)")
    if callee.by_pointer:
        shape = layout(callee.result)
        codecs.write(f"    {check('r', shape.size, shape.align)}", f"    return {codecs.load(callee.result, 'r')}")
    else:
        codecs.write(f"    return {codecs.lift(callee.result, iter(['r']), flat=True)}")


class GuestCall:
    """A call into a component instance, from its arguments to its post-return."""

    __slots__ = (
        "_args",
        "_deliver",
        "_error",
        "_future",
        "_guest",
        "_lift_result",
        "_lifted",
        "_name",
        "_results",
        "_scope",
        "_to",
        "_trap",
        "_trap_out",
        "lenders",
    )  # fmt: skip

    def __init__(self, guest: FlatGuest, to: Context, lifted: Lifted, name: str, trap_out: int) -> None:
        """Raises GuestTrapError when the instance is entered already."""
        if guest.entered[lifted.options.instance]:
            raise GuestTrapError("the worker's component instance cannot be entered: a call into it is under way")
        guest.entered[lifted.options.instance] = True
        self._guest = guest
        self._to = to
        self._lifted = lifted
        self._name = name
        self._trap_out = trap_out
        self._trap, self._error = c_void_p(), c_void_p()
        self._results = (c_char * raw.VAL_BYTES)()
        self._args: Any = None
        self._scope = Scope()
        self._future: int | None = None
        self._lift_result: Callable[[Context, Any], Any] = lambda _cx, _raw: None
        self._deliver: Callable[[Any], None] = lambda _value: None
        self.lenders: list[Handle] = []

    def start(
        self,
        lower: Callable[[Context], bytes],
        lift_result: Callable[[Context, Any], Any],
        deliver: Callable[[Any], None],
        function: Any,
        continuation: int,
    ) -> None:
        """Make the callee's future, and leave it to the caller's fiber.

        Args:
            lower: writes the arguments into the callee's memory; the core arguments, as `wasmtime_val_t`s.
            lift_result: gives the result from the callee's core result.
            deliver: hands the result to the caller.
            function: the callee's core function.
            continuation: where to say what the caller's fiber polls.
        """
        guest, to = self._guest, self._to
        self._lift_result, self._deliver = lift_result, deliver
        to.scope = self._scope
        content = lower(to)
        to.scope = None
        self._args = (c_char * max(1, len(content))).from_buffer_copy(content or b"\0")
        count_results = 0 if self._lifted.type.result is None else 1
        number = next(_NUMBERS)
        self._future = raw.func_call(
            guest.context, addressof(function.of), addressof(self._args), len(content) // raw.VAL_BYTES,
            addressof(self._results), count_results, addressof(self._trap), addressof(self._error),
        )  # fmt: skip
        _CALLS[number] = self
        slots = (c_void_p * 3).from_address(continuation)
        slots[0], slots[1], slots[2] = _POLL_ADDRESS, number, _END_ADDRESS

    def poll(self) -> bool:
        """Run the callee for a while; True when it has returned and the caller has its result. Never raises."""
        try:
            if not raw.future_poll(self._future):
                return False
            self.end()
            self._complete()
        except BaseException as exc:  # noqa: BLE001 - nothing may pass through C; Guest.check raises it
            c_void_p.from_address(self._trap_out).value = self._guest.fail(exc, self._name)
        return True

    def _complete(self) -> None:
        guest, options = self._guest, self._lifted.options
        error, trap = self._error.value, self._trap.value
        if error or trap:
            guest.raise_trap(error, self._trap)
        value = self._lift_result(self._to, self._results)
        if options.post_return is not None:
            cell = (c_char * 16).from_buffer_copy(bytes(self._results)[8:24])
            guest.enter_locked(guest.named(options.post_return), cell, 1)
        guest.entered[options.instance] = False
        self._scope.leave()
        give_back(self.lenders)
        self._deliver(value)

    def end(self) -> None:
        """The callee has returned, or is given up: unwind its fiber. Idempotent."""
        future, self._future = self._future, None
        if future is not None:
            raw.future_delete(future)


@raw.CONTINUATION  # type: ignore[untyped-decorator]
def _poll(number: int) -> bool:
    """Polled by wasmtime, on the caller's fiber, until True."""
    return _CALLS[number].poll()


@raw.FINALIZER  # type: ignore[untyped-decorator]
def _end(number: int) -> None:
    """The caller's fiber goes on, or is unwound."""
    _CALLS.pop(number).end()


_POLL_ADDRESS: Final = raw.address(_poll)
_END_ADDRESS: Final = raw.address(_end)
