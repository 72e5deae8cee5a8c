"""Build hook of the wheel: puts `workers/` into it without what was built there.

hatchling's `force-include` takes a whole folder, ignored files too: after `make workers` or `edgesim build` in the checkout that
would be 60 MB of Wasm and npm's packages.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

BUILT = frozenset({"node_modules", "target", "__pycache__", ".edgesim"})
WASM_BYTES_MAX = 1 << 20
"""Larger ones are never committed."""


class WorkersHook(BuildHookInterface):
    """See the module."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add the files of `workers/` to those that are included."""
        del version
        root = Path(self.root)
        for file in sorted((root / "workers").rglob("*")):
            if not file.is_file() or BUILT.intersection(file.relative_to(root).parts):
                continue
            if file.suffix != ".wasm" or file.stat().st_size <= WASM_BYTES_MAX:
                build_data["force_include"][str(file)] = f"edgesim/data/{file.relative_to(root).as_posix()}"
