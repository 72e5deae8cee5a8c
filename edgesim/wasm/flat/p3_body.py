"""Where the body of a message goes that a guest of WASI 0.3 sends: its contents, its trailers, and what becomes of both."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgesim.errors import GuestOutputError
from edgesim.wasm.guest import RequestPipe
from edgesim.wasm.host.fields import Fields
from edgesim.wasm.outbound import OutboundError
from edgesim.wasm.values import Err, Ok, Var

if TYPE_CHECKING:
    from edgesim.model.http import Headers
    from edgesim.wasm.flat.async_channel import HostFuture
    from edgesim.wasm.guest import Pipe
    from edgesim.wasm.host.bodies import OutgoingBody


def code_of(exc: Exception) -> Var:
    """An error as an `error-code`."""
    return Var(exc.code, exc.payload) if isinstance(exc, OutboundError) else Var("HTTP-protocol-error")


class BodySink:
    """Where the body of a message goes that the guest sends."""

    __slots__ = ("_body", "_broken", "_complete", "_fields", "_output", "_sent")

    def __init__(self, body: OutgoingBody, output: Pipe, sent: HostFuture) -> None:
        self._fields: Headers | None = None
        """The trailers, when they are known."""
        self._complete = False
        """The contents have ended."""
        self._body = body
        self._output = output
        self._sent = sent
        self._broken = False

    @property
    def room(self) -> int:
        """Bytes that may be written now."""
        return self._body.room

    @property
    def closed(self) -> bool:
        """Whether nobody reads any more."""
        return self._broken or self._body.closed

    def write(self, data: bytes) -> None:
        """Pass bytes on. Raises GuestOutputError for a response that is too long."""
        try:
            self._body.write(data)
        except OutboundError as exc:
            self.fail(exc)

    async def wait_room(self) -> None:
        """Wait, on the loop, for room."""
        if not self._broken:
            await self._body.wait_room()

    def finish(self) -> None:
        """The body is complete. Raises GuestOutputError for a response that is too short."""
        self._complete = True
        if self._broken or (self._fields is None and isinstance(self._output, RequestPipe)):
            return  # a request ends with its trailers; a response with its task, and they may come until then
        try:
            self._body.finish(self._fields or ())
        except Err as exc:
            self._broken = True
            self._sent.set(exc.with_traceback(None))
            self._refuse(exc.value)
        self._sent.set(None)

    def fail(self, error: OutboundError) -> None:
        """The body breaks off. Raises GuestOutputError for a response."""
        self._broken = True
        self._sent.set(Err(code_of(error)))
        if isinstance(self._output, RequestPipe):
            self._output.finish(error)
        self._refuse(code_of(error))

    def flush(self) -> None:
        """Tell the reader, on the loop, that there is more."""
        self._output.wake()

    def trailers(self, result: Any) -> None:
        """The future beside the body: an error breaks it off."""
        if isinstance(result, Err):
            value = result.value
            self.fail(OutboundError(value.tag, value.value))
            return
        found = result.value if isinstance(result, Ok) else result
        self._fields = found.headers() if isinstance(found, Fields) else ()
        if self._complete and isinstance(self._output, RequestPipe):
            self.finish()
        else:
            self._output.trailing = self._fields

    def _refuse(self, code: Var) -> None:
        if not isinstance(self._output, RequestPipe):
            raise GuestOutputError(f"the worker broke its response body off with the error {code.tag}")
