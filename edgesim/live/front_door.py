"""The front door over HTTP: who is the client, which app is meant, and the answer with what the edge did.

Choosing, waiting, forwarding and failing over is the flow's business (`core/front_door.py`); this file turns HTTP into a
request for it and its response into HTTP. It keeps no state but what belongs to a client connection.
"""

from __future__ import annotations

import itertools
import json
import re
import secrets
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from weakref import WeakKeyDictionary

from aiohttp import web

from edgesim.config.validation import did_you_mean
from edgesim.core.front_door import Door, front_door, own_s, reason
from edgesim.core.request import Connection, Request, Response
from edgesim.errors import EdgesimError, RequestError
from edgesim.live import hop, http_server
from edgesim.live.client_address import client_address
from edgesim.live.informational import listener
from edgesim.model.geo import Place, distance_km
from edgesim.model.ids import NO_POP, AppName, PopId
from edgesim.model.stream import key, numbered

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Collection, Mapping

    from edgesim.core.world import World
    from edgesim.model.topology import PopSpec
    from edgesim.model.worker import Limits

HOSTS_MAX: Final = 4096
CLIENTS_PER_CONNECTION_MAX: Final = 1024
"""Simulated clients that a trusted proxy may multiplex over one connection, each with a handshake of its own."""
RANKED_SHOWN: Final = 5
_ABSOLUTE: Final = re.compile(r"https?://([^/?#]+)(/[^?]*)?(.*)", re.IGNORECASE)


class _Target(NamedTuple):
    """What a Host field means."""

    app: AppName
    pop: PopId


class FrontDoorServer:
    """Handles the requests of the front door's port."""

    def __init__(
        self,
        w: World,
        door: Door,
        *,
        locate: Any,
        pops: Mapping[PopId, PopSpec],
        limits: Limits,
        policy: str,
        trusted: Collection[str] = ("127.0.0.1", "::1"),
        seed: int = 0,
    ) -> None:
        self._w = w
        self._door = door
        self._locate = locate
        self._pops = pops
        self._limits = limits
        self._policy = policy
        self._trusted = frozenset(trusted)
        self._base = key(seed)
        self._prefix = secrets.token_hex(4)
        self._numbers = itertools.count(1)
        self._targets: dict[str, _Target | None] = {}
        self._connections: WeakKeyDictionary[asyncio.BaseTransport, dict[str, Connection]] = WeakKeyDictionary()

    # -- a request comes in -------------------------------------------------------------------------------------------

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Serve one HTTP request."""
        number = next(self._numbers)
        ident = f"{self._prefix}-{number:x}"
        try:
            host, path = _address(request)
            flow_request = self._request(request, ident, number, self._target(host), path)
        except EdgesimError as error:
            return _refusal(error, ident)
        flow_request.inform = listener(request, flow_request)
        await front_door(self._w, self._door, flow_request)
        answer = flow_request.channel
        assert isinstance(answer, web.StreamResponse)
        return answer

    def _request(self, request: web.BaseRequest, ident: str, number: int, target: _Target, path: str) -> Request:
        transport = request.transport
        if transport is None:
            raise ConnectionResetError("the client has gone")
        headers = http_server.request_headers(request)
        peer = transport.get_extra_info("peername")[0]
        address = client_address(headers, peer, self._trusted)
        named = request.headers.get(hop.INSIDE, "") if peer in self._trusted else ""
        inside = PopId(named) if named in self._pops else NO_POP
        now_s = self._w.now()
        return Request(
            id=ident,
            app=target.app,
            method=request.method,
            target=path,
            headers=headers,
            body=http_server.request_body(request, self._limits.body_bytes),
            place=self._locate(address) if inside == NO_POP else self._place_at(inside, address),
            connection=self._connection(transport, address),
            stream=numbered(self._base, number),
            arrived_s=now_s,
            deadline_s=now_s + self._limits.wall_s,
            pinned=target.pop,
            inside=inside,
            channel=request,
        )

    def _place_at(self, pop: PopId, address: str) -> Place:
        """Where a worker is that asks its own app."""
        spec = self._pops[pop]
        return Place(address=address, at=spec.at, city=spec.city, country=spec.country)

    def _connection(self, transport: asyncio.BaseTransport, address: str) -> Connection:
        """The client's connection to the edge. Behind a trusted proxy each client address has one of its own."""
        clients = self._connections.get(transport)
        if clients is None:
            clients = self._connections[transport] = {}
        connection = clients.get(address)
        if connection is None:
            if len(clients) >= CLIENTS_PER_CONNECTION_MAX:
                clients.clear()
            connection = clients[address] = Connection()
        return connection

    def _target(self, host: str) -> _Target:
        """What `app.localhost:8080` or `app.pop.localhost` names.

        Raises:
            RequestError: it names no app, or a PoP that does not exist.
        """
        target = self._targets.get(host)
        if target is None:
            target = self._parse_host(host)
            if len(self._targets) >= HOSTS_MAX:
                self._targets.clear()
            self._targets[host] = target
        return target

    def _parse_host(self, host: str) -> _Target:
        name = host.rsplit(":", 1)[0] if ":" in host else host
        labels = name.lower().rstrip(".").split(".")
        if labels[-1] == "localhost" and labels[0]:
            if len(labels) == 2:
                return _Target(AppName(labels[0]), NO_POP)
            if len(labels) == 3:
                return _Target(AppName(labels[0]), self._known_pop(labels[1]))
        raise RequestError(
            f"the host {host[:200]!r} names no app; use http://<app>.localhost/ or http://<app>.<pop>.localhost/"
        )

    def _known_pop(self, name: str) -> PopId:
        if name in self._pops:
            return PopId(name)
        hint = did_you_mean(name[:64], self._pops, what="PoPs")
        raise RequestError(f"there is no PoP {name[:64]!r} in http://<app>.<pop>.localhost/; {hint}")

    # -- the answer goes out ------------------------------------------------------------------------------------------

    async def reply(self, request: Request, response: Response) -> None:
        """Send the answer with the edge's header fields; a body in memory is sent by aiohttp when the handler returns."""
        incoming: web.BaseRequest = request.channel
        request.inform = None
        headers = http_server.to_multidict(response.headers)
        body = response.body
        if response.error:
            headers["proxy-status"] = proxy_status(response)
            if body == b"":
                headers["content-type"] = "text/plain; charset=utf-8"
                body = f"{response.status} {response.outcome}: {response.detail}\n".encode()
            if response.status == 503:
                headers["retry-after"] = "1"
        headers.add("via", "1.1 edgesim")
        headers["x-edge-request-id"] = request.id
        if response.pop:
            headers["x-edge-pop"] = response.pop
            # RFC 9211: no cache takes part yet, and the field says so.
            headers.add("cache-status", f"edgesim-{response.pop}; fwd=bypass")
        if response.start:
            headers["x-edge-start"] = response.start if not response.role else f"{response.start}; role={response.role}"
        if response.version:
            headers["x-edge-version"] = f"{request.app}@{response.version}"
        headers.add("server-timing", self._server_timing(request, response))
        if incoming.headers.get("X-Edge-Debug") == "1":
            headers["x-edge-route"] = json.dumps(self._explain(request, response), separators=(",", ":"))
        request.channel = await http_server.send(incoming, response.status, headers, body)

    def _server_timing(self, request: Request, response: Response) -> str:
        """Where the time went, in ms. `net` is modelled and unscaled; the others were measured."""
        t = response.timings
        parts = [f'net;dur={request.network_s * 1e3:.3f};desc="modelled network"']
        measured = (
            ("filter", t.filter_s),
            ("queue", t.queue_s),
            ("start", t.start_s),
            *t.phases,
            ("instantiate", t.instantiate_s),
            ("init", t.init_s),
            ("execute", t.execute_s),
            ("cpu", t.cpu_s),
            ("origin", t.origin_s),
        )
        parts.extend(f"{name};dur={seconds * 1e3:.3f}" for name, seconds in measured if seconds)
        now_s = self._w.now()
        edge_s = max(0.0, own_s(request, response, now_s, self._door.time_scale))
        parts.append(f"edge;dur={edge_s * 1e3:.3f}")
        parts.append(f"total;dur={(now_s - request.arrived_s) * 1e3:.3f}")
        return ", ".join(parts)

    def _explain(self, request: Request, response: Response) -> dict[str, Any]:
        """Why this PoP: for `edgesim curl` and for people who ask with `X-Edge-Debug: 1`."""
        place: Place = request.place
        health = self._door.health
        now_s = self._w.now()
        ranking = self._door.router.ranking(place)[:RANKED_SHOWN]
        return {
            "client": {
                "address": place.address,
                "city": place.city,
                "country": place.country,
                "lat": place.at.lat,
                "lon": place.at.lon,
                "metro": place.metro,
                "access": place.access,
                "default": place.is_default,
            },
            "policy": self._policy,
            "ranked": [
                [pop, round(distance_km(place.at, self._pops[pop].at)), health.state(pop, now_s)] for pop in ranking
            ],
            "chosen": response.pop,
            "reason": "pinned" if request.pinned else reason(request, response.pop),
            "failed": list(request.failed),
        }


def _address(request: web.BaseRequest) -> tuple[str, str]:
    """Host and origin-form target (RFC 9112 §3.2).

    Raises:
        RequestError: the target is neither a path nor a URL. It is appended to URLs, so it must not be anything else.
    """
    target = request.raw_path
    if target.startswith("/"):
        return request.headers.get("Host", ""), target
    url = _ABSOLUTE.fullmatch(target)
    if url is None:
        raise RequestError(f"the request target {target[:200]!r} is neither a path nor a URL")
    return url[1], f"{url[2] or '/'}{url[3]}"  # §3.2.2: its host wins over the field


def proxy_status(response: Response) -> str:
    """The `Proxy-Status` field (RFC 9209) of a response that an error of the edge ended."""
    who = f"edgesim-{response.pop}" if response.pop else "edgesim"
    detail = "".join(c for c in response.detail if " " <= c <= "~").replace("\\", "").replace('"', "'")
    return f'{who}; error={response.error}; details="{detail[:300]}"'


def _refusal(error: EdgesimError, ident: str) -> web.Response:
    """The answer to a request that no flow was started for."""
    refused = Response(error.status, "bad_request", error=error.proxy_error, detail=f"{error.code}: {error.message}")
    headers = {"proxy-status": proxy_status(refused), "x-edge-request-id": ident}
    return web.Response(status=error.status, text=f"{error.status} {refused.detail}\n", headers=headers)
