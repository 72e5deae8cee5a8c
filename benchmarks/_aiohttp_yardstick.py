"""The yardstick of `edge_cpu`: the shortest reverse proxy and the shortest hello that one writes with aiohttp, on uvloop.

`python -m benchmarks._aiohttp_yardstick hello`, or `… proxy PORT` for one in front of the hello at that port. Both print
the port that they listen on. `web.Server` has no routing and no middleware: the cheapest server that aiohttp has.
"""

from __future__ import annotations

import asyncio
import sys

import aiohttp
import uvloop
from aiohttp import web
from multidict import CIMultiDict

HOP_BY_HOP = {"connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "content-length"}


async def hello(request: web.BaseRequest) -> web.Response:
    """What the smallest component answers."""
    return web.Response(body=b"hello from lhr1 v1\n", headers={"content-type": "text/plain"})


def proxy(session: aiohttp.ClientSession, upstream: str):
    """A handler that passes everything on."""

    async def handle(request: web.BaseRequest) -> web.Response:
        headers = CIMultiDict((k, v) for k, v in request.headers.items() if k.lower() not in HOP_BY_HOP)
        body = request.content if request.body_exists else None
        async with session.request(
            request.method, upstream + request.path_qs, headers=headers, data=body, allow_redirects=False
        ) as answer:
            fields = CIMultiDict((k, v) for k, v in answer.headers.items() if k.lower() not in HOP_BY_HOP)
            return web.Response(status=answer.status, headers=fields, body=await answer.read())

    return handle


async def main(kind: str, upstream: str = "") -> None:
    """Serve until the process is ended."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), auto_decompress=False) as session:
        handler = hello if kind == "hello" else proxy(session, f"http://127.0.0.1:{upstream}")
        server = await asyncio.get_running_loop().create_server(
            web.Server(handler, access_log=None), "127.0.0.1", 0, backlog=4096
        )
        print(server.sockets[0].getsockname()[1], flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main(*sys.argv[1:]))
