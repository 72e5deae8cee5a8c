"""wasi:io: streams that end, fail, wait and pass on, and what can be waited for."""

from __future__ import annotations

import asyncio
import time

import pytest

from edgesim.errors import GuestTrapError
from edgesim.wasm.guest import CHUNK_BYTES, WINDOW_BYTES, Input, RequestPipe, Suspend
from edgesim.wasm.host.io import InputStream, OutputStream, Pollable
from edgesim.wasm.outbound import OutboundError
from edgesim.wasm.values import Err, Var
from tests.support.host import HostGuest

IN = "wasi:io/streams#[method]input-stream."
OUT = "wasi:io/streams#[method]output-stream."


class Chunks:
    """A body of given chunks; an exception among them is raised."""

    def __init__(self, *chunks):
        self.chunks = list(chunks)
        self.closed = False

    async def next(self):
        """The next one."""
        chunk = self.chunks.pop(0) if self.chunks else None
        if isinstance(chunk, Exception):
            raise chunk
        return chunk

    def trailers(self):
        """None."""
        return ()

    def close(self):
        """Remember it."""
        self.closed = True


def reading(*chunks) -> InputStream:
    """A stream of these chunks."""
    return InputStream(Input(Chunks(*chunks), 1 << 20))


@pytest.fixture
def guest() -> HostGuest:
    """A guest."""
    return HostGuest()


@pytest.fixture
def pipe() -> RequestPipe:
    """What an output stream writes to."""
    return RequestPipe(1 << 20)


async def test_reading_to_the_end(guest):
    """Nothing is there before it is waited for; then bytes, then closed, again and again."""
    stream = reading(b"abc", b"de")

    assert guest.call(IN + "read", stream, 10) == b""
    assert await guest.wait(IN + "blocking-read", stream, 2) == b"ab"
    assert guest.call(IN + "read", stream, 10) == b"c"
    assert await guest.wait(IN + "blocking-skip", stream, 10) == 2
    for name in ("blocking-read", "blocking-skip"):
        with pytest.raises(Err) as caught:
            await guest.wait(IN + name, stream, 10)
        assert caught.value.value == Var("closed")
    assert guest.err(IN + "read", stream, 10) == Var("closed")
    assert guest.call(IN + "subscribe", stream).ready()


async def test_reading_nothing_never_waits(guest):
    """Zero bytes of a stream that is open, and of one that has ended."""
    stream = reading(b"abc")

    assert guest.call(IN + "blocking-read", stream, 0) == b""
    await stream.source.fill()
    assert guest.call(IN + "read", stream, 0) == b""
    guest.call(IN + "skip", stream, 3)
    await stream.source.fill()
    assert guest.err(IN + "blocking-read", stream, 0) == Var("closed")
    assert guest.err(IN + "blocking-read", InputStream(None), 5) == Var("closed")


async def test_a_stream_fails_once(guest):
    """What was here before is read first; then the error, with its HTTP code, then closed."""
    stream = reading(b"abc", OutboundError("HTTP-response-incomplete"))
    await stream.source.fill()

    assert guest.call(IN + "read", stream, 10) == b"abc"
    await stream.source.fill()
    failure = guest.err(IN + "read", stream, 10)

    assert failure.tag == "last-operation-failed"
    assert guest.call("wasi:http/types#http-error-code", failure.value) == Var("HTTP-response-incomplete")
    assert guest.call("wasi:filesystem/types#filesystem-error-code", failure.value) is None
    assert guest.call("wasi:io/error#[method]error.to-debug-string", failure.value) == "HTTP-response-incomplete"
    assert guest.err(IN + "read", stream, 10) == Var("closed")


async def test_a_body_over_its_limit_fails(guest):
    """With the error of whoever limits it."""
    source = Input(Chunks(b"x" * 11), 10, lambda limit: OutboundError("HTTP-response-body-size", limit))
    stream = InputStream(source)
    await source.fill()

    failure = guest.err(IN + "read", stream, 100)

    assert failure.value.http_code == Var("HTTP-response-body-size", 10)


async def test_writing_needs_leave(guest, pipe):
    """check-write allows, write takes it back; more than allowed ends the guest."""
    stream = OutputStream(pipe)
    allowed = guest.call(OUT + "check-write", stream)
    guest.call(OUT + "write", stream, b"x" * 10)

    assert allowed == CHUNK_BYTES
    assert stream.permit == CHUNK_BYTES - 10
    with pytest.raises(GuestTrapError, match="check-write"):
        guest.call(OUT + "write", stream, b"x" * CHUNK_BYTES)
    with pytest.raises(GuestTrapError, match="check-write"):
        guest.call(OUT + "write-zeroes", OutputStream(pipe), 1)


async def test_a_full_window_waits_for_its_reader(guest, pipe):
    """Back-pressure: no room, a call that waits, and room again when somebody reads."""
    stream = OutputStream(pipe)
    for _ in range(WINDOW_BYTES // CHUNK_BYTES):
        assert guest.call(OUT + "blocking-write-and-flush", stream, b"x" * CHUNK_BYTES) is None

    assert guest.call(OUT + "check-write", stream) == 0
    assert not guest.call(OUT + "subscribe", stream).ready()
    waiting = [guest.call(OUT + "blocking-flush", stream), guest.call(OUT + "blocking-write-and-flush", stream, b"y")]
    assert all(isinstance(call, Suspend) for call in waiting)
    tasks = [asyncio.ensure_future(call.start()) for call in waiting]
    await asyncio.sleep(0)
    assert not any(task.done() for task in tasks)
    await pipe.next()
    await asyncio.gather(*tasks)
    for call in waiting:
        call.result()
    assert guest.call(OUT + "subscribe", stream).ready()


async def test_a_stream_whose_reader_has_gone_is_closed(guest, pipe):
    """Every way to write says so, none waits, and waiting is over."""
    stream = OutputStream(pipe)
    pipe.close()

    for name, *args in (
        ("check-write",), ("write", b""), ("blocking-write-and-flush", b"x"), ("flush",), ("blocking-flush",),
        ("splice", reading(b"x"), 1),
    ):  # fmt: skip
        assert guest.err(OUT + name, stream, *args) == Var("closed")
    assert guest.call(OUT + "subscribe", stream).ready()


async def test_a_sink_that_refuses_fails_the_stream_once(guest):
    """Then it is closed."""
    stream = OutputStream(RequestPipe(5))
    failure = guest.err(OUT + "blocking-write-and-flush", stream, b"x" * 6)

    assert failure.value.http_code == Var("HTTP-request-body-size", 6)
    assert guest.err(OUT + "check-write", stream) == Var("closed")


async def test_splicing_passes_bytes_on(guest, pipe):
    """What is here now, then with waiting, at most what was asked for; the end of the source is told."""
    source, target = reading(b"abcdef", b"gh"), OutputStream(pipe)

    assert guest.call(OUT + "splice", target, source, 4) == 0
    assert await guest.wait(OUT + "blocking-splice", target, source, 4) == 4
    assert guest.call(OUT + "splice", target, source, 100) == 2
    assert await guest.wait(OUT + "blocking-splice", target, source, 100) == 2
    assert pipe.take_all() == b"abcdefgh"
    assert guest.call(OUT + "blocking-splice", target, source, 0) == 0
    with pytest.raises(Err) as caught:
        await guest.wait(OUT + "blocking-splice", target, source, 100)
    assert caught.value.value == Var("closed")


async def test_splicing_waits_for_room(guest, pipe):
    """Bytes that are here, and a target that is full."""
    source, target = reading(b"abc"), OutputStream(pipe)
    await source.source.fill()
    for _ in range(WINDOW_BYTES // CHUNK_BYTES):
        pipe.write(bytes(CHUNK_BYTES))
    call = guest.call(OUT + "blocking-splice", target, source, 3)
    task = asyncio.ensure_future(call.start())
    await pipe.next()
    await task

    assert call.result() == 3


def test_a_log_never_waits(guest):
    """Standard output and standard error."""
    stream = guest.call("wasi:cli/stderr#get-stderr")
    guest.call(OUT + "blocking-write-and-flush", stream, b"hello\n")
    guest.call(OUT + "blocking-flush", stream)

    assert guest.log.text == "hello\n"


async def test_poll_says_who_is_ready(guest, pipe):
    """Several, with duplicates: each index of its own, and none waits when one is ready."""
    never = Pollable(lambda: False, asyncio.get_running_loop().create_future)
    room = guest.call(OUT + "subscribe", OutputStream(pipe))

    assert guest.call("wasi:io/poll#poll", [never, room, never, room]) == [1, 3]


async def test_poll_waits_for_the_first(guest):
    """A body that comes before a timer, listed twice."""
    stream = reading(b"x")
    body = guest.call(IN + "subscribe", stream)
    timer = guest.call("wasi:clocks/monotonic-clock#subscribe-duration", 3600 * 10**9)

    assert await guest.wait("wasi:io/poll#poll", [timer, body, body]) == [1, 2]


async def test_poll_ends_with_a_timer(guest):
    """The earliest of several, though nothing else ever comes."""
    never = Pollable(lambda: False, asyncio.get_running_loop().create_future)
    now_ns = time.monotonic_ns()
    early = guest.call("wasi:clocks/monotonic-clock#subscribe-instant", now_ns + 1000)
    late = guest.call("wasi:clocks/monotonic-clock#subscribe-instant", now_ns + 3600 * 10**9)

    assert await guest.wait("wasi:io/poll#poll", [never, late, early]) == [2]
    assert await guest.wait("wasi:io/poll#[method]pollable.block", early) is None


@pytest.mark.parametrize("count", [0, 257])
def test_polling_nothing_or_too_much_ends_the_guest(guest, count):
    """The interface says trap."""
    with pytest.raises(GuestTrapError, match="pollables"):
        guest.call("wasi:io/poll#poll", [Pollable()] * count)
