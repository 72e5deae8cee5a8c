"""Many clients and the slow origin that they wait for, in a process of its own: `python -m benchmarks._slow_origin`.

It prints the origin's port. A line of JSON on stdin, `{"port", "host", "path", "clients", "ramp_s", "delay_s"}`, starts so many clients
evenly over `ramp_s`; the origin answers each `delay_s` after it came. `{"waiting"}` comes back when they are all there, or half a
second before the first one is answered, and `{"ok", "bad"}` at the next line, whatever that is: how many clients got the answer.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

import uvloop


class Origin:
    """Keeps its clients waiting."""

    def __init__(self) -> None:
        self.waiting = 0
        self.arrived = asyncio.Condition()
        self.delay_s = 0.0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, one request."""
        try:
            await reader.readuntil(b"\r\n\r\n")
            async with self.arrived:
                self.waiting += 1
                self.arrived.notify_all()
            await asyncio.sleep(self.delay_s)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nlater")
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


async def client(order: dict, delay_s: float) -> str:
    """One request; empty when it was answered with what the origin said, else what came instead."""
    await asyncio.sleep(delay_s)
    reader, writer = await asyncio.open_connection("127.0.0.1", order["port"])
    writer.write(f"GET {order['path']} HTTP/1.1\r\nHost: {order['host']}\r\nConnection: close\r\n\r\n".encode())
    answer = await reader.read(-1)
    writer.close()
    good = answer.startswith(b"HTTP/1.1 200") and b"later" in answer
    return "" if good else answer[:600].decode(errors="replace") or "nothing"


async def main() -> None:
    """Rounds until stdin ends."""
    origin = Origin()
    server = await asyncio.start_server(origin.serve, "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        order = json.loads(line)
        origin.waiting = 0
        origin.delay_s = order["delay_s"]
        count, began_s = order["clients"], time.monotonic()
        tasks = [asyncio.create_task(client(order, order["ramp_s"] * i / count)) for i in range(count)]
        arrived = asyncio.create_task(_all(origin, count))
        await asyncio.wait([arrived], timeout=order["delay_s"] - 0.5)
        print(json.dumps({"waiting": origin.waiting}), flush=True)
        await loop.run_in_executor(None, sys.stdin.readline)
        results = await asyncio.gather(*tasks, return_exceptions=True)
        arrived.cancel()
        bad = [repr(result) for result in results if result != ""]
        answer = {"ok": count - len(bad), "bad": bad[:2], "seconds": time.monotonic() - began_s}
        print(json.dumps(answer), flush=True)


async def _all(origin: Origin, count: int) -> None:
    async with origin.arrived:
        await origin.arrived.wait_for(lambda: origin.waiting >= count)


if __name__ == "__main__":
    uvloop.run(main())
