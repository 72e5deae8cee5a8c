"""Sends arrivals from where their clients are: a pool of connections per metro and access class.

On Linux each pool connects from the simulated clients' own addresses in 127/8, which the front door reads from the socket.
Elsewhere those cannot be bound: connections come from the loopback address, which the front door trusts to name the client
in `X-Forwarded-For`.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from edgesim.config.catalogue import load_access
from edgesim.live.load.client import Pool, encode_request
from edgesim.model.address import MAX_HOST, client_address
from edgesim.scenario.compose import compose

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgesim.live.load.client import Answer
    from edgesim.model.http import Headers
    from edgesim.scenario.arrivals import Arrival
    from edgesim.scenario.spec import Scenario

TIMEOUT_S: Final = 15.0
"""Longest time to a complete answer: the edge's own deadline of 10 s, and the network both ways."""
CONNECTIONS_MAX: Final = 512
"""Connections of one metro and access class."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """Where requests go."""

    host: str
    """IP address."""
    port: int
    authority: str
    """What `Host` says."""

    @classmethod
    def from_url(cls, url: str, authority: str = "") -> Server:
        """The server at `http://address:port`, called by its own name unless another is given."""
        parts = urlsplit(url)
        host = "127.0.0.1" if parts.hostname in {None, "localhost"} else str(parts.hostname)
        return cls(host=host, port=parts.port or 80, authority=authority or parts.netloc)

    @property
    def binds_sources(self) -> bool:
        """Whether connections can come from the simulated clients' addresses."""
        return sys.platform == "linux" and self.host.startswith("127.")


class EdgeSender:
    """Connections of all clients of a scenario to one server."""

    def __init__(self, scenario: Scenario, server: Server, *, timeout_s: float = TIMEOUT_S) -> None:
        self._scenario = scenario
        self._server = server
        self._timeout_s = timeout_s
        self._access = load_access().names()
        self._pools: dict[tuple[int, int], Pool] = {}
        self._requests: dict[tuple[int, int, int], bytes] = {}

    async def send(self, arrival: Arrival) -> Answer:
        """Send one request from its place."""
        clients = self._scenario.populations[arrival.population].clients[arrival.clients]
        request = self._scenario.requests[arrival.request]
        place = (clients.metro.id, self._access.index(clients.access))
        pool = self._pools.get(place)
        if pool is None:
            pool = self._pools[place] = self._pool(place)
        data = self._requests.get((*place, arrival.request))
        if data is None:
            target, fields, body = compose(self._scenario, arrival)
            headers = (*fields, *self._forwarded(place))
            data = encode_request(request.method, target, self._server.authority, headers, body)
            if not request.templates:
                self._requests[*place, arrival.request] = data
        return await pool.send(request.method, data, self._timeout_s, keep_body=request.expect.looks_at_body)

    def close(self) -> None:
        """Drop all connections."""
        for pool in self._pools.values():
            pool.close()

    def _pool(self, place: tuple[int, int]) -> Pool:
        sources: tuple[str, ...] = ()
        if self._server.binds_sources:
            count = min(CONNECTIONS_MAX, MAX_HOST + 1)
            sources = tuple(client_address(*place, host, "loopback") for host in range(count))
        limit = min(CONNECTIONS_MAX, self._scenario.load.max_in_flight)
        return Pool(self._server.host, self._server.port, limit=limit, sources=sources)

    def _forwarded(self, place: tuple[int, int]) -> Headers:
        if self._server.binds_sources:
            return ()
        return (("x-forwarded-for", client_address(*place, 0)),)


def job(
    scenario_path: str, server: Server, regions: Mapping[str, str], share: tuple[int, int] = (0, 1)
) -> dict[str, Any]:
    """What a generator's process is told on its first line; `share` is which of how many it is."""
    return {
        "scenario": scenario_path,
        "host": server.host,
        "port": server.port,
        "authority": server.authority,
        "regions": dict(regions),
        "share": list(share),
    }
