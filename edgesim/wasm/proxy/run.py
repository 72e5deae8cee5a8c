"""One request in one filter: a fresh VM, the request's phases, then the response's, then the end.

Request bodies are held until the filter has let all of them through, if it looks at bodies; response bodies are passed
chunk by chunk. While a filter pauses its stream for an HTTP call, the host waits here, on the event loop, outside the guest.
"""

from __future__ import annotations

import asyncio
import re
from functools import partial
from typing import TYPE_CHECKING, Final

from edgesim.errors import GuestOutputError, GuestWallError, RequestError
from edgesim.model.http import HOP_BY_HOP, BytesBody, header
from edgesim.wasm.proxy.bodies import Again, FilteredBody
from edgesim.wasm.proxy.calls import CallTasks
from edgesim.wasm.proxy.fields import Fields
from edgesim.wasm.proxy.lifecycle import END, boot, deliver, finish
from edgesim.wasm.proxy.spec import CONTINUE, PLUGIN_CONTEXT, STREAM_CONTEXT, Buffer, Map, Side
from edgesim.wasm.proxy.steps import filter_error
from edgesim.wasm.proxy.stream import Stream

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgesim.model.http import Body, Headers
    from edgesim.wasm.guest import GuestRequest
    from edgesim.wasm.proxy.plugin import Plugin
    from edgesim.wasm.proxy.stream import LocalResponse
    from edgesim.wasm.proxy.vm import Vm

_FRAMING: Final = HOP_BY_HOP | {"content-length"}
_TOKEN: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_TARGET: Final = re.compile(r"[/*][^ ]*")
_REQUEST_BODY: Final = ("proxy_on_request_body", "proxy_on_request_trailers")
_RESPONSE_BODY: Final = ("proxy_on_response_body", "proxy_on_response_trailers")
_REQUEST_MAPS: Final = frozenset({Map.REQUEST_HEADERS, Map.REQUEST_TRAILERS})
_RESPONSE_MAPS: Final = frozenset({Map.RESPONSE_HEADERS, Map.RESPONSE_TRAILERS})


class FilterRun:
    """See the module. `request` and `response` are awaited in this order, once each; `close` ends it at any time."""

    __slots__ = (
        "_calls",
        "_dead",
        "_deadline_s",
        "_length",
        "_passed",
        "_plugin",
        "_read",
        "_stream",
        "_vm",
        "cpu_s",
        "request",
    )

    def __init__(self, plugin: Plugin, request: GuestRequest) -> None:
        self.request = request
        """As the filter has changed it, once `on_request` has returned."""
        self.cpu_s = 0.0
        """CPU time of the filter so far, its start included."""
        self._plugin = plugin
        self._vm: Vm | None = None
        self._stream = Stream(request)
        self._calls: CallTasks | None = None
        self._dead = False
        self._length: int | None = None
        """Of the request's body, if the filter may have changed it."""
        self._passed = 0
        """Bytes of the response's body that have gone on."""
        self._read: list[bytes] = []
        now = asyncio.get_running_loop().time()
        self._deadline_s = min(request.deadline_s, now + plugin.state.limits.wall_s)

    # -- request ------------------------------------------------------------------------------------------------------

    async def on_request(self) -> LocalResponse | None:
        """Pass the request through the filter: what it answers itself, or None and `request` is to go on.

        Raises:
            GuestError: the filter has failed.
            EdgesimError: what the sender of the body raised.
        """
        try:
            async with asyncio.timeout_at(self._deadline_s):
                await self._step(self._begin)
                await self._settle(Side.REQUEST)
                body = self.request.body
                if self._stream.answer is None and body is not None and self._has(*_REQUEST_BODY):
                    await self._request_body(body)
        except TimeoutError as exc:
            raise self._too_late() from exc
        if self._stream.answer is None:
            self._check_resumed(Side.REQUEST)
            self._write_back()
        return self._stream.answer

    def unread_body(self) -> Body | None:
        """The request's body as it was before the filter saw it, for going on without the filter."""
        body = self.request.body
        return None if body is None else Again(self._read, body) if self._read else body

    def _begin(self) -> None:
        plugin, request = self._plugin, self.request
        vm = self._vm = plugin.instantiate()
        self._calls = CallTasks(vm, plugin.outbound, request.headers)
        vm.begin()
        boot(vm)
        self.cpu_s += vm.end()
        vm.started()
        vm.begin()
        vm.stream = stream = self._stream
        head = (
            (":method", request.method), (":path", request.target), (":authority", request.authority),
            (":scheme", request.scheme),
        )  # fmt: skip
        fields = Fields((*head, *(f for f in request.headers if f[0] != "host")))
        stream.maps[Map.REQUEST_HEADERS] = fields
        stream.maps[Map.REQUEST_TRAILERS] = Fields()
        stream.writable = _REQUEST_MAPS
        vm.call("proxy_on_context_create", STREAM_CONTEXT, PLUGIN_CONTEXT)
        self._ask("proxy_on_request_headers", Side.REQUEST, len(fields), int(request.body is None))

    async def _request_body(self, body: Body) -> None:
        """Every chunk to the filter; what it lets through becomes the body."""
        limit = self._plugin.state.limits.body_bytes
        buffer = self._stream.buffers[Buffer.REQUEST_BODY] = bytearray()
        self._stream.writable_buffer = Buffer.REQUEST_BODY
        passed, total = bytearray(), 0
        chunk = await self._pull(body)
        while self._stream.answer is None:
            following = None if chunk is None else await self._pull(body)
            data = chunk or b""
            total += len(data)
            if total > limit:
                raise RequestError(
                    f"the request body is larger than {limit} bytes, the limit of the filter {self._plugin.state.name}",
                    help="send less, or raise the filter's body limit",
                )
            buffer += data
            end = following is None
            trailers = Fields(body.trailers() if end else ())
            last = end and not trailers.items
            await self._step(partial(self._ask, "proxy_on_request_body", Side.REQUEST, len(buffer), int(last)))
            await self._settle(Side.REQUEST)
            if end and not last and self._stream.answer is None:
                self._stream.maps[Map.REQUEST_TRAILERS] = trailers
                await self._step(partial(self._ask, "proxy_on_request_trailers", Side.REQUEST, len(trailers)))
                await self._settle(Side.REQUEST)
            if not self._stream.paused[Side.REQUEST]:
                passed += buffer
                del buffer[:]
            if len(passed) > limit:
                raise self._named(GuestOutputError(f"it made a request body larger than {limit} bytes"))
            if end:
                break
            chunk = following
        if self._stream.answer is None:
            self._check_resumed(Side.REQUEST)
            left = self._stream.maps[Map.REQUEST_TRAILERS].items
            self.request.body = BytesBody(bytes(passed), tuple(left))
            self._length = None if left else len(passed)  # trailers need a chunked body
        self._stream.writable_buffer = None
        body.close()

    async def _pull(self, body: Body) -> bytes | None:
        """The next chunk of the sender, remembered if it may be needed again."""
        chunk = await body.next()
        if chunk is not None and self._plugin.keeps_bodies:
            self._read.append(chunk)
        return chunk

    def _write_back(self) -> None:
        """Put what the filter has made of the head into the request."""
        request, fields = self.request, self._stream.maps[Map.REQUEST_HEADERS]
        self._stream.writable = frozenset()
        method, target, authority = fields.get(":method"), fields.get(":path"), fields.get(":authority")
        if not (_TOKEN.fullmatch(method or "") and _TARGET.fullmatch(target or "") and authority):
            raise self._named(GuestOutputError("it left a request without a usable :method, :path or :authority"))
        assert method is not None
        assert target is not None
        request.method, request.target, request.authority = method, target, authority
        length = header(request.headers, "content-length") if self._length is None else str(self._length)
        kept = [f for f in fields.items if f[0][0] != ":" and f[0] not in _FRAMING and f[0] != "host"]
        request.headers = (("host", authority), *kept, *(() if length is None else (("content-length", length),)))

    # -- response -----------------------------------------------------------------------------------------------------

    async def on_response(
        self, status: int, headers: Headers, body: bytes | Body, *, empty: bool = False
    ) -> tuple[int, Headers, bytes | Body]:
        """Pass the response through the filter; a body that streams is passed as it is read.

        Args:
            status: as it comes.
            headers: as they come.
            body: all of it, or a stream.
            empty: there is none by the method or status, whatever `headers` say of it.

        Raises:
            GuestError: the filter has failed.
        """
        try:
            async with asyncio.timeout_at(max(self._deadline_s, 0.0)):
                return await self._response(status, headers, body, empty=empty or body == b"")
        except TimeoutError as exc:
            raise self._too_late() from exc

    async def _response(
        self, status: int, headers: Headers, body: bytes | Body, *, empty: bool
    ) -> tuple[int, Headers, bytes | Body]:
        stream = self._stream
        stream.status = status
        fields = stream.maps[Map.RESPONSE_HEADERS] = Fields(((":status", str(status)), *headers))
        stream.maps[Map.RESPONSE_TRAILERS] = Fields()
        stream.writable = _RESPONSE_MAPS
        await self._step(partial(self._ask, "proxy_on_response_headers", Side.RESPONSE, len(fields), int(empty)))
        await self._settle(Side.RESPONSE)
        looks = self._has(*_RESPONSE_BODY) and not empty
        if stream.answer is None and looks and isinstance(body, bytes):
            body = await self._whole_body(body)
        if stream.answer is not None:
            if not isinstance(body, bytes):
                body.close()
            return stream.answer.status, stream.answer.headers, stream.answer.body
        if not (looks and not isinstance(body, bytes)):
            self._check_resumed(Side.RESPONSE)
        text = fields.get(":status") or ""
        if not (text.isdigit() and 200 <= int(text) <= 599):
            raise self._named(GuestOutputError(f"it left a response with the status {text[:20]!r}"))
        kept = [f for f in fields.items if f[0][0] != ":" and f[0] not in _FRAMING]
        if not looks:
            kept += [f for f in headers if f[0] == "content-length" and fields.get(f[0]) is not None]
        elif not isinstance(body, bytes):
            stream.can_answer = False
            body = FilteredBody(self, body)
        return int(text), tuple(kept), body

    async def _whole_body(self, body: bytes) -> bytes:
        return await self.pass_chunk(body, end=True, late=False)

    async def pass_chunk(self, data: bytes, *, end: bool, late: bool = True) -> bytes:
        """A chunk of the response's body through the filter: what may go on now. Raises GuestError.

        Args:
            data: the chunk; at the end it may be empty.
            end: it is the last.
            late: the head is out, so the filter cannot answer itself any more.
        """
        stream, limit = self._stream, self._plugin.state.limits.response_bytes
        buffer = stream.buffers.setdefault(Buffer.RESPONSE_BODY, bytearray())
        stream.writable_buffer = Buffer.RESPONSE_BODY
        if len(buffer) + len(data) > limit:
            raise self._named(GuestOutputError(f"it holds back more than {limit} bytes of a response"))
        buffer += data
        await self._step(partial(self._ask, "proxy_on_response_body", Side.RESPONSE, len(buffer), int(end)))
        await self._settle(Side.RESPONSE)
        if stream.answer is not None and not late:
            return b""
        if end:
            self._check_resumed(Side.RESPONSE)
        elif stream.paused[Side.RESPONSE]:
            return b""
        return self._take_passed(buffer)

    async def pass_trailers(self, fields: Headers) -> bytes:
        """The end of a response's body that has trailers: what goes on before them. Raises GuestError."""
        stream = self._stream
        trailers = stream.maps[Map.RESPONSE_TRAILERS] = Fields(fields)
        await self._step(partial(self._ask, "proxy_on_response_trailers", Side.RESPONSE, len(trailers)))
        await self._settle(Side.RESPONSE)
        self._check_resumed(Side.RESPONSE)
        return self._take_passed(stream.buffers.setdefault(Buffer.RESPONSE_BODY, bytearray()))

    @property
    def response_trailers(self) -> Headers:
        """As the filter has left them."""
        return tuple(self._stream.maps[Map.RESPONSE_TRAILERS].items)

    def _take_passed(self, buffer: bytearray) -> bytes:
        limit = self._plugin.state.limits.response_bytes
        passed = bytes(buffer)
        del buffer[:]
        self._passed += len(passed)
        if self._passed > limit:
            raise self._named(GuestOutputError(f"it made a response body larger than {limit} bytes"))
        return passed

    # -- the way of a step --------------------------------------------------------------------------------------------

    def _ask(self, callback: str, side: Side, *args: int) -> None:
        """A callback that says whether the stream goes on. A filter without it lets everything through."""
        assert self._vm is not None
        paused = self._stream.paused
        paused[side] = True
        action = self._vm.call(callback, STREAM_CONTEXT, *args)
        paused[side] = paused[side] and action not in (
            None,
            CONTINUE,
        )  # it may have continued its stream before it returned

    async def _settle(self, side: Side) -> None:
        """While the stream is paused and calls are under way: wait for them and hand their responses over."""
        stream, calls = self._stream, self._calls
        assert calls is not None
        calls.start()
        while stream.paused[side] and stream.answer is None and not stream.closed and calls.busy:
            await calls.wait()
            for response in calls.take_done():
                await self._step(partial(deliver, self._running, response))
            calls.start()
        if stream.closed and stream.answer is None:
            raise self._named(GuestOutputError("it closed the stream (proxy_close_stream)"))

    async def _step(self, step: Callable[[], None]) -> None:
        """Run guest code, on the loop or on the pool, and account for it. Raises GuestError with the filter's name."""
        plugin, before_s = self._plugin, self.cpu_s
        try:
            await plugin.steps.run(lambda: self._timed(step), self._cancel)
        except Exception as exc:  # noqa: BLE001 - mapped once, here
            self._dead = True
            error = filter_error(exc, plugin.state.name, self._vm)
            raise error from (exc if error is not exc else exc.__cause__)
        plugin.steps.note(self.cpu_s - before_s)
        plugin.wake()

    def _timed(self, step: Callable[[], None]) -> None:
        vm = self._vm
        if vm is None:
            step()  # makes it, and begins
        else:
            vm.begin()
            step()
        self.cpu_s += self._running.end()

    @property
    def _running(self) -> Vm:
        assert self._vm is not None
        return self._vm

    def _cancel(self) -> None:
        if self._vm is not None:
            self._vm.cancelled = True

    def _has(self, *callbacks: str) -> bool:
        return any(callback in self._running.module.callbacks for callback in callbacks)

    def _check_resumed(self, side: Side) -> None:
        if self._stream.paused[side]:
            raise self._named(
                GuestOutputError(
                    f"it paused the {side.name.lower()} and waits for nothing that could resume it",
                    help="call proxy_continue_stream, or return CONTINUE at the end of the stream",
                )
            )

    def _named(self, error: Exception) -> Exception:
        return filter_error(error, self._plugin.state.name, self._vm)

    def _too_late(self) -> Exception:
        return self._named(
            GuestWallError(
                "the worker was still waiting at its limit of wall-clock time, or at the request's deadline",
                help="give its HTTP calls a timeout",
            )
        )

    # -- the end ------------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """End the stream and the VM: `proxy_on_done`, `proxy_on_log`, `proxy_on_delete`, unless it has failed. Idempotent."""
        vm, self._vm = self._vm, None
        if self._calls is not None:
            self._calls.close()
        if vm is None:
            return
        if self._dead or not END & vm.module.callbacks.keys():
            vm.close()
            return
        self._stream.writable = frozenset()
        self._plugin.steps.finish(lambda: finish(vm))
