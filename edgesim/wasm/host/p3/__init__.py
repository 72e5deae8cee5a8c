"""Host functions of WASI 0.3, whose interfaces share names, but not types, with those of 0.2. One file per package."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgesim.wasm.linking import HostFunction


@cache
def p3_functions() -> dict[tuple[str, str], HostFunction]:
    """Every host function of 0.3 by (interface, name)."""
    found: dict[tuple[str, str], HostFunction] = {}
    for module in iter_modules(__path__):
        found |= import_module(f"{__name__}.{module.name}").TABLE.functions
    return found
