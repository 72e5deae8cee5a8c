"""What goes into a guest and what comes out: request, response, and the two bounded byte streams between them.

Host functions run on the guest's fiber, which the event loop or a pool thread polls; the other side of each stream runs on
the loop. Each counter therefore has one writer, and a host function never touches the loop: where it must wait it returns
a `Suspend`, and the execution awaits that on the loop.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable  # noqa: TC003 - a dataclass field
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from edgesim.errors import GuestOutputError, RequestError
from edgesim.model.http import BytesBody
from edgesim.wasm.files import FileTree
from edgesim.wasm.outbound import OutboundError

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from edgesim.core.waiter import Waiter
    from edgesim.model.http import Body, Headers
    from edgesim.wasm.outbound import Outbound

CHUNK_BYTES: Final = 64 * 1024
"""Largest piece that is handed over at once."""
WINDOW_BYTES: Final = 256 * 1024
"""What a guest may write before it has to wait for its client."""


@dataclass(slots=True, kw_only=True)
class GuestRequest:
    """One HTTP request for a guest."""

    method: str
    target: str
    """Path and query as received."""
    headers: Headers
    body: Body | None
    authority: str
    """Host and port as the client named them."""
    scheme: str
    client_address: str
    deadline_s: float
    """Absolute, on the event loop's clock."""
    inform: Callable[[int, Headers], None] | None = None
    """Sends an informational response (1xx), on the loop; None where the client can take none."""
    route: str = "/..."
    """Pattern of the route that matched, for WAGI's X_MATCHED_ROUTE and PATH_INFO."""


def plain_get(deadline_s: float, target: str = "/", host: str = "localhost") -> GuestRequest:
    """A GET without a body from this machine, for runs that nobody has asked for."""
    return GuestRequest(
        method="GET",
        target=target,
        headers=(("host", host),),
        body=None,
        authority=host,
        scheme="http",
        client_address="127.0.0.1",
        deadline_s=deadline_s,
    )


@dataclass(slots=True, kw_only=True)
class GuestResponse:
    """A guest's answer and what it cost. Times are seconds."""

    status: int
    headers: Headers
    body: bytes | Body
    """All of it when the guest has ended, else a stream with back-pressure."""
    instantiate_s: float
    init_s: float
    execute_s: float
    """From the call until the guest ended, or until this response was handed over."""
    cpu_s: float
    """Until then, the start included."""
    memory_bytes: int
    """Linear memory at that time; 0 where the ABI does not show it (components)."""
    start_cpu_s: float = 0.0
    """CPU time to make the instance."""
    subrequests: int = 0
    """Requests that the guest has sent until then."""
    log: str = ""
    """What it has written to its log until then."""
    ended: Waiter[None] | None = None
    """Resolved when a guest that still runs has ended and its instance is gone. What it cost until then, and its log, is
    above from that moment on."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True, weakref_slot=True)
class Grants:
    """What a PoP gives to the guests of one worker, beside the request: one object per loaded worker, compared by identity."""

    environment: tuple[tuple[str, str], ...] = ()
    variables: tuple[tuple[str, str], ...] = ()
    """What `wasi:config/store` gives."""
    files: FileTree = field(default_factory=FileTree)
    outbound: Outbound | None = None
    """None: the guests may send requests to nobody."""


NO_GRANTS: Final = Grants()


class Exited(Exception):  # noqa: N818 - it is no error when the code is 0
    """The guest asked to end (`proc_exit`, `wasi:cli/exit`)."""

    def __init__(self, code: int) -> None:
        super().__init__(f"exit code {code}")
        self.code = code


class Suspend:
    """What a host function returns when it must wait: how to wait, on the loop, and how to finish, on the fiber."""

    __slots__ = ("done", "error", "finish", "start", "value")

    def __init__(self, start: Callable[[], Awaitable[Any]], finish: Callable[[Any], Any]) -> None:
        self.start = start
        self.finish = finish
        self.done = False
        self.value: Any = None
        self.error: BaseException | None = None

    def result(self) -> Any:
        """The host function's result. Raises what the wait raised."""
        if self.error is not None:
            raise self.error
        return self.finish(self.value)


def request_too_large(limit_bytes: int) -> Exception:
    """The error for a request body beyond the worker's limit."""
    return RequestError(
        f"the request body is larger than {limit_bytes} bytes", help="send less, or raise the worker's body limit"
    )


class Input:
    """A body as the guest pulls it: that of its request, or that of an answer to it."""

    __slots__ = ("_body", "_error", "_limit", "_pulling", "_rest", "_too_large", "_total", "ended")

    def __init__(
        self, body: Body | None, limit_bytes: int, too_large: Callable[[int], Exception] = request_too_large
    ) -> None:
        self._body = body
        self._limit = limit_bytes
        self._too_large = too_large
        self._rest = memoryview(b"")
        self._total = 0
        self._error: Exception | None = None
        self._pulling: asyncio.Task[None] | None = None
        self.ended = body is None

    @property
    def ready(self) -> bool:
        """Whether `take` has bytes, the end, or an error."""
        return bool(self._rest) or self.ended or self._error is not None

    @property
    def drained(self) -> bool:
        """Whether the guest has taken all there will ever be."""
        return self.ended and not self._rest

    def take(self, size: int) -> bytes:
        """At most `size` bytes that are already here; empty when there are none (see `ended`). Raises the sender's error."""
        if self._rest:
            data = self._rest[:size]
            self._rest = self._rest[size:]
            return bytes(data)
        if self._error is not None:
            raise self._error
        return b""

    async def fill(self) -> None:
        """Wait, on the loop, until `ready`. May be cancelled without losing bytes."""
        if self.ready:
            return
        if self._pulling is None:
            self._pulling = asyncio.create_task(self._pull(), name="wasm-guest-input")
        await asyncio.shield(self._pulling)

    async def _pull(self) -> None:
        """The next chunk of the sender. What it raises, and a body beyond the limit, is kept."""
        assert self._body is not None
        try:
            chunk = await self._body.next()
            self._total += len(chunk or b"")
            if self._total > self._limit:
                raise self._too_large(self._limit)  # noqa: TRY301 - one place keeps every error of the sender
            self._rest = memoryview(chunk or b"")
            self.ended = chunk is None
        except Exception as exc:  # noqa: BLE001 - raised by `take`, on the fiber that reads
            self._error = exc
        finally:
            self._pulling = None

    def trailers(self) -> Headers:
        """The sender's, once `drained`."""
        return () if self._body is None else self._body.trailers()

    def close(self) -> None:
        """Stop the sender. On the loop."""
        self.ended = True
        if self._pulling is not None:
            self._pulling.cancel()
        if self._body is not None:
            self._body.close()


class Pipe:
    """Bytes that the guest writes and the loop reads, through a window. Subclasses say what is too much."""

    __slots__ = ("_chunks", "_limit", "_more", "_read", "_room", "_written", "closed", "ended", "error", "trailing")

    def __init__(self, limit_bytes: int) -> None:
        self.ended = False
        """Nothing more will be written, whether the end is good or not."""
        self.error: Exception | None = None
        """What the reader gets instead of the end."""
        self.closed = False
        """Nobody reads any more; what is written is dropped."""
        self.trailing: Headers = ()
        """Trailer fields, set before `ended`."""
        self._limit = limit_bytes
        self._chunks: deque[bytes] = deque()
        self._written = 0  # written on the fiber only
        self._read = 0  # written on the loop only
        self._more: asyncio.Event | None = None
        self._room: asyncio.Event | None = None
        """Made, on the loop, by who waits first: most guests write less than a window and have ended before anybody reads."""

    def too_large(self) -> Exception:
        """What `write` raises beyond the limit."""
        raise NotImplementedError

    @property
    def room(self) -> int:
        """Bytes that fit into the window now."""
        return WINDOW_BYTES if self.closed else max(0, WINDOW_BYTES - (self._written - self._read))

    def write(self, data: bytes) -> None:
        """Append bytes. Raises `too_large()` beyond the limit."""
        self._written += len(data)
        if self._written > self._limit:
            raise self.too_large()
        if data and not self.closed:
            self._chunks.append(data)

    async def wait_room(self) -> None:
        """Wait, on the loop, until the window has room."""
        if self._room is None:
            self._room = asyncio.Event()
        while not self.room:
            self._room.clear()
            await self._room.wait()

    def wake(self) -> None:
        """Tell the reader, on the loop, that there may be more."""
        if self._more is not None:
            self._more.set()

    def end(self) -> None:
        """Nothing more comes: the reader gets the rest, then the end or `error`."""
        self.ended = True
        self.wake()

    def close(self) -> None:
        """Nobody reads any more: a writer that waits goes on. On the loop."""
        self.closed = True
        self._chunks.clear()
        self._wake_writer()

    def trailers(self) -> Headers:
        """See `model.http.Body`."""
        return self.trailing

    def take_all(self) -> bytes:
        """Everything written and not read yet."""
        data = b"".join(self._chunks)
        self._chunks.clear()
        self._read += len(data)
        return data

    async def next(self) -> bytes | None:
        """The next chunk of at most CHUNK_BYTES; None at the end. Raises `error`."""
        if self._more is None:
            self._more = asyncio.Event()
        while not self._chunks:
            if self.ended:
                if self.error is not None:
                    raise self.error
                return None
            self._more.clear()
            if self._chunks or self.ended:  # the writer may be on another thread, and may have come first
                continue
            await self._more.wait()
        data = self._chunks.popleft()
        if len(data) > CHUNK_BYTES:
            self._chunks.appendleft(data[CHUNK_BYTES:])
            data = data[:CHUNK_BYTES]
        while self._chunks and len(data) + len(self._chunks[0]) <= CHUNK_BYTES:
            data += self._chunks.popleft()
        self._read += len(data)
        self._wake_writer()
        return data

    def _wake_writer(self) -> None:
        if self._room is not None:
            self._room.set()


class Output(Pipe):
    """The response as the guest writes it: head first, then body bytes. `ended` with the guest, `error` is what ended it."""

    __slots__ = ("headers", "status")

    def __init__(self, limit_bytes: int) -> None:
        Pipe.__init__(self, limit_bytes)
        self.status = 0
        """0 until the guest has sent its head."""
        self.headers: Headers = ()

    def too_large(self) -> Exception:
        """The worker sends too much."""
        return GuestOutputError(
            f"the worker's response body is larger than {self._limit} bytes",
            help="send less, or raise the worker's limit for responses",
        )

    def whole_body(self) -> bytes | Body:
        """Of a guest that has ended: what is not read yet; with trailers it is a stream, which has a place for them."""
        data = self.take_all()
        return BytesBody(data, self.trailing) if self.trailing else data

    def send_head(self, status: int, headers: Headers) -> None:
        """Set status and fields. Once."""
        assert self.status == 0
        self.headers = headers
        self.status = status


class RequestPipe(Pipe):
    """The body of a request that the guest sends, a `model.http.Body`. Its reader is woken from whatever thread writes."""

    __slots__ = ("_loop",)

    def __init__(self, limit_bytes: int) -> None:
        super().__init__(limit_bytes)
        self._loop: asyncio.AbstractEventLoop | None = None

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """The reader's loop, before anybody reads."""
        self._loop = loop

    def too_large(self) -> Exception:
        """The worker sends too much."""
        return OutboundError("HTTP-request-body-size", self._written)

    def write(self, data: bytes) -> None:
        """Append bytes. Raises OutboundError beyond the limit."""
        super().write(data)
        self._wake_reader()

    def finish(self, error: OutboundError | None = None) -> None:
        """The body is complete, or breaks off with `error`."""
        self.error = error
        self.ended = True
        self._wake_reader()

    def _wake_reader(self) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self.wake)


class Log:
    """What the guest writes to stderr: the first bytes up to a limit; the rest is counted and dropped."""

    __slots__ = ("_kept", "_limit", "dropped_bytes")

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._kept = bytearray()
        self.dropped_bytes = 0

    def write(self, data: bytes) -> None:
        """Append, up to the limit."""
        kept = data[: max(0, self._limit - len(self._kept))]
        self._kept += kept
        self.dropped_bytes += len(data) - len(kept)

    def clear(self) -> None:
        """Forget everything: another request begins."""
        self._kept.clear()
        self.dropped_bytes = 0

    def __len__(self) -> int:
        return len(self._kept)

    def tail(self) -> str:
        """The last line, as an addition to an error message; empty when there is none."""
        lines = self.text.strip().splitlines()
        return f" (its log ends with: {lines[-1][:200]})" if lines else ""

    @property
    def text(self) -> str:
        """The log so far, with replacement characters for bytes that are not UTF-8."""
        return self._kept.decode(errors="replace")
