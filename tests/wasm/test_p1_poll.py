"""poll_oneoff against a guest whose memory is a dictionary of ranges."""

import asyncio
import struct
import time

import pytest

from edgesim.model.http import BytesBody
from edgesim.wasm.guest import Input, Output, Suspend
from edgesim.wasm.p1_poll import MAX_SUBSCRIPTIONS, poll_oneoff

SUBSCRIPTIONS, EVENTS, COUNT = 0, 8192, 16384


class Guest:
    """What poll_oneoff needs of a guest: flat memory and the two streams."""

    def __init__(self, *subscriptions: bytes, body=None) -> None:
        self.memory = bytearray(b"".join(subscriptions).ljust(20_000, b"\0"))
        self.input = Input(body, 1000)
        self.output = Output(1 << 20)

    def read(self, at: int, size: int) -> bytes:
        """Bytes of its memory."""
        return bytes(self.memory[at : at + size])

    def write(self, at: int, data: bytes) -> None:
        """Copy into its memory."""
        self.memory[at : at + len(data)] = data

    def write_u32(self, at: int, value: int) -> None:
        """Store a u32."""
        self.write(at, value.to_bytes(4, "little"))

    async def poll(self, count: int = 1) -> list[tuple[int, int, int, int]]:
        """Events as (userdata, errno, type, bytes), after waiting if need be."""
        result = poll_oneoff(self, SUBSCRIPTIONS, EVENTS, count, COUNT)
        if isinstance(result, Suspend):
            await result.start()
            result = result.finish(None)

        assert result == 0
        (n,) = struct.unpack("<I", self.read(COUNT, 4))
        return list(struct.iter_unpack("<QHB5xQ8x", self.read(EVENTS, 32 * n)))


def clock(user: int, timeout_ns: int, *, clock_id: int = 1, absolute: bool = False) -> bytes:
    """A subscription to a clock."""
    return struct.pack("<QB7xI4xQQH6x", user, 0, clock_id, timeout_ns, 0, absolute)


def descriptor(user: int, tag: int, fd: int) -> bytes:
    """A subscription to a descriptor: tag 1 to read, 2 to write."""
    return struct.pack("<QB7xI28x", user, tag, fd)


async def test_the_earliest_timer_rings():
    """Of several, with its userdata."""
    assert await Guest(clock(7, 10**10), clock(8, 1_000_000)).poll(2) == [(8, 0, 0, 0)]


@pytest.mark.parametrize("clock_id", [0, 1])
async def test_a_time_in_the_past_does_not_wait(clock_id):
    """Absolute times are those of their own clock."""
    guest = Guest(clock(1, 1, clock_id=clock_id, absolute=True))

    assert poll_oneoff(guest, SUBSCRIPTIONS, EVENTS, 1, COUNT) == 0


async def test_an_absolute_time_is_waited_for():
    """On the monotonic clock."""
    due = time.monotonic_ns() + 2_000_000
    await Guest(clock(1, due, absolute=True)).poll()

    assert time.monotonic_ns() >= due - 1_000_000


async def test_the_body_wakes_before_the_timer():
    """Stdin is ready when bytes have come."""
    guest = Guest(clock(1, 10**10), descriptor(2, 1, 0), body=BytesBody(b"x"))

    assert await guest.poll(2) == [(2, 0, 1, 1)]
    assert guest.input.take(10) == b"x"


async def test_a_full_window_is_not_ready_to_write():
    """Stdout is ready when its reader has made room."""
    guest = Guest(descriptor(3, 2, 1))
    guest.output.write(bytes(guest.output.room))
    poll = asyncio.create_task(guest.poll())
    await asyncio.sleep(0)

    assert not poll.done()
    await guest.output.next()
    assert (await poll)[0][:3] == (3, 0, 2)


@pytest.mark.parametrize(("tag", "fd"), [(1, 1), (2, 0), (1, 9), (2, 9)])
async def test_wrong_descriptors_are_events_with_an_error(tag, fd):
    """EBADF in the event, as POSIX poll does."""
    assert await Guest(descriptor(4, tag, fd)).poll() == [(4, 8, tag, 0)]


@pytest.mark.parametrize(
    ("guest", "count"),
    [
        (Guest(), 0),
        (Guest(), MAX_SUBSCRIPTIONS + 1),
        (Guest(clock(1, 1, clock_id=2)), 1),
        (Guest(descriptor(1, 3, 0)), 1),
    ],
)
async def test_what_makes_no_sense_is_einval(guest, count):
    """And nothing is waited for."""
    assert poll_oneoff(guest, SUBSCRIPTIONS, EVENTS, count, COUNT) == 28
