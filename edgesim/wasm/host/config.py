"""wasi:config: the component's `variables` of the manifest, by key.

Under both names that toolchains use: `store` (0.2.0-rc.1) and the older `runtime` (0.2.0-draft).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edgesim.wasm.linking import HostTable

if TYPE_CHECKING:
    from edgesim.wasm.component import ComponentGuest

TABLE: Final = HostTable()


@TABLE.add("wasi:config/store", "get")
@TABLE.add("wasi:config/runtime", "get")
def get(guest: ComponentGuest, key: str) -> str | None:
    """One value; none when there is no such key."""
    return dict(guest.grants.variables).get(key)


@TABLE.add("wasi:config/store", "get-all")
@TABLE.add("wasi:config/runtime", "get-all")
def get_all(guest: ComponentGuest) -> list[tuple[str, str]]:
    """Every key with its value."""
    return list(guest.grants.variables)
