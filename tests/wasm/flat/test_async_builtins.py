"""Built-ins of WASI 0.3 in hostile hands: every number and pointer that a guest passes is checked, and its end is a trap."""

import pytest

from edgesim.errors import GuestTrapError
from tests.support.p3 import EXIT, P3Guests
from tests.support.wasm import read_all

STREAM = "(local.set $s (call $stream-new))"
READER, WRITER = "(call $low (local.get $s))", "(call $high (local.get $s))"
ZERO, EIGHT = "(i32.const 0)", "(i32.const 8)"


@pytest.fixture
def guests():
    """Makes and runs guests."""
    guests = P3Guests()
    yield guests
    guests.close()


HOSTILE = {
    "no handle": (f"(drop (call $read (i32.const 99) {ZERO} {EIGHT}))", "passed 99 as a readable end"),
    "handle of a resource": (f"(drop (call $read (local.get $request) {ZERO} {EIGHT}))", "but it is none"),
    "the other end": (f"{STREAM} (drop (call $read {WRITER} {ZERO} {EIGHT}))", "of another type"),
    "another type": (
        f"(local.set $s (call $trailers-new)) (drop (call $read {READER} {ZERO} {EIGHT}))", "of another type",
    ),
    "pointer beyond the memory": (f"{STREAM} (drop (call $read {READER} (i32.const 131071) {EIGHT}))", "out of bounds"),
    "pointer that is huge": (f"{STREAM} (drop (call $write {WRITER} (i32.const -1) (i32.const -1)))", "copy 4294967295"),
    "pointer for an event": ("(drop (call $set-poll (call $set-new) (i32.const -4)))", "out of bounds"),
    "pointer that is crooked": ("(drop (call $set-wait (call $set-new) (i32.const 2)))", "multiple of 4"),
    "two reads": (
        f"{STREAM} (drop (call $read {READER} {ZERO} {EIGHT})) (drop (call $read {READER} {ZERO} {EIGHT}))",
        "while another copy is under way",
    ),
    "cancel of nothing": (f"{STREAM} (drop (call $cancel-read {READER}))", "not under way"),
    "drop while it reads": (
        f"{STREAM} (drop (call $read {READER} {ZERO} {EIGHT})) (call $drop-readable {READER})", "while a copy was under way",
    ),
    "drop twice": (f"{STREAM} (call $drop-readable {READER}) (call $drop-readable {READER})", "but it is none"),
    "read after the end": (
        (f"{STREAM} (call $drop-writable {WRITER}) (call $must (call $read {READER} {ZERO} {EIGHT}) (i32.const 1))"
        f" (drop (call $read {READER} {ZERO} {EIGHT}))"),
        "after its end",
    ),
    "future without a value": (
        f"(local.set $s (call $trailers-new)) (call $trailers-drop {WRITER})", "without a value",
    ),
    "stream given away twice": (
        (f"{STREAM} (call $response-new (call $fields-new) (i32.const 1) {READER} (call $low (call $trailers-new)) (i32.const 64))"
        f" (call $response-new (call $fields-new) (i32.const 1) {READER} (call $low (call $trailers-new)) (i32.const 64))"),
        "readable end of a stream",
    ),
    "stream given away while it is read": (
        (f"{STREAM} (drop (call $read {READER} {ZERO} {EIGHT}))"
        f" (call $response-new (call $fields-new) (i32.const 1) {READER} (call $low (call $trailers-new)) (i32.const 64))"),
        "that it reads",
    ),
    "a set that is not empty": (
        f"{STREAM} (local.set $i (call $set-new)) (call $join {READER} (local.get $i)) (call $set-drop (local.get $i))",
        "not empty",
    ),
    "join of a set": ("(call $join (call $set-new) (call $set-new))", "as a waitable"),
    "subtask that runs": (
        "(call $subtask-drop (i32.shr_u (call $wait-for (i64.const 9000000000)) (i32.const 4)))", "has not ended",
    ),
    "cancel twice": (
        ("(local.set $i (i32.shr_u (call $wait-for (i64.const 9000000000)) (i32.const 4)))"
        " (drop (call $subtask-cancel (local.get $i))) (drop (call $subtask-cancel (local.get $i)))"),
        "that has ended",
    ),
    "task.cancel": ("(call $task-cancel)", "nobody has cancelled"),
    "forged response": (
        "(call $task-return (i32.const 0) (i32.const 55) (i32.const 0) (i32.const 0) (i32.const 0))", "as a response handle",
    ),
    "waitable as a resource": (
        f"{STREAM} (call $task-return (i32.const 0) {READER} (i32.const 0) (i32.const 0) (i32.const 0))", "it is a waitable",
    ),
    "an error that does not exist": (
        "(call $task-return (i32.const 1) (i32.const 9) (i32.const 0) (i32.const 0) (i32.const 0))", "case 9",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
async def test_hostile_calls(guests, name):
    """Each ends the guest with a trap that says what was wrong."""
    code, message = HOSTILE[name]
    with pytest.raises(GuestTrapError, match=message):
        await guests.run(f"{code} {EXIT}")


FRIENDLY = {
    "write to a stream that nobody reads": (
        f"{STREAM} (call $drop-readable {READER}) (call $must (call $write {WRITER} {ZERO} {EIGHT}) (i32.const 1))"
        f" (call $drop-writable {WRITER})"
    ),
    "a stream within the guest": (
        f"{STREAM} (call $must (call $write {WRITER} (i32.const 1024) (i32.const 5)) (i32.const -1))"
        f" (call $must (call $read {READER} (i32.const 2048) {EIGHT}) (i32.const 80))"
        " (call $must (i32.load8_u (i32.const 2052)) (i32.const 111))"
    ),
    "a read that is given up": (
        f"{STREAM} (call $must (call $read {READER} {ZERO} {EIGHT}) (i32.const -1))"
        f" (call $must (call $cancel-read {READER}) (i32.const 2)) (call $drop-readable {READER})"
    ),
    "a future that nobody reads": (
        f"(local.set $s (call $trailers-new)) (call $must (call $trailers-write {WRITER} (i32.const 128)) (i32.const -1))"
    ),
    "the body of a request without one": (
        "(local.set $s (call $done-new)) (call $consume (local.get $request) (call $low (local.get $s)) (i32.const 64))"
        f" (call $must (call $read (i32.load (i32.const 64)) {ZERO} {EIGHT}) (i32.const 1))"
    ),
    "a waitable that changes sets": (
        f"{STREAM} (local.set $i (call $set-new)) (call $join {READER} (local.get $i)) (call $join {READER} (call $set-new))"
        " (call $set-drop (local.get $i))"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FRIENDLY)
async def test_friendly_calls(guests, name):
    """What the ABI allows."""
    response = await guests.run(f"{FRIENDLY[name]} (call $hello) {EXIT}")

    assert await read_all(response) == b"hello"
