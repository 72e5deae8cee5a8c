"""Error numbers of WASI preview 1 (`errno` in typenames.witx), as far as they are used, and the exception that carries one."""

from __future__ import annotations

SUCCESS, EBADF, EEXIST, EFAULT, EINVAL, EIO, EISDIR = 0, 8, 20, 21, 28, 29, 31
EMFILE, ENAMETOOLONG, ENOENT, ENOSYS, ENOTDIR = 33, 37, 44, 52, 54
ENOTSUP, EPIPE, EROFS, ESPIPE, ENOTCAPABLE = 58, 64, 69, 70, 76


class P1Error(Exception):
    """Ends a host function with a WASI error number."""

    def __init__(self, errno: int) -> None:
        super().__init__(errno)
        self.errno = errno
