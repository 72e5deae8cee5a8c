"""Links a component to a table of host functions: one C callback per imported function.

A host object with a method `drop()` is told when the guest drops its handle; what it raises ends the guest.

One table serves every 0.2.x, since names are looked up without their version; a component may import several versions of
one interface at once. Values are converted by `component.py`.
"""

from __future__ import annotations

from ctypes import c_char, c_uint64, c_void_p
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from wasmtime import component as wasm_component
from wasmtime.component import _types as T  # noqa: N812 - short for the many types of the component model

from edgesim.wasm import raw
from edgesim.wasm.component import VAL, ComponentGuest, Glue, Lift, Prepared
from edgesim.wasm.faults import unfit
from edgesim.wasm.guest import Suspend
from edgesim.wasm.guest_store import LIVE, Guest, finish_at_once
from edgesim.wasm.values import Err

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_CHARS: Final = c_char * raw.VAL_BYTES


class HostFunction(NamedTuple):
    """A host function: `fn(guest, *args)`, and whether it may return a Suspend."""

    call: Callable[..., Any]
    waits: bool


class HostTable:
    """Host functions by interface (without version) and name. One table serves every 0.2.x."""

    def __init__(self) -> None:
        self.functions: dict[tuple[str, str], HostFunction] = {}

    def add(
        self, interface: str, *names: str, waits: bool = False
    ) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Decorator: this function answers to these names of the interface."""

        def register(function: Callable[..., Any]) -> Callable[..., Any]:
            for name in names:
                self.functions[interface, name] = HostFunction(function, waits)
            return function

        return register


def imported_functions(engine: Any, component: Any) -> Iterator[tuple[str, str, Any]]:
    """(interface with version, name, type) of each item in each imported instance; name is empty for a bare import."""
    for interface, item in component.type.imports(engine).items():
        instance_type = getattr(item, "ty", item)
        if not hasattr(instance_type, "exports"):
            yield interface, "", instance_type
            continue
        for name, export in instance_type.exports(engine).items():
            yield interface, name, getattr(export, "ty", export)


def link(engine: Any, component: Any, functions: dict[tuple[str, str], HostFunction]) -> tuple[Any, Glue, list[Any]]:
    """A linker for one component, its glue, and what to keep alive as long as a store of it exists.

    A function that is not in the table becomes a trap at call time; who wants to refuse it looks before
    (`imported_functions`).
    """
    linker, glue, keep = wasm_component.Linker(engine), Glue(), []
    with linker.root() as root:
        for interface, item in component.type.imports(engine).items():
            base = interface.partition("@")[0]
            with root.add_instance(interface) as instance:
                at = raw.address(instance.ptr())
                for name, export in item.ty.exports(engine).items():
                    encoded = name.encode()
                    if isinstance(export.ty, wasm_component.ResourceType):
                        host_type = wasm_component.ResourceType.host(glue.type_id(export.ty))
                        keep.append(host_type)
                        raw.check(
                            raw.component_add_resource(
                                at, encoded, len(encoded), raw.address(host_type.ptr()), _DROP_ADDRESS, None, None
                            )
                        )
                    elif isinstance(export.ty, T.FuncType):
                        function = functions.get((base, name)) or _missing(f"{interface}#{name}")
                        callback = _callback(glue, export.ty, function, f"{interface}#{name}")
                        keep.append(callback)
                        add = raw.component_add_async if function.waits else raw.component_add_func
                        raw.check(add(at, encoded, len(encoded), raw.address(callback), None, None))
    return linker, glue, keep


@raw.DESTRUCTOR  # type: ignore[untyped-decorator]
def _drop(_env: int, context: int, rep: int) -> int:
    """The guest has dropped a handle."""
    guest = LIVE.get(context)
    if isinstance(guest, ComponentGuest):
        drop = getattr(guest.resources.pop(rep, None), "drop", None)
        if drop is not None:
            try:
                drop()
            except BaseException as exc:  # noqa: BLE001 - as in `_callback`
                return _fail(guest, exc, "resource.drop")
    return 0


_DROP_ADDRESS: Final = raw.address(_drop)


def _missing(name: str) -> HostFunction:
    def call(_guest: ComponentGuest, *_args: Any) -> None:
        raise NotImplementedError(name)

    return HostFunction(call, waits=False)


def _invoker(glue: Glue, kind: Any, function: Callable[..., Any]) -> Callable[[ComponentGuest, int], Any]:
    """Lifts the arguments and calls the host function. Arguments are lifted at once: they die with the call."""
    lifts = [(glue.convert(t)[0], 4 * n + 1) for n, (_, t) in enumerate(kind.params)]
    from_address: Callable[[int], Any] = (c_uint64 * (4 * max(len(lifts), 1))).from_address

    def many(guest: ComponentGuest, args: int) -> Any:
        words = from_address(args)
        return function(guest, *[lift(guest, words, i) for lift, i in lifts])

    def one(guest: ComponentGuest, args: int) -> Any:
        return function(guest, only(guest, from_address(args), 1))

    def none(guest: ComponentGuest, _args: int) -> Any:
        return function(guest)

    only: Lift = lifts[0][0] if lifts else lambda _guest, _words, _i: None
    call = many if len(lifts) > 1 else one if lifts else none  # most calls have one argument: a handle
    if not isinstance(kind.result, T.ResultType):
        return call

    def fallible(guest: ComponentGuest, args: int) -> Any:
        try:
            return call(guest, args)
        except Err as exc:
            return exc

    return fallible


def _storer(glue: Glue, kind: Any) -> Callable[[ComponentGuest, int, Any], None]:
    """Lowers the result to where the engine wants it."""
    if kind.result is None:
        return lambda _guest, _results, _value: None
    lower = glue.convert(kind.result)[1]
    pack_into, from_address = VAL.pack_into, _CHARS.from_address

    def store(guest: ComponentGuest, results: int, value: Any) -> None:
        if value.__class__ is Prepared:
            value.store(guest, results, lower)
            return
        pack_into(from_address(results), 0, *lower(guest, value))

    return store


def _callback(glue: Glue, kind: Any, function: HostFunction, name: str) -> Any:
    """The C callback of one host function."""
    invoke, store = _invoker(glue, kind, function.call), _storer(glue, kind)
    live: dict[int, Any] = LIVE

    def plain(_env: int, context: int, _type: int, args: int, _n: int, results: int, _m: int) -> int:
        guest = live[context]
        try:
            store(guest, results, invoke(guest, args))
        except BaseException as exc:  # noqa: BLE001 - nothing may pass through C; Guest.check raises it
            return _fail(guest, exc, name)
        return 0

    def deferred(
        _env: int,
        context: int,
        _type: int,
        args: int,
        _n: int,
        results: int,
        _m: int,
        error_out: int,
        continuation: int,
    ) -> None:
        guest = live[context]
        finish_at_once(continuation)

        def deliver(suspended: Suspend) -> None:
            # A late failure cannot be reported: the result keeps its wrong type, which makes the engine end the guest.
            try:
                value = suspended.result()
            except Err as exc:
                value = exc
            store(guest, results, value)

        try:
            value = invoke(guest, args)
            if isinstance(value, Suspend):
                guest.suspend(value, deliver, continuation)
            else:
                store(guest, results, value)
        except BaseException as exc:  # noqa: BLE001 - as above
            c_void_p.from_address(error_out).value = _fail(guest, exc, name)

    return raw.COMPONENT_ASYNC_CALLBACK(deferred) if function.waits else raw.COMPONENT_CALLBACK(plain)


def _fail(guest: Guest, exc: BaseException, name: str) -> int:
    """Keep the exception in the guest, and make the error that ends it."""
    guest.error = guest.error or unfit(exc, name)
    error: int = raw.error_new(f"{name}: {exc}".replace("\0", "").encode())
    return error


def is_function(kind: Any) -> bool:
    """Whether an imported item is a function (and not a type)."""
    return isinstance(kind, T.FuncType)
