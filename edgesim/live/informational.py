"""Informational responses (1xx, RFC 9110 §15.2) on their way to a client: written between its request and the answer."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from aiohttp import HttpVersion11

from edgesim.model.http import HOP_BY_HOP

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiohttp import web

    from edgesim.core.request import Request
    from edgesim.live.http_quick import QuickRequest
    from edgesim.model.http import Headers


_PHRASES: Final = {status.value: status.phrase for status in HTTPStatus}


def write(transport: asyncio.Transport | None, status: int, headers: Headers) -> None:
    """Write one; nothing if the client has gone. The fields hold no line breaks: guests and parsers refuse those."""
    if transport is None or transport.is_closing():
        return
    phrase = _PHRASES.get(status, "Informational")
    fields = "".join(f"{name}: {value}\r\n" for name, value in headers if name not in HOP_BY_HOP)
    transport.write(f"HTTP/1.1 {status} {phrase}\r\n{fields}\r\n".encode(errors="surrogateescape"))


def listener(
    incoming: web.BaseRequest | QuickRequest, request: Request | None = None
) -> Callable[[int, Headers], None] | None:
    """Writes them to the client of `incoming`; None for one that speaks HTTP/1.0 and must not be sent any.

    With `request`, after the modelled way back from the PoP, and no more once `request.inform` is None: the answer has begun.
    """
    if incoming.version < HttpVersion11:
        return None
    if request is None:
        return lambda status, headers: write(incoming.transport, status, headers)

    def deliver(status: int, headers: Headers) -> None:
        if request.inform is not None:
            write(incoming.transport, status, headers)

    def inform(status: int, headers: Headers) -> None:
        if request.back_s > 0:
            asyncio.get_running_loop().call_later(request.back_s, deliver, status, headers)
        else:
            deliver(status, headers)

    return inform
