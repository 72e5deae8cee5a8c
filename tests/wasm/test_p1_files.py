"""Bundled files for WASI preview 1, over a memory that is a bytearray."""

from __future__ import annotations

import struct

import pytest

from edgesim.wasm.files import FileTree
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
from edgesim.wasm.p1_files import AT_ONCE, MAX_OPEN_FILES, OpenFiles, is_open, read_file

PATH, OUT, BUFFER = 0, 512, 1024


class Memory:
    """A guest: its memory and its descriptors."""

    def __init__(self, tree: FileTree | None):
        self.data = bytearray(8192)
        if tree is not None:
            self.files = OpenFiles(tree)

    def read(self, pointer, size):
        """Bytes."""
        return bytes(self.data[pointer : pointer + size])

    def write(self, pointer, data):
        """Put bytes."""
        self.data[pointer : pointer + len(data)] = data

    def write_u32(self, pointer, value):
        """Put a number."""
        self.write(pointer, value.to_bytes(4, "little"))

    def iovecs(self, pointer, count):
        """One range at BUFFER, as long as `count` says."""
        return [(BUFFER, count)]

    def call(self, name, *args) -> int:
        """A function of preview 1; its error number."""
        try:
            return AT_ONCE[name](self, *args)
        except P1Error as exc:
            return exc.errno

    def u32(self) -> int:
        """What a function has left at OUT."""
        return int.from_bytes(self.read(OUT, 4), "little")

    def open(self, path: str, *, fd: int = 3, flags: int = 0, rights: int = 2) -> int:
        """path_open."""
        encoded = path.encode()
        self.write(PATH, encoded)
        return self.call("path_open", fd, 0, PATH, len(encoded), flags, rights, 0, 0, OUT)

    def listing(self, size: int) -> list[str]:
        """All names of the root, read through a buffer of `size` bytes."""
        names, cookie = [], 0
        while True:
            assert self.call("fd_readdir", 3, BUFFER, size, cookie, OUT) == SUCCESS
            used, at = self.u32(), 0
            while at + 24 <= used:
                following, _, length, _ = struct.unpack_from("<QQIB", self.data, BUFFER + at)
                if at + 24 + length > used:
                    break
                names.append(self.read(BUFFER + at + 24, length).decode())
                cookie, at = following, at + 24 + length
            if used < size:
                return names


@pytest.fixture
def guest(tmp_path) -> Memory:
    """A guest with files."""
    (tmp_path / "a").write_bytes(b"hello world")
    files = [("/a.txt", tmp_path / "a", 11), ("/dir/b", tmp_path / "a", 11), ("/gone", tmp_path / "no", 1)]
    return Memory(FileTree([*files, *((f"/n{i:02}", tmp_path / "a", 11) for i in range(20))]))


def test_the_root_is_preopened(guest):
    """Descriptor 3 alone; without files there is none, and other ABIs' guests have no descriptors."""
    assert guest.call("fd_prestat_get", 3, OUT) == SUCCESS
    assert struct.unpack("<II", guest.read(OUT, 8)) == (0, 1)
    assert guest.call("fd_prestat_dir_name", 3, BUFFER, 1) == SUCCESS
    assert guest.read(BUFFER, 1) == b"/"
    assert guest.call("fd_prestat_dir_name", 3, BUFFER, 0) == ENAMETOOLONG
    assert guest.call("fd_prestat_get", 4, OUT) == EBADF
    assert Memory(FileTree()).call("fd_prestat_get", 3, OUT) == EBADF
    assert Memory(None).call("fd_prestat_get", 3, OUT) == EBADF


def test_a_file_is_read_and_sought(guest):
    """From its position, from an offset, and from where it was put."""
    assert guest.open("a.txt") == SUCCESS
    fd = guest.u32()
    assert fd == 4
    assert read_file(guest, fd, [(BUFFER, 3), (BUFFER + 3, 2)], OUT) == SUCCESS
    assert (guest.u32(), guest.read(BUFFER, 5)) == (5, b"hello")
    assert guest.call("fd_pread", fd, 0, 5, 6, OUT) == SUCCESS
    assert guest.read(BUFFER, 5) == b"world"
    assert guest.call("fd_tell", fd, OUT) == SUCCESS
    assert guest.u32() == 5
    for offset, whence, at in ((3, 0, 3), (2, 1, 5), ((1 << 64) - 1, 2, 10), (100, 0, 100)):
        assert guest.call("fd_seek", fd, offset, whence, OUT) == SUCCESS
        assert guest.u32() == at
    assert read_file(guest, fd, [(BUFFER, 3)], OUT) == SUCCESS
    assert guest.u32() == 0
    for offset, whence in (((1 << 64) - 1, 0), (0, 3), ((1 << 63) - 1, 1)):
        assert guest.call("fd_seek", fd, offset, whence, OUT) == EINVAL


def test_descriptors_come_and_go(guest):
    """The lowest free number, a limit, renumbering over one that is open."""
    assert guest.open("a.txt") == guest.open("dir/b") == SUCCESS
    assert guest.u32() == 5
    assert guest.call("fd_renumber", 5, 4) == SUCCESS
    assert not is_open(guest, 5)
    assert guest.call("fd_renumber", 4, 9) == EBADF
    assert guest.call("fd_renumber", 4, 1) == ENOTSUP
    assert guest.call("fd_close", 4) == SUCCESS
    assert guest.call("fd_close", 4) == EBADF
    for _ in range(MAX_OPEN_FILES - 1):
        assert guest.open("a.txt") == SUCCESS
    assert guest.open("a.txt") == EMFILE


@pytest.mark.parametrize(
    ("path", "more", "errno"),
    [
        ("nothing", {}, ENOENT), ("../a.txt", {}, ENOTCAPABLE), ("/a.txt", {}, ENOTCAPABLE), ("a.txt/x", {}, ENOTDIR),
        ("a.txt", {"flags": 2}, ENOTDIR), ("new", {"flags": 1}, EROFS), ("a.txt", {"flags": 1 | 4}, EEXIST),
        ("a.txt", {"flags": 8}, EROFS), ("dir", {"flags": 8}, EISDIR), ("a.txt", {"rights": 1 << 6}, EROFS),
        ("a.txt", {"fd": 9}, EBADF), ("x" * 5000, {}, ENAMETOOLONG), ("a.txt", {"rights": (1 << 30) - 1}, SUCCESS),
    ],
)  # fmt: skip
def test_what_can_be_opened(guest, path, more, errno):
    """Files that are there, to be read; libraries that ask for every right are content with reading."""
    assert guest.open(path, **more) == errno


def test_paths_must_be_utf_8(guest):
    """Others cannot be in a manifest."""
    guest.write(PATH, b"\xff")

    assert guest.call("path_open", 3, 0, PATH, 1, 0, 2, 0, 0, OUT) == EINVAL


def test_what_a_descriptor_is(guest):
    """Type, size, rights; of standard streams too."""
    guest.open("a.txt")
    for fd, kind in ((0, 2), (1, 2), (3, 3), (4, 4)):
        assert guest.call("fd_fdstat_get", fd, OUT) == guest.call("fd_filestat_get", fd, BUFFER) == SUCCESS
        assert guest.read(OUT, 1)[0] == guest.read(BUFFER + 16, 1)[0] == kind
    assert struct.unpack_from("<Q", guest.data, BUFFER + 32) == (11,)
    guest.write(PATH, b"dir/b")
    assert guest.call("path_filestat_get", 3, 0, PATH, 5, BUFFER) == SUCCESS
    assert struct.unpack_from("<Q", guest.data, BUFFER + 32) == (11,)
    assert guest.call("path_readlink", 3, PATH, 5, BUFFER, 9, OUT) == EINVAL
    assert guest.call("path_filestat_get", 3, 0, PATH, 2, BUFFER) == ENOENT


@pytest.mark.parametrize("size", [24 + 6, 64, 100, 4096])
def test_a_directory_is_listed_through_any_buffer(guest, size):
    """Entries that are cut off are asked for again."""
    assert guest.listing(size) == ["a.txt", "dir", "gone", *(f"n{i:02}" for i in range(20))]


def test_a_directory_ends(guest):
    """A position beyond its end is empty."""
    assert guest.call("fd_readdir", 3, BUFFER, 100, 1 << 40, OUT) == SUCCESS
    assert guest.u32() == 0


@pytest.mark.parametrize(
    ("name", "args", "errno"),
    [
        ("path_create_directory", (3, PATH, 1), EROFS), ("path_unlink_file", (3, PATH, 1), EROFS),
        ("path_rename", (3, PATH, 1, 3, PATH, 1), EROFS), ("path_symlink", (PATH, 1, 3, PATH, 1), EROFS),
        ("fd_filestat_set_size", (3, 0), EROFS), ("fd_pwrite", (9, 0, 0, 0, OUT), EBADF), ("fd_sync", (9,), EBADF),
        ("fd_advise", (3, 0, 0, 0), SUCCESS), ("fd_pread", (0, 0, 5, 0, OUT), ESPIPE), ("fd_seek", (1, 0, 0, OUT), ESPIPE),
        ("fd_tell", (2, OUT), ESPIPE), ("fd_tell", (3, OUT), EISDIR), ("fd_readdir", (4, BUFFER, 9, 0, OUT), EBADF),
        ("fd_fdstat_set_flags", (3, 0), ENOTSUP), ("path_unlink_file", (1, PATH, 1), EBADF),
    ],
)  # fmt: skip
def test_the_rest(guest, name, args, errno):
    """Writing is refused, and what is no file is no file."""
    assert guest.call(name, *args) == errno


def test_a_blob_that_is_gone(guest):
    """An input/output error."""
    guest.open("gone")

    with pytest.raises(P1Error) as caught:
        read_file(guest, guest.u32(), [(BUFFER, 1)], OUT)
    assert caught.value.errno == EIO
