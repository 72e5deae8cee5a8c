"""The built-ins of the async canonical ABI: what a guest calls to make streams and futures, to copy, to wait and to return.

Source: CanonicalABI.md, from "canon task.return" on.
"""

from __future__ import annotations

import asyncio
from ctypes import c_uint64, c_void_p
from typing import TYPE_CHECKING, Any, Final

from edgesim.errors import GuestTrapError
from edgesim.wasm.flat import Unsupported
from edgesim.wasm.flat import types as t
from edgesim.wasm.flat.async_channel import Channel, Copy, End, count_of, find_end
from edgesim.wasm.flat.async_state import BLOCKED, Subtask, Waitable, WaitableSet, find, put
from edgesim.wasm.flat.canon_layout import layout
from edgesim.wasm.flat.guest import find_guest
from edgesim.wasm.flat.link_host import CELL, Signature, Trampoline
from edgesim.wasm.guest import Suspend
from edgesim.wasm.guest_store import LIVE, finish_at_once

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgesim.wasm.flat.async_guest import AsyncGuest
    from edgesim.wasm.flat.async_link import AsyncLinkedPlan
    from edgesim.wasm.flat.async_state import Event
    from edgesim.wasm.flat.canon_layout import Core
    from edgesim.wasm.flat.memory import Context
    from edgesim.wasm.flat.plan import Builtin

_U8: Final = t.Prim("u8")
_MAX_SLOTS: Final = 2
_I32: Final = 127
_I32_1: Final[tuple[Core, ...]] = ("i32",)
_word_at: Final = c_void_p.from_address


def builtin(linked: AsyncLinkedPlan, number: int, entry: Builtin) -> Trampoline:
    """The trampoline of one built-in. Raises Unsupported."""
    if entry.name == "task.return":
        return _task_return(linked, number, entry)
    family, _, verb = entry.name.partition(".")
    if family in ("stream", "future"):
        return _channel(linked, number, entry, verb)
    make = _PLAIN.get(entry.name)
    if make is None:
        raise Unsupported(f"WASI 0.3 built-in {entry.name}")
    return make(linked, entry)


def _trampoline(
    name: str, act: Callable[..., int | None], params: tuple[Core, ...], results: tuple[Core, ...] = ()
) -> Trampoline:
    """A callback for `act(guest, caller, *arguments)`; arguments and result are integers."""
    live: dict[int | None, Any] = LIVE  # type: ignore[assignment]
    count = len(params)
    cells = c_uint64 * (2 * max(1, count))
    mask = 0xFFFF_FFFF

    def call(_env: int, caller: int, args: int, _n: int) -> int:
        guest: AsyncGuest = live.get(_word_at(caller).value) or find_guest(caller)  # type: ignore[assignment]
        try:
            guest.check_may_leave()
            words = cells.from_address(args)
            value = act(guest, caller, *[words[2 * i] & mask for i in range(count)])
            if value is not None:
                words[0] = value
        except BaseException as exc:  # noqa: BLE001 - nothing may pass through C; Guest.check raises it
            return guest.fail(exc, name)
        return 0

    return Trampoline(call, params, results)


def _waiting(name: str, act: Callable[..., int | Suspend], params: tuple[Core, ...]) -> Trampoline:
    """As `_trampoline` for `act` that may wait on the fiber, and gives one i32."""
    live: dict[int | None, Any] = LIVE  # type: ignore[assignment]
    count = len(params)
    cells = c_uint64 * (4 * count)  # wasmtime_val_t: kind, then the value

    def call(
        _env: int, caller: int, args: int, _n: int, results: int, _m: int, trap_out: int, continuation: int
    ) -> None:
        guest: AsyncGuest = live.get(_word_at(caller).value) or find_guest(caller)  # type: ignore[assignment]
        finish_at_once(continuation)

        def deliver(waited: Suspend) -> None:
            try:
                store(waited.result())
            except BaseException as exc:  # noqa: BLE001 - as below
                _word_at(trap_out).value = guest.fail(exc, name)

        def store(value: int) -> None:
            result = (c_uint64 * 2).from_address(results)
            result[0], result[1] = 0, value

        try:
            guest.check_may_leave()
            words = cells.from_address(args)
            value = act(guest, caller, *[words[4 * i + 1] & 0xFFFF_FFFF for i in range(count)])
            if isinstance(value, Suspend):
                guest.check_may_wait()
                guest.suspend(value, deliver, continuation)
            else:
                store(value)
        except BaseException as exc:  # noqa: BLE001 - nothing may pass through C; Guest.check raises it
            _word_at(trap_out).value = guest.fail(exc, name)

    return Trampoline(call, params, _I32_1, waits=True)


# -- the task -----------------------------------------------------------------------------------------------------------


def _task_return(linked: AsyncLinkedPlan, number: int, entry: Builtin) -> Trampoline:
    codecs, realm = linked.codecs, linked.realm(entry.options)
    (result,) = entry.types
    params: Any = () if result is None else (("result", result),)
    signature = Signature(codecs, t.FuncType(params, None))
    before, values = signature.lift()
    codecs.write(
        f"def call_{number}(_env, caller, args, _n):",
        "    guest = live.get(word_at(caller).value) or find(caller)",
        "    try:",
        "        guest.check_may_leave()",
        f"        cx = guest.contexts[{realm}] or guest.open({realm}, caller)",
        *[f"        {line}" for line in (*signature.unpack(CELL, 16), *before)],
        f"        guest.task_return({values[0] if values else 'None'})",
        "    except BaseException as error:",
        "        return guest.fail(error, 'task.return')",
        "    return 0",
    )
    return Trampoline(f"call_{number}", signature.params, ())


def _task_cancel(_linked: AsyncLinkedPlan, entry: Builtin) -> Trampoline:
    def act(_guest: AsyncGuest, _caller: int) -> None:
        raise GuestTrapError("the worker called task.cancel, but nobody has cancelled its task")

    return _trampoline(entry.name, act, ())


def _context(_linked: AsyncLinkedPlan, entry: Builtin) -> Trampoline:
    kind, slot = entry.types
    if kind != _I32 or not isinstance(slot, int) or slot >= _MAX_SLOTS:
        raise Unsupported(f"WASI 0.3 built-in {entry.name} with another slot than i32 0 or 1")
    key = entry.options.instance, slot

    def get(guest: AsyncGuest, _caller: int) -> int:
        return guest.locals.get(key, 0)

    def set_(guest: AsyncGuest, _caller: int, value: int) -> None:
        guest.locals[key] = value

    if entry.name == "context.get":
        return _trampoline(entry.name, get, (), _I32_1)
    return _trampoline(entry.name, set_, _I32_1)


def _backpressure(_linked: AsyncLinkedPlan, entry: Builtin) -> Trampoline:
    """An instance has one task at a time anyway."""

    def act(_guest: AsyncGuest, _caller: int) -> None:
        return None

    return _trampoline(entry.name, act, ())


# -- waiting ------------------------------------------------------------------------------------------------------------


def _set_new(_linked: AsyncLinkedPlan, entry: Builtin) -> Trampoline:
    instance = entry.options.instance

    def act(guest: AsyncGuest, _caller: int) -> int:
        return guest.tables[instance].put(-1, WaitableSet())

    return _trampoline(entry.name, act, (), _I32_1)


def _set_drop(_linked: AsyncLinkedPlan, entry: Builtin) -> Trampoline:
    instance = entry.options.instance

    def act(guest: AsyncGuest, _caller: int, number: int) -> None:
        found: WaitableSet = find(guest.tables[instance], number, WaitableSet, "waitable set")
        if found.members:
            raise GuestTrapError("the worker dropped a waitable set that is not empty")
        guest.tables[instance].drop(number, -1)

    return _trampoline(entry.name, act, _I32_1)


def _set_poll(linked: AsyncLinkedPlan, entry: Builtin) -> Trampoline:
    instance, realm = entry.options.instance, linked.realm(entry.options)

    def store(cx: Context, pointer: int, event: Event) -> int:
        code, first, second = event
        cx.put_elements(pointer, first.to_bytes(4, "little") + second.to_bytes(4, "little"))
        return code

    def poll(guest: AsyncGuest, caller: int, number: int, pointer: int) -> int:
        found: WaitableSet = find(guest.tables[instance], number, WaitableSet, "waitable set")
        cx = guest.contexts[realm] or guest.open(realm, caller)
        cx.check(pointer, 8, 4)
        return store(cx, pointer, found.poll() or (0, 0, 0))

    def wait(guest: AsyncGuest, caller: int, number: int, pointer: int) -> int | Suspend:
        found: WaitableSet = find(guest.tables[instance], number, WaitableSet, "waitable set")
        cx = guest.contexts[realm] or guest.open(realm, caller)
        cx.check(pointer, 8, 4)
        event = found.poll()
        if event is not None:
            return store(cx, pointer, event)
        return Suspend(found.wait, lambda _: store(cx, pointer, found.poll() or (0, 0, 0)))

    if entry.name == "waitable-set.wait":
        return _waiting(entry.name, wait, ("i32", "i32"))
    return _trampoline(entry.name, poll, ("i32", "i32"), _I32_1)


def _yield(_linked: AsyncLinkedPlan, entry: Builtin) -> Trampoline:
    def act(_guest: AsyncGuest, _caller: int) -> Suspend:
        return Suspend(lambda: asyncio.sleep(0), lambda _: 0)

    return _waiting(entry.name, act, ())


def _join(_linked: AsyncLinkedPlan, entry: Builtin) -> Trampoline:
    instance = entry.options.instance

    def act(guest: AsyncGuest, _caller: int, number: int, into: int) -> None:
        table = guest.tables[instance]
        waitable: Waitable = find(table, number, Waitable, "waitable")
        waitable.join(find(table, into, WaitableSet, "waitable set") if into else None)

    return _trampoline(entry.name, act, ("i32", "i32"))


# -- subtasks -----------------------------------------------------------------------------------------------------------


def _subtask_drop(_linked: AsyncLinkedPlan, entry: Builtin) -> Trampoline:
    instance = entry.options.instance

    def act(guest: AsyncGuest, _caller: int, number: int) -> None:
        task: Subtask = find(guest.tables[instance], number, Subtask, "subtask")
        if not task.resolved:
            raise GuestTrapError("the worker dropped a subtask that has not ended")
        task.join(None)
        guest.tables[instance].drop(number, -1)

    return _trampoline(entry.name, act, _I32_1)


def _subtask_cancel(_linked: AsyncLinkedPlan, entry: Builtin) -> Trampoline:
    instance = entry.options.instance

    def act(guest: AsyncGuest, _caller: int, number: int) -> int:
        task: Subtask = find(guest.tables[instance], number, Subtask, "subtask")
        return task.cancel()

    return _trampoline(entry.name, act, _I32_1, _I32_1)


_PLAIN: Final[dict[str, Callable[[AsyncLinkedPlan, Builtin], Trampoline]]] = {
    "task.cancel": _task_cancel, "context.get": _context, "context.set": _context, "backpressure.inc": _backpressure,
    "backpressure.dec": _backpressure, "waitable-set.new": _set_new, "waitable-set.drop": _set_drop,
    "waitable-set.poll": _set_poll, "waitable-set.wait": _set_poll, "thread.yield": _yield, "waitable.join": _join, "subtask.drop": _subtask_drop, "subtask.cancel": _subtask_cancel,
}  # fmt: skip


# -- streams and futures ------------------------------------------------------------------------------------------------


def _channel(linked: AsyncLinkedPlan, number: int, entry: Builtin, verb: str) -> Trampoline:
    """A built-in of a stream or future type."""
    (kind,) = entry.types
    assert isinstance(kind, (t.Stream, t.Future))
    if isinstance(kind, t.Stream) and kind.element != _U8:
        raise Unsupported("WASI 0.3 streams of other elements than u8")
    name, instance = entry.name, entry.options.instance
    is_reader = verb.endswith(("read", "readable"))

    def new(guest: AsyncGuest, _caller: int) -> int:
        channel = Channel()
        channel.kind = kind
        channel.reader, channel.writer = End(channel, is_reader=True), End(channel, is_reader=False)
        table = guest.tables[instance]
        return put(table, channel.reader) | put(table, channel.writer) << 32

    def end_of(guest: AsyncGuest, index: int) -> End:
        return find_end(guest.tables[instance], index, kind, is_reader=is_reader)

    def cancel(guest: AsyncGuest, _caller: int, index: int) -> int:
        return end_of(guest, index).cancel()

    def drop(guest: AsyncGuest, _caller: int, index: int) -> None:
        end_of(guest, index).drop()
        guest.tables[instance].drop(index, -1)

    if verb == "new":
        return _trampoline(name, new, (), ("i64",))
    if verb.startswith("cancel"):
        return _trampoline(name, cancel, _I32_1, _I32_1)
    if verb.startswith("drop"):
        return _trampoline(name, drop, _I32_1)
    if not entry.options.is_async:
        raise Unsupported(f"WASI 0.3 built-in {name} that waits")
    return _copy(linked, number, entry, kind, end_of)


def _copy(
    linked: AsyncLinkedPlan,
    number: int,
    entry: Builtin,
    kind: t.Stream | t.Future,
    end_of: Callable[[AsyncGuest, int], End],
) -> Trampoline:
    codecs, realm = linked.codecs, linked.realm(entry.options)
    shape = layout(kind.element) if kind.element is not None else None
    size, align = (shape.size, shape.align) if shape is not None else (0, 1)
    move = f"move_{number}"
    if entry.name == "future.read":
        store = "pass" if kind.element is None else codecs.store(kind.element, "p", "v")
        codecs.write(f"def {move}(cx, p, v):", f"    {store}")
    elif entry.name == "future.write":
        load = "None" if kind.element is None else codecs.load(kind.element, "p")
        codecs.write(f"def {move}(cx, p):", f"    return {load}")
    namespace = codecs.namespace

    def copy(guest: AsyncGuest, caller: int, index: int, pointer: int, count: int = 1) -> int:
        end = end_of(guest, index)
        cx: Context = guest.contexts[realm] or guest.open(realm, caller)
        cx.lifted = 0
        cx.check(pointer, count_of(count) * size, align)
        result = end.begin(Copy(cx, pointer, count, namespace.get(move, _no_move)))
        return BLOCKED if result is None else result

    params: tuple[Core, ...] = ("i32", "i32", "i32") if isinstance(kind, t.Stream) else ("i32", "i32")
    return _trampoline(entry.name, copy, params, _I32_1)


def _no_move(*_values: Any) -> None:
    """Streams copy bytes."""
