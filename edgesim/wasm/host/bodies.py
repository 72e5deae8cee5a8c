"""wasi:http/types bodies and trailers, in both directions: of the request that the guest serves, and of those it sends.

A body's stream is its child: the guest drops it before it finishes or drops the body, else it is ended, as the interface
says. Trailers come in and go out with whatever carries the body.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from edgesim.errors import GuestTrapError
from edgesim.model.http import BytesBody
from edgesim.wasm.guest import WINDOW_BYTES, RequestPipe
from edgesim.wasm.host.fields import from_headers
from edgesim.wasm.host.io import InputStream, OutputStream, Pollable
from edgesim.wasm.linking import HostTable
from edgesim.wasm.outbound import OutboundError
from edgesim.wasm.values import Err, Ok, Var

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgesim.model.http import Body, Headers
    from edgesim.wasm.component import ComponentGuest
    from edgesim.wasm.guest import Input, Pipe
    from edgesim.wasm.host.fields import Fields

TABLE: Final = HostTable()
_TYPES: Final = "wasi:http/types"


def has_children(what: str) -> GuestTrapError:
    """The error for a body that ends before its stream."""
    return GuestTrapError(f"the worker ended its {what} while the stream of it was open: resource has children")


# -- incoming -----------------------------------------------------------------------------------------------------------


class IncomingBody:
    """A body that can be read once. `abandon` stops its sender; `trailers` gives its trailer fields when it has ended."""

    __slots__ = ("_abandon", "_source", "_trailers", "child", "taken")

    def __init__(
        self,
        source: Input,
        abandon: Callable[[], None] | None = None,
        trailers: Callable[[], Headers] = tuple,
    ) -> None:
        self._trailers = trailers
        self._source = source
        self._abandon = abandon
        self.child: object = None
        self.taken = False

    def stream(self) -> InputStream:
        """The stream, once. Raises Err."""
        if self.taken:
            raise Err
        self.taken = True
        self.child = stream = InputStream(self._source, self)
        return stream

    def end(self) -> Err | Ok:
        """Give up what was not read; the trailers. Raises GuestTrapError while the stream lives."""
        if self.child is not None:
            raise has_children("incoming-body")
        try:
            self._source.take(0)
        except OutboundError as exc:
            return Err(Var(exc.code, exc.payload))
        except Exception:  # noqa: BLE001 - the client's own failure, which the reader was told; there are no trailers then
            return Err(Var("HTTP-protocol-error"))
        if self._source.drained:
            fields = self._trailers()
            return Ok(from_headers(fields) if fields else None)
        if self._abandon is not None:
            self._abandon()
        return Ok(None)

    def drop(self) -> None:
        """The guest does not want it."""
        self.end()


class FutureTrailers:
    """The trailers of a body, known at once: none, or why there are none."""

    __slots__ = ("result", "taken")

    def __init__(self, result: Err | Ok) -> None:
        self.result = result
        self.taken = False


@TABLE.add(_TYPES, "[method]incoming-body.stream")
def body_stream(_guest: ComponentGuest, body: IncomingBody) -> InputStream:
    """The body's bytes, once."""
    return body.stream()


@TABLE.add(_TYPES, "[static]incoming-body.finish")
def finish_incoming(_guest: ComponentGuest, body: IncomingBody) -> FutureTrailers:
    """Done with the body; its trailers."""
    return FutureTrailers(body.end())


@TABLE.add(_TYPES, "[method]future-trailers.subscribe")
def trailers_ready(_guest: ComponentGuest, _trailers: FutureTrailers) -> Pollable:
    """Ready at once."""
    return Pollable()


@TABLE.add(_TYPES, "[method]future-trailers.get")
def trailers(_guest: ComponentGuest, future: FutureTrailers) -> Ok | Err:
    """Some(ok(..)) the first time, then some(err)."""
    if future.taken:
        return Err()
    future.taken = True
    return Ok(future.result)


# -- outgoing -----------------------------------------------------------------------------------------------------------


class OutgoingBody:
    """The sink of a body: keeps bytes, up to the window, until the head is sent, then passes them on."""

    __slots__ = (
        "_discard",
        "_kept",
        "_kept_bytes",
        "_kind",
        "child",
        "dropped",
        "expected_bytes",
        "fields",
        "finished",
        "output",
        "taken",
        "written_bytes",
    )

    def __init__(self, kind: str, expected_bytes: int | None) -> None:
        self._kind = kind
        """`request` or `response`, for error codes."""
        self.expected_bytes = expected_bytes
        """What content-length says."""
        self.output: Pipe | None = None
        self.child: object = None
        self.taken = False
        self.finished = False
        self.fields: Headers = ()
        """Its trailers, once it is finished."""
        self.dropped = False
        self.written_bytes = 0
        self._kept: list[bytes] = []
        self._kept_bytes = 0
        self._discard = False

    @property
    def room(self) -> int:
        """Bytes that may be written now."""
        if self.output is not None:
            return self.output.room
        return WINDOW_BYTES if self._discard else max(0, WINDOW_BYTES - self._kept_bytes)

    @property
    def closed(self) -> bool:
        """Whether the other side has gone."""
        return self.output is not None and self.output.closed

    def write(self, data: bytes) -> None:
        """Take bytes. Raises OutboundError beyond the content-length, GuestOutputError beyond the body limit."""
        self.written_bytes += len(data)
        if self.expected_bytes is not None and self.written_bytes > self.expected_bytes:
            raise OutboundError(f"HTTP-{self._kind}-body-size", self.written_bytes)
        if self.output is not None:
            self.output.write(data)
        elif not self._discard:
            self._kept.append(data)
            self._kept_bytes += len(data)

    async def wait_room(self) -> None:
        """Wait, on the loop, for room; for ever when the guest fills the window without ever sending its head."""
        if self.output is not None:
            await self.output.wait_room()
        elif not self.room:
            await asyncio.get_running_loop().create_future()

    def take_kept(self) -> bytes | Body:
        """All of a body that was finished before the head was sent."""
        kept, self._kept = b"".join(self._kept), []
        return BytesBody(kept, self.fields) if self.fields else kept

    def connect(self, output: Pipe) -> None:
        """The head is out: what was kept follows it."""
        for data in self._kept:
            output.write(data)
        self._kept = []
        self.output = output
        output.trailing = self.fields

    def discard(self) -> None:
        """The response has no body (RFC 9110 §6.4.1): what the guest writes is dropped, whatever content-length says."""
        self._discard = True
        self._kept = []
        self.expected_bytes = None

    def stream(self) -> OutputStream:
        """The stream, once. Raises Err."""
        if self.taken:
            raise Err
        self.taken = True
        self.child = stream = OutputStream(self, self)
        return stream

    def finish(self, trailers: Headers = ()) -> None:
        """It is complete. Raises Err(error-code) when it is not what content-length said, GuestTrapError while the stream lives."""
        if self.child is not None:
            raise has_children("outgoing-body")
        if self.expected_bytes is not None and self.expected_bytes != self.written_bytes:
            wrong = OutboundError(f"HTTP-{self._kind}-body-size", self.written_bytes)
            self._break_off(wrong)
            raise Err(Var(wrong.code, wrong.payload))
        self.finished, self.fields = True, trailers
        if self.output is not None:
            self.output.trailing = trailers
        if isinstance(self.output, RequestPipe):
            self.output.finish()

    def drop(self) -> None:
        """The guest lets go of it without finishing: it is broken off."""
        if self.child is not None:
            raise has_children("outgoing-body")
        self._break_off(OutboundError("HTTP-protocol-error"))

    def _break_off(self, error: OutboundError) -> None:
        self.dropped = True
        if isinstance(self.output, RequestPipe):
            self.output.finish(error)


@TABLE.add(_TYPES, "[method]outgoing-body.write")
def body_write(_guest: ComponentGuest, body: OutgoingBody) -> OutputStream:
    """The body's stream, once."""
    return body.stream()


@TABLE.add(_TYPES, "[static]outgoing-body.finish")
def finish_outgoing(_guest: ComponentGuest, body: OutgoingBody, trailers: Fields | None) -> None:
    """The body is complete."""
    body.finish(() if trailers is None else trailers.headers())
