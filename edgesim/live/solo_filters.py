"""The filters of an app that `edgesim run` serves, in front of its workers, or of an origin that says what reached it.

The way through them is `core/filters.py`'s, as in a PoP.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Final

from edgesim.core.filters import through_filters
from edgesim.core.pop import Pop, Stage, Worker
from edgesim.core.request import Connection, Request, Response
from edgesim.errors import UsageError
from edgesim.live.filters import end_filter, filter_request, filter_response, start_plugin
from edgesim.live.grants import LOCAL
from edgesim.live.tally import Served
from edgesim.live.world import LiveWorld
from edgesim.model.geo import LatLon, Place
from edgesim.model.ids import AppName
from edgesim.model.stream import Stream
from edgesim.model.topology import PopSpec

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from edgesim.config.manifest import AppSource
    from edgesim.core.filters import Filtering
    from edgesim.live.solo_part import Part
    from edgesim.model.http import Body, Headers
    from edgesim.model.worker import Release
    from edgesim.wasm.proxy.plugin import Plugin
    from edgesim.wasm.runtime import Runtime

ECHO_BYTES_MAX: Final = 64 * 1024
"""Of a request's body, what the echo shows."""
_HERE: Final = LatLon(0.0, 0.0)


class SoloFilters:
    """See the module. `close` when the app is replaced."""

    def __init__(self, app: str) -> None:
        self._app = AppName(app)
        self._w = LiveWorld(lambda _event: None)
        self._w.filter_request = self._filter_request
        self._w.filter_response = self._filter_response
        self._w.end_filter = self._end_filter
        self._pop = Pop(
            PopSpec(
                id=LOCAL, city="", country="", at=_HERE, region=str(LOCAL), profile="", slots=1, queue=0,
                queue_timeout_s=1.0, memory_bytes=1, origin="",
            )
        )  # fmt: skip
        self._workers: list[Worker] = []
        self.parts: list[Part] = []

    async def add(self, runtime: Runtime, release: Release, part: Part) -> None:
        """Start a filter, behind those that are there. Raises StartError."""
        worker = Worker(release, part.component, Stage.LOADED)
        worker.handle = (part, await start_plugin(runtime, part.worker, self._pop, worker, part.grants))
        self._workers.append(worker)
        self.parts.append(part)

    async def serve(
        self,
        served: Served,
        headers: Headers,
        body: Body | None,
        client: str,
        serve: Callable[[Request], Awaitable[Response]],
    ) -> Response:
        """The answer to a request behind the filters; `serve` answers what they have made of it. Raises as `serve`, GuestError."""
        now_s = asyncio.get_running_loop().time()
        request = Request(
            id="",
            app=self._app,
            method=served.method,
            target=served.target,
            headers=headers,
            body=body,
            place=Place(address=client, at=_HERE),
            connection=Connection(),
            stream=Stream(0),
            arrived_s=now_s,
            deadline_s=now_s + max(part.component.limits.wall_s for part in self.parts),
            channel=served,
        )

        async def hold(_worker: Worker) -> None:
            """It is loaded."""

        def let_go(_worker: Worker) -> None:
            """It stays loaded."""

        return await through_filters(
            self._w, self._pop, request, self._workers, hold=hold, let_go=let_go, serve=lambda: serve(request)
        )

    def close(self) -> None:
        """Stop their timers."""
        for worker in self._workers:
            plugin: Plugin = worker.handle[1]
            plugin.close()

    # -- as a World ---------------------------------------------------------------------------------------------------

    async def _filter_request(self, _pop: Pop, worker: Worker, request: Request, filtering: Filtering) -> None:
        try:
            await filter_request(worker, request, filtering)
        finally:
            self._count(worker, filtering, request.channel)

    async def _filter_response(
        self, _pop: Pop, worker: Worker, request: Request, response: Response, filtering: Filtering
    ) -> None:
        del worker
        await filter_response(request, response, filtering)

    def _end_filter(self, _worker: Worker, filtering: Filtering) -> None:
        end_filter(filtering)

    def _count(self, worker: Worker, filtering: Filtering, served: Served) -> None:
        """What the way in has cost; a request that no worker serves shows the cost of its last filter."""
        part: Part = worker.handle[0]
        run = filtering.handle
        if run is None:
            return
        part.tally.add(Served(method=served.method, target=served.target, cpu_s=run.cpu_s, ran=True))
        if not served.component:
            served.cpu_s, served.ran = run.cpu_s, True


async def echo(request: Request) -> Response:
    """What reached the origin, as JSON."""
    data = bytearray()
    if request.body is not None:
        while (chunk := await request.body.next()) is not None:
            data += chunk[: ECHO_BYTES_MAX - len(data)]
    document = {
        "method": request.method,
        "target": request.target,
        "headers": [f"{name}: {value}" for name, value in request.headers],
        "body": data.decode(errors="replace"),
    }
    content = json.dumps(document, indent=2).encode() + b"\n"
    return Response(200, "ok", headers=(("content-type", "application/json"),), body=content)


def filter_names(app: AppSource, parts: Mapping[str, Part]) -> tuple[str, ...]:
    """The app's filters in their order; those of a single file that is one are itself. Raises UsageError, as a deployment."""
    made = {name for name, part in parts.items() if part.component.abi == "proxy-wasm"}
    if len(parts) == 1 and made:
        return tuple(made)
    for route in app.routes:
        if route.component in made:
            raise UsageError(
                f"the component {route.component!r} is a Proxy-Wasm filter and cannot serve {route.pattern}",
                help="name it in [application.tool.edgesim] filters, and give the route to a worker",
            )
    for name in app.filters:
        if name not in made:
            raise UsageError(
                f"the component {name!r} is no filter: its file is {parts[name].component.abi}",
                help="filters are Proxy-Wasm modules, which export proxy_abi_version_0_2_1",
            )
    return app.filters
