"""Projects to begin with: `workers/templates/<language>` ships with edgesim, and each is a worker that is called `my-worker`.

A project is a copy with another name in it. What is done with it is `edgesim build`'s and `deploy`'s.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from edgesim.config.manifest import MANIFEST
from edgesim.config.releases import APP_PATTERN
from edgesim.config.resources import resource_path
from edgesim.config.validation import did_you_mean
from edgesim.errors import StorageError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

PLACEHOLDER: Final = "my-worker"
_ALSO: Final = {
    "javascript": "js", "typescript": "js", "node": "js", "py": "python", "golang": "go", "as": "assemblyscript", "rs": "rust",
}  # fmt: skip
"""What people call them, too."""
_BUILT: Final = frozenset({"node_modules", "target", "__pycache__", ".edgesim"})
"""What a build may have left in a checkout's templates."""
_APP: Final = re.compile(APP_PATTERN)


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """One language's project."""

    name: str
    description: str
    folder: Path

    def files(self) -> list[Path]:
        """What is copied, relative to the folder, sorted."""
        found = (path.relative_to(self.folder) for path in self.folder.rglob("*") if path.is_file())
        return sorted(path for path in found if path.suffix != ".wasm" and not _BUILT.intersection(path.parts))


def templates() -> list[Template]:
    """All of them, by name. Raises UsageError when none ships with this version."""
    found = []
    for manifest in sorted(resource_path("workers/templates").glob(f"*/{MANIFEST}")):
        application = tomllib.loads(manifest.read_text(encoding="utf-8"))["application"]
        found.append(
            Template(name=manifest.parent.name, description=application["description"], folder=manifest.parent)
        )
    return found


def find_template(name: str) -> Template:
    """The template of a language. Raises UsageError with the nearest name."""
    known = {template.name: template for template in templates()}
    if name in known:
        return known[name]
    also = _ALSO.get(name.lower())
    hint = f"did you mean '{also}'?" if also else did_you_mean(name[:64], known, what="templates")
    raise UsageError(f"there is no template '{name[:64]}'", help=hint)


def app_name(folder: Path, name: str | None) -> str:
    """What the project in `folder` is called: `name`, else as the folder. Raises UsageError when it cannot be a host name."""
    word = name if name is not None else re.sub(r"[\s_.]+", "-", folder.name.lower()).strip("-")
    if _APP.fullmatch(word):
        return word
    shown = name if name is not None else folder.name
    hint = "a name is part of its host name: lowercase letters, digits and dashes, at most 40"
    raise UsageError(
        f"'{shown[:64]}' cannot be an app's name", help=hint if name is not None else f"give --name; {hint}"
    )


def write_project(template: Template, folder: Path, name: str) -> list[Path]:
    """Copy a template into an empty or new folder; the files that were written, relative to it.

    Raises:
        UsageError: the folder is not empty, or no folder.
        StorageError: it cannot be written.
    """
    try:
        if folder.exists() and not folder.is_dir():
            raise UsageError(f"{folder} is not a folder", where=str(folder), help="name a folder that is new or empty")
        if folder.exists() and any(folder.iterdir()):
            raise UsageError(
                f"{folder} is not empty", where=str(folder), help="name a new folder: edgesim init my-worker"
            )
        written = template.files()
        for file in written:
            target = folder / file
            target.parent.mkdir(parents=True, exist_ok=True)
            text = (template.folder / file).read_text(encoding="utf-8")
            target.write_text(text.replace(PLACEHOLDER, name), encoding="utf-8")
    except OSError as exc:
        raise StorageError(f"cannot write {folder}: {exc.strerror or exc}", where=str(folder)) from exc
    return written
