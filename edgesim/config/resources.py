"""Where the data files that ship with edgesim are: the repository's top level, or `edgesim/data` in an installed wheel."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from edgesim.errors import UsageError


def resource_path(name: str) -> Path:
    """The file or folder `name` (`pops/sites.csv`, `workers/hello`, `topology.yaml`) that ships with edgesim.

    Raises:
        UsageError: no such file ships with this version.
    """
    package = Path(str(files("edgesim")))
    for base in (package / "data", package.parent):
        path = base / name
        if path.exists():
            return path
    raise UsageError(f"{name} does not ship with edgesim", help="reinstall edgesim, or name a file of your own")
