"""One app on a loopback port without an edge, as `wasmtime serve` does: `edgesim run`.

The same runtime, limits, filters, reuse, streams and errors as in a PoP; no routing between PoPs, no pool, no queue and no cache.
A filter without a worker stands in front of an origin that says what reached it.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Final

from aiohttp import web

from edgesim.core.request import Response
from edgesim.errors import (
    EdgesimError,
    GuestError,
    GuestMemoryError,
    NotFoundError,
    OverloadedError,
    RequestError,
    UsageError,
)
from edgesim.live import http_server
from edgesim.live.front_door import proxy_status
from edgesim.live.grants import local_grants
from edgesim.live.informational import listener
from edgesim.live.inspection import ended, file_report
from edgesim.live.outbound import OutboundNetwork
from edgesim.live.solo_filters import SoloFilters, echo, filter_names
from edgesim.live.solo_part import Part
from edgesim.live.tally import CLIENT_GONE, Served, Tally
from edgesim.model.http import header
from edgesim.model.ids import AppName, Digest
from edgesim.model.outbound import check_allowed_hosts
from edgesim.model.worker import Component, Release, check_memory
from edgesim.wasm.guest import GuestRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from multidict import CIMultiDict

    from edgesim.config.manifest import AppSource, ComponentSource
    from edgesim.core.request import Request
    from edgesim.model.http import Body, Headers
    from edgesim.wasm.guest import GuestResponse
    from edgesim.wasm.runtime import Runtime

GUESTS_MAX: Final = 512
"""Requests that are served at the same time; one more is refused."""
_DRAIN_S: Final = 2.0


@dataclass(slots=True)
class Answer:
    """What goes to the client, and the guest's own answer behind it if a worker has served."""

    status: int
    headers: Headers
    body: bytes | Body
    guest: GuestResponse | None = None


class _CountedBody:
    """A body that counts what passes."""

    __slots__ = ("_body", "size_bytes")

    def __init__(self, body: Body) -> None:
        self._body = body
        self.size_bytes = 0

    async def next(self) -> bytes | None:
        """The next chunk."""
        chunk = await self._body.next()
        self.size_bytes += len(chunk or b"")
        return chunk

    def trailers(self) -> Headers:
        """The sender's."""
        return self._body.trailers()

    def close(self) -> None:
        """Stop the sender."""
        self._body.close()


class Solo:
    """See the module. `on_request` hears of every request when it is over."""

    def __init__(
        self,
        runtime: Runtime,
        *,
        on_request: Callable[[Served], None],
        environment: Sequence[tuple[str, str]] = (),
        allowed: Sequence[str] = (),
    ) -> None:
        """Make it; nothing is loaded yet.

        Raises:
            UsageError: an entry of `allowed` is no host.
        """
        try:
            check_allowed_hosts(allowed)
        except ValueError as exc:
            raise UsageError(str(exc), help="write https://api.example.com, or *.example.com:8443") from exc
        self._runtime = runtime
        self._on_request = on_request
        self._environment = tuple(environment)
        self._allowed = tuple(allowed)
        self._network: OutboundNetwork | None = None
        self._listener: http_server.Listener | None = None
        self._release: Release | None = None
        self._filters: SoloFilters | None = None
        self.parts: Mapping[str, Part] = {}
        self.loaded_s = 0.0
        """When the app was loaded last, on the monotonic clock."""
        self._running = 0

    # -- life ---------------------------------------------------------------------------------------------------------

    async def listen(self, port: int) -> int:
        """Serve HTTP on a loopback port, 0 for any free one; returns it. Raises OSError when it is taken."""
        self._listener = await http_server.Listener.open(self._handle, port=port)
        return self._listener.port

    async def load(self, app: AppSource) -> None:
        """Compile and load an app, and serve it instead of the one before. That one stays when this fails.

        Raises:
            BundleError, StartError: a component is no worker, or a filter does not start.
            UsageError: a file cannot be read, or a route leads to a filter.
        """
        port = self._listener.port if self._listener else 80
        if self._network is None:
            self._network = OutboundNetwork(f"http://127.0.0.1:{port}")
        parts: dict[str, Part] = {}
        filters = SoloFilters(app.name)
        try:
            for source in app.components:
                parts[source.id] = await self._load(app, source)
            names = filter_names(app, parts)
            release = Release(
                app=AppName(app.name),
                version=0,
                digest=Digest(""),
                components=tuple(part.component for part in parts.values()),
                routes=tuple(route for route in app.routes if route.component not in names),
            )
            for name in names:
                await filters.add(self._runtime, release, parts[name])
        except BaseException:
            filters.close()
            for part in parts.values():
                self._runtime.release(part.worker)
            raise
        before, self.parts, self.loaded_s = self.parts, parts, time.monotonic()
        if self._filters is not None:
            self._filters.close()
        self._release, self._filters = release, filters if filters.parts else None
        for part in before.values():
            part.close()
            self._runtime.release(part.worker)

    async def _load(self, app: AppSource, source: ComponentSource) -> Part:
        begin = perf_counter()
        await asyncio.to_thread(file_report, source.file)  # says where, if it is no Wasm
        found = await self._runtime.inspect(source.file)
        component = Component(
            id=source.id,
            digest=Digest(found.digest),
            size_bytes=found.size_bytes,
            abi=found.abi,
            limits=source.limits,
            environment=source.environment,
            variables=source.variables,
            outbound=source.outbound,
            reuse=source.reuse,
            configuration=source.configuration,
            fail_open=source.fail_open,
        )
        check_memory(source.id, found.memory_at_start_bytes, source.limits)
        worker = await self._runtime.load(source.file, component)
        tally = Tally(source.id, found.abi, found.size_bytes, found.memory_at_start_bytes)
        return Part(
            component=component,
            worker=worker,
            grants=local_grants(app.name, source, self._network, environment=self._environment, allowed=self._allowed),
            tally=tally,
            took_s=perf_counter() - begin,
        )

    def tallies(self) -> list[Tally]:
        """What the requests of each component have cost so far."""
        return [part.tally for part in self.parts.values()]

    async def close(self) -> None:
        """Stop listening, let the requests in flight end, and give everything back. Idempotent."""
        listener, self._listener = self._listener, None
        network, self._network = self._network, None
        if listener is not None:
            await listener.close(_DRAIN_S)
        if network is not None:
            await network.close()
        filters, self._filters = self._filters, None
        if filters is not None:
            filters.close()
        for part in self.parts.values():
            part.close()
            self._runtime.release(part.worker)
        self.parts = {}

    # -- requests -----------------------------------------------------------------------------------------------------

    def part(self, path: str) -> tuple[Part, str]:
        """The component that serves a path, and the pattern of its route. Raises NotFoundError, or OverloadedError before `load`."""
        if self._release is None:
            raise OverloadedError("the app is being compiled", help="try again in a moment")
        component = self._release.route(path)
        if component is None:
            routes = ", ".join(route.pattern for route in self._release.routes)
            raise NotFoundError(f"no route of the app leads to {path[:200]}", help=f"it has {routes}")
        return self.parts[component.id], self._release.pattern(path)

    async def run(
        self,
        served: Served,
        headers: Headers,
        body: Body | None,
        *,
        client: str = "127.0.0.1",
        inform: Callable[[int, Headers], None] | None = None,
    ) -> Answer:
        """Serve one request, and note what it costs until its head is out.

        Raises:
            NotFoundError: no route leads to a worker.
            GuestError: the worker, or a filter, failed before that.
        """
        guest: GuestResponse | None = None

        async def serve(request: Request | Served, headers: Headers, body: Body | None) -> GuestResponse:
            nonlocal guest
            part, pattern = self.part(request.target.partition("?")[0])
            limits = part.component.limits
            served.component = part.component.id
            guest = await part.run(
                GuestRequest(
                    method=request.method,
                    target=request.target,
                    headers=headers,
                    body=body,
                    authority=header(headers, "host") or "localhost",
                    scheme="http",
                    client_address=client,
                    deadline_s=asyncio.get_running_loop().time() + limits.wall_s,
                    route=pattern,
                    inform=inform,
                )
            )
            return guest

        async def behind_filters(request: Request) -> Response:
            if self._release is None or not self._release.routes:
                return await echo(request)
            answer = await serve(request, request.headers, request.body)
            return Response(answer.status, "ok", headers=answer.headers, body=answer.body)

        found: GuestResponse | Response
        if self._filters is None:
            found = await serve(served, headers, body)
        else:
            found = await self._filters.serve(served, headers, body, client, behind_filters)
        served.status = found.status
        if guest is not None:
            note_cost(served, guest)
        elif self._filters is not None:
            served.component = served.component or self._filters.parts[-1].component.id
        return Answer(found.status, found.headers, found.body, guest)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Serve one request of the HTTP server."""
        began_s = perf_counter()
        served = Served(method=request.method, target=request.raw_path)
        self._running += 1
        try:
            return await self._serve(request, served)
        finally:
            self._running -= 1
            served.wall_s = perf_counter() - began_s
            self.done(served)

    async def _serve(self, request: web.BaseRequest, served: Served) -> web.StreamResponse:
        body: _CountedBody | None = None
        try:
            body = self._take(request)
            peer = request.transport.get_extra_info("peername") if request.transport else None
            client = peer[0] if peer else "127.0.0.1"
            headers = http_server.request_headers(request)
            answer = await self.run(served, headers, body, client=client, inform=listener(request))
        except EdgesimError as error:
            note_error(served, error)
            served.status = error.status
            return _refusal(error)
        finally:
            served.body_bytes = body.size_bytes if body else 0
        fields = http_server.to_multidict(answer.headers)
        if answer.guest is not None:
            fields.add("server-timing", _server_timing(served, answer.guest))
        return await self._send(request, served, answer, fields, body)

    def _take(self, request: web.BaseRequest) -> _CountedBody | None:
        """The body of a request that can be served. Raises what refuses it."""
        if self._running > GUESTS_MAX:
            raise OverloadedError(f"{GUESTS_MAX} requests are being served already", help="send fewer at a time")
        if not request.raw_path.startswith("/"):
            raise RequestError(f"the target of the request is not a path: {request.raw_path[:200]!r}")
        if self._filters is None:
            limit = self.part(request.raw_path.partition("?")[0])[0].component.limits.body_bytes
        else:  # where it goes is theirs to say
            limit = max(part.component.limits.body_bytes for part in self.parts.values())
        body = http_server.request_body(request, limit)
        return None if body is None else _CountedBody(body)

    async def _send(
        self,
        request: web.BaseRequest,
        served: Served,
        answer: Answer,
        fields: CIMultiDict[str],
        sent: _CountedBody | None,
    ) -> web.StreamResponse:
        """Send the answer, and wait until the guest has ended."""
        stream = None if isinstance(answer.body, bytes) else _CountedBody(answer.body)
        try:
            body = answer.body if stream is None else stream
            response = await http_server.send(request, answer.status, fields, body)
        except EdgesimError as error:
            note_error(served, error)
            raise
        except (asyncio.CancelledError, OSError):
            served.status, served.error = CLIENT_GONE, "the client went away"
            raise
        finally:
            served.response_bytes = len(answer.body) if isinstance(answer.body, bytes) else stream_size(stream)
            served.body_bytes = sent.size_bytes if sent else 0
            if answer.guest is not None:
                await ended(answer.guest)
                note_cost(served, answer.guest)
        return response

    def done(self, served: Served) -> None:
        """A request is over: count it and tell. What filters cost has been counted."""
        part = self.parts.get(served.component)
        if part is not None and part.component.abi != "proxy-wasm":
            if served.wanted_memory:  # more than it was given
                served.memory_bytes = max(served.memory_bytes, part.component.limits.memory_bytes + 1)
            part.tally.add(served)
        self._on_request(served)


def note_cost(served: Served, answer: GuestResponse) -> None:
    """What the guest has cost so far."""
    served.ran = True
    served.instantiate_s = answer.instantiate_s + answer.init_s
    served.cpu_s, served.start_cpu_s = answer.cpu_s, answer.start_cpu_s
    served.memory_bytes, served.subrequests, served.log = answer.memory_bytes, answer.subrequests, answer.log


def note_error(served: Served, error: EdgesimError) -> None:
    """What ended the request, and what the guest had cost."""
    served.error, served.help = f"{error.code}: {error.message}", error.help
    cost = error.cost if isinstance(error, GuestError) else None
    if cost is not None:
        served.ran = True
        served.cpu_s, served.start_cpu_s, served.memory_bytes = cost.cpu_s, cost.start_cpu_s, cost.memory_bytes
        served.subrequests, served.log = cost.subrequests, cost.log
        served.wanted_memory = isinstance(error, GuestMemoryError)


def stream_size(body: _CountedBody | None) -> int:
    """Bytes that have passed."""
    return 0 if body is None else body.size_bytes


def _refusal(error: EdgesimError) -> web.Response:
    """The answer to a request that failed before its head was out, as the front door words it."""
    failed = Response(error.status, "guest_error", error=error.proxy_error, detail=f"{error.code}: {error.message}")
    headers = {"proxy-status": proxy_status(failed), "server": http_server.SERVER}
    if error.status == 503:
        headers["retry-after"] = "1"
    return web.Response(status=error.status, text=f"{error.status} {failed.detail}\n", headers=headers)


def _server_timing(served: Served, answer: GuestResponse) -> str:
    """Where the time went until the head was out, in ms."""
    parts = (("instantiate", served.instantiate_s), ("execute", answer.execute_s), ("cpu", served.cpu_s))
    return ", ".join(f"{name};dur={seconds * 1e3:.3f}" for name, seconds in parts)
