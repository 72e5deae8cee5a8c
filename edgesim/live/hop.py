"""The hop from the front door to a PoP host, as headers of an HTTP/1.1 request and its response.

Few header fields carry what HTTP itself does not: who the client is, how much time is left, how the answer came about. They
are in fixed forms, because each request pays for them: what changes with every request is a line of plain words, and what
stays the same for a client is JSON that is parsed once (`_about`). A token proves that a request came through the front door;
the client's own `x-edgesim-…` fields never get this far.
"""

from __future__ import annotations

import hmac
import json
from functools import lru_cache
from math import isfinite
from typing import TYPE_CHECKING, Final

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
"""Of a request: seconds left, seconds of modelled network time, id. Of a response: see `response_meta`."""
ABOUT: Final = "x-edgesim-about"
"""Of a request: PoP, app and client, as JSON."""
INSIDE: Final = "x-edgesim-inside"
"""On a worker's request to its own app: the PoP that it runs at. The front door believes its trusted peers."""
ABOUTS_MAX: Final = 4096
"""Different values of ABOUT that are remembered."""
_OUTCOMES: Final = frozenset(OUTCOMES)
_STREAM: Final = Stream(0)
"""A PoP host draws nothing for a request; the front door has drawn its legs."""
_CONNECTION: Final = Connection()
"""The client's connection is the front door's business too: a PoP host does not look at it."""


def request_headers(request: Request, pop: PopId, token: str, now_s: float) -> dict[str, str]:
    """The hop's own header fields of a request."""
    place = request.place
    about = [
        pop,
        request.app,
        place.address,
        place.at.lat,
        place.at.lon,
        place.city,
        place.country,
        place.metro,
        place.access,
    ]
    return {
        TOKEN: token,
        META: f"{request.deadline_s - now_s:.6f} {request.network_s!r} {request.id}",
        ABOUT: json.dumps(about, separators=(",", ":")),
    }


def check_token(headers: Mapping[str, str], token: str) -> None:
    """Raises AuthError unless the request came from this edge's front door."""
    given = headers.get(TOKEN, "")
    if not (given.isascii() and hmac.compare_digest(given, token)):
        raise AuthError("this port is for the edge's own front door", help="send requests to the front door's port")


@lru_cache(ABOUTS_MAX)
def _about(text: str) -> tuple[PopId, AppName, Place, Headers]:
    """PoP, app, client, and what `client_fields.py` tells of the client. Raises ValueError or TypeError."""
    pop, app, address, lat, lon, city, country, metro, access = json.loads(text)
    if not (isinstance(pop, str) and isinstance(app, str)):
        raise TypeError
    place = Place(address=address, at=LatLon(lat, lon), city=city, country=country, metro=metro, access=access)
    return PopId(pop), AppName(app), place, client_fields(place)


def read_request(
    headers: Mapping[str, str], *, method: str, target: str, fields: Headers, body: Body | None, now_s: float
) -> tuple[PopId, Request]:
    """The PoP that is meant and the request as its flow sees it, with what `client_fields.py` tells of the client.

    Raises:
        RequestError: the hop's headers are missing or malformed.
    """
    try:
        left_s, network_s, ident = headers[META].split(" ", 2)
        pop, app, place, client = _about(headers[ABOUT])
        deadline_s = now_s + float(left_s)
        if not isfinite(deadline_s):
            raise ValueError  # noqa: TRY301 - as if it were no number
        # By position, which costs a third of keywords.
        return pop, Request(
            ident, app, method, target, fields + client, body, place, _CONNECTION, _STREAM, now_s, deadline_s,
            PopId(""), False, float(network_s),
        )  # fmt: skip
    except (KeyError, ValueError, TypeError, AttributeError, RecursionError) as exc:
        raise RequestError("the hop's headers are missing or malformed") from exc


_NAMES: Final = 5
_WORDS: Final = 13
"""Names and times: words of a response's meta before the JSON of what is unusual."""


def response_meta(response: Response) -> str:
    """The value of the hop's header of a response: outcome, PoP, start, role (`-` for none), version, times in nanoseconds.

    What only unusual answers have, an error and the phases of a cold start, follows as JSON.
    """
    t = response.timings
    meta = (
        f"{response.outcome} {response.pop or '-'} {response.start or '-'} {response.role or '-'} {response.version} "
        "%d %d %d %d %d %d %d %d"
    ) % (
        t.queue_s * 1e9, t.start_s * 1e9, t.instantiate_s * 1e9, t.init_s * 1e9, t.execute_s * 1e9, t.cpu_s * 1e9,
        t.origin_s * 1e9, t.filter_s * 1e9,
    )  # fmt: skip
    if response.error or response.detail or t.phases:
        meta += " " + json.dumps([response.error, response.detail, t.phases], separators=(",", ":"))
    return meta


def read_response(status: int, meta: str | None, fields: Headers, body: bytes | Body) -> Response:
    """The PoP's response. Raises PopUnreachableError when the answer is not a PoP's."""
    try:
        words = (meta or "").split(" ", _WORDS)
        outcome, pop, start, role, version = words[:_NAMES]
        if outcome not in _OUTCOMES or len(words) < _WORDS:
            raise ValueError  # noqa: TRY301 - as if there were too few words
        queue_s, start_s, instantiate_s, init_s, execute_s, cpu_s, origin_s, filter_s = [
            int(word) / 1e9 for word in words[_NAMES:_WORDS]
        ]
        timings = Timings(queue_s, start_s, instantiate_s, init_s, execute_s, cpu_s, origin_s, filter_s)
        error = detail = ""
        if len(words) > _WORDS:
            error, detail, phases = json.loads(words[_WORDS])
            if any(name not in PHASES for name, _ in phases):
                raise ValueError  # noqa: TRY301 - likewise
            timings.phases = tuple((name, float(seconds)) for name, seconds in phases)
        return Response(
            status=status,
            outcome=outcome,
            pop=PopId(_word(pop)),
            headers=fields,
            body=body,
            start=_word(start),  # type: ignore[arg-type]
            role=_word(role),  # type: ignore[arg-type]
            version=int(version),
            timings=timings,
            error=error,
            detail=detail,
        )
    except (ValueError, TypeError, RecursionError) as exc:
        raise PopUnreachableError("something that is not a PoP host answers at its port") from exc


def _word(word: str) -> str:
    return "" if word == "-" else word
