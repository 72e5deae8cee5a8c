"""What is deployed: releases of an app, their components, routes and limits."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from edgesim.model.ids import AppName, Digest

Abi = Literal["wasi-http", "wagi", "proxy-wasm"]
"""`wasi-http`: a component that exports wasi:http/incoming-handler@0.2; `wagi`: a WASI P1 command, CGI style; `proxy-wasm`: an
HTTP filter in front of workers and origin."""

MIB = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one request may use. The defaults are those of docs/limits.md."""

    memory_bytes: int = 128 * MIB
    """Linear memory of one instance."""
    cpu_ms: float = 50.0
    wall_s: float = 10.0
    body_bytes: int = 16 * MIB
    """Largest request body, and largest response body."""
    log_bytes: int = 64 * 1024
    """What the guest may write to its log (stderr) in one request; the rest is dropped and counted."""


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
