"""wasi:logging: lines with a level and a context, in the worker's log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edgesim.wasm.linking import HostTable

if TYPE_CHECKING:
    from edgesim.wasm.component import ComponentGuest

TABLE: Final = HostTable()


@TABLE.add("wasi:logging/logging", "log")
def log(guest: ComponentGuest, level: str, context: str, message: str) -> None:
    """Append `LEVEL context: message`."""
    prefix = f"{level.upper()} {context}: " if context else f"{level.upper()} "
    guest.log.write(f"{prefix}{message}\n".encode(errors="replace"))
