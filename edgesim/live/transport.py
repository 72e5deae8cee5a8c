"""The way to PoPs in other processes: HTTP/1.1 over kept-alive loopback connections, bodies streamed both ways.

Where a PoP's host listens is learned from its presence on the bus; who is alive is the health table's business. PoPs in
this process are reached through `live/local.py`; tests/contract holds both to one suite.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from edgesim.errors import DeadlineExceededError, EdgesimError, PopUnreachableError
from edgesim.live import hop
from edgesim.live.answers import RelayedAnswer, complete, informed
from edgesim.live.http_client import AnswerBody, Upload, fields_of

if TYPE_CHECKING:
    from edgesim.core.request import Request, Response
    from edgesim.model.http import Body
    from edgesim.model.ids import PopId

SMALL_BYTES: Final = 64 * 1024
"""A response body of a known size up to this is read before the first byte goes to the client, so it can fail over."""
ANSWER_FIELD_BYTES_MAX: Final = 64 * 1024
ANSWER_FIELDS_MAX: Final = 512
"""More than guests may send: an answer that cannot be parsed counts as a dead PoP."""
GRACE_S: Final = 0.25
"""The PoP itself answers at the deadline; only one that hangs is given up, this much later."""


class HttpTransport:
    """Forwards to PoP hosts by URL."""

    def __init__(self, token: str) -> None:
        self._token = token
        self._urls: dict[PopId, str] = {}
        self._session = aiohttp.ClientSession(
            connector=complete(aiohttp.TCPConnector(limit=0, keepalive_timeout=60.0, force_close=False)),
            response_class=RelayedAnswer,
            auto_decompress=False,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=2.0),
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
            cookie_jar=aiohttp.DummyCookieJar(),
            max_line_size=ANSWER_FIELD_BYTES_MAX,
            max_field_size=ANSWER_FIELD_BYTES_MAX,
            max_headers=ANSWER_FIELDS_MAX,
        )
        # Idempotent requests on a kept connection that breaks are sent again by aiohttp, to the same PoP and uncounted:
        # failing over is the flow's decision. There is no public switch.
        self._session._retry_connection = False  # noqa: SLF001

    def place(self, pop: PopId, url: str) -> None:
        """Learn that `pop` is reached at `url` (`http://127.0.0.1:port`)."""
        self._urls[pop] = url

    async def forward(self, pop: PopId, request: Request) -> Response:
        """Have the PoP serve the request.

        Raises:
            PopUnreachableError: its host is unknown, refuses, breaks, or answers as something else.
            DeadlineExceededError: it has not answered by the deadline.
        """
        base = self._urls.get(pop)
        if base is None:
            raise PopUnreachableError(f"no host has announced {pop} yet")
        now_s = time.monotonic()
        headers: CIMultiDict[str] = CIMultiDict(request.headers)
        headers.update(hop.request_headers(request, pop, self._token, now_s))
        upload = None if request.body is None else Upload(request.body)
        informed.set(request.inform)
        try:
            async with asyncio.timeout_at(request.deadline_s + GRACE_S):
                answer = await self._session.request(
                    request.method,
                    URL(base + request.target, encoded=True),
                    headers=headers,
                    data=None if upload is None else upload.payload(),
                    allow_redirects=False,
                )
                if upload is not None:
                    upload.answer = answer
                return await _response(pop, answer)
        except aiohttp.ServerTimeoutError as exc:  # a TimeoutError too, but it is the connection's
            raise PopUnreachableError(f"{pop} did not accept the connection") from exc
        except TimeoutError as exc:
            raise DeadlineExceededError(f"{pop} did not answer by the request's deadline") from exc
        except (aiohttp.ClientError, OSError) as exc:
            if isinstance(exc.__cause__, EdgesimError):
                raise exc.__cause__ from exc  # the client's own body failed, not the PoP
            raise PopUnreachableError(f"{pop} broke the connection ({type(exc).__name__})") from exc

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()


async def _response(pop: PopId, answer: aiohttp.ClientResponse) -> Response:
    """The PoP's answer as a flow sees it; a small body is read at once."""
    fields = tuple(f for f in fields_of(answer) if f[0] != hop.META)
    body: bytes | Body
    length = answer.content_length
    if length is not None and length <= SMALL_BYTES:
        body = await answer.read()
    else:
        body = AnswerBody(
            answer, lambda: PopUnreachableError(f"{pop} broke the connection in the middle of its response")
        )
    try:
        return hop.read_response(answer.status, answer.headers.get(hop.META), fields, body)
    except PopUnreachableError:
        answer.close()
        raise
