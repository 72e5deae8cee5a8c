"""wasi:http/handler@0.3: components whose `handle` is an async function, with bodies as streams.

They run on the flat floor alone: the engine's own async component model would abort the process when a stream crosses its C
API (`engine.py`), so it is switched on nowhere but where a file is validated.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal, NoReturn

from edgesim.errors import BundleError
from edgesim.wasm.flat.http_p3 import HANDLER, LinkedP3
from edgesim.wasm.host import host_functions
from edgesim.wasm.host.p3 import p3_functions
from edgesim.wasm.linking import imported_functions, is_function

if TYPE_CHECKING:
    from edgesim.model.worker import Abi
    from edgesim.wasm.flat.plan import Plan

_TRAPS_WHEN_CALLED: Final = ("wasi:filesystem/", "wasi:sockets/")
"""As for 0.2. There are no files and no sockets for 0.3."""


class WasiHttpP3Abi:
    """See the module."""

    name: Abi = "wasi-http-p3"
    binary: Literal["module", "component"] = "component"
    expected = "a component that exports wasi:http/handler@0.3.x"

    def detect(self, engine: Any, compiled: Any) -> bool:
        """Whether the component exports the handler interface of 0.3."""
        return any(name.startswith(HANDLER) for name in compiled.type.exports(engine))

    def check(self, engine: Any, compiled: Any) -> None:
        """Every import must be a host function, or in a package that may trap when called. Raises BundleError."""
        unknown = []
        for interface, name, kind in imported_functions(engine, compiled):
            base, _, version = interface.partition("@")
            functions = p3_functions() if version.startswith("0.3.") else host_functions()
            if base.startswith(_TRAPS_WHEN_CALLED):
                continue
            if not name or (is_function(kind) and (base, name) not in functions):
                unknown.append(f"{interface}#{name}" if name else interface)
        if unknown:
            raise BundleError(
                f"the worker imports what edgesim does not have: {', '.join(sorted(unknown)[:8])}"
                + (f" and {len(unknown) - 8} more" if len(unknown) > 8 else ""),
                help="a component may import the interfaces of wasi:http/service@0.3; see docs/workers.md",
            )

    def link(self, engine: Any, compiled: Any) -> NoReturn:  # noqa: ARG002 - the protocol's signature
        """There is no other floor. Raises BundleError."""
        raise BundleError("components of WASI 0.3 run on the flat floor only")

    def link_flat(self, engine: Any, module: Any, plan: Plan) -> LinkedP3:
        """Connect the host functions. Raises Unsupported for what is not there yet."""
        return LinkedP3(engine, module, plan, host_functions(), p3_functions())


ABI: Final = WasiHttpP3Abi()
