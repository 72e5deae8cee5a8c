"""The hop from the front door to a PoP host, as headers of an HTTP/1.1 request and its response.

One header each way carries what HTTP itself does not: who the client is, how much time is left, how the answer came about.
A token proves that a request came through the front door; the client's own `x-edgesim-…` fields never get this far.
"""

from __future__ import annotations

import hmac
import json
from math import isfinite
from typing import TYPE_CHECKING, Any, Final

from edgesim.core.request import Connection, Request, Response, Timings
from edgesim.errors import AuthError, PopUnreachableError, RequestError
from edgesim.live.client_fields import client_fields
from edgesim.model.geo import LatLon, Place
from edgesim.model.ids import OUTCOMES, PHASES, AppName, PopId
from edgesim.model.stream import Stream

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgesim.model.http import Body, Headers

TOKEN: Final = "x-edgesim-token"  # noqa: S105 - the header's name
META: Final = "x-edgesim-meta"
_OUTCOMES: Final = frozenset(OUTCOMES)
_STREAM: Final = Stream(0)
"""A PoP host draws nothing for a request; the front door has drawn its legs."""


def request_headers(request: Request, pop: PopId, token: str, now_s: float) -> dict[str, str]:
    """The hop's own header fields of a request."""
    place = request.place
    meta = [
        request.id,
        pop,
        request.app,
        round(request.deadline_s - now_s, 6),
        request.network_s,
        place.address,
        place.at.lat,
        place.at.lon,
        place.city,
        place.country,
        place.metro,
        place.access,
    ]
    return {TOKEN: token, META: json.dumps(meta, separators=(",", ":"))}


def check_token(headers: Mapping[str, str], token: str) -> None:
    """Raises AuthError unless the request came from this edge's front door."""
    if not hmac.compare_digest(headers.get(TOKEN, "").encode(errors="surrogateescape"), token.encode()):
        raise AuthError("this port is for the edge's own front door", help="send requests to the front door's port")


def read_request(
    headers: Mapping[str, str], *, method: str, target: str, fields: Headers, body: Body | None, now_s: float
) -> tuple[PopId, Request]:
    """The PoP that is meant and the request as its flow sees it, with what `client_fields.py` tells of the client.

    Raises:
        RequestError: the hop's header is missing or malformed.
    """
    try:
        ident, pop, app, left_s, network_s, address, lat, lon, city, country, metro, access = json.loads(headers[META])
        place = Place(
            address=address, at=LatLon(lat, lon), city=city, country=country, metro=metro, access=access
        )  # fmt: skip
        deadline_s = now_s + float(left_s)
        if not (isinstance(pop, str) and isinstance(app, str) and isfinite(deadline_s)):
            raise TypeError  # noqa: TRY301 - as if it had not unpacked
    except (KeyError, ValueError, TypeError, RecursionError) as exc:
        raise RequestError(f"the hop's header {META} is missing or malformed") from exc
    return PopId(pop), Request(
        id=ident,
        app=AppName(app),
        method=method,
        target=target,
        headers=(*fields, *client_fields(place)),
        body=body,
        place=place,
        connection=Connection(),
        stream=_STREAM,
        arrived_s=now_s,
        deadline_s=deadline_s,
        network_s=network_s,
    )


_TIMINGS: Final = 8
"""Numbers of seconds in a response's meta."""


def response_meta(response: Response) -> str:
    """The value of the hop's header of a response."""
    t = response.timings
    meta = [
        response.outcome,
        response.pop,
        response.start,
        response.role,
        response.version,
        response.error,
        response.detail,
        [t.queue_s, t.start_s, t.instantiate_s, t.init_s, t.execute_s, t.cpu_s, t.origin_s, t.filter_s],
        t.phases,
    ]
    return json.dumps(meta, separators=(",", ":"))


def read_response(status: int, meta: str | None, fields: Headers, body: bytes | Body) -> Response:
    """The PoP's response. Raises PopUnreachableError when the answer is not a PoP's."""
    try:
        values: list[Any] = json.loads(meta or "")
        outcome, pop, start, role, version, error, detail, timings, phases = values
        if outcome not in _OUTCOMES or len(timings) != _TIMINGS or any(n not in PHASES for n, _ in phases):
            raise ValueError  # noqa: TRY301 - as if it had not unpacked
        return Response(
            status=status,
            outcome=outcome,
            pop=PopId(pop),
            headers=fields,
            body=body,
            start=start,
            role=role,
            version=version,
            timings=Timings(*[*timings, tuple((name, float(seconds)) for name, seconds in phases)]),
            error=error,
            detail=detail,
        )
    except (ValueError, TypeError, RecursionError) as exc:
        raise PopUnreachableError("something that is not a PoP host answers at its port") from exc
