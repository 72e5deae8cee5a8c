"""The read-only files of a bundle as a guest sees them: a tree of directories whose files are mapped when they are first read.

Contents are blobs that were verified when they were fetched. There are no links, no devices and no times; nothing of the
host's file system can be reached, since a path is looked up here and never there.
"""

from __future__ import annotations

import mmap
from typing import TYPE_CHECKING, Final, TypeAlias

from edgesim.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

MAX_PATH_CHARS: Final = 4096


class GuestFile:
    """One file. Its number is unique in its tree."""

    __slots__ = ("_content", "_source", "number", "size_bytes")

    def __init__(self, number: int, source: Path, size_bytes: int) -> None:
        self.number = number
        self.size_bytes = size_bytes
        self._source = source
        self._content: mmap.mmap | None = None

    def read(self, offset: int, size: int) -> bytes:
        """At most `size` bytes from `offset`; empty at the end. Raises StorageError when the blob is gone or too short."""
        if offset >= self.size_bytes or size <= 0:
            return b""
        if self._content is None:
            try:
                with self._source.open("rb") as stream:
                    content = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
            except (OSError, ValueError) as exc:  # ValueError: an empty file cannot be mapped
                raise StorageError(f"a file of the worker cannot be read: {exc}", where=str(self._source)) from exc
            if len(content) != self.size_bytes:
                raise StorageError("a file of the worker is not what was released", where=str(self._source))
            self._content = content
        return self._content[offset : offset + size]


class GuestDirectory:
    """One directory: names to files and directories, in order."""

    __slots__ = ("entries", "number")

    def __init__(self, number: int) -> None:
        self.number = number
        self.entries: dict[str, GuestNode] = {}


class FileError(Exception):
    """Why a file operation fails: a case of `wasi:filesystem/types.error-code`."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


GuestNode: TypeAlias = "GuestFile | GuestDirectory"


def _check_path(path: str) -> None:
    """Raises FileError for what cannot be a relative path."""
    if len(path) > MAX_PATH_CHARS:
        raise FileError("name-too-long")
    if path.startswith("/"):
        raise FileError("not-permitted")
    if not path:
        raise FileError("no-entry")
    if "\0" in path:
        raise FileError("invalid")


def find(start: GuestDirectory, path: str) -> GuestNode:
    """What is at a path relative to a directory. Raises FileError; a way out of the directory is `not-permitted`."""
    _check_path(path)
    way: list[GuestNode] = [start]
    for part in path.split("/"):
        directory = way[-1]
        if not isinstance(directory, GuestDirectory):
            raise FileError("not-directory")
        if part == "..":
            way.pop()
            if not way:
                raise FileError("not-permitted")
        elif part not in ("", "."):
            if part not in directory.entries:
                raise FileError("no-entry")
            way.append(directory.entries[part])
    return way[-1]


def open_for_reading(
    start: GuestDirectory, path: str, *, directory: bool, create: bool, exclusive: bool, write: bool
) -> GuestNode:
    """What `open-at` and `path_open` open, with POSIX's rules for a read-only file system. Raises FileError.

    Args:
        start: where the path begins.
        path: relative.
        directory: it must be a directory.
        create: it may be missing, which cannot be helped here.
        exclusive: with `create`, it must be missing.
        write: it is to be written or truncated.
    """
    try:
        node = find(start, path)
    except FileError as exc:
        if create and exc.code == "no-entry":
            raise FileError("read-only") from exc
        raise
    if create and exclusive:
        raise FileError("exist")
    if directory and isinstance(node, GuestFile):
        raise FileError("not-directory")
    if write:
        raise FileError("read-only" if isinstance(node, GuestFile) else "is-directory")
    return node


class FileTree:
    """Every file of one worker, under `/`."""

    __slots__ = ("_last", "root")

    def __init__(self, files: Iterable[tuple[str, Path, int]] = ()) -> None:
        """Lay the tree out.

        Args:
            files: (absolute path in the guest, blob on disk, size in bytes). A path that runs through a file is left out;
                the manifest refuses it.
        """
        self._last = 1
        self.root = GuestDirectory(1)
        for path, source, size_bytes in files:
            *folders, name = [part for part in path.split("/") if part]
            directory: GuestNode = self.root
            for folder in folders:
                if isinstance(directory, GuestDirectory):
                    directory = directory.entries.setdefault(folder, GuestDirectory(self._number()))
            if isinstance(directory, GuestDirectory):
                directory.entries.setdefault(name, GuestFile(self._number(), source, size_bytes))

    def __bool__(self) -> bool:
        return bool(self.root.entries)

    def __iter__(self) -> Iterator[tuple[str, GuestNode]]:
        return iter(self.root.entries.items())

    def _number(self) -> int:
        self._last += 1
        return self._last
