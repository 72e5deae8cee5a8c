"""wasi:io (error, poll, streams): byte streams of requests, responses, files and logs, and what can be waited for.

A stream that has failed says so once (`last-operation-failed`) and is closed from then on. A resource with a `drop` method
is told when the guest lets go of it; a body learns so that its stream, its child, is gone.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, Protocol

from edgesim.errors import GuestTrapError
from edgesim.wasm.guest import CHUNK_BYTES, Suspend
from edgesim.wasm.host.waits import wait_any
from edgesim.wasm.linking import HostTable
from edgesim.wasm.outbound import OutboundError
from edgesim.wasm.values import Err, Var

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from edgesim.wasm.component import ComponentGuest
    from edgesim.wasm.guest import Log

TABLE: Final = HostTable()
_POLL, _STREAMS, _ERROR = "wasi:io/poll", "wasi:io/streams", "wasi:io/error"
_MAX_POLLABLES: Final = 256
_FLUSH_BYTES: Final = 4096
"""What one blocking-write-and-flush may carry (wasi:io/streams)."""


class Pollable:
    """Something to wait for: a condition on the loop, a time on the monotonic clock, or nothing (always ready)."""

    __slots__ = ("condition", "due_s", "is_ready")

    def __init__(
        self,
        is_ready: Callable[[], bool] | None = None,
        condition: Callable[[], Awaitable[None]] | None = None,
        due_s: float | None = None,
    ) -> None:
        self.is_ready = is_ready
        self.condition = condition
        self.due_s = due_s

    def ready(self) -> bool:
        """Whether waiting would return at once."""
        if self.due_s is not None:
            return time.monotonic() >= self.due_s
        return self.is_ready is None or self.is_ready()


@TABLE.add(_POLL, "[method]pollable.ready")
def ready(_guest: ComponentGuest, pollable: Pollable) -> bool:
    """Whether the pollable is ready."""
    return pollable.ready()


@TABLE.add(_POLL, "[method]pollable.block", waits=True)
def block(_guest: ComponentGuest, pollable: Pollable) -> Suspend | None:
    """Wait for one pollable."""
    if pollable.ready():
        return None
    return Suspend(lambda: _wait([pollable]), lambda _: None)


@TABLE.add(_POLL, "poll", waits=True)
def poll(_guest: ComponentGuest, pollables: list[Pollable]) -> list[int] | Suspend:
    """Wait for the first of several; the indexes of all that are ready."""
    if not 0 < len(pollables) <= _MAX_POLLABLES:
        raise GuestTrapError(
            f"the worker polled {len(pollables)} pollables at once, the limit is 1 to {_MAX_POLLABLES}"
        )
    done = [i for i, pollable in enumerate(pollables) if pollable.ready()]
    if done:
        return done

    def collect(_nothing: object) -> list[int]:
        found = [i for i, pollable in enumerate(pollables) if pollable.ready()]
        if found:
            return found
        timers = [(p.due_s, i) for i, p in enumerate(pollables) if p.due_s is not None]  # the loop's clock is coarser
        return [min(timers)[1]] if timers else []

    return Suspend(lambda: _wait(pollables), collect)


def _wait(pollables: list[Pollable]) -> Awaitable[None]:
    conditions = [p.condition for p in pollables if p.condition is not None]
    return wait_any(conditions, min((p.due_s for p in pollables if p.due_s is not None), default=None))


# -- input streams ------------------------------------------------------------------------------------------------------


class IoError:
    """`wasi:io/error.error`: why a stream failed, with the codes that `http-error-code` and `filesystem-error-code` give."""

    __slots__ = ("file_code", "http_code", "text")

    def __init__(self, text: str, http_code: Var | None = None, file_code: str | None = None) -> None:
        self.text = text
        self.http_code = http_code
        self.file_code = file_code


def failed(error: OutboundError) -> Err:
    """The err arm for a stream that an HTTP error has ended."""
    return Err(Var("last-operation-failed", IoError(str(error), http_code=Var(error.code, error.payload))))


class Source(Protocol):
    """Where an input stream comes from (`Input`, a file)."""

    @property
    def ready(self) -> bool:
        """Whether `take` has bytes, the end, or an error."""
        ...

    @property
    def drained(self) -> bool:
        """Whether there will never be bytes again."""
        ...

    def take(self, size: int) -> bytes:
        """At most `size` bytes that are already here. Raises OutboundError, or Err(stream-error)."""
        ...

    async def fill(self) -> None:
        """Wait, on the loop, until `ready`."""
        ...


class Parent(Protocol):
    """What a stream is a child of."""

    child: object


class InputStream:
    """Bytes that come from a source; an empty, ended stream without one."""

    __slots__ = ("parent", "source")

    def __init__(self, source: Source | None, parent: Parent | None = None) -> None:
        self.source = source
        self.parent = parent

    def take(self, size: int) -> bytes:
        """What is here now. Raises Err(stream-error) at the end, and when the sender failed."""
        source = self.source
        if source is None:
            raise Err(Var("closed"))
        try:
            data = source.take(min(size, CHUNK_BYTES))
        except OutboundError as exc:
            self.source = None
            raise failed(exc) from exc
        if not data and source.drained:
            raise Err(Var("closed"))
        return data

    def ready(self) -> bool:
        """Whether `take` has bytes or the end."""
        return self.source is None or self.source.ready

    def drop(self) -> None:
        """The guest has let go of it."""
        if self.parent is not None:
            self.parent.child = None


@TABLE.add(_STREAMS, "[method]input-stream.read")
def read(_guest: ComponentGuest, stream: InputStream, size: int) -> bytes:
    """What is here now, possibly nothing."""
    return stream.take(size)


@TABLE.add(_STREAMS, "[method]input-stream.blocking-read", waits=True)
def blocking_read(_guest: ComponentGuest, stream: InputStream, size: int) -> bytes | Suspend:
    """At least one byte, or the end."""
    if stream.source is None or stream.ready() or not size:
        return stream.take(size)
    return Suspend(stream.source.fill, lambda _: stream.take(size))


@TABLE.add(_STREAMS, "[method]input-stream.skip")
def skip(_guest: ComponentGuest, stream: InputStream, size: int) -> int:
    """Drop what is here now."""
    return len(stream.take(size))


@TABLE.add(_STREAMS, "[method]input-stream.blocking-skip", waits=True)
def blocking_skip(_guest: ComponentGuest, stream: InputStream, size: int) -> int | Suspend:
    """Drop at least one byte."""
    if stream.source is None or stream.ready() or not size:
        return len(stream.take(size))
    return Suspend(stream.source.fill, lambda _: len(stream.take(size)))


@TABLE.add(_STREAMS, "[method]input-stream.subscribe")
def subscribe_input(_guest: ComponentGuest, stream: InputStream) -> Pollable:
    """Ready when there is something to read."""
    return Pollable(stream.ready, stream.source.fill) if stream.source is not None else Pollable()


# -- output streams -----------------------------------------------------------------------------------------------------


class Sink(Protocol):
    """Where an output stream goes."""

    @property
    def room(self) -> int:
        """Bytes that may be written now."""
        ...

    @property
    def closed(self) -> bool:
        """Whether nobody reads any more."""
        ...

    def write(self, data: bytes) -> None:
        """Take bytes, at most `room`. Raises OutboundError."""
        ...

    async def wait_room(self) -> None:
        """Wait, on the loop, for room."""
        ...


class LogSink:
    """stdout and stderr of a component: its log, which never blocks."""

    __slots__ = ("_log",)

    room = CHUNK_BYTES
    closed = False

    def __init__(self, log: Log) -> None:
        self._log = log

    def write(self, data: bytes) -> None:
        """Append to the log."""
        self._log.write(data)

    async def wait_room(self) -> None:
        """There always is."""


class OutputStream:
    """A stream into a sink. `permit` is what the last check-write allowed."""

    __slots__ = ("_broken", "parent", "permit", "sink")

    def __init__(self, sink: Sink, parent: Parent | None = None) -> None:
        self.sink = sink
        self.parent = parent
        self.permit = 0
        self._broken = False

    def check(self) -> None:
        """Raises Err(closed) when nothing can be written any more."""
        if self._broken or self.sink.closed:
            raise Err(Var("closed"))

    def write(self, data: bytes) -> None:
        """Pass bytes on. Raises Err(stream-error)."""
        if self._broken or self.sink.closed:
            self.check()
        try:
            self.sink.write(data)
        except OutboundError as exc:
            self._broken = True
            raise failed(exc) from exc

    def ready(self) -> bool:
        """Whether a write would go through, or fail, at once."""
        return self._broken or self.sink.closed or self.sink.room > 0

    def drop(self) -> None:
        """The guest has let go of it."""
        if self.parent is not None:
            self.parent.child = None


@TABLE.add(_STREAMS, "[method]output-stream.check-write")
def check_write(_guest: ComponentGuest, stream: OutputStream) -> int:
    """How much may be written now: the back-pressure."""
    stream.check()
    stream.permit = min(stream.sink.room, CHUNK_BYTES)
    return stream.permit


@TABLE.add(_STREAMS, "[method]output-stream.write")
def write(_guest: ComponentGuest, stream: OutputStream, data: bytes) -> None:
    """Write what check-write has allowed."""
    if len(data) > stream.permit:
        raise GuestTrapError(f"the worker wrote {len(data)} bytes where check-write allowed {stream.permit}")
    stream.permit -= len(data)
    stream.write(data)


@TABLE.add(_STREAMS, "[method]output-stream.write-zeroes")
def write_zeroes(guest: ComponentGuest, stream: OutputStream, size: int) -> None:
    """Write zeroes that check-write has allowed."""
    write(guest, stream, bytes(min(size, stream.permit + 1)))


@TABLE.add(_STREAMS, "[method]output-stream.blocking-write-and-flush", waits=True)
def blocking_write_and_flush(_guest: ComponentGuest, stream: OutputStream, data: bytes) -> Suspend | None:
    """Write, and wait for room when there is none. WASI allows 4 KiB; guests that send up to a chunk are served too."""
    if len(data) > CHUNK_BYTES:
        raise GuestTrapError(
            f"the worker wrote {len(data)} bytes with blocking-write-and-flush, the limit is {_FLUSH_BYTES}"
        )
    if stream.ready():
        stream.write(data)
        return None
    return Suspend(stream.sink.wait_room, lambda _: stream.write(data))


@TABLE.add(_STREAMS, "[method]output-stream.blocking-write-zeroes-and-flush", waits=True)
def blocking_write_zeroes(guest: ComponentGuest, stream: OutputStream, size: int) -> Suspend | None:
    """Write zeroes, and wait for room when there is none."""
    result: Suspend | None = blocking_write_and_flush(guest, stream, bytes(min(size, CHUNK_BYTES + 1)))
    return result


@TABLE.add(_STREAMS, "[method]output-stream.flush")
def flush(_guest: ComponentGuest, stream: OutputStream) -> None:
    """Nothing to do: what is written is on its way."""
    stream.check()


@TABLE.add(_STREAMS, "[method]output-stream.blocking-flush", waits=True)
def blocking_flush(_guest: ComponentGuest, stream: OutputStream) -> Suspend | None:
    """Wait until there is room again."""
    if not stream.ready():
        return Suspend(stream.sink.wait_room, lambda _: stream.check())
    stream.check()
    return None


@TABLE.add(_STREAMS, "[method]output-stream.subscribe")
def subscribe_output(_guest: ComponentGuest, stream: OutputStream) -> Pollable:
    """Ready when there is room."""
    return Pollable(stream.ready, stream.sink.wait_room)


@TABLE.add(_STREAMS, "[method]output-stream.splice")
def splice(_guest: ComponentGuest, target: OutputStream, source: InputStream, size: int) -> int:
    """Move what is here now and fits."""
    target.check()
    data = source.take(min(size, target.sink.room))
    target.write(data)
    return len(data)


@TABLE.add(_STREAMS, "[method]output-stream.blocking-splice", waits=True)
def blocking_splice(guest: ComponentGuest, target: OutputStream, source: InputStream, size: int) -> int | Suspend:
    """Move at least one byte: a whole body may pass through without entering the guest."""

    def move(_nothing: object = None) -> int:
        moved: int = splice(guest, target, source, size)
        return moved

    async def wait() -> None:
        if not target.ready():
            await target.sink.wait_room()
        if source.source is not None:
            await source.source.fill()

    return move() if not size or (source.ready() and target.ready()) else Suspend(wait, move)


@TABLE.add(_ERROR, "[method]error.to-debug-string")
def to_debug_string(_guest: ComponentGuest, error: IoError) -> str:
    """The error's text."""
    return error.text
