"""Load for benchmarks, in a process of its own: `python -m benchmarks._load`. Kept-alive connections, one request at a time.

It reads one line of JSON per round from stdin, `{"port", "host", "connections", "requests"}` and perhaps `"fields"` (header
lines to send besides), and answers with one, `{"ok", "seconds"}`: how many answers had status 200. Closed loop: for CPU per
request, not for latency.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

import uvloop


class Client(asyncio.Protocol):
    """One connection. Answers must have a Content-Length."""

    def __init__(self, round_: Round) -> None:
        self.round = round_
        self.buffer = b""

    def connection_made(self, transport):
        """Send the first request."""
        self.transport = transport
        self.ask()

    def ask(self):
        """Send the next request, or end."""
        if self.round.take():
            self.transport.write(self.round.request)
        else:
            self.transport.close()

    def data_received(self, data):
        """Count an answer when it is complete."""
        self.buffer += data
        head, found, body = self.buffer.partition(b"\r\n\r\n")
        if not found:
            return
        fields = head.lower()
        at = fields.index(b"content-length:") + 15
        if len(body) < int(fields[at:].partition(b"\r")[0]):
            return
        self.buffer = b""
        self.round.answered(ok=head[9:12] == b"200")
        self.ask()

    def connection_lost(self, exc):
        """An answer that never comes must not stop the round."""
        self.round.lost()


class Round:
    """A number of requests."""

    def __init__(self, host: str, connections: int, requests: int, fields: str) -> None:
        own = f"Host: {host}\r\nUser-Agent: bench\r\nAccept: */*\r\n"
        self.request = f"GET / HTTP/1.1\r\n{own}{fields}\r\n".encode()
        self.left = requests
        self.open = connections
        self.ok = 0
        self.done = asyncio.get_running_loop().create_future()

    def take(self) -> bool:
        """Whether one more request is to be sent."""
        self.left -= 1
        return self.left >= 0

    def answered(self, *, ok: bool) -> None:
        """One answer came."""
        self.ok += ok

    def lost(self) -> None:
        """One connection ended."""
        self.open -= 1
        if not self.open and not self.done.done():
            self.done.set_result(None)


async def serve_round(order: dict) -> dict:
    """Carry one round out."""
    loop = asyncio.get_running_loop()
    round_ = Round(order["host"], order["connections"], order["requests"], order.get("fields", ""))
    began = time.perf_counter()
    for _ in range(order["connections"]):
        await loop.create_connection(lambda: Client(round_), "127.0.0.1", order["port"])
    await round_.done
    return {"ok": round_.ok, "seconds": time.perf_counter() - began}


def main() -> None:
    """Rounds until stdin ends."""
    print("ready", flush=True)
    for line in sys.stdin:
        print(json.dumps(uvloop.run(serve_round(json.loads(line)))), flush=True)


if __name__ == "__main__":
    main()
