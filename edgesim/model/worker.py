"""What is deployed: releases of an app, their components, routes and limits."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import ceil
from typing import TYPE_CHECKING, Final, Literal

from edgesim.errors import BundleError

if TYPE_CHECKING:
    from edgesim.model.ids import AppName, Digest

Abi = Literal["wasi-http", "wasi-http-p3", "wagi", "proxy-wasm"]
"""`wasi-http`: a component that exports wasi:http/incoming-handler@0.2; `wasi-http-p3`: one that exports wasi:http/handler@0.3;
`wagi`: a WASI P1 command, CGI style; `proxy-wasm`: an HTTP filter in front of workers and origin."""

MIB = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one request may use. The defaults are those of docs/limits.md, the bounds are `LIMIT_BOUNDS`.

    The stack is not here: wasmtime sets it per engine (`STACK_BYTES`), so no worker can have more or less.
    """

    memory_bytes: int = 128 * MIB
    """Linear memory of one instance: of each of its memories, and of all together."""
    memories: int = 4
    """Linear memories. A composed component has one per part."""
    tables: int = 16
    table_elements: int = 40_000
    """Elements of each table."""
    instances: int = 64
    """Core instances; a component has several."""
    startup_ms: float = 500.0
    """CPU time to make the instance, start functions included. It does not count as `cpu_ms`."""
    cpu_ms: float = 50.0
    wall_s: float = 10.0
    body_bytes: int = 16 * MIB
    """Largest request body."""
    response_bytes: int = 16 * MIB
    """Largest response body."""
    log_bytes: int = 64 * 1024
    """What the guest may write to its log (stderr) in one request; the rest is dropped and counted."""
    subrequests: int = 50
    """Requests that the guest may send."""


STACK_BYTES: Final = 512 * 1024
"""Stack of every guest: wasmtime's `max_wasm_stack` is a setting of the engine, which all workers of a process share."""

LIMIT_BOUNDS: Final[dict[str, tuple[float, float]]] = {
    "memory_bytes": (64 * 1024, 4 << 30),
    "memories": (1, 8),
    "tables": (1, 16),
    "table_elements": (0, 40_000),
    "instances": (1, 64),
    "startup_ms": (1, 60_000),
    "cpu_ms": (0.1, 600_000),
    "wall_s": (0.001, 600),
    "body_bytes": (0, 1 << 30),
    "response_bytes": (0, 1 << 30),
    "log_bytes": (0, 16 * MIB),
    "subrequests": (0, 10_000),
}
"""Lowest and highest value of each limit, both allowed. Memories, tables and their elements end where the engine's pool ends."""


def check_memory(component: str, at_start_bytes: int, limits: Limits) -> None:
    """Raises BundleError for a component whose instances begin with more linear memory than they may have."""
    if at_start_bytes > limits.memory_bytes:
        raise BundleError(
            f"the component {component!r} begins with {at_start_bytes / MIB:.4g} MiB of linear memory, "
            f"more than its limit of {limits.memory_bytes / MIB:.4g} MiB",
            help=f"raise memory in its manifest to {ceil(at_start_bytes / MIB)} MiB or more, or build it with a smaller one",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Reuse:
    """How long an instance lives, in wasmtime's and Spin's terms: each (lowest, highest), drawn anew for every instance."""

    max_instance_reuse_count: tuple[int, int] = (1, 1)
    """Requests that one instance serves, one after the other or together. 1: a fresh instance for each request."""
    max_instance_concurrent_reuse_count: tuple[int, int] = (1, 1)
    """Requests that one instance serves at the same time."""
    idle_instance_timeout_s: tuple[float, float] = (1.0, 1.0)
    """How long an instance that may serve again waits for a request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BundledFile:
    """A file that the guest may read."""

    path: str
    """Absolute in the guest, without `.` and `..`."""
    digest: Digest
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """One Wasm file of a release."""

    id: str
    digest: Digest
    size_bytes: int
    abi: Abi
    limits: Limits = field(default_factory=Limits)
    environment: tuple[tuple[str, str], ...] = ()
    variables: tuple[tuple[str, str], ...] = ()
    """What `wasi:config/store` gives."""
    outbound: tuple[str, ...] = ()
    """Spin's `allowed_outbound_hosts`: whom the guest may send requests to. Empty: nobody."""
    files: tuple[BundledFile, ...] = ()
    reuse: Reuse = field(default_factory=Reuse)
    configuration: str = ""
    """What a proxy-wasm filter is configured with."""
    fail_open: bool = False
    """Whether a request goes on without this filter when it fails."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """A path pattern and the component that serves it: `/exact` or `/prefix/...` (Spin's trailing wildcard)."""

    pattern: str
    component: str

    def matches(self, path: str) -> bool:
        """Whether `path` (without query) is served by this route."""
        if self.pattern.endswith("/..."):
            prefix = self.pattern[:-4]
            return path == prefix or path.startswith(prefix + "/") or not prefix
        return path == self.pattern


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """One version of an app, as the control plane publishes it."""

    app: AppName
    version: int
    digest: Digest
    """sha256 of the release's OCI image manifest."""
    components: tuple[Component, ...]
    routes: tuple[Route, ...]
    filters: tuple[str, ...] = ()
    """Ids of proxy-wasm components that every request passes, in this order, before worker or origin."""
    prefetch: bool = True
    """Whether PoPs fetch and load the components at once, or with the first request."""

    def route(self, path: str) -> Component | None:
        """The component that serves `path` (without query): the longest pattern wins, exact before prefix."""
        best = self._best(path)
        return None if best is None else next(c for c in self.components if c.id == best.component)

    def pattern(self, path: str) -> str:
        """The pattern of the route that serves `path`; empty when none does."""
        if len(self.routes) == 1:
            return self.routes[0].pattern  # the usual case, on the path of each request
        best = self._best(path)
        return "" if best is None else best.pattern

    def _best(self, path: str) -> Route | None:
        matching = [route for route in self.routes if route.matches(path)]
        return max(matching, key=_rank, default=None)


def _rank(route: Route) -> tuple[int, int]:
    """Order of specificity: length of the literal part, then exact before prefix."""
    wildcard = route.pattern.endswith("/...")
    return (len(route.pattern) - (4 if wildcard else 0), 0 if wildcard else 1)
