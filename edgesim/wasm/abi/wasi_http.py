"""wasi:http/incoming-handler@0.2: components that are called once per request with a request and a response-outparam."""

from __future__ import annotations

from ctypes import addressof, create_string_buffer
from typing import TYPE_CHECKING, Any, Final, Literal
from weakref import WeakKeyDictionary

import wasmtime

from edgesim.errors import BundleError
from edgesim.wasm import raw
from edgesim.wasm.component import VAL, ComponentGuest, Prepared
from edgesim.wasm.flat.http import HANDLER, LinkedFlat, check_response
from edgesim.wasm.host import host_functions
from edgesim.wasm.host.http import IncomingRequest, ResponseOutparam
from edgesim.wasm.linking import imported_functions, is_function, link

if TYPE_CHECKING:
    from edgesim.model.worker import Abi, Limits
    from edgesim.wasm.flat.plan import Plan
    from edgesim.wasm.guest import Grants, GuestRequest

_TRAPS_WHEN_CALLED: Final = ("wasi:filesystem/", "wasi:sockets/")
"""Packages that common toolchains import and rarely call. There are no files and no sockets."""
_RESOURCE: Final = 21


class HttpInstance:
    """A guest and its component instance."""

    __slots__ = ("function", "guest", "raw")

    def __init__(self, guest: ComponentGuest) -> None:
        self.guest = guest
        self.raw = raw.ComponentInstance()
        self.function = raw.ComponentFunc()

    def close(self) -> None:
        """Free the store."""
        self.guest.close()


class HttpCall:
    """One call of `handle`."""

    __slots__ = ("_args", "_handles", "_instance", "_linked", "_made", "_outparam", "guest")

    def __init__(
        self,
        linked: LinkedComponent,
        request: GuestRequest,
        limits: Limits,
        grants: Grants,
        instance: HttpInstance | None,
    ) -> None:
        self._linked = linked
        self._outparam = ResponseOutparam()
        self._handles: list[int] = []
        self._args: Any = None
        self._made = instance is not None
        if instance is None:
            instance = HttpInstance(ComponentGuest(linked.engine, request, limits, grants))
        else:
            instance.guest.begin(request, limits, grants)
        self._instance: HttpInstance | None = instance
        self.guest = instance.guest
        self.guest.environment = linked.environment(grants)

    def instantiate(self) -> int | None:
        """The future that makes the instance."""
        guest, instance = self.guest, self._instance
        assert instance is not None
        if self._made:
            return None
        future: int = raw.component_instantiate(
            self._linked.linker,
            guest.context,
            self._linked.component,
            addressof(instance.raw),
            addressof(guest.error_out),
        )
        return future

    def call(self) -> int:
        """The future that runs `handle`."""
        guest, linked, instance = self.guest, self._linked, self._instance
        assert instance is not None
        found = raw.component_get_func(
            addressof(instance.raw), guest.context, linked.export_index, addressof(instance.function)
        )
        assert found, "checked by WasiHttpAbi.detect"
        for resource, type_id in (
            (IncomingRequest(guest.request), linked.request_type),
            (self._outparam, linked.outparam_type),
        ):
            self._handles.append(guest.own(resource, type_id))
        self._args = create_string_buffer(
            b"".join([VAL.pack(_RESOURCE, handle, 0, 0) for handle in self._handles]), 2 * raw.VAL_BYTES
        )
        future: int = raw.component_call(
            addressof(instance.function), guest.context, addressof(self._args), 2, None, 0, addressof(guest.error_out)
        )
        return future

    def finish(self) -> None:
        """`handle` has returned: there must be a whole response."""
        check_response(self.guest, self._outparam)

    def leave(self) -> HttpInstance | None:
        """The instance, which can serve again."""
        instance, self._instance = self._instance, None
        return instance

    def close(self) -> None:
        """Free the handles, and the instance unless it lives on."""
        handles, self._handles = self._handles, []
        for handle in handles:
            raw.resource_any_delete(handle)
        if self._instance is None:
            self.guest.end()
        else:
            self._instance.close()


class LinkedComponent:
    """A component with its imports resolved."""

    def __init__(self, engine: Any, component: Any) -> None:
        linker, conversions, callbacks = link(engine, component, host_functions())
        export = next(name for name in component.type.exports(engine) if name.startswith(HANDLER))
        interface = component.get_export_index(export)
        index = component.get_export_index("handle", interface)
        handle = component.type.exports(engine)[export].ty.exports(engine)["handle"].ty
        self.request_type, self.outparam_type = (conversions.type_id(kind.ty) for _, kind in handle.params)
        self._keep = (engine, component, linker, conversions, callbacks, index)
        self._environments: WeakKeyDictionary[Grants, Prepared] = WeakKeyDictionary()
        self.engine = raw.address(engine.ptr())
        self.linker = raw.address(linker.ptr())
        self.component = raw.address(component.ptr())
        self.export_index = raw.address(index.ptr())

    def environment(self, grants: Grants) -> Prepared:
        """The environment of one PoP, ready for its guests."""
        prepared = self._environments.get(grants)
        if prepared is None:
            prepared = self._environments[grants] = Prepared(grants.environment)
        return prepared

    def start(
        self, request: GuestRequest, limits: Limits, grants: Grants, instance: HttpInstance | None = None
    ) -> HttpCall:
        """A new store for one request, or another request for an instance."""
        return HttpCall(self, request, limits, grants, instance)


class WasiHttpAbi:
    """See the module."""

    name: Abi = "wasi-http"
    binary: Literal["module", "component"] = "component"
    expected = "a component that exports wasi:http/incoming-handler@0.2.x"

    def detect(self, engine: Any, compiled: Any) -> bool:
        """Whether the component exports the handler interface of 0.2."""
        for name, export in compiled.type.exports(engine).items():
            if name.startswith(HANDLER):
                interface = getattr(export, "ty", export)
                return hasattr(interface, "exports") and "handle" in interface.exports(engine)
        return False

    def check(self, engine: Any, compiled: Any) -> None:
        """Every import must be a host function, or in a package that may trap when called. Raises BundleError."""
        functions = host_functions()
        unknown = sorted(
            f"{interface}#{name}" if name else interface
            for interface, name, kind in imported_functions(engine, compiled)
            if not interface.startswith(_TRAPS_WHEN_CALLED)
            and (not name or (is_function(kind) and (interface.partition("@")[0], name) not in functions))
        )
        if unknown:
            raise BundleError(
                f"the worker imports what edgesim does not have: {', '.join(unknown[:8])}"
                + (f" and {len(unknown) - 8} more" if len(unknown) > 8 else ""),
                help="a component may import the interfaces of wasi:http/proxy@0.2; see docs/workers.md",
            )
        try:
            LinkedComponent(engine, compiled)
        except (wasmtime.WasmtimeError, TypeError) as exc:
            raise BundleError(f"the worker's imports do not fit: {str(exc).splitlines()[0]}") from exc

    def link(self, engine: Any, compiled: Any) -> LinkedComponent:
        """Connect the host functions."""
        return LinkedComponent(engine, compiled)

    def link_flat(self, engine: Any, module: Any, plan: Plan) -> LinkedFlat:
        """Connect the host functions to the component as one core module. Raises Unsupported when that cannot be."""
        return LinkedFlat(engine, module, plan, host_functions())


ABI: Final = WasiHttpAbi()
