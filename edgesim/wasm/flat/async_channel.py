"""Streams and futures of the async canonical ABI: channels between two ends, each a guest's or the host's.

Copies go from one end to the other at once and may be partial; nothing is buffered here. Streams carry bytes only. What the host
reads is pulled from the guest while the guest does not run, so back-pressure needs no code of its own.

Source: component-model repository, design/mvp/CanonicalABI.md ("Stream State", "Future State").
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, Protocol

from edgesim.errors import GuestTrapError
from edgesim.wasm.flat import async_state as state
from edgesim.wasm.flat import types as t
from edgesim.wasm.flat.async_state import ASYNC, CANCELLED, COMPLETED, DROPPED, Waitable, find, put
from edgesim.wasm.outbound import OutboundError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from edgesim.wasm.flat.async_state import Event
    from edgesim.wasm.flat.handles import HandleTable
    from edgesim.wasm.flat.memory import Context

_COUNT_MAX: Final = (1 << 28) - 1


class Source(Protocol):
    """The host's side of what a guest reads: `Input`, or for futures `HostFuture`."""

    @property
    def ready(self) -> bool:
        """Whether `take` has something, the end, or an error."""
        ...

    @property
    def drained(self) -> bool:
        """Whether there will never be anything again."""
        ...

    def take(self, size: int) -> Any:
        """At most `size` bytes that are here; a future's value. Raises the sender's error."""
        ...

    async def fill(self) -> None:
        """Wait, on the loop, until `ready`."""
        ...


class Sink(Protocol):
    """The host's side of what a guest writes. A future's value is one of its writes."""

    @property
    def room(self) -> int:
        """Bytes that may be written now."""
        ...

    @property
    def closed(self) -> bool:
        """Whether nobody reads any more."""
        ...

    def write(self, data: Any) -> None:
        """Take bytes, at most `room`, or a value. Raises GuestError."""
        ...

    async def wait_room(self) -> None:
        """Wait, on the loop, for room."""
        ...

    def finish(self) -> None:
        """The writer is gone. Raises GuestError."""
        ...

    def flush(self) -> None:
        """Tell the reader, on the loop, that there is more."""
        ...


class Channel:
    """A stream or future, with an end on either side: a guest's `End`, or the host's `source` or `sink`."""

    __slots__ = ("ended", "kind", "reader", "reader_dropped", "sink", "source", "writer", "writer_dropped")

    def __init__(self, source: Source | None = None, ended: Callable[[Exception | None], None] | None = None) -> None:
        self.kind: t.Stream | t.Future | None = None
        """None until a guest has seen it."""
        self.source = source
        self.sink: Sink | None = None
        self.ended = ended
        """Told, once, when no guest will read from the source any more; with the sender's error if there was one."""
        self.reader: End | None = None
        self.writer: End | None = None
        self.reader_dropped = False
        self.writer_dropped = False

    def drop(self) -> None:
        """The host does not want what comes out of it."""
        self.reader_dropped = True
        self.over()

    def over(self, error: Exception | None = None) -> None:
        """The source is not read any more."""
        ended, self.ended = self.ended, None
        if ended is not None:
            ended(error)

    def connect(self, sink: Sink) -> Callable[[], Coroutine[Any, Any, None]] | None:
        """Give what the guest writes to the host. Where the host writes too: how to pass it on, on the loop."""
        self.sink = sink
        if self.source is not None:
            return self._pass_on
        if self.writer_dropped:
            sink.finish()
        return None

    async def _pass_on(self) -> None:
        """From the source to the sink, without a guest."""
        source, sink = self.source, self.sink
        assert source is not None
        assert sink is not None
        while not sink.closed:
            await source.fill()
            await sink.wait_room()
            try:
                data = source.take(sink.room)
            except OutboundError as exc:  # the future beside the stream breaks it off
                self.over(exc)
                return
            if source.drained and not isinstance(source, HostFuture) and not data:
                break
            sink.write(data)
            sink.flush()
            if isinstance(source, HostFuture):
                break
        self.over()
        sink.finish()
        sink.flush()


class Copy:
    """A read or write that a guest has asked for: where in its memory, and how much."""

    __slots__ = ("count", "cx", "move", "pointer")

    def __init__(self, cx: Context, pointer: int, count: int, move: Callable[..., Any]) -> None:
        self.cx = cx
        self.pointer = pointer
        self.count = count
        self.move = move
        """For a future: loads or stores the value."""


class End(Waitable):
    """A guest's end of a stream or future."""

    __slots__ = ("channel", "copy", "done", "is_reader", "result")

    def __init__(self, channel: Channel, *, is_reader: bool) -> None:
        super().__init__()
        self.channel = channel
        self.is_reader = is_reader
        self.copy: Copy | None = None
        """Under way."""
        self.result: int | None = None
        """How the copy under way has ended, when the other end brought it about."""
        self.done = False
        """Nothing can be copied any more."""

    @property
    def is_future(self) -> bool:
        """Whether it is a future's."""
        return isinstance(self.channel.kind, t.Future)

    def begin(self, copy: Copy) -> int | None:
        """Copy what can be copied now; how it ended, or None if it has to wait. Raises GuestTrapError."""
        if self.copy is not None or self.done:
            what = "while another copy is under way" if self.copy else "after its end"
            raise GuestTrapError(f"the worker used a stream or future {what}")
        self.copy = copy
        return self.settle()

    def settle(self) -> int | None:
        """Go on with the copy; its packed result when it is over."""
        if self.copy is None:
            return None
        result = self.result
        if result is None:
            result = self._read() if self.is_reader else self._write()
        if result is not None:
            self.copy = self.result = None
            if self.is_future:
                result &= 15
                self.done = result != CANCELLED
            elif result & 15 == DROPPED:
                self.done = True
        return result

    def poll(self) -> Event | None:
        """The end of the copy."""
        result = self.settle()
        if result is None:
            return None
        code = (state.FUTURE_READ if self.is_reader else state.FUTURE_WRITE) if self.is_future else state.STREAM_READ
        return (code if self.is_reader or self.is_future else state.STREAM_WRITE), self.index, result

    def condition(self) -> Callable[[], Awaitable[None]] | None:
        """Bytes or a value from the host, or room for them."""
        channel = self.channel
        if self.copy is None:
            return None
        if self.is_reader:
            return None if channel.source is None else channel.source.fill
        return None if channel.sink is None else channel.sink.wait_room

    def cancel(self) -> int:
        """Give the copy up; how it ended."""
        if self.copy is None:
            raise GuestTrapError("the worker cancelled a copy that is not under way")
        result = self.settle()
        if result is None:
            self.copy = None
            return CANCELLED
        return result

    def drop(self) -> None:
        """The guest lets go of it. Raises GuestTrapError."""
        channel = self.channel
        if self.copy is not None:
            raise GuestTrapError("the worker dropped a stream or future while a copy was under way")
        self.join(None)
        if self.is_reader:
            channel.reader, channel.reader_dropped = None, True
            channel.over()
            return
        if self.is_future and not self.done:
            raise GuestTrapError("the worker dropped the writable end of a future without a value")
        channel.writer, channel.writer_dropped = None, True
        if channel.sink is not None and not self.is_future:
            channel.sink.finish()

    # -- copies -------------------------------------------------------------------------------------------------------

    def _read(self) -> int | None:
        channel = self.channel
        if channel.source is not None:
            return self._read_source(channel.source) if channel.source.ready else None
        writer = channel.writer
        if writer is not None and writer.copy is not None and writer.result is None:
            return _transfer(writer, self)
        return DROPPED if channel.writer_dropped else None

    def _read_source(self, source: Source) -> int:
        channel, copy = self.channel, self.copy
        assert copy is not None
        if self.is_future:
            copy.move(copy.cx, copy.pointer, source.take(0))
            return COMPLETED
        try:
            data = source.take(copy.count)
        except OutboundError as exc:  # the future beside the stream tells the guest; a client's failure ends it
            channel.over(exc)
            return DROPPED
        if not data and source.drained:
            channel.over()
            return DROPPED
        copy.cx.put_elements(copy.pointer, data)
        return COMPLETED | len(data) << 4

    def _write(self) -> int | None:
        channel, copy = self.channel, self.copy
        assert copy is not None
        sink = channel.sink
        if sink is None:
            reader = channel.reader
            if reader is not None and reader.copy is not None and reader.result is None:
                return _transfer(self, reader)
            return DROPPED if channel.reader_dropped else None
        if sink.closed:
            return DROPPED
        if self.is_future:
            copy.cx.lifted = 0
            sink.write(copy.move(copy.cx, copy.pointer))
            return COMPLETED
        room = sink.room
        if not room:
            return None
        copy.cx.lifted = 0
        data = copy.cx.octets(copy.pointer, min(copy.count, room))
        sink.write(data)
        return COMPLETED | len(data) << 4


def _transfer(writer: End, reader: End) -> int:
    """From one end in the guest to the other; the result, which the end that waited gets too."""
    source, target = writer.copy, reader.copy
    assert source is not None
    assert target is not None
    source.cx.lifted = 0
    if writer.is_future:
        target.move(target.cx, target.pointer, source.move(source.cx, source.pointer))
        result = COMPLETED
    else:
        count = min(source.count, target.count)
        target.cx.put_elements(target.pointer, source.cx.octets(source.pointer, count))
        result = COMPLETED | count << 4
    writer.result = reader.result = result
    return result


class HostFuture:
    """A future's value as the host gives it: a `Source`."""

    __slots__ = ("_loop", "_set", "ready", "value")

    drained = False

    def __init__(self) -> None:
        self.value: Any = None
        self.ready = False
        """Whether the value is there."""
        self._set = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        """Of whoever waits."""

    def set(self, value: Any) -> None:
        """It is known now, on whatever thread. Only the first value counts."""
        if not self.ready:
            self.value = value
            self.ready = True
            if self._loop is not None and not self._loop.is_closed():
                self._loop.call_soon_threadsafe(self._set.set)

    def take(self, _size: int) -> Any:
        """The value."""
        return self.value

    async def fill(self) -> None:
        """Wait for it, on the loop."""
        self._loop = asyncio.get_running_loop()
        if not self.ready:  # looked at after `_loop` was set, which `set` looks at after it
            await self._set.wait()


class ValueSink:
    """Where a future's value goes that the guest writes to the host."""

    __slots__ = ("_got",)

    room = 1
    closed = False

    def __init__(self, got: Callable[[Any], None]) -> None:
        self._got = got

    def write(self, value: Any) -> None:
        """Hand it on."""
        self._got(value)

    async def wait_room(self) -> None:
        """There always is."""

    def finish(self) -> None:
        """The value was there before."""

    def flush(self) -> None:
        """Nobody waits."""


# -- in handle tables ---------------------------------------------------------------------------------------------------


def find_end(table: HandleTable, number: int, kind: t.Stream | t.Future, *, is_reader: bool) -> End:
    """An end of a stream or future of this type. Raises GuestTrapError."""
    what = f"{'readable' if is_reader else 'writable'} end of a {type(kind).__name__.lower()}"
    end: End = find(table, number, End, what)
    if end.is_reader is not is_reader or end.channel.kind != kind:
        raise GuestTrapError(f"the worker passed {number} as a {what} of another type")
    return end


def take_end(cx: Context, number: int, kind: t.Stream | t.Future) -> Channel:
    """A stream or future that the guest gives away. Raises GuestTrapError."""
    end = find_end(cx.handles, number, kind, is_reader=True)
    if end.copy is not None or end.done:
        raise GuestTrapError("the worker gave a stream or future away that it reads, or that has ended")
    end.join(None)
    cx.handles.drop(number, ASYNC)
    end.channel.reader = None
    return end.channel


def put_end(cx: Context, channel: Channel, kind: t.Stream | t.Future) -> int:
    """A handle for a stream or future that the guest is given."""
    channel.kind = channel.kind or kind
    channel.reader = end = End(channel, is_reader=True)
    return put(cx.handles, end)


def count_of(count: int) -> int:
    """How much a guest wants to copy. Raises GuestTrapError."""
    if count > _COUNT_MAX:
        raise GuestTrapError(f"the worker asked to copy {count} elements at once, the limit is {_COUNT_MAX}")
    return count
