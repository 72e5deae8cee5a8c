"""Where requests go that no route of an app serves: an HTTP server of the operator's, or the built-in demo origin.

The way from the PoP to the origin's place is waited for as the network model says; what the origin itself takes is real for
`url` origins, and `latency` behind `capacity` places for the built-in one.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Protocol

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from edgesim.core.request import Response
from edgesim.errors import EdgesimError, OriginError, OriginTimeoutError
from edgesim.live.answers import informed
from edgesim.live.http_client import AnswerBody, Upload, fields_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgesim.core.pop import Pop
    from edgesim.core.request import Request
    from edgesim.model.ids import PopId
    from edgesim.model.topology import OriginSpec


class OriginNetwork(Protocol):
    """What the origins need of the network model."""

    def pop_origin_rtt_s(self, pop: PopId, origin: str) -> float:
        """Round trip between a PoP and an origin, unscaled."""
        ...


class LiveOrigins:
    """The origins of a topology."""

    def __init__(
        self,
        origins: Mapping[str, OriginSpec],
        network: OriginNetwork,
        session: aiohttp.ClientSession,
        time_scale: float,
    ) -> None:
        self._origins = dict(origins)
        self._network = network
        self._session = session
        self._time_scale = time_scale
        self._places = {name: asyncio.Semaphore(o.capacity) for name, o in origins.items()}

    async def fetch_origin(self, pop: Pop, request: Request) -> Response:
        """The origin's answer.

        Raises:
            OriginTimeoutError: not by the request's deadline.
            OriginError: it refuses or breaks the connection.
        """
        origin = self._origins[pop.spec.origin]
        rtt_s = self._network.pop_origin_rtt_s(pop.spec.id, origin.name) * self._time_scale
        try:
            async with asyncio.timeout_at(request.deadline_s):
                if rtt_s > 0:
                    await asyncio.sleep(rtt_s)
                if origin.kind == "builtin":
                    return await self._demo(origin, pop, request)
                return await self._fetch(origin, request)
        except TimeoutError as exc:
            raise OriginTimeoutError(f"origin {origin.name} did not answer by the request's deadline") from exc
        except (aiohttp.ClientError, OSError) as exc:
            if isinstance(exc.__cause__, EdgesimError):
                raise exc.__cause__ from exc
            raise OriginError(f"origin {origin.name} at {origin.url}: {_reason(exc)}", help="is it running?") from exc

    async def _demo(self, origin: OriginSpec, pop: Pop, request: Request) -> Response:
        """The built-in origin: a small JSON document, after its latency, when one of its places is free."""
        async with self._places[origin.name]:
            await asyncio.sleep(origin.latency_s)
        document = {"origin": origin.name, "app": request.app, "path": request.target, "via": pop.spec.id}
        return Response(
            200,
            "ok",
            headers=(("content-type", "application/json"), ("cache-control", "max-age=60")),
            body=json.dumps(document).encode() + b"\n",
        )

    async def _fetch(self, origin: OriginSpec, request: Request) -> Response:
        headers: CIMultiDict[str] = CIMultiDict(request.headers)
        headers.add("via", "1.1 edgesim")  # RFC 9110 §7.6.3
        headers.add("x-forwarded-for", request.place.address)
        upload = None if request.body is None else Upload(request.body)
        informed.set(request.inform)
        answer = await self._session.request(
            request.method,
            URL(origin.url.rstrip("/") + request.target, encoded=True),
            headers=headers,
            data=None if upload is None else upload.payload(),
            allow_redirects=False,
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
        )
        if answer.status == 101:  # the edge asks for no other protocol
            answer.close()
            raise OriginError(f"origin {origin.name} wants to switch protocols (101), which nobody has asked for")
        if upload is not None:
            upload.answer = answer
        body = AnswerBody(answer, lambda: OriginError(f"origin {origin.name} broke off in the middle of its response"))
        return Response(answer.status, "ok", headers=fields_of(answer), body=body)


def _reason(exc: Exception) -> str:
    return str(exc).split(" ssl:")[0] or type(exc).__name__
