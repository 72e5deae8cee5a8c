"""An HTTP server for tests of commands, which run an event loop of their own."""

import asyncio
import threading
from contextlib import contextmanager

from aiohttp import web


@contextmanager
def serving(handler):
    """A server on a free port, in a thread with a loop of its own, since the command has one itself."""
    loop, started, port = asyncio.new_event_loop(), threading.Event(), []

    async def start():
        app = web.Application(client_max_size=1 << 24)
        app.router.add_route("*", "/{path:.*}", handler)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port.append(runner.addresses[0][1])
        started.set()
        return runner

    def serve():
        runner = loop.run_until_complete(start())
        loop.run_forever()
        loop.run_until_complete(runner.cleanup())
        loop.close()

    thread = threading.Thread(target=serve)
    thread.start()
    started.wait(10)
    try:
        yield port[0]
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
