"""A small HTTP server that stops dead now and then, in a process of its own: `python -m benchmarks._frozen_server FREEZE_S EVERY_S`.

It prints its port, answers every request at once, and sleeps FREEZE_S every EVERY_S seconds (0 for never), in which nothing of it
runs. When its stdin ends it prints when it was frozen, as [[from, to], …] on the system's monotonic clock, and exits.
"""

from __future__ import annotations

import asyncio
import json
import sys
from time import perf_counter, sleep

import uvloop

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nhello\n"


class Answering(asyncio.Protocol):
    """One connection; requests have no body."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(ANSWER * data.count(b"\r\n\r\n"))  # type: ignore[attr-defined]


async def main() -> None:
    freeze_s, every_s = map(float, sys.argv[1:])
    frozen: list[tuple[float, float]] = []
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Answering, "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)

    def freeze() -> None:
        began = perf_counter()
        sleep(freeze_s)
        frozen.append((began, perf_counter()))
        loop.call_later(every_s - freeze_s, freeze)

    if freeze_s:
        loop.call_later(every_s, freeze)
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    await reader.read()
    print(json.dumps(frozen), flush=True)


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
