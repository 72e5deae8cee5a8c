"""Wiring: what a component's definitions build, followed to its ends.

A component is a list of definitions over index spaces. Here they are carried out, but for the running: nested components are
instantiated with the arguments they are given, every core import is followed to a core instance's export or to a function
that `canon` makes, types are looked up and resources numbered. What comes out is flat: core instances in their order, the
functions that the host gives and takes, and the resources. No instruction of the guest is looked at.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from edgesim.wasm.flat import Unsupported, binary, core, syntax
from edgesim.wasm.flat.canonical import CanonReader
from edgesim.wasm.flat.merge import CoreInstance, Export, Host, Source
from edgesim.wasm.flat.plan import HostFunction, Lifted, Resource, Trampoline
from edgesim.wasm.flat.scope import InstanceType, ResourceType, Scope, TypeTable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgesim.wasm.flat.binary import Reader
    from edgesim.wasm.flat.core import CoreModule
    from edgesim.wasm.flat.types import FuncType

_MAX_DEFINITIONS: Final = 300_000
"""Definitions carried out, those of a component counted each time that it is instantiated. Guests have hundreds."""
_MAX_BYTES: Final = 64 << 20
"""Of definitions that are read, without core modules and nested components, counted in the same way."""
_MAX_INSTANCES: Final = 1_000
"""Component instances, and core instances."""
_MAX_NESTING: Final = 50


@dataclass(frozen=True, slots=True)
class HostFunc:
    """A function that the component imports."""

    source: HostFunction
    type: FuncType


@dataclass(frozen=True, slots=True)
class GuestFunc:
    """A function that a component lifts: its index in `lifted`."""

    number: int
    type: FuncType


@dataclass(frozen=True, slots=True)
class Item:
    """An export or argument: its sort, and what it is."""

    sort: int
    value: Any


@dataclass(frozen=True, slots=True)
class _Component:
    """A component that can be instantiated, in the scope that its outer aliases mean."""

    content: Reader
    scope: Scope


class Wiring:
    """What a component builds. Filled by `wire`."""

    def __init__(self) -> None:
        self.trampolines: list[Trampoline] = []
        self.lifted: list[Lifted] = []
        self.resources: list[Resource] = []
        self.core_instances: list[CoreInstance] = []
        self.core_exports: dict[str, Source] = {}
        """What the merged module must export, because something above names it."""
        self.instances = 0
        self.exports: dict[str, Item] = {}
        self.types = TypeTable()
        self._modules: dict[int, CoreModule] = {}
        self._definitions = 0
        self._bytes = 0
        self._nesting = 0

    def instantiate(
        self, component: Reader, outer: Scope | None, arguments: Mapping[str, Item] | None
    ) -> dict[str, Item]:
        """Carry out a component's definitions; returns its exports. Without arguments, imports are the host's."""
        if self.instances >= _MAX_INSTANCES or self._nesting >= _MAX_NESTING:
            raise Unsupported(f"more than {_MAX_INSTANCES} component instances, or deeper than {_MAX_NESTING}")
        scope = Scope(outer, self.instances)
        self.instances += 1
        self._nesting += 1
        exports: dict[str, Item] = {}
        for number, content in binary.sections(component, binary.COMPONENT):
            if number == 1:
                scope.add(syntax.CORE_MODULE, content)
            elif number == 4:
                scope.add(syntax.COMPONENT, _Component(content, scope))
            elif number == 10:
                self._each(content, lambda r: self._import(scope, r, arguments))
            elif number == 11:
                self._each(content, lambda r: self._export(scope, r, exports))
            elif number in self._SECTIONS:
                define = self._SECTIONS[number]
                self._each(content, lambda r, define=define: define(self, scope, r))
            elif number not in {0, 3}:  # custom; core types, which only what is refused here can use
                raise Unsupported("a component with a start function" if number == 9 else f"component section {number}")
        self._nesting -= 1
        return exports

    def core_export(self, source: Source) -> str:
        """Have something exported by the merged module; returns its name there."""
        name = f"h:{source.number}" if isinstance(source, Host) else f"{source.instance}:{source.name}"
        self.core_exports[name] = source
        return name

    def _count(self) -> None:
        self._definitions += 1
        if self._definitions > _MAX_DEFINITIONS:
            raise Unsupported(f"more than {_MAX_DEFINITIONS:,} definitions")

    def _each(self, content: Reader, define: Any) -> None:
        self._bytes += content.end - content.at
        if self._bytes > _MAX_BYTES:
            raise Unsupported(f"definitions of more than {_MAX_BYTES >> 20} MiB")
        for _ in range(content.count()):
            self._count()
            define(content)
        content.finish("a component's section")

    # -- core modules and instances -----------------------------------------------------------------------------------

    def _core_instance(self, scope: Scope, reader: Reader) -> None:
        form = reader.byte()
        if form == 1:
            exports = {}
            for _ in range(reader.count()):
                name, sort = reader.name(), syntax.CORE | reader.byte()
                if sort not in syntax.SORTS:
                    raise Unsupported(f"a core export of sort {sort:#x}")
                exports[name] = Item(sort, scope.get(sort, reader.u32()))
            scope.add(syntax.CORE_INSTANCE, exports)
            return
        if form:
            raise Unsupported(f"a core instance of form {form:#x}")
        content = scope.get(syntax.CORE_MODULE, reader.u32())
        arguments = {}
        for _ in range(reader.count()):
            name, sort = reader.name(), syntax.CORE | reader.byte()
            arguments[name] = scope.get(sort if sort == syntax.CORE_INSTANCE else syntax.CORE_TYPE, reader.u32())
        if len(self.core_instances) >= _MAX_INSTANCES:
            raise Unsupported(f"more than {_MAX_INSTANCES} core instances")
        module = self._module(content)
        sources = []
        for wanted in module.imports:
            if wanted.module not in arguments:
                raise Unsupported(f"a core module without its argument {wanted.module!r}")
            self._count()
            sources.append(self._core_item(arguments[wanted.module], syntax.CORE | wanted.kind, wanted.name))
        scope.add(syntax.CORE_INSTANCE, len(self.core_instances))
        self.core_instances.append(CoreInstance(module, tuple(sources)))

    def _module(self, content: Reader) -> CoreModule:
        """A core module, parsed once however often it is instantiated."""
        at = content.at
        if at not in self._modules:
            self._modules[at] = core.parse(binary.Reader(content.data, at, content.end))
        return self._modules[at]

    def _core_item(self, instance: int | dict[str, Item], sort: int, name: str) -> Source:
        """An export of a core instance, real or made of exports."""
        if isinstance(instance, int):
            found = self.core_instances[instance].module.exports.get(name)
            if found is None or found[0] | syntax.CORE != sort:
                raise Unsupported(f"a core export that is not there, {name!r}")
            return Export(instance, name)
        item = instance.get(name)
        if item is None or item.sort != sort:
            raise Unsupported(f"a core export that is not there, {name!r}")
        source: Source = item.value
        return source

    # -- instances of components --------------------------------------------------------------------------------------

    def _instance(self, scope: Scope, reader: Reader) -> None:
        form = reader.byte()
        if form > 1:
            raise Unsupported(f"an instance of form {form:#x}")
        component = scope.get(syntax.COMPONENT, reader.u32()) if form == 0 else None
        items = {}
        for _ in range(reader.count()):
            self._count()
            name = syntax.extern_name(reader) if form else reader.name()
            sort = syntax.sort(reader)
            items[name] = Item(sort, scope.get(sort, reader.u32()))
        if component is not None:
            content = component.content
            items = self.instantiate(binary.Reader(content.data, content.at, content.end), component.scope, items)
        scope.add(syntax.INSTANCE, items)

    def _alias(self, scope: Scope, reader: Reader) -> None:
        self._add_alias(scope, syntax.alias(reader))

    def _add_alias(self, scope: Scope, alias: syntax.ExportAlias | syntax.OuterAlias) -> None:
        if isinstance(alias, syntax.OuterAlias):
            scope.add(alias.sort, scope.outer(alias))
        elif alias.of_core:
            instance = scope.get(syntax.CORE_INSTANCE, alias.instance)
            scope.add(alias.sort, self._core_item(instance, alias.sort, alias.name))
        else:
            item = scope.get(syntax.INSTANCE, alias.instance).get(alias.name)
            if item is None or item.sort != alias.sort:
                raise Unsupported(f"an alias of an export that is not there, {alias.name!r}")
            scope.add(alias.sort, item.value)

    def _import(self, scope: Scope, reader: Reader, arguments: Mapping[str, Item] | None) -> None:
        name, extern = syntax.extern_name(reader), syntax.extern(reader)
        if arguments is None:
            value = self._host_item(scope, extern, "", name)
        elif name in arguments:
            if arguments[name].sort != extern.sort:
                raise Unsupported(f"an argument of another sort, {name!r}")
            value = arguments[name].value
        elif extern.sort == syntax.TYPE and extern.index is not None:
            value = scope.get(syntax.TYPE, extern.index)
        else:
            raise Unsupported(f"a component without its argument {name!r}")
        scope.add(extern.sort, value)

    def _export(self, scope: Scope, reader: Reader, exports: dict[str, Item]) -> None:
        name, sort = syntax.extern_name(reader), syntax.sort(reader)
        value = scope.get(sort, reader.u32())
        ascribed = reader.byte()
        if ascribed > 1:
            raise Unsupported("an export with an unknown type ascription")
        if ascribed and syntax.extern(reader).sort != sort:
            raise Unsupported("an export with another sort's type")
        if isinstance(value, ResourceType) and not self.resources[value.number].name:
            self.resources[value.number] = replace(self.resources[value.number], name=name)
        scope.add(sort, value)
        exports[name] = Item(sort, value)

    # -- types --------------------------------------------------------------------------------------------------------

    def _type(self, scope: Scope, reader: Reader) -> None:
        self._add_type(scope, syntax.def_type(reader))

    def _add_type(self, scope: Scope, written: syntax.DefType) -> None:
        value: object = written
        if isinstance(written, syntax.InstanceDecl):
            value = InstanceType(written.decls, scope)
        elif isinstance(written, syntax.ResourceDecl):
            destructor = None
            if written.destructor is not None:
                destructor = self.core_export(scope.get(syntax.CORE_FUNC, written.destructor))
            value = self._resource(Resource(name="", instance=scope.instance, destructor=destructor))
        elif isinstance(written, syntax.Compound | syntax.Func):
            value = self.types.define(scope, written)
        scope.add(syntax.TYPE, value)

    def _resource(self, resource: Resource) -> ResourceType:
        self.resources.append(resource)
        return ResourceType(len(self.resources) - 1)

    def _host_item(self, scope: Scope, extern: syntax.Extern, interface: str, name: str) -> object:
        """What the host gives for an import of the outermost component, or for an export of an instance that it gives."""
        if extern.sort == syntax.TYPE:
            if extern.index is not None:
                return scope.get(syntax.TYPE, extern.index)
            return self._resource(Resource(name=name, interface=interface))
        assert extern.index is not None
        if extern.sort == syntax.FUNC:
            return HostFunc(HostFunction(interface=interface, name=name), self.types.function(scope, extern.index))
        of_type = scope.get(syntax.TYPE, extern.index) if extern.sort == syntax.INSTANCE else None
        if not isinstance(of_type, InstanceType):
            raise Unsupported(f"the import of a component or core module, {name!r}")
        return self._host_instance(of_type, f"{interface}/{name}" if interface else name)

    def _host_instance(self, of_type: InstanceType, interface: str) -> dict[str, Item]:
        """An instance that the host gives, as its type says; abstract resources get numbers."""
        scope = Scope(of_type.scope, of_type.scope.instance)
        exports: dict[str, Item] = {}
        for decl in of_type.decls:
            self._count()
            if isinstance(decl, syntax.ExportDecl):
                value = self._host_item(scope, decl.extern, interface, decl.name)
                scope.add(decl.extern.sort, value)
                exports[decl.name] = Item(decl.extern.sort, value)
            elif isinstance(decl, syntax.ExportAlias | syntax.OuterAlias):
                self._add_alias(scope, decl)
            else:
                self._add_type(scope, decl)
        return exports

    # -- canonical functions ------------------------------------------------------------------------------------------

    def _canon(self, scope: Scope, reader: Reader) -> None:
        made = CanonReader(scope, self.types, self.core_export).read(reader)
        if isinstance(made, Lifted):
            scope.add(syntax.FUNC, GuestFunc(len(self.lifted), made.type))
            self.lifted.append(made)
        else:
            scope.add(syntax.CORE_FUNC, Host(len(self.trampolines)))
            self.trampolines.append(made)

    _SECTIONS: Final = {2: _core_instance, 5: _instance, 6: _alias, 7: _type, 8: _canon}


def wire(component: Reader) -> Wiring:
    """Carry out the outermost component. Raises Unsupported for what the flat floor does not do."""
    wiring = Wiring()
    wiring.exports = wiring.instantiate(component, None, None)
    return wiring
