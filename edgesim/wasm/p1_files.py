"""Descriptors of WASI preview 1: the three standard ones, and the read-only files of the bundle under a preopened `/`.

Descriptor 3 is the directory `/` where there are files at all. Nothing can be written (`rofs`), nothing outside can be named
(`notcapable`), and there are no links and no times.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from edgesim.errors import StorageError
from edgesim.wasm.files import FileError, GuestDirectory, GuestFile, find, open_for_reading
from edgesim.wasm.guest import CHUNK_BYTES
from edgesim.wasm.p1_errno import (
    EBADF,
    EEXIST,
    EINVAL,
    EIO,
    EISDIR,
    EMFILE,
    ENAMETOOLONG,
    ENOENT,
    ENOTCAPABLE,
    ENOTDIR,
    ENOTSUP,
    EROFS,
    ESPIPE,
    SUCCESS,
    P1Error,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edgesim.wasm.files import FileTree, GuestNode
    from edgesim.wasm.p1 import P1Guest

MAX_OPEN_FILES: Final = 256
_FIRST: Final = 3
_CHARACTER_DEVICE, _DIRECTORY, _REGULAR_FILE = 2, 3, 4
_RIGHTS_READ, _RIGHTS_SEEK, _RIGHTS_TELL, _RIGHTS_WRITE, _RIGHTS_POLL = 1 << 1, 1 << 2, 1 << 5, 1 << 6, 1 << 27
_RIGHTS_FILE: Final = _RIGHTS_READ | _RIGHTS_SEEK | _RIGHTS_TELL | 1 << 7 | 1 << 21 | _RIGHTS_POLL
_RIGHTS_DIRECTORY: Final = 1 << 13 | 1 << 14 | 1 << 15 | 1 << 18 | 1 << 21
"""path_open, fd_readdir, path_readlink, path_filestat_get, fd_filestat_get."""
_CREATE, _OPEN_DIRECTORY, _EXCLUSIVE, _TRUNCATE = 1, 2, 4, 8
_SET, _CURRENT, _END = 0, 1, 2
_DIRENT: Final = struct.Struct("<QQIB3x")
_FILESTAT: Final = struct.Struct("<QQB7xQQQQQ")
_FDSTAT: Final = struct.Struct("<BxHxxxxQQ")
_ERRNO: Final = {
    "exist": EEXIST, "is-directory": EISDIR, "name-too-long": ENAMETOOLONG, "no-entry": ENOENT, "not-directory": ENOTDIR,
    "not-permitted": ENOTCAPABLE, "read-only": EROFS, "invalid": EINVAL,
}  # fmt: skip


class _Open:
    """An open file or directory."""

    __slots__ = ("node", "offset")

    def __init__(self, node: GuestNode) -> None:
        self.node = node
        self.offset = 0


class OpenFiles:
    """The descriptors of one guest from 3 on."""

    __slots__ = ("_open",)

    def __init__(self, tree: FileTree) -> None:
        self._open: dict[int, _Open] = {_FIRST: _Open(tree.root)} if tree else {}

    def get(self, fd: int) -> _Open:
        """What is open there. Raises P1Error(EBADF)."""
        found = self._open.get(fd)
        if found is None:
            raise P1Error(EBADF)
        return found

    def file(self, fd: int) -> tuple[_Open, GuestFile]:
        """The file that is open there. Raises P1Error."""
        found = self.get(fd)
        if not isinstance(found.node, GuestFile):
            raise P1Error(EISDIR)
        return found, found.node

    def directory(self, fd: int) -> GuestDirectory:
        """The directory that is open there. Raises P1Error."""
        node = self.get(fd).node
        if not isinstance(node, GuestDirectory):
            raise P1Error(ENOTDIR)
        return node

    def add(self, node: GuestNode) -> int:
        """Open a node under the lowest free number. Raises P1Error(EMFILE)."""
        if len(self._open) >= MAX_OPEN_FILES:
            raise P1Error(EMFILE)
        fd = _FIRST
        while fd in self._open:
            fd += 1
        self._open[fd] = _Open(node)
        return fd

    def close(self, fd: int) -> None:
        """Raises P1Error(EBADF)."""
        self.get(fd)
        del self._open[fd]

    def renumber(self, fd: int, to: int) -> None:
        """Move a descriptor over another that is open. Raises P1Error(EBADF)."""
        self.get(to)
        self._open[to] = self.get(fd)
        if fd != to:
            del self._open[fd]


def files(guest: P1Guest) -> OpenFiles:
    """The guest's descriptors. Raises P1Error(EBADF) for a guest of another ABI, which has none."""
    found: OpenFiles | None = getattr(guest, "files", None)
    if found is None:
        raise P1Error(EBADF)
    return found


def is_open(guest: P1Guest, fd: int) -> bool:
    """Whether a descriptor from 3 on is open."""
    try:
        files(guest).get(fd)
    except P1Error:
        return False
    return True


def read_file(guest: P1Guest, fd: int, targets: Sequence[tuple[int, int]], out: int, offset: int | None = None) -> int:
    """Scatter bytes of a file, from its own position or from `offset`."""
    opened, file = files(guest).file(fd)
    wanted = min(CHUNK_BYTES, sum(size for _, size in targets))
    try:
        data = file.read(opened.offset if offset is None else offset, wanted)
    except StorageError as exc:
        raise P1Error(EIO) from exc
    at = 0
    for pointer, size in targets:
        piece = data[at : at + size]
        if not piece:
            break
        guest.write(pointer, piece)
        at += len(piece)
    if offset is None:
        opened.offset += at
    guest.write_u32(out, at)
    return SUCCESS


def _fd_pread(guest: P1Guest, fd: int, iovs: int, count: int, offset: int, out: int) -> int:  # noqa: PLR0917 - preview 1's
    if fd < _FIRST:
        return ESPIPE
    return read_file(guest, fd, guest.iovecs(iovs, count), out, offset)


def _fd_pwrite(guest: P1Guest, fd: int, *_args: int) -> int:
    """Standard streams are pipes: Zig's writer tries this first, and goes on with `fd_write` after ESPIPE."""
    return ESPIPE if fd < _FIRST else _read_only(guest, fd)


def _fd_close(guest: P1Guest, fd: int) -> int:
    if fd >= _FIRST:
        files(guest).close(fd)
    return SUCCESS


def _fd_renumber(guest: P1Guest, fd: int, to: int) -> int:
    if fd < _FIRST or to < _FIRST:
        return ENOTSUP
    files(guest).renumber(fd, to)
    return SUCCESS


def _fd_fdstat_get(guest: P1Guest, fd: int, out: int) -> int:
    if fd < _FIRST:
        rights = (_RIGHTS_WRITE if fd else _RIGHTS_READ) | _RIGHTS_POLL
        guest.write(out, _FDSTAT.pack(_CHARACTER_DEVICE, 0, rights, 0))
        return SUCCESS
    if isinstance(files(guest).get(fd).node, GuestFile):
        guest.write(out, _FDSTAT.pack(_REGULAR_FILE, 0, _RIGHTS_FILE, 0))
    else:
        guest.write(out, _FDSTAT.pack(_DIRECTORY, 0, _RIGHTS_DIRECTORY, _RIGHTS_FILE | _RIGHTS_DIRECTORY))
    return SUCCESS


def _fd_fdstat_set_flags(guest: P1Guest, fd: int, _flags: int) -> int:
    if fd >= _FIRST:
        files(guest).get(fd)
    return ENOTSUP


def _filestat(node: GuestNode) -> bytes:
    if isinstance(node, GuestFile):
        return _FILESTAT.pack(0, node.number, _REGULAR_FILE, 1, node.size_bytes, 0, 0, 0)
    return _FILESTAT.pack(0, node.number, _DIRECTORY, 1, 0, 0, 0, 0)


def _fd_filestat_get(guest: P1Guest, fd: int, out: int) -> int:
    if fd < _FIRST:
        guest.write(out, _FILESTAT.pack(0, fd, _CHARACTER_DEVICE, 1, 0, 0, 0, 0))
    else:
        guest.write(out, _filestat(files(guest).get(fd).node))
    return SUCCESS


def _fd_seek(guest: P1Guest, fd: int, offset: int, whence: int, out: int) -> int:
    if fd < _FIRST:
        return ESPIPE
    opened, file = files(guest).file(fd)
    begin = {_SET: 0, _CURRENT: opened.offset, _END: file.size_bytes}.get(whence)
    signed = offset - (1 << 64) if offset >> 63 else offset
    if begin is None or not 0 <= begin + signed < 1 << 63:
        return EINVAL
    opened.offset = begin + signed
    guest.write(out, opened.offset.to_bytes(8, "little"))
    return SUCCESS


def _fd_tell(guest: P1Guest, fd: int, out: int) -> int:
    if fd < _FIRST:
        return ESPIPE
    guest.write(out, files(guest).file(fd)[0].offset.to_bytes(8, "little"))
    return SUCCESS


def _fd_nothing_to_do(guest: P1Guest, fd: int, *_args: int) -> int:
    """`fd_advise`, `fd_sync`, `fd_datasync`: it is all there already."""
    if fd >= _FIRST:
        files(guest).get(fd)
    return SUCCESS


def _fd_prestat_get(guest: P1Guest, fd: int, out: int) -> int:
    _preopened(guest, fd)
    guest.write(out, struct.pack("<II", 0, 1))
    return SUCCESS


def _fd_prestat_dir_name(guest: P1Guest, fd: int, path: int, size: int) -> int:
    _preopened(guest, fd)
    if size < 1:
        return ENAMETOOLONG
    guest.write(path, b"/")
    return SUCCESS


def _preopened(guest: P1Guest, fd: int) -> None:
    """Only descriptor 3 is. Raises P1Error(EBADF), at which a C library stops looking for more."""
    if fd != _FIRST:
        raise P1Error(EBADF)
    files(guest).directory(fd)


def _path(guest: P1Guest, pointer: int, size: int) -> str:
    if size > 4 * CHUNK_BYTES:
        raise P1Error(ENAMETOOLONG)
    try:
        return guest.read(pointer, size).decode()
    except UnicodeDecodeError as exc:
        raise P1Error(EINVAL) from exc


def _path_open(  # noqa: PLR0917 - as above
    guest: P1Guest, fd: int, _lookup: int, path: int, size: int, flags: int, rights: int, _inherited: int, _fd_flags: int,
    out: int,
) -> int:  # fmt: skip
    opened = files(guest)
    try:
        node = open_for_reading(
            opened.directory(fd),
            _path(guest, path, size),
            directory=bool(flags & _OPEN_DIRECTORY),
            create=bool(flags & _CREATE),
            exclusive=bool(flags & _EXCLUSIVE),
            write=bool(flags & _TRUNCATE),
        )
    except FileError as exc:
        return _ERRNO[exc.code]
    if rights & _RIGHTS_WRITE and not rights & _RIGHTS_READ:  # some libraries ask for every right, to read only
        return EROFS
    guest.write_u32(out, opened.add(node))
    return SUCCESS


def _node_at(guest: P1Guest, fd: int, path: int, size: int) -> GuestNode:
    try:
        return find(files(guest).directory(fd), _path(guest, path, size))
    except FileError as exc:
        raise P1Error(_ERRNO[exc.code]) from exc


def _path_filestat_get(guest: P1Guest, fd: int, _lookup: int, path: int, size: int, out: int) -> int:
    guest.write(out, _filestat(_node_at(guest, fd, path, size)))
    return SUCCESS


def _path_readlink(guest: P1Guest, fd: int, path: int, size: int, *_args: int) -> int:
    _node_at(guest, fd, path, size)
    return EINVAL  # it is no link


def _read_only(guest: P1Guest, fd: int, *_args: int) -> int:
    """Whatever would change a directory or a file."""
    if fd < _FIRST:
        return EBADF
    files(guest).get(fd)
    return EROFS


def _path_symlink(guest: P1Guest, _path: int, _size: int, fd: int, *_args: int) -> int:
    return _read_only(guest, fd)


def _fd_readdir(guest: P1Guest, fd: int, buffer: int, size: int, cookie: int, out: int) -> int:  # noqa: PLR0917 - as above
    entries = list(files(guest).directory(fd).entries.items())
    parts: list[bytes] = []
    used = 0
    for number, (name, node) in enumerate(entries[cookie:] if cookie < len(entries) else [], cookie + 1):
        encoded = name.encode()
        kind = _REGULAR_FILE if isinstance(node, GuestFile) else _DIRECTORY
        parts.append(_DIRENT.pack(number, node.number, len(encoded), kind) + encoded)
        used += len(parts[-1])
        if used >= size:  # what is cut off is asked for again, and a full buffer says that there may be more
            break
    data = b"".join(parts)[:size]
    guest.write(buffer, data)
    guest.write_u32(out, len(data))
    return SUCCESS


AT_ONCE: Final[dict[str, Callable[..., int]]] = {
    "fd_advise": _fd_nothing_to_do, "fd_sync": _fd_nothing_to_do, "fd_datasync": _fd_nothing_to_do, "fd_close": _fd_close,
    "fd_fdstat_get": _fd_fdstat_get, "fd_fdstat_set_flags": _fd_fdstat_set_flags, "fd_filestat_get": _fd_filestat_get,
    "fd_pread": _fd_pread, "fd_prestat_get": _fd_prestat_get, "fd_prestat_dir_name": _fd_prestat_dir_name,
    "fd_readdir": _fd_readdir, "fd_renumber": _fd_renumber, "fd_seek": _fd_seek, "fd_tell": _fd_tell,
    "path_open": _path_open, "path_filestat_get": _path_filestat_get, "path_readlink": _path_readlink,
    "fd_allocate": _read_only, "fd_filestat_set_size": _read_only, "fd_filestat_set_times": _read_only,
    "fd_pwrite": _fd_pwrite, "path_create_directory": _read_only, "path_filestat_set_times": _read_only,
    "path_link": _read_only, "path_remove_directory": _read_only, "path_rename": _read_only,
    "path_symlink": _path_symlink, "path_unlink_file": _read_only,
}  # fmt: skip
"""Functions that never wait: fn(guest, *unsigned ints) -> error number, or P1Error."""
