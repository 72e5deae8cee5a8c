"""Tasks of WASI 0.3 guests: how they return, wait and end, and what ends them when they do not."""

from dataclasses import replace

import pytest

from edgesim.errors import GuestCpuError, GuestMemoryError, GuestOutputError, GuestTrapError, GuestWallError
from edgesim.model.http import BytesBody
from edgesim.wasm.flat.handles import MAX_HANDLES
from edgesim.wasm.keeping import KeptInstance
from tests.support.p3 import EXIT, YIELD, P3Guests, wait
from tests.support.wasm import GENEROUS, read_all, request

BRIEF = replace(GENEROUS, wall_s=0.3)


@pytest.fixture
def guests():
    """Makes and runs guests."""
    guests = P3Guests()
    yield guests
    guests.close()


async def answer(guests, handle, callback="unreachable", **more):
    """Status and body of what a guest answers."""
    response = await guests.run(handle, callback, **more)
    return response.status, await read_all(response)


async def test_a_task_that_ends_at_once(guests):
    """It answers from its first call, and is never called back."""
    assert await answer(guests, f"(call $hello) {EXIT}") == (200, b"hello")


async def test_a_body_after_a_wait(guests):
    """A timer as a subtask: the callback is told which, and its state."""
    handle = f"""
      (global.set $set (call $set-new))
      (local.set $i (call $wait-for (i64.const 2000000)))
      (call $must (i32.and (local.get $i) (i32.const 15)) (i32.const 1))
      (call $join (i32.shr_u (local.get $i) (i32.const 4)) (global.get $set))
      {wait("(global.get $set)")}"""
    callback = f"""
      (call $must (local.get $event) (i32.const 1))
      (call $must (local.get $value) (i32.const 2))
      (call $subtask-drop (local.get $index))
      (call $set-drop (global.get $set))
      (call $hello) {EXIT}"""

    assert await answer(guests, handle, callback) == (200, b"hello")


async def test_waiting_on_the_fiber(guests):
    """`waitable-set.wait` gives the event to the guest, and a function that is not lowered `async` its result."""
    handle = f"""
      (call $sleep (i64.const 1000000))
      (call $must (call $yield) (i32.const 0))
      (global.set $set (call $set-new))
      (local.set $i (i32.shr_u (call $wait-for (i64.const 2000000)) (i32.const 4)))
      (call $join (local.get $i) (global.get $set))
      (call $must (call $set-poll (global.get $set) (i32.const 8)) (i32.const 0))
      (call $must (call $set-wait (global.get $set) (i32.const 8)) (i32.const 1))
      (call $must (i32.load (i32.const 8)) (local.get $i))
      (call $must (i32.load (i32.const 12)) (i32.const 2))
      (call $hello) {EXIT}"""

    assert await answer(guests, handle) == (200, b"hello")


async def test_a_cancelled_subtask(guests):
    """It ends before it has returned, and its handle can be dropped."""
    handle = f"""
      (local.set $i (i32.shr_u (call $wait-for (i64.const 60000000000)) (i32.const 4)))
      (call $must (call $subtask-cancel (local.get $i)) (i32.const 4))
      (call $subtask-drop (local.get $i))
      (call $hello) {EXIT}"""

    assert await answer(guests, handle) == (200, b"hello")


async def test_yields(guests):
    """A task that gives way is called back without an event."""
    callback = f"(call $must (local.get $event) (i32.const 0)) (call $hello) {EXIT}"

    assert await answer(guests, YIELD, callback) == (200, b"hello")


@pytest.mark.parametrize("handle", ["(call $set-new)", "(global.set $set (call $set-new)) (global.get $set)"])
async def test_waiting_for_nothing(guests, handle):
    """An empty set: the wall-clock limit ends it."""
    with pytest.raises(GuestWallError):
        await guests.run(wait(f"(block (result i32) {handle})"), limits=BRIEF)


async def test_waiting_for_nothing_on_the_fiber(guests):
    """The same of the built-in that blocks."""
    with pytest.raises(GuestWallError):
        await guests.run("(call $set-wait (call $set-new) (i32.const 8))", limits=BRIEF)


async def test_yielding_for_ever(guests):
    """It never holds the loop, and one of its limits ends it."""
    with pytest.raises((GuestWallError, GuestCpuError)):
        await guests.run(YIELD, YIELD, limits=replace(BRIEF, cpu_ms=200))


async def test_spinning_in_a_callback(guests):
    """CPU time counts over all calls of a task."""
    with pytest.raises(GuestCpuError):
        await guests.run(YIELD, "(loop (br 0)) unreachable", limits=replace(GENEROUS, cpu_ms=50))


async def test_events_without_end(guests):
    """A set that always has an event does not hold the loop for longer than a slice."""
    handle = f"""
      (call $head)
      (global.set $set (call $set-new))
      (call $join (global.get $writer) (global.get $set))
      {YIELD}"""
    callback = f"""
      (loop $more
        (br_if $more (i32.ne (call $write (global.get $writer) (i32.const 0) (i32.const 65536)) (i32.const -1))))
      {wait("(global.get $set)")}"""
    response = await guests.run(handle, callback, limits=replace(GENEROUS, response_bytes=1 << 20))

    with pytest.raises(GuestOutputError, match="larger than"):
        await read_all(response)


async def test_no_answer(guests):
    """A task that ends without task.return."""
    with pytest.raises(GuestOutputError, match="ended without a response"):
        await guests.run(EXIT)


async def test_two_answers(guests):
    """task.return counts once."""
    with pytest.raises(GuestTrapError, match=r"task\.return twice"):
        await guests.run(f"(call $hello) (call $hello) {EXIT}")


async def test_an_error_for_an_answer(guests):
    """The err arm of the result."""
    with pytest.raises(GuestOutputError, match="the error HTTP-protocol-error"):
        await guests.run(
            f"(call $task-return (i32.const 1) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)) {EXIT}"
        )


async def test_a_body_without_an_end(guests):
    """A task that ends while its body is open has not sent all of it."""
    with pytest.raises(GuestOutputError, match="in the middle of its response body"):
        await guests.run(f"(call $head) {EXIT}")


async def test_an_unknown_code(guests):
    """Of what a callback can return."""
    with pytest.raises(GuestTrapError, match="unknown code 7"):
        await guests.run("(i32.const 7)")


async def test_a_set_that_is_none(guests):
    """The number that comes with a wait is checked like any handle."""
    with pytest.raises(GuestTrapError, match="waitable set"):
        await guests.run(wait("(i32.const 77)"))


@pytest.mark.parametrize("made", ["(drop (call $set-new))", "(drop (call $stream-new))", "(drop (call $trailers-new))"])
async def test_leaks(guests, made):
    """Sets, streams and futures count as handles, which are limited."""
    with pytest.raises(GuestMemoryError, match=f"more than {MAX_HANDLES}"):
        await guests.run(f"(loop {made} (br 0)) unreachable")


async def test_subtasks_without_end(guests):
    """Timers too: they cannot pile up outside of the guest."""
    with pytest.raises(GuestMemoryError, match=f"more than {MAX_HANDLES}"):
        await guests.run("(loop (drop (call $wait-for (i64.const 60000000000))) (br 0)) unreachable")


async def test_work_for_the_host_without_end(guests):
    """What the host shall pass on is limited, though each handle is given away."""
    handle = """
      (loop $more
        (local.set $s (call $stream-new))
        (call $response-new (call $fields-new) (i32.const 1) (call $low (local.get $s)) (call $low (call $trailers-new)) (i32.const 64))
        (call $drop-writable (call $high (local.get $s)))
        (local.set $i (i32.load (i32.const 68)))
        (call $consume-response (i32.load (i32.const 64)) (local.get $i) (i32.const 72))
        (call $drop-readable (i32.load (i32.const 72)))
        (call $trailers-drop-readable (i32.load (i32.const 76)))
        (br $more))
      unreachable"""
    with pytest.raises(GuestMemoryError, match="more than 1024"):
        await guests.run(handle)


async def test_an_instance_serves_again(guests):
    """Nothing of a task is left in its instance."""
    kept = KeptInstance()
    for _ in range(3):
        response = await guests.run(f"(call $hello) {EXIT}", kept=kept)

        assert await read_all(response) == b"hello"

    kept.close()


async def test_a_body_that_passes_through_the_host(guests):
    """The request's stream is the response's: the guest has ended, and the host copies."""
    handle = f"""
      (local.set $s (call $done-new))
      (call $consume (local.get $request) (call $low (local.get $s)) (i32.const 64))
      (local.set $s (call $trailers-new))
      (call $response-new (call $fields-new) (i32.const 1) (i32.load (i32.const 64)) (i32.load (i32.const 68)) (i32.const 80))
      (call $task-return (i32.const 0) (i32.load (i32.const 80)) (i32.const 0) (i32.const 0) (i32.const 0))
      {EXIT}"""
    sent = request("/", method="POST", body=BytesBody(b"x" * 700_000))
    response = await guests.run(handle, request=sent)

    assert await read_all(response) == b"x" * 700_000
