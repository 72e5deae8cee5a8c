"""The control plane's HTTP API, on loopback.

Rules: every route but `/healthz`, `/metrics` and `/v1/sd/prometheus` wants the bearer token (Prometheus has none; those
three show nothing that is secret on the machine and change nothing). `Host` must be a loopback name with our port and
`Origin`, when there is one, a loopback page, so that neither a rebound DNS name nor a web site reaches it. PoP hosts pull
blobs with the hop token, which opens nothing else. Errors are `{"error": {"code", "message", …}}` with the status of their
class; a mistake here never shows a traceback. Kill and restart go to the processes that carry them out: the control plane's
own state changes only when those report it.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import urlsplit

import aiohttp
from aiohttp import web

from edgesim import __version__
from edgesim.config.faults import FaultOrder, FaultRequest, decode_fault
from edgesim.config.messages import DEPLOY_LIMIT_BYTES, decode_deploy, decode_rollback
from edgesim.errors import (
    AuthError,
    BundleTooLargeError,
    ControlPlaneError,
    EdgesimError,
    InputError,
    NotFoundError,
    UsageError,
)
from edgesim.live import hop
from edgesim.live.blobs import BLOB_LIMIT_BYTES, CHUNK_BYTES
from edgesim.live.control import faults, views
from edgesim.live.error_json import error_from_dict, error_to_dict
from edgesim.model.ids import Digest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

    from edgesim.live.control.service import ControlPlane

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

EVENTS_TIMEOUT_S: Final = 600.0
"""Longest stream of rollout events."""
_EVENTS_TICK_S: Final = 5.0
_EVENTS_PAUSE_S: Final = 0.0003
"""Between two lines, for each PoP: 6 ms in the default world, 90 ms with 300 PoPs."""
_ADMIN_TIMEOUT: Final = aiohttp.ClientTimeout(total=30)
_OPEN: Final = frozenset({"/healthz", "/metrics", "/v1/sd/prometheus"})
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})

_log = logging.getLogger(__name__)


class Supervisor(Protocol):
    """Who can kill and restart processes (`supervisor_link.SupervisorClient`)."""

    async def kill(self, name: str) -> None:
        """SIGKILL a process; it stays down. Raises NotFoundError."""
        ...

    async def restart(self, name: str) -> None:
        """Restart a process and wait until it is ready. Raises NotFoundError."""
        ...


async def no_figures() -> dict[str, Any]:
    """For a control plane without statistics."""
    return {}


def build_app(
    control: ControlPlane,
    *,
    token: str,
    hop_token: str = "",
    stats: Callable[[], Awaitable[Mapping[str, Any]]] = no_figures,
    supervisor: Supervisor | None = None,
    metrics: Handler | None = None,
) -> web.Application:
    """The API as an aiohttp application.

    Args:
        control: the started service.
        token: bearer token of the API.
        hop_token: opens `/blobs/…` for PoP hosts, and is sent to their admin endpoints; the API's token when empty.
        stats: figures of all processes, as `observe.Summary.to_json()` gives them.
        supervisor: kills and restarts PoP hosts; None where the edge is one process.
        metrics: handler of `/metrics`.
    """
    api = _Api(control, token=token, hop_token=hop_token or token, stats=stats, supervisor=supervisor)
    app = web.Application(middlewares=[api.guard], client_max_size=DEPLOY_LIMIT_BYTES)
    app.cleanup_ctx.append(api.session)
    app.add_routes(
        [
            web.get("/healthz", api.healthz),
            web.get("/v1/version", api.version),
            web.get("/v1/status", api.status),
            web.put("/v1/blobs/sha256/{digest}", api.put_blob),
            web.get("/v1/blobs/sha256/{digest}", api.get_blob),
            web.get("/blobs/sha256/{digest}", api.get_blob),
            web.get("/v1/apps", api.apps),
            web.post("/v1/apps/{app}/deployments", api.deploy),
            web.post("/v1/apps/{app}/rollback", api.rollback),
            web.get("/v1/apps/{app}/deployments/{version}", api.deployment),
            web.get("/v1/apps/{app}/deployments/{version}/events", api.deployment_events),
            web.get("/v1/pops", api.pops),
            web.get("/v1/pops/{pop}", api.pop),
            web.post("/v1/pops/{pop}/{action:kill|restart|drain|undrain}", api.pop_action),
            web.get("/v1/hosts", api.hosts),
            web.post("/v1/hosts/{host}/{action:kill|restart}", api.host_action),
            web.post("/v1/faults", api.add_fault),
            web.delete("/v1/faults", api.end_faults),
            web.get("/v1/sd/prometheus", api.service_discovery),
        ]
    )
    if metrics is not None:
        app.router.add_get("/metrics", metrics)
    return app


class _Api:
    """The handlers."""

    def __init__(
        self,
        control: ControlPlane,
        *,
        token: str,
        hop_token: str,
        stats: Callable[[], Awaitable[Mapping[str, Any]]],
        supervisor: Supervisor | None,
    ) -> None:
        self._control, self._stats, self._supervisor = control, stats, supervisor
        self._token, self._hop_token = token, hop_token
        self._session: aiohttp.ClientSession | None = None

    async def session(self, _app: web.Application) -> AsyncIterator[None]:
        """One client for the PoP hosts' admin endpoints, as long as the application runs."""
        async with aiohttp.ClientSession() as session:
            self._session = session
            yield

    # -- at the gate --------------------------------------------------------------------------------------------------

    @web.middleware
    async def guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Check who asks, and turn errors into JSON."""
        try:
            self._check_names(request)
            if request.path not in _OPEN:
                self._check_token(request)
            return await handler(request)
        except EdgesimError as exc:
            return _error(exc, exc.status)
        except web.HTTPRequestEntityTooLarge:
            return _error(InputError(f"the body is larger than {DEPLOY_LIMIT_BYTES} bytes"), 413)
        except web.HTTPException as exc:
            what = "no such route" if exc.status == 404 else exc.reason
            error = NotFoundError(
                f"{request.method} {request.path[:200]}: {what}", help="docs/reference/api.md lists the routes"
            )
            return _error(error, exc.status)
        except (ConnectionError, aiohttp.ClientPayloadError, web.RequestPayloadError):
            return _error(InputError("the client hung up within its request, or its body is malformed"), 400)
        except Exception:  # noqa: BLE001 - the last line of defence: logged here, an answer without a traceback there
            _log.exception("%s %s", request.method, request.path)
            return _error(EdgesimError("the control plane failed; its log says why"), 500)

    def _check_names(self, request: web.Request) -> None:
        """Raise AuthError unless `Host` and `Origin` are this machine's."""
        transport = request.transport
        local = transport.get_extra_info("sockname") if transport is not None else None
        port = local[1] if isinstance(local, tuple) else 0
        try:
            asked = urlsplit(f"//{request.headers.get('Host', '')}")
            fits = asked.hostname in _LOOPBACK and (asked.port or 80) == port
        except ValueError:
            fits = False
        if not fits:
            raise AuthError(
                "the Host is not this API's", help=f"use http://127.0.0.1:{port} or http://localhost:{port}"
            )
        origin = request.headers.get("Origin")
        if origin is not None:
            try:
                page = urlsplit(origin)
                own = page.scheme in {"http", "https"} and page.hostname in _LOOPBACK
            except ValueError:
                own = False
            if not own:
                raise AuthError("pages of other sites may not use this API", help="open the console from this machine")

    def _check_token(self, request: web.Request) -> None:
        """Raise AuthError unless the token is right, in constant time."""
        scheme, _, offered = request.headers.get("Authorization", "").partition(" ")
        given = offered.strip().encode() if scheme.lower() == "bearer" else b""
        right = hmac.compare_digest(given, self._token.encode())
        if request.path.startswith("/blobs/"):
            right |= hmac.compare_digest(given, self._hop_token.encode())
        if not right:
            raise AuthError("the API token is missing or wrong", help="it is in run.json of the state directory")

    # -- about it -----------------------------------------------------------------------------------------------------

    async def healthz(self, _request: web.Request) -> web.Response:
        """200 while it is connected to the broker, else 503."""
        healthy = self._control.healthy
        return web.json_response({"ok": healthy}, status=200 if healthy else 503)

    async def version(self, _request: web.Request) -> web.Response:
        """Version of edgesim."""
        return web.json_response({"version": __version__, "api": 1})

    async def status(self, _request: web.Request) -> web.Response:
        """Generation, broker, apps, PoPs in short."""
        return web.json_response(views.status(self._control))

    # -- blobs --------------------------------------------------------------------------------------------------------

    async def put_blob(self, request: web.Request) -> web.Response:
        """Store a blob under its announced sha256; checked while it streams."""
        digest = Digest(request.match_info["digest"])
        path = self._control.blobs.path(digest)
        if request.content_length is not None and request.content_length > BLOB_LIMIT_BYTES:
            raise BundleTooLargeError(
                f"the file has {request.content_length / (1 << 20):.1f} MiB, the limit is {BLOB_LIMIT_BYTES >> 20} MiB",
                help="strip it (wasm-tools strip), or build it for size",
            )
        had = await asyncio.to_thread(self._control.blobs.verify, digest)
        if had:
            size = path.stat().st_size
        else:
            size = await self._control.blobs.receive(digest, request.content.iter_chunked(CHUNK_BYTES))
        return web.json_response({"digest": digest, "size_bytes": size}, status=200 if had else 201)

    async def get_blob(self, request: web.Request) -> web.StreamResponse:
        """The bytes of a blob."""
        digest = Digest(request.match_info["digest"])
        path = self._control.blobs.path(digest)
        if not path.is_file():
            raise NotFoundError(f"there is no blob {digest[:12]}…")
        return web.FileResponse(path, chunk_size=CHUNK_BYTES, headers={"Content-Type": "application/octet-stream"})

    # -- apps ---------------------------------------------------------------------------------------------------------

    async def apps(self, _request: web.Request) -> web.Response:
        """Every app with its versions."""
        return web.json_response(views.apps(self._control))

    async def deploy(self, request: web.Request) -> web.Response:
        """A new version; 201 when it is durable. Unchanged content is a new version too."""
        body = decode_deploy(await request.read())
        done = await self._control.deploy(request.match_info["app"], body)
        return web.json_response(views.deployment(self._control, done), status=201)

    async def rollback(self, request: web.Request) -> web.Response:
        """An earlier version again, as a new generation."""
        body = decode_rollback(await request.read())
        done = await self._control.rollback(request.match_info["app"], body.version, body.message)
        return web.json_response(views.deployment(self._control, done), status=201)

    async def deployment(self, request: web.Request) -> web.Response:
        """One version's rollout, PoP by PoP."""
        app, version = request.match_info["app"], _number(request.match_info["version"])
        stored = self._control.release(app, version)
        done = self._control.deployments[stored.release.app, version]
        return web.json_response(views.deployment(self._control, done))

    async def deployment_events(self, request: web.Request) -> web.StreamResponse:
        """The rollout as JSON lines, one per change, until it is done or `?timeout_s=` has passed."""
        app, version = request.match_info["app"], _number(request.match_info["version"])
        try:
            timeout_s = min(float(request.query.get("timeout_s", EVENTS_TIMEOUT_S)), EVENTS_TIMEOUT_S)
        except ValueError as exc:
            raise UsageError("timeout_s is no number of seconds") from exc
        self._control.progress(app, version)
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        await response.prepare(request)
        deadline_s = asyncio.get_running_loop().time() + timeout_s
        while True:
            progress = self._control.progress(app, version)
            try:
                await response.write(json.dumps(views.progress(progress)).encode() + b"\n")
            except ConnectionError:
                return response  # The client has seen enough.
            left_s = deadline_s - asyncio.get_running_loop().time()
            if progress.done or left_s <= 0:
                break
            # A line now and then also without news shows that the stream lives, and finds out who has gone.
            await self._control.changed(min(left_s, _EVENTS_TICK_S))
            # Each line is about every PoP: without a pause the work would grow with the square of their number.
            await asyncio.sleep(min(left_s, len(progress.pops) * _EVENTS_PAUSE_S))
        await response.write_eof()
        return response

    # -- PoPs and hosts -----------------------------------------------------------------------------------------------

    async def pops(self, _request: web.Request) -> web.Response:
        """Every PoP with state and figures."""
        return web.json_response(views.pops(self._control, await self._stats()))

    async def pop(self, request: web.Request) -> web.Response:
        """One PoP."""
        views.require_pop(self._control, request.match_info["pop"])
        return web.json_response(views.pop(self._control, request.match_info["pop"], await self._stats()))

    async def pop_action(self, request: web.Request) -> web.Response:
        """Forward kill, restart, drain or undrain to the host that carries the PoP."""
        pop = views.require_pop(self._control, request.match_info["pop"])
        action, host = request.match_info["action"], self._control.assignment[pop]
        presence = self._control.observed.presences.get(host)
        if presence is None or not presence.up or not presence.data_url:
            raise ControlPlaneError(
                f"the PoP host {host} of {pop} is not there",
                help=f"restart it with `edgesim hosts restart {host}`, or wait",
            )
        assert self._session is not None
        where = f"{presence.data_url}/-/pops/{pop}/{action}"
        try:
            headers = {hop.TOKEN: self._hop_token}
            async with self._session.post(where, headers=headers, timeout=_ADMIN_TIMEOUT) as response:
                answer = await response.content.read(65536)
                failed = response.status >= 400
        except (aiohttp.ClientError, TimeoutError) as exc:
            raise ControlPlaneError(
                f"the PoP host {host} does not answer: {str(exc) or 'timeout'}", where=where
            ) from exc
        if failed:
            raise _foreign_error(answer, f"the PoP host {host} refused to {action} {pop}")
        return web.json_response({"pop": pop, "host": host, "action": action})

    async def hosts(self, _request: web.Request) -> web.Response:
        """Every PoP host."""
        return web.json_response(views.hosts(self._control))

    async def host_action(self, request: web.Request) -> web.Response:
        """Have the supervisor kill or restart a PoP host."""
        host = views.require_host(self._control, request.match_info["host"])
        action = request.match_info["action"]
        if self._supervisor is None:
            raise UsageError(
                f"{host} has no process of its own: this edge runs in one process",
                help="start it with `edgesim up --processes 3` to kill and restart PoP hosts",
            )
        await (self._supervisor.kill(host) if action == "kill" else self._supervisor.restart(host))
        return web.json_response({"host": host, "action": action})

    # -- faults -------------------------------------------------------------------------------------------------------

    async def add_fault(self, request: web.Request) -> web.Response:
        """Have an origin, or links of PoPs, fail for a time."""
        order = faults.order_of(self._control, decode_fault(FaultRequest, await request.read()))
        return await self._pass_on(order)

    async def end_faults(self, _request: web.Request) -> web.Response:
        """End every fault now."""
        return await self._pass_on(FaultOrder())

    async def _pass_on(self, order: FaultOrder) -> web.Response:
        assert self._session is not None
        told = await faults.pass_on(self._control, self._session, self._hop_token, order)
        return web.json_response({"told": told})

    # -- Prometheus ---------------------------------------------------------------------------------------------------

    async def service_discovery(self, request: web.Request) -> web.Response:
        """Targets for Prometheus' `http_sd_configs`: every process with `/metrics`, this one first."""
        targets = [{"targets": [request.host], "labels": {"process": "control"}}]
        for name, url in sorted(views.metrics_targets(self._control).items()):
            targets.append({"targets": [urlsplit(url).netloc], "labels": {"process": name}})
        return web.json_response(targets)


def _number(text: str) -> int:
    """A version in a path. Raises UsageError."""
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise UsageError(f"not a version: {text[:32]!r}", help="versions are numbers: 1, 2, …")
    return int(text)


def _error(error: EdgesimError, status: int) -> web.Response:
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else None  # RFC 9110 §11.6.1
    return web.json_response({"error": error_to_dict(error)}, status=status, headers=headers)


def _foreign_error(answer: bytes, otherwise: str) -> EdgesimError:
    """The error in another process's answer."""
    try:
        return error_from_dict(json.loads(answer)["error"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return ControlPlaneError(otherwise)
