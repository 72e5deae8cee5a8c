"""What edgesim gives to guests, against what a file asks for: missing imports, each with the nearest thing there is.

For people (`edgesim inspect`); what is refused at deploy is decided by the ABIs in `abi/`.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Final

from edgesim.wasm import p1
from edgesim.wasm.host import host_functions
from edgesim.wasm.host.p3 import p3_functions

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from edgesim.wasm.report import FileReport

VERSION: Final = "0.2"
"""WASI versions whose interfaces components may import: every 0.2.x, and every 0.3.x if they export its handler."""
_P3: Final = "0.3."
_P3_HANDLER: Final = "wasi:http/handler@0.3."
_TRAPS_WHEN_CALLED: Final = ("wasi:filesystem/", "wasi:sockets/")
"""Packages that may be imported whole: what edgesim does not have of them traps when it is called."""
_DRAFTS: Final = ("wasi:logging/",)
"""Packages without a release, which toolchains import in any version or none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """An import that edgesim does not have."""

    interface: str
    """With its version; the module's name for core modules."""
    name: str
    """Empty when nothing of the interface is there."""
    nearest: str
    """The import that may be meant; empty when nothing is near."""
    traps: bool = False
    """It may be imported, and traps when it is called."""

    @property
    def text(self) -> str:
        """`wasi:http/types#[method]fields.gett`."""
        return f"{self.interface}#{self.name}" if self.name else self.interface


def missing_imports(report: FileReport) -> tuple[Missing, ...]:
    """What a file imports and edgesim does not provide, in the file's order."""
    return tuple(_of_component(report) if report.kind == "component" else _of_module(report))


def _of_component(report: FileReport) -> Iterator[Missing]:
    serves_p3 = any(name.startswith(_P3_HANDLER) for name, _ in report.exports)
    for interface, names in report.imports:
        base, _, version = interface.partition("@")
        p3 = serves_p3 and version.startswith(_P3)
        offered = p3 or version.startswith(f"{VERSION}.")
        traps = base.startswith(_TRAPS_WHEN_CALLED) and offered
        known = offered or not base.startswith("wasi:") or base.startswith(_DRAFTS)
        there = _interfaces(p3=p3).get(base) if known else None
        if there is None:
            if names or not version:  # an interface of types alone needs nothing
                nearest = "" if traps else _nearest_interface(base, version)
                yield Missing(interface=interface, name="", nearest=nearest, traps=traps)
            continue
        for name in names:
            if name not in there:
                yield Missing(interface=interface, name=name, nearest="" if traps else _near(name, there), traps=traps)


def _of_module(report: FileReport) -> Iterator[Missing]:
    proxy = any(name.startswith("proxy_abi_version") for _, names in report.exports for name in names)
    for module, names in report.imports:
        if proxy and module == "env":
            continue  # a filter's host functions are checked by its own ABI
        if module != p1.MODULE:
            yield Missing(interface=module, name="", nearest=_near(module, (p1.MODULE,)))
            continue
        for name in names:
            if name not in p1.SIGNATURES:
                yield Missing(interface=module, name=name, nearest=_near(name, p1.SIGNATURES))


@cache
def _interfaces(*, p3: bool = False) -> dict[str, frozenset[str]]:
    """Function names by interface, without versions."""
    found: dict[str, set[str]] = {}
    for interface, name in p3_functions() if p3 else host_functions():
        found.setdefault(interface, set()).add(name)
    return {interface: frozenset(names) for interface, names in found.items()}


def _nearest_interface(base: str, version: str) -> str:
    offered = _interfaces()
    if base in offered:
        return f"{base}@{VERSION}.x" if not version.startswith(f"{VERSION}.") else ""
    near = _near(base, offered)
    return f"{near}@{VERSION}.x" if near else ""


def _near(name: str, names: Iterable[str]) -> str:
    return next(iter(difflib.get_close_matches(name, sorted(names), n=1, cutoff=0.6)), "")
