"""Flattening: from the bytes of a component to the plan and the one core module that the flat floor runs."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from edgesim.wasm.flat import Unsupported, syntax
from edgesim.wasm.flat.binary import Reader
from edgesim.wasm.flat.merge import Host, merge
from edgesim.wasm.flat.plan import Plan
from edgesim.wasm.flat.wiring import GuestFunc, Wiring, wire

if TYPE_CHECKING:
    from edgesim.wasm.flat.wiring import Item


def flatten(data: bytes) -> tuple[Plan, bytes]:
    """Take a component apart.

    Args:
        data: a component that the engine has validated. Other bytes do no harm, but what comes out of them is worth nothing.

    Returns:
        the plan, and the merged core module.

    Raises:
        Unsupported: the component uses something that the flat floor does not do.
    """
    try:
        wiring = wire(Reader(data))
        _number_trampolines(wiring)
        module = merge(wiring.core_instances, wiring.core_exports)
    except (LookupError, ValueError, AttributeError, TypeError, OverflowError) as exc:
        # A definition of the wrong kind or an index that leads nowhere: no engine lets such a component pass.
        raise Unsupported(f"a component that contradicts itself ({exc})") from exc
    plan = Plan(
        trampolines=tuple(wiring.trampolines),
        lifted=tuple(wiring.lifted),
        resources=tuple(wiring.resources),
        exports=_exports(wiring.exports),
        instances=wiring.instances,
    )
    return plan, module


def _number_trampolines(wiring: Wiring) -> None:
    """Keep the trampolines that some core module imports or some option names, and number them in their order."""
    sources = [source for instance in wiring.core_instances for source in instance.imports]
    sources += wiring.core_exports.values()
    used = sorted({source.number for source in sources if isinstance(source, Host)})
    numbers = {old: new for new, old in enumerate(used)}
    wiring.trampolines = [wiring.trampolines[old] for old in used]
    wiring.core_instances = [
        replace(
            instance,
            imports=tuple(Host(numbers[s.number]) if isinstance(s, Host) else s for s in instance.imports),
        )
        for instance in wiring.core_instances
    ]
    wiring.core_exports = {
        name: Host(numbers[source.number]) if isinstance(source, Host) else source
        for name, source in wiring.core_exports.items()
    }


def _exports(items: dict[str, Item]) -> tuple[tuple[str, tuple[tuple[str, int], ...]], ...]:
    """The functions that the outermost component exports, by interface."""
    bare = _functions({name: item for name, item in items.items() if item.sort == syntax.FUNC})
    found = [("", bare)] if bare else []
    found += [(name, _functions(item.value)) for name, item in items.items() if item.sort == syntax.INSTANCE]
    return tuple(found)


def _functions(items: dict[str, Item]) -> tuple[tuple[str, int], ...]:
    functions = [(name, item.value) for name, item in items.items() if item.sort == syntax.FUNC]
    if not all(isinstance(value, GuestFunc) for _, value in functions):
        raise Unsupported("an export of a function that the component imports")
    return tuple((name, value.number) for name, value in functions)
