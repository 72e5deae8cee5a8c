"""The read-only files of a bundle as a guest sees them: a tree of directories whose files are mapped when they are first read.

Contents are blobs that were verified when they were fetched. There are no links, no devices and no times; nothing of the
host's file system can be reached, since a path is looked up here and never there.
"""

from __future__ import annotations

import mmap
from typing import TYPE_CHECKING, TypeAlias

from edgesim.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path


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


GuestNode: TypeAlias = "GuestFile | GuestDirectory"


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
