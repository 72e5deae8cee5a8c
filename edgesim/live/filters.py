"""Proxy-Wasm filters on real Wasm: one plugin per PoP and filter, one VM per request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

from edgesim.core.request import Response
from edgesim.errors import EdgesimError, StartError
from edgesim.model.http import BODILESS, header
from edgesim.observe.recorder import FilterValue
from edgesim.wasm.guest import GuestRequest
from edgesim.wasm.proxy.bodies import FilteredBody
from edgesim.wasm.proxy.plugin import Plugin, PluginSettings
from edgesim.wasm.proxy.spec import Metric

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edgesim.core.filters import Filtering
    from edgesim.core.pop import Pop, Worker
    from edgesim.core.request import Request
    from edgesim.wasm.guest import Grants
    from edgesim.wasm.proxy.plugin import Source
    from edgesim.wasm.proxy.run import FilterRun
    from edgesim.wasm.runtime import Runtime

_KINDS: Final[dict[Metric, Literal["counter", "gauge", "histogram"]]] = {
    Metric.COUNTER: "counter", Metric.GAUGE: "gauge", Metric.HISTOGRAM: "histogram",
}  # fmt: skip


async def start_plugin(runtime: Runtime, source: Source, pop: Pop, worker: Worker, grants: Grants) -> Plugin:
    """A loaded filter's plugin on a PoP. Raises StartError when the filter cannot start or refuses its configuration."""
    component, release = worker.component, worker.release
    identity = {
        "node\0id": str(pop.spec.id),
        "node\0cluster": str(release.app),
        "node\0locality\0region": pop.spec.region,
        "node\0locality\0zone": str(pop.spec.id),
        "pop": str(pop.spec.id),
        "region": pop.spec.region,
        "app": str(release.app),
        "app_version": str(release.version),
    }
    plugin = Plugin(
        source,
        PluginSettings(
            name=component.id,
            limits=component.limits,
            grants=grants,
            configuration=component.configuration.encode(),
            identity=tuple((path.encode(), value.encode()) for path, value in identity.items()),
            fail_open=component.fail_open,
        ),
        runtime.ticker,
        runtime.pool,
    )
    try:
        await plugin.start()
    except EdgesimError as exc:
        raise StartError(exc.message, help=exc.help) from exc
    return plugin


def guest_request(request: Request, route: str = "/...") -> GuestRequest:
    """A request as its guest sees it; `route` is the pattern that has led to a worker."""
    return GuestRequest(
        method=request.method,
        target=request.target,
        headers=request.headers,
        body=request.body,
        authority=header(request.headers, "host") or f"{request.app}.localhost",
        scheme="https" if request.secure else "http",
        client_address=request.place.address,
        deadline_s=request.deadline_s,
        route=route,
        inform=request.inform,
    )


async def filter_request(worker: Worker, request: Request, filtering: Filtering) -> None:
    """See World.filter_request."""
    plugin: Plugin = worker.handle[1]
    run = plugin.open(guest_request(request))
    filtering.handle = run
    try:
        answer = await run.on_request()
    except EdgesimError:
        request.body = run.unread_body()
        raise
    if answer is not None:
        filtering.answer = Response(answer.status, "ok", headers=answer.headers, body=answer.body)
        return
    changed = run.request
    request.method, request.target = changed.method, changed.target
    request.headers, request.body = changed.headers, changed.body


async def filter_response(request: Request, response: Response, filtering: Filtering) -> None:
    """See World.filter_response."""
    run: FilterRun = filtering.handle
    empty = request.method == "HEAD" or response.status in BODILESS
    response.status, response.headers, response.body = await run.on_response(
        response.status, response.headers, response.body, empty=empty
    )
    filtering.streams = isinstance(response.body, FilteredBody) and response.body.of(run)


def end_filter(filtering: Filtering) -> None:
    """See World.end_filter."""
    run: FilterRun | None = filtering.handle
    if run is not None:
        run.close()


def metric_values(pop: str, worker: Worker) -> Iterator[FilterValue]:
    """What the metrics of a loaded filter stand at."""
    plugin: Plugin = worker.handle[1]
    for metric in plugin.state.metrics():
        kind = _KINDS[metric.kind]
        value = metric.sum if kind == "histogram" else metric.value
        yield FilterValue(pop, str(worker.release.app), worker.component.id, kind, metric.name, value, metric.records)
