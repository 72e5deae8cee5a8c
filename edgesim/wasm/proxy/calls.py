"""HTTP calls of filters on their way: sent on the event loop while the filter is paused, through what the PoP grants."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from edgesim.errors import EdgesimError
from edgesim.wasm.outbound import OutboundError, OutboundRequest
from edgesim.wasm.proxy.fields import Fields
from edgesim.wasm.proxy.stream import CallResponse

if TYPE_CHECKING:
    from edgesim.model.http import Headers
    from edgesim.wasm.outbound import Outbound
    from edgesim.wasm.proxy.stream import HttpCall
    from edgesim.wasm.proxy.vm import Vm

_HTTPS_PORT: Final = ":443"


def destination(call: HttpCall) -> tuple[str, str]:
    """Scheme and authority that a call goes to.

    The upstream is `scheme://host[:port]`, `host:port` or a host; a bare name, as Envoy's clusters have, stands for the call's
    `:authority`.
    """
    scheme, separator, rest = call.upstream.partition("://")
    if separator:
        return scheme.lower(), rest.rstrip("/")
    upstream = call.upstream
    if not (":" in upstream or "." in upstream or upstream == "localhost"):
        upstream = call.fields.get(":authority") or upstream
    given = call.fields.get(":scheme")
    return given or ("https" if upstream.endswith(_HTTPS_PORT) else "http"), upstream


async def send(call: HttpCall, outbound: Outbound, hops: Headers, limit_bytes: int) -> CallResponse:
    """The response to a call; one without fields when it was refused, failed, is too large or too late."""
    try:
        async with asyncio.timeout(call.timeout_s):
            return await _exchange(call, outbound, hops, limit_bytes)
    except (OutboundError, EdgesimError, TimeoutError):
        return CallResponse(id=call.id, fields=Fields(), body=b"", trailers=Fields())


async def _exchange(call: HttpCall, outbound: Outbound, hops: Headers, limit_bytes: int) -> CallResponse:
    scheme, authority = destination(call)
    fields = call.fields
    answer = await outbound.open(
        OutboundRequest(
            method=fields.get(":method") or "GET",
            scheme=scheme,
            authority=authority,
            target=fields.get(":path") or "/",
            headers=tuple(f for f in fields.items if f[0][0] != ":" and f[0] not in ("host", "content-length")),
            body=call.body or None,
        ),
        hops,
    )
    parts, size = [], 0
    try:
        while (chunk := await answer.body.next()) is not None:
            size += len(chunk)
            if size > limit_bytes:
                raise OutboundError("HTTP-response-body-size", limit_bytes)
            parts.append(chunk)
    finally:
        answer.body.close()
    return CallResponse(
        id=call.id,
        fields=Fields(((":status", str(answer.status)), *answer.headers)),
        body=b"".join(parts),
        trailers=Fields(answer.trailers()),
    )


class CallTasks:
    """The calls of one VM that are under way. On the event loop only."""

    __slots__ = ("_hops", "_outbound", "_tasks", "_vm")

    def __init__(self, vm: Vm, outbound: Outbound | None, hops: Headers) -> None:
        self._vm = vm
        self._outbound = outbound
        self._hops = hops
        self._tasks: set[asyncio.Task[CallResponse]] = set()

    @property
    def busy(self) -> bool:
        """Whether there is something to wait for."""
        return bool(self._tasks)

    def start(self) -> None:
        """Send what the filter has wanted since the last time."""
        calls = self._vm.calls
        while calls.wanted:
            call = calls.wanted.pop(0)
            assert self._outbound is not None, "the host function refuses calls without a way out"
            sent = send(call, self._outbound, self._hops, self._vm.limits.body_bytes)
            self._tasks.add(asyncio.create_task(sent, name=f"proxy-wasm-call-{call.id}"))
            calls.under_way += 1

    def take_done(self) -> list[CallResponse]:
        """Responses that are there, in the order of their calls."""
        done = [task for task in self._tasks if task.done()]
        self._tasks.difference_update(done)
        self._vm.calls.under_way -= len(done)
        return sorted((task.result() for task in done), key=lambda response: response.id)

    async def wait(self, wake: asyncio.Future[None] | None = None, timeout_s: float | None = None) -> None:
        """Until a response is there, `wake` is done or the time is over."""
        waits: set[asyncio.Future[None] | asyncio.Task[CallResponse]] = {*self._tasks}
        if wake is not None:
            waits.add(wake)
        if waits:
            await asyncio.wait(waits, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        else:
            await asyncio.sleep(timeout_s or 0.0)

    def close(self) -> None:
        """Break off what is under way: a filter that is gone gets no response."""
        for task in self._tasks:
            task.cancel()
        self._tasks.clear()
