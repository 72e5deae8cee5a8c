"""Host functions of `wasi:http/proxy@0.2` for components, one file per WASI package, each with a `TABLE`."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgesim.wasm.linking import HostFunction


@cache
def host_functions() -> dict[tuple[str, str], HostFunction]:
    """Every host function by (interface, name)."""
    found: dict[tuple[str, str], HostFunction] = {}
    for module in iter_modules(__path__):
        table = getattr(import_module(f"{__name__}.{module.name}"), "TABLE", None)
        if table is not None:
            found |= table.functions
    return found
