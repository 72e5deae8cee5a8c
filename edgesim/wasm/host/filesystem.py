"""wasi:filesystem: the files of the bundle, to be read. There is one preopened directory, `/`, where there are any files.

Nothing can be written (`read-only`), nothing outside can be named (`not-permitted`), and there are no links and no times.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from edgesim.errors import StorageError
from edgesim.wasm.files import FileError, GuestDirectory, GuestFile, find, open_for_reading
from edgesim.wasm.guest import CHUNK_BYTES
from edgesim.wasm.host.io import InputStream, IoError
from edgesim.wasm.linking import HostTable
from edgesim.wasm.values import Err, Var

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edgesim.wasm.component import ComponentGuest
    from edgesim.wasm.files import GuestNode

TABLE: Final = HostTable()
_TYPES: Final = "wasi:filesystem/types"
_SELF: Final = "[method]descriptor."


class Descriptor:
    """An open file or directory."""

    __slots__ = ("node",)

    def __init__(self, node: GuestNode) -> None:
        self.node = node

    def file(self) -> GuestFile:
        """The file. Raises Err(is-directory)."""
        if isinstance(self.node, GuestFile):
            return self.node
        raise Err("is-directory")

    def directory(self) -> GuestDirectory:
        """The directory. Raises Err(not-directory)."""
        if isinstance(self.node, GuestDirectory):
            return self.node
        raise Err("not-directory")

    def find(self, path: str) -> GuestNode:
        """What is at a path below it. Raises Err(error-code)."""
        try:
            return find(self.directory(), path)
        except FileError as exc:
            raise Err(exc.code) from exc


class FileSource:
    """A file as a stream."""

    __slots__ = ("_file", "_offset")

    ready = True

    def __init__(self, file: GuestFile, offset: int) -> None:
        self._file = file
        self._offset = offset

    @property
    def drained(self) -> bool:
        """Whether the end has been read."""
        return self._offset >= self._file.size_bytes

    def take(self, size: int) -> bytes:
        """The next bytes. Raises Err(stream-error) when the file cannot be read."""
        try:
            data = self._file.read(self._offset, size)
        except StorageError as exc:
            raise Err(Var("last-operation-failed", IoError(exc.message, file_code="io"))) from exc
        self._offset += len(data)
        return data

    async def fill(self) -> None:
        """It always is ready."""


class DirectoryStream:
    """The entries of a directory that have not been read yet."""

    __slots__ = ("entries",)

    def __init__(self, directory: GuestDirectory) -> None:
        self.entries: Iterator[tuple[str, GuestNode]] = iter(list(directory.entries.items()))


def kind_of(node: GuestNode) -> str:
    """A `descriptor-type`."""
    return "directory" if isinstance(node, GuestDirectory) else "regular-file"


def _stat(node: GuestNode) -> dict[str, Any]:
    return {
        "type": kind_of(node),
        "link-count": 1,
        "size": node.size_bytes if isinstance(node, GuestFile) else 0,
        "data-access-timestamp": None,
        "data-modification-timestamp": None,
        "status-change-timestamp": None,
    }


def _hash(node: GuestNode) -> dict[str, int]:
    return {"lower": node.number, "upper": 0}


@TABLE.add("wasi:filesystem/preopens", "get-directories")
def get_directories(guest: ComponentGuest) -> list[tuple[Descriptor, str]]:
    """The root, where there are files."""
    return [(Descriptor(guest.grants.files.root), "/")] if guest.grants.files else []


@TABLE.add(_TYPES, "filesystem-error-code")
def filesystem_error_code(_guest: ComponentGuest, error: IoError) -> str | None:
    """The file error behind a stream's error, if there is one."""
    return error.file_code


@TABLE.add(_TYPES, _SELF + "read-via-stream")
def read_via_stream(_guest: ComponentGuest, descriptor: Descriptor, offset: int) -> InputStream:
    """The file from an offset."""
    return InputStream(FileSource(descriptor.file(), offset))


@TABLE.add(_TYPES, _SELF + "read")
def read(_guest: ComponentGuest, descriptor: Descriptor, size: int, offset: int) -> tuple[bytes, bool]:
    """Bytes from an offset, at most a chunk, and whether the file ends there."""
    file = descriptor.file()
    try:
        data = file.read(offset, min(size, CHUNK_BYTES))
    except StorageError as exc:
        raise Err("io") from exc
    return data, offset + len(data) >= file.size_bytes


@TABLE.add(_TYPES, _SELF + "advise")
@TABLE.add(_TYPES, _SELF + "sync-data")
@TABLE.add(_TYPES, _SELF + "sync")
def nothing_to_do(_guest: ComponentGuest, _descriptor: Descriptor, *_args: Any) -> None:
    """It is all there already."""


@TABLE.add(_TYPES, _SELF + "get-flags")
def get_flags(_guest: ComponentGuest, _descriptor: Descriptor) -> set[str]:
    """To be read."""
    return {"read"}


@TABLE.add(_TYPES, _SELF + "get-type")
def get_type(_guest: ComponentGuest, descriptor: Descriptor) -> str:
    """A file or a directory."""
    return kind_of(descriptor.node)


@TABLE.add(_TYPES, _SELF + "read-directory")
def read_directory(_guest: ComponentGuest, descriptor: Descriptor) -> DirectoryStream:
    """Its entries, without `.` and `..`."""
    return DirectoryStream(descriptor.directory())


@TABLE.add(_TYPES, "[method]directory-entry-stream.read-directory-entry")
def read_directory_entry(_guest: ComponentGuest, stream: DirectoryStream) -> dict[str, str] | None:
    """The next one."""
    name, node = next(stream.entries, (None, None))
    return None if name is None or node is None else {"type": kind_of(node), "name": name}


@TABLE.add(_TYPES, _SELF + "stat")
def stat(_guest: ComponentGuest, descriptor: Descriptor) -> dict[str, Any]:
    """Type and size; no times."""
    return _stat(descriptor.node)


@TABLE.add(_TYPES, _SELF + "stat-at")
def stat_at(_guest: ComponentGuest, descriptor: Descriptor, _flags: set[str], path: str) -> dict[str, Any]:
    """Type and size of what is at a path."""
    return _stat(descriptor.find(path))


@TABLE.add(_TYPES, _SELF + "open-at")
def open_at(
    _guest: ComponentGuest, descriptor: Descriptor, _path_flags: set[str], path: str, opens: set[str], flags: set[str]
) -> Descriptor:
    """Open what is at a path."""
    try:
        node = open_for_reading(
            descriptor.directory(),
            path,
            directory="directory" in opens,
            create="create" in opens,
            exclusive="exclusive" in opens,
            write="truncate" in opens or bool(flags & {"write", "mutate-directory"}),
        )
    except FileError as exc:
        raise Err(exc.code) from exc
    return Descriptor(node)


@TABLE.add(_TYPES, _SELF + "readlink-at")
def readlink_at(_guest: ComponentGuest, descriptor: Descriptor, path: str) -> None:
    """Nothing is a link."""
    descriptor.find(path)
    raise Err("invalid")


@TABLE.add(_TYPES, _SELF + "is-same-object")
def is_same_object(_guest: ComponentGuest, descriptor: Descriptor, other: Descriptor) -> bool:
    """Whether both are the same file or directory."""
    return descriptor.node is other.node


@TABLE.add(_TYPES, _SELF + "metadata-hash")
def metadata_hash(_guest: ComponentGuest, descriptor: Descriptor) -> dict[str, int]:
    """A number of its own: what is deployed never changes."""
    return _hash(descriptor.node)


@TABLE.add(_TYPES, _SELF + "metadata-hash-at")
def metadata_hash_at(_guest: ComponentGuest, descriptor: Descriptor, _flags: set[str], path: str) -> dict[str, int]:
    """The number of what is at a path."""
    return _hash(descriptor.find(path))


@TABLE.add(_TYPES, *(_SELF + name for name in (
    "write-via-stream", "append-via-stream", "set-size", "set-times", "write", "create-directory-at", "set-times-at",
    "link-at", "remove-directory-at", "rename-at", "symlink-at", "unlink-file-at",
)))  # fmt: skip
def read_only(_guest: ComponentGuest, *_args: Any) -> None:
    """Nothing can be changed."""
    raise Err("read-only")
