"""The files that a component takes along: Spin's `files` and `exclude_files`, resolved against the manifest's folder.

An entry is a glob pattern, whose matches keep their path under `/`, or `{ source, destination }`, a folder (or file) whose
contents are put elsewhere. Nothing outside the folder is taken, whatever a link says.

Source: Spin, "Application Structure", "Including files with components".
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any, Final, NamedTuple

from pydantic import BeforeValidator
from pydantic_core import PydanticCustomError

from edgesim.config.yaml_source import clip

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from edgesim.config.yaml_source import YamlSource
    from edgesim.errors import Problem

FILES_MAX: Final = 256
FILE_BYTES_MAX: Final = 64 << 20
BUNDLE_BYTES_MAX: Final = 256 << 20
_HELP: Final = 'files = ["assets/**/*", { source = "images/", destination = "/img" }]'
_KEYS: Final = {"source", "destination"}
_SMALLER: Final = "leave out what the worker does not read, with exclude_files"


def _entry(value: Any) -> Any:
    """A pattern, or a source with its destination."""
    folder = isinstance(value, dict) and set(value) == _KEYS and all(isinstance(v, str) for v in value.values())
    if not isinstance(value, str) and not folder:
        message = "an entry of files is a pattern, or { source, destination }"
        raise PydanticCustomError("manifest", "{message}", {"message": message, "help": _HELP})
    return value


FileEntries = list[Annotated[Any, BeforeValidator(_entry)]]


@dataclass(frozen=True, slots=True)
class FileSource:
    """A file to be bundled."""

    path: str
    """Absolute in the guest."""
    file: Path
    size_bytes: int


class Fault(NamedTuple):
    """What is wrong with the entry `files[at]`; -1 for all of them together."""

    at: int
    message: str
    help: str


class Bundle:
    """The files of one component, and what is wrong with them."""

    def __init__(self, folder: Path, entries: Sequence[Any], excluded: Sequence[Any]) -> None:
        """Look at the file system. Entries of another form than Spin's are left out: they are problems of form."""
        self._folder = folder.resolve()
        self._excluded = [pattern for pattern in excluded if isinstance(pattern, str)]
        self._found: dict[str, FileSource] = {}
        self.faults: list[Fault] = []
        for index, entry in enumerate(entries):
            try:
                self._take(entry)
            except _FaultError as exc:
                self.faults.append(Fault(index, exc.message, exc.help))
        self._check_whole()

    @property
    def files(self) -> tuple[FileSource, ...]:
        """Every file, in the order of its path."""
        return tuple(self._found[path] for path in sorted(self._found))

    def _take(self, entry: Any) -> None:
        """The files of one entry. Raises _FaultError."""
        if isinstance(entry, str):
            for file in self._matches(entry):
                self._add(file.relative_to(self._folder).as_posix(), file)
        elif (
            isinstance(entry, dict)
            and isinstance(entry.get("source"), str)
            and isinstance(entry.get("destination"), str)
        ):
            source, destination = self._inside(entry["source"]), entry["destination"].strip("/")
            if ".." in PurePosixPath(destination).parts:
                raise _FaultError(f"the destination {clip(entry['destination'])} leads out of the root", _HELP)
            if source.is_file():
                self._add(f"{destination}/{source.name}", source)
                return
            if not source.is_dir():
                raise _FaultError(f"there is no {clip(entry['source'])}", "correct the path, or build it first")
            for file in sorted(source.rglob("*")):
                self._add(f"{destination}/{file.relative_to(source).as_posix()}", file)

    def _inside(self, path: str) -> Path:
        """A path in the folder. Raises _FaultError when it leads out of it."""
        if not path or PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
            raise _FaultError(f"{clip(path)} is not a path in the manifest's folder", _HELP)
        return self._folder / path

    def _matches(self, pattern: str) -> list[Path]:
        """The files that a pattern matches. Raises _FaultError when there are none."""
        self._inside(pattern)
        try:
            found = [file for file in sorted(self._folder.glob(pattern)) if file.is_file()]
        except (ValueError, NotImplementedError) as exc:
            raise _FaultError(f"{clip(pattern)} is not a pattern: {exc}", _HELP) from exc
        if not found:
            raise _FaultError(f"no file matches {clip(pattern)}", "correct the pattern, or build the files first")
        return found

    def _add(self, path: str, file: Path) -> None:
        """One file, unless it is excluded. Raises _FaultError for what cannot be taken."""
        relative = file.relative_to(self._folder)
        if not file.is_file() or any(_matches(relative, pattern) for pattern in self._excluded):
            return
        if not file.resolve().is_relative_to(self._folder):
            raise _FaultError(f"{clip(str(relative))} is a link out of the manifest's folder", "copy the file instead")
        size = file.stat().st_size
        if size > FILE_BYTES_MAX:
            raise _FaultError(f"{clip(str(relative))} is larger than {FILE_BYTES_MAX >> 20} MiB", _SMALLER)
        guest = "/" + path.lstrip("/")
        parts = guest[1:].split("/")
        if len(parts) > 32 or any(len(part) > 255 for part in parts):
            raise _FaultError(
                f"the path {clip(guest)} is deeper than 32 folders or has a name over 255 characters", _SMALLER
            )
        self._found[guest] = FileSource(guest, file, size)

    def _check_whole(self) -> None:
        if len(self._found) > FILES_MAX:
            self.faults.append(Fault(-1, f"{len(self._found)} files, the limit is {FILES_MAX}", _SMALLER))
        total = sum(file.size_bytes for file in self._found.values())
        if total > BUNDLE_BYTES_MAX:
            text = f"the files have {total >> 20} MiB together, the limit is {BUNDLE_BYTES_MAX >> 20} MiB"
            self.faults.append(Fault(-1, text, _SMALLER))
        for path in self._found:
            above = [str(parent) for parent in PurePosixPath(path).parents if str(parent) in self._found]
            if above:
                self.faults.append(Fault(-1, f"{clip(above[0])} is a file and a folder at once", _HELP))


class _FaultError(Exception):
    def __init__(self, message: str, help_text: str) -> None:
        super().__init__(message)
        self.message = message
        self.help = help_text


def _matches(relative: Path, pattern: str) -> bool:
    """Whether a path fits an exclusion: `**` stands for any number of folders, as in `files`."""
    return _fits(relative.parts, PurePosixPath(pattern).parts)


def _fits(parts: tuple[str, ...], pattern: tuple[str, ...]) -> bool:
    if not pattern:
        return not parts
    if pattern[0] == "**":
        return any(_fits(parts[at:], pattern[1:]) for at in range(len(parts) + 1))
    return bool(parts) and PurePosixPath(parts[0]).match(pattern[0]) and _fits(parts[1:], pattern[1:])


def bundle_problems(source: YamlSource, folder: Path, key: str, table: dict[str, Any]) -> Iterator[Problem]:
    """What is wrong with the files of the component `key`, with their places."""
    entries, excluded = table.get("files"), table.get("exclude_files")
    if not isinstance(entries, list):
        return
    for fault in Bundle(folder, entries, excluded if isinstance(excluded, list) else []).faults:
        at = ("component", key, "files", fault.at) if fault.at >= 0 else ("component", key, "files")
        yield source.problem(at, fault.message, fault.help)
