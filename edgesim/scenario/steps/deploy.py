"""`deploy`: roll a new version of an app out while requests come in."""

from __future__ import annotations

from dataclasses import dataclass

from edgesim.scenario.steps import Deploy


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Deploy an app, as `edgesim deploy PATH` does."""

    path: str
    """Folder with a manifest, or a `.wasm` file; relative to the scenario's file, else what ships with edgesim."""
    prefetch: bool = True
    """Whether PoPs fetch and load the worker at once, or with its first request."""

    def __post_init__(self) -> None:
        if not self.path:
            raise ValueError("`path` is empty; name a folder with a spin.toml, or a .wasm file")

    def action(self) -> Deploy:
        """Publish it."""
        return Deploy(path=self.path, prefetch=self.prefetch)

    def __str__(self) -> str:
        return self.path if self.prefetch else f"{self.path} without prefetch"
