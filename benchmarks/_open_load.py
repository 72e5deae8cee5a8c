"""Open-loop load with latencies, and an attacker beside it, in a process of its own: `python -m benchmarks._open_load`.

A line of JSON on stdin, `{"port", "host", "rate", "seconds", "attack": {"host", "path", "rate"} | null}`; one back, `{"p50_ms",
"p99_ms", "failed", "attacks"}`. A request's latency counts from when it was due, so that waiting for a slow one is not lost
(coordinated omission). Attacks have connections of their own, and whatever comes of them does not matter.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from contextlib import suppress

import uvloop

PATIENCE_S = 15.0


class Line:
    """One kept-alive connection."""

    def __init__(self, port: int, host: str) -> None:
        self.port = port
        self.request = f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
        self.reader: asyncio.StreamReader | None = None

    async def ask(self) -> bool:
        """One request; whether the answer had status 200."""
        if self.reader is None:
            self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)
        self.writer.write(self.request)
        head = (await self.reader.readuntil(b"\r\n\r\n")).lower()
        at = head.index(b"content-length:") + 15
        await self.reader.readexactly(int(head[at : head.index(b"\r", at)]))
        return head[9:12] == b"200"


async def measure(order: dict) -> dict:
    """Carry one order out."""
    lines = asyncio.Queue()
    for _ in range(64):
        lines.put_nowait(Line(order["port"], order["host"]))
    begin = time.monotonic() + 0.05
    latencies: list[float] = []
    failed = 0

    async def one(number: int) -> None:
        nonlocal failed
        due = begin + number / order["rate"]
        await asyncio.sleep(due - time.monotonic())
        line = await lines.get()
        failed += not await line.ask()
        lines.put_nowait(line)
        latencies.append(time.monotonic() - due)

    attacks: list[asyncio.Task] = []
    attack = order["attack"]
    if attack:
        count = int(attack["rate"] * order["seconds"])
        attacks = [
            asyncio.create_task(_attack(order["port"], attack, begin + i / attack["rate"])) for i in range(count)
        ]
    await asyncio.gather(*(one(i) for i in range(int(order["rate"] * order["seconds"]))))
    await asyncio.gather(*attacks, return_exceptions=True)
    while not lines.empty():
        line = lines.get_nowait()
        if line.reader is not None:
            line.writer.close()
    latencies.sort()
    return {
        "p50_ms": latencies[len(latencies) // 2] * 1000,
        "p99_ms": latencies[int(len(latencies) * 0.99)] * 1000,
        "failed": failed,
        "attacks": len(attacks),
    }


async def _attack(port: int, attack: dict, due: float) -> None:
    await asyncio.sleep(due - time.monotonic())
    with suppress(OSError, TimeoutError):
        async with asyncio.timeout(PATIENCE_S):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(
                f"GET {attack['path']} HTTP/1.1\r\nHost: {attack['host']}\r\nConnection: close\r\n\r\n".encode()
            )
            while await reader.read(1 << 16):
                pass
            writer.close()


def main() -> None:
    """Orders until stdin ends."""
    print("ready", flush=True)
    for line in sys.stdin:
        print(json.dumps(uvloop.run(measure(json.loads(line)))), flush=True)


if __name__ == "__main__":
    main()
