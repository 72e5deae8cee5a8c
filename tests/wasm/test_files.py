"""Bundled files as a tree: what is where, what is read, and that nothing leads out."""

from __future__ import annotations

import pytest

from edgesim.errors import StorageError
from edgesim.wasm.files import FileError, FileTree, GuestDirectory, find, open_for_reading


@pytest.fixture
def tree(tmp_path) -> FileTree:
    """`/a.txt`, `/dir/b.bin` of 100,000 bytes, `/dir/deep/empty`."""
    contents = {"/a.txt": b"hello", "/dir/b.bin": bytes(range(250)) * 400, "/dir/deep/empty": b""}
    files = []
    for number, (path, content) in enumerate(contents.items()):
        (tmp_path / str(number)).write_bytes(content)
        files.append((path, tmp_path / str(number), len(content)))
    return FileTree(files)


def test_reading(tree):
    """Any range; nothing beyond the end; an empty file; one mapping for all reads."""
    file = find(tree.root, "dir/b.bin")

    assert file.read(248, 4) == bytes([248, 249, 0, 1])
    assert file.read(99_999, 10) == bytes([249])
    assert file.read(100_000, 10) == file.read(1 << 63, 10) == b""
    assert find(tree.root, "dir/deep/empty").read(0, 10) == b""
    assert find(tree.root, "./a.txt").read(1, 2) == b"el"


def test_an_empty_tree_is_no_tree():
    """So that no directory is preopened."""
    assert not FileTree()


def test_every_node_has_a_number_of_its_own(tree):
    """It stands for an inode."""
    numbers = []
    todo = [tree.root]
    while todo:
        node = todo.pop()
        numbers.append(node.number)
        if isinstance(node, GuestDirectory):
            todo += node.entries.values()

    assert len(set(numbers)) == len(numbers) == 6


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("", "no-entry"), ("gone", "no-entry"), ("dir/gone", "no-entry"), ("a.txt/x", "not-directory"),
        ("a.txt/", "not-directory"), ("a.txt/..", "not-directory"), ("/a.txt", "not-permitted"), ("/", "not-permitted"),
        ("..", "not-permitted"), ("dir/../..", "not-permitted"), ("dir/deep/../../../x", "not-permitted"),
        ("../a.txt", "not-permitted"), ("a\0b", "invalid"), ("x" * 5000, "name-too-long"),
    ],
)  # fmt: skip
def test_paths_that_lead_nowhere(tree, path, code):
    """And those that would lead out."""
    with pytest.raises(FileError) as caught:
        find(tree.root, path)

    assert caught.value.code == code


@pytest.mark.parametrize("path", [".", "dir/..", "dir/deep/../..", "./"])
def test_paths_back_to_the_beginning(tree, path):
    """Are the directory itself."""
    assert find(tree.root, path) is tree.root


def test_a_descriptor_of_a_folder_does_not_lead_above_it(tree):
    """Its own parent is out of reach, though it is in the tree."""
    with pytest.raises(FileError, match="not-permitted"):
        find(find(tree.root, "dir"), "../a.txt")


@pytest.mark.parametrize(
    ("path", "flags", "code"),
    [
        ("new", {"create": True}, "read-only"),
        ("a.txt", {"create": True, "exclusive": True}, "exist"),
        ("a.txt", {"directory": True}, "not-directory"),
        ("a.txt", {"write": True}, "read-only"),
        ("dir", {"write": True}, "is-directory"),
        ("new", {"write": True}, "no-entry"),
    ],
)
def test_nothing_can_be_written(tree, path, flags, code):
    """With POSIX's errors."""
    options = dict.fromkeys(("directory", "create", "exclusive", "write"), False) | flags
    with pytest.raises(FileError) as caught:
        open_for_reading(tree.root, path, **options)

    assert caught.value.code == code
    if flags == {"create": True}:
        assert open_for_reading(tree.root, "a.txt", **options).size_bytes == 5


def test_a_blob_that_is_gone_or_other_is_told(tmp_path):
    """A disk can lose files."""
    (tmp_path / "short").write_bytes(b"x")
    tree = FileTree([("/gone", tmp_path / "gone", 5), ("/short", tmp_path / "short", 5)])

    for name in ("gone", "short"):
        with pytest.raises(StorageError):
            find(tree.root, name).read(0, 1)
