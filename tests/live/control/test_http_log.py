"""What stands in the log of the control plane when a client sends nonsense, and when the fault is ours."""

from __future__ import annotations

import asyncio
import logging

import pytest
from aiohttp import web

from edgesim.live.control.http_log import http_log

PUT = b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.fixture
async def ask(caplog):
    """Sends bytes to a server with that log; returns the answer."""

    async def handle(request):
        if request.method == "GET":
            raise ZeroDivisionError("ours")
        return web.Response(body=await request.read())

    app = web.Application()
    app.router.add_route("*", "/", handle)
    runner = web.AppRunner(app, access_log=None, logger=http_log(), handle_signals=False)
    await runner.setup()
    server = await asyncio.get_running_loop().create_server(runner.server, "127.0.0.1", 0)
    caplog.set_level(logging.DEBUG)

    async def ask(data):
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(data)
        answer = await asyncio.wait_for(reader.read(), 10.0)
        writer.close()
        return answer

    yield ask
    server.close()
    await runner.cleanup()


@pytest.mark.parametrize(
    "data", [PUT + b"zz\r\n", PUT + b"3\r\nabcXX", b"nonsense\r\n\r\n", b"GET / HTTP/1.1\r\nA B: c\r\n\r\n"]
)
async def test_nonsense_is_a_line(ask, caplog, data):
    """400, and no traceback."""
    answer = await ask(data)

    assert b" 400 " in answer.split(b"\r\n", 1)[0]
    assert "a malformed request was refused: " in caplog.text
    assert "Traceback" not in caplog.text


async def test_a_fault_of_ours_has_its_traceback(ask, caplog):
    """It is not hidden with the rest."""
    await ask(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")

    assert "ZeroDivisionError: ours" in caplog.text
