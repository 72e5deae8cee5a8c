"""wasi:filesystem over bundled files, and the small packages: config, logging, sockets, clocks, cli, random."""

from __future__ import annotations

import pytest

from edgesim.errors import GuestTrapError
from edgesim.wasm.files import FileTree
from edgesim.wasm.guest import Exited, Grants
from edgesim.wasm.values import Err, Var
from tests.support.host import HostGuest

FILE = "wasi:filesystem/types#[method]descriptor."
ENTRY = "wasi:filesystem/types#[method]directory-entry-stream.read-directory-entry"
IN = "wasi:io/streams#[method]input-stream."


@pytest.fixture
def guest(tmp_path) -> HostGuest:
    """A guest with files and variables."""
    (tmp_path / "a").write_bytes(b"hello")
    (tmp_path / "b").write_bytes(bytes(100_000))
    files = FileTree(
        [("/a.txt", tmp_path / "a", 5), ("/dir/b", tmp_path / "b", 100_000), ("/gone", tmp_path / "no", 1)]
    )
    return HostGuest(grants=Grants(files=files, variables=(("key", "value"), ("other", "x"))))


def root(guest: HostGuest):
    """The preopened directory."""
    ((descriptor, path),) = guest.call("wasi:filesystem/preopens#get-directories")

    assert path == "/"
    return descriptor


def opened(guest: HostGuest, path: str, opens: set[str] = frozenset(), flags: set[str] = frozenset({"read"})):
    """A descriptor below the root."""
    return guest.call(FILE + "open-at", root(guest), {"symlink-follow"}, path, opens, flags)


def test_without_files_nothing_is_preopened():
    """A C library then says that there is no such file."""
    assert HostGuest().call("wasi:filesystem/preopens#get-directories") == []


async def test_a_file_is_read(guest):
    """By offset, with its end, and as a stream from an offset."""
    file = opened(guest, "a.txt")

    assert guest.call(FILE + "read", file, 3, 0) == (b"hel", False)
    assert guest.call(FILE + "read", file, 30, 3) == (b"lo", True)
    assert guest.call(FILE + "read", file, 30, 9) == (b"", True)
    stream = guest.call(FILE + "read-via-stream", file, 1)
    assert guest.call(IN + "read", stream, 2) == b"el"
    assert guest.call(IN + "subscribe", stream).ready()
    assert guest.call(IN + "blocking-read", stream, 100) == b"lo"
    assert guest.err(IN + "read", stream, 1) == Var("closed")


def test_a_read_has_a_limit(guest):
    """A chunk at once."""
    data, ended = guest.call(FILE + "read", opened(guest, "dir/b"), 1 << 40, 0)

    assert (len(data), ended) == (65536, False)


def test_what_a_file_is(guest):
    """Type, size and number; no times."""
    file, directory = opened(guest, "a.txt"), opened(guest, "dir")
    stat = guest.call(FILE + "stat", file)

    assert (stat["type"], stat["size"], stat["data-modification-timestamp"]) == ("regular-file", 5, None)
    assert guest.call(FILE + "stat-at", root(guest), set(), "dir/b")["size"] == 100_000
    assert guest.call(FILE + "get-type", directory) == "directory"
    assert guest.call(FILE + "get-flags", file) == {"read"}
    assert guest.call(FILE + "is-same-object", file, opened(guest, "dir/../a.txt"))
    assert not guest.call(FILE + "is-same-object", file, directory)
    same = guest.call(FILE + "metadata-hash-at", root(guest), set(), "a.txt")
    assert guest.call(FILE + "metadata-hash", file) == same != guest.call(FILE + "metadata-hash", directory)
    assert guest.call(FILE + "advise", file, 0, 1, "random") is None
    assert guest.call(FILE + "sync", file) is None


def test_a_directory_is_listed(guest):
    """Each entry once, then none."""
    stream = guest.call(FILE + "read-directory", root(guest))
    found = [guest.call(ENTRY, stream) for _ in range(5)]

    assert found[:3] == [
        {"type": "regular-file", "name": "a.txt"},
        {"type": "directory", "name": "dir"},
        {"type": "regular-file", "name": "gone"},
    ]
    assert found[3:] == [None, None]


@pytest.mark.parametrize(
    ("call", "code"),
    [
        (lambda g: opened(g, "nothing"), "no-entry"),
        (lambda g: opened(g, "../x"), "not-permitted"),
        (lambda g: opened(g, "/etc/passwd"), "not-permitted"),
        (lambda g: opened(g, "a.txt", {"directory"}), "not-directory"),
        (lambda g: opened(g, "a.txt", {"truncate"}), "read-only"),
        (lambda g: opened(g, "a.txt", set(), {"write"}), "read-only"),
        (lambda g: opened(g, "new", {"create"}), "read-only"),
        (lambda g: g.call(FILE + "open-at", opened(g, "a.txt"), set(), "x", set(), set()), "not-directory"),
        (lambda g: g.call(FILE + "read", root(g), 1, 0), "is-directory"),
        (lambda g: g.call(FILE + "read-via-stream", root(g), 0), "is-directory"),
        (lambda g: g.call(FILE + "read-directory", opened(g, "a.txt")), "not-directory"),
        (lambda g: g.call(FILE + "stat-at", root(g), set(), "x"), "no-entry"),
        (lambda g: g.call(FILE + "readlink-at", root(g), "a.txt"), "invalid"),
        (lambda g: g.call(FILE + "write", opened(g, "a.txt"), b"x", 0), "read-only"),
        (lambda g: g.call(FILE + "unlink-file-at", root(g), "a.txt"), "read-only"),
        (lambda g: g.call(FILE + "create-directory-at", root(g), "d"), "read-only"),
        (lambda g: g.call(FILE + "read", opened(g, "gone"), 1, 0), "io"),
    ],
)
def test_errors(guest, call, code):
    """What cannot be done, and what must not."""
    with pytest.raises(Err) as caught:
        call(guest)

    assert caught.value.value == code


def test_a_stream_of_a_file_that_is_gone(guest):
    """It fails with the file's code."""
    stream = guest.call(FILE + "read-via-stream", opened(guest, "gone"), 0)
    failure = guest.err(IN + "read", stream, 1)

    assert guest.call("wasi:filesystem/types#filesystem-error-code", failure.value) == "io"
    assert guest.call("wasi:http/types#http-error-code", failure.value) is None


@pytest.mark.parametrize("interface", ["wasi:config/store", "wasi:config/runtime"])
def test_variables(guest, interface):
    """One, none, all; under both names."""
    assert guest.call(f"{interface}#get", "key") == "value"
    assert guest.call(f"{interface}#get", "nothing") is None
    assert guest.call(f"{interface}#get-all") == [("key", "value"), ("other", "x")]


def test_log_lines(guest):
    """Level and context in front."""
    guest.call("wasi:logging/logging#log", "warn", "db", "slow")
    guest.call("wasi:logging/logging#log", "info", "", "plain\udcff")

    assert guest.log.text == "WARN db: slow\nINFO plain?\n"


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("wasi:sockets/tcp-create-socket#create-tcp-socket", ("ipv4",)),
        ("wasi:sockets/udp-create-socket#create-udp-socket", ("ipv6",)),
        ("wasi:sockets/ip-name-lookup#resolve-addresses", (None, "example.com")),
    ],
)
def test_sockets_are_denied(guest, name, args):
    """A toolchain that tries gets an error that it knows, and the log says why."""
    guest.call("wasi:sockets/instance-network#instance-network")

    assert guest.err(name, *args) == "access-denied"
    assert "wasi:http only" in guest.log.text


def test_the_zone_is_utc(guest):
    """Everywhere."""
    when = guest.call("wasi:clocks/wall-clock#now")

    assert guest.call("wasi:clocks/timezone#utc-offset", when) == 0
    assert guest.call("wasi:clocks/timezone#display", when)["name"] == "UTC"


def test_exits(guest):
    """With a code."""
    for name, argument, code in (("exit", None, 0), ("exit", Err(), 1), ("exit-with-code", 7, 7)):
        with pytest.raises(Exited) as caught:
            guest.call(f"wasi:cli/exit#{name}", argument)
        assert caught.value.code == code


def test_no_terminal_and_no_arguments(guest):
    """Standard streams are no terminals; standard input is empty."""
    for name in ("stdin", "stdout", "stderr"):
        assert guest.call(f"wasi:cli/terminal-{name}#get-terminal-{name}") is None
    assert guest.call("wasi:cli/environment#get-arguments") == []
    assert guest.call("wasi:cli/environment#initial-cwd") is None
    assert guest.err(IN + "blocking-read", guest.call("wasi:cli/stdin#get-stdin"), 1) == Var("closed")


def test_randomness_is_bounded(guest):
    """Different each time, and not for ever."""
    assert guest.call("wasi:random/random#get-random-u64") != guest.call("wasi:random/random#get-random-u64")
    assert len(guest.call("wasi:random/insecure#get-insecure-random-bytes", 9)) == 9
    with pytest.raises(GuestTrapError, match="random bytes"):
        guest.call("wasi:random/random#get-random-bytes", 1 << 40)
