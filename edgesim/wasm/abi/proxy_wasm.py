"""Proxy-Wasm: an HTTP filter in front of workers and origin (`edgesim/wasm/proxy`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal

from edgesim.wasm.proxy import module

if TYPE_CHECKING:
    from edgesim.model.worker import Abi


class ProxyWasmAbi:
    """See the module."""

    name: Abi = "proxy-wasm"
    binary: Literal["module", "component"] = "module"
    expected = "a Proxy-Wasm filter that exports `proxy_abi_version_0_2_1` (or _0_2_0, _0_1_0) and the memory `memory`"

    def detect(self, engine: Any, compiled: Any) -> bool:  # noqa: ARG002 - the protocol's signature
        """Whether one of the version markers is exported."""
        return any(export.name in module.VERSIONS for export in compiled.exports)

    def check(self, engine: Any, compiled: Any) -> None:
        """Exports have the ABI's types, and every import is known. Raises BundleError."""
        module.check(compiled)
        module.ProxyModule(engine, compiled)

    def link(self, engine: Any, compiled: Any) -> module.ProxyModule:
        """Resolve the imports."""
        return module.ProxyModule(engine, compiled)


ABI: Final = ProxyWasmAbi()
