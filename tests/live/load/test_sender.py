"""Where requests come from: bound source addresses on Linux, a header elsewhere."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from edgesim.config.catalogue import find_metro, load_access
from edgesim.live.load.sender import EdgeSender, Server
from edgesim.model.address import decode
from edgesim.scenario.arrivals import Arrival
from tests.live.load.scenarios import BASE

TOKYO = Arrival(0, 0.0, 0, 0, 0, 0)
PARIS = Arrival(1, 0.0, 0, 1, 0, 0)
ACCESS = load_access().names()


class Recorder:
    """A server that notes who asked for what."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str, str | None]] = []
        self.port = 0

    async def __call__(self, request: web.BaseRequest) -> web.Response:
        """Answer everything."""
        self.seen.append((str(request.remote), request.host, request.headers.get("x-forwarded-for")))
        return web.Response(text="ok")


@pytest.fixture
async def recorder() -> AsyncIterator[Recorder]:
    """A running one."""
    out = Recorder()
    runner = web.ServerRunner(web.Server(out))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    out.port = runner.addresses[0][1]
    yield out
    await runner.cleanup()


def place(address: str | None) -> tuple[int, int] | None:
    """Metro and access class of a simulated address."""
    client = decode(address or "")
    return (client.metro, client.access) if client else None


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets a client bind any address in 127/8")
async def test_connections_come_from_their_metros(recorder: Recorder) -> None:
    """The peer's address says where the client is; the host is the app's."""
    sender = EdgeSender(BASE, Server.from_url(f"http://127.0.0.1:{recorder.port}", "hello.localhost"))

    answers = [await sender.send(arrival) for arrival in (TOKYO, PARIS, TOKYO)]
    sender.close()

    places = [place(remote) for remote, _, _ in recorder.seen]
    assert [a.status for a in answers] == [200, 200, 200]
    assert places[0] == places[2] == (find_metro("Tokyo").id, ACCESS.index("cable"))
    assert places[1] == (find_metro("Paris").id, ACCESS.index("lte"))
    assert {(host, forwarded) for _, host, forwarded in recorder.seen} == {("hello.localhost", None)}


async def test_elsewhere_a_header_says_it(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the loopback address the front door believes `X-Forwarded-For`."""
    monkeypatch.setattr(sys, "platform", "darwin")
    sender = EdgeSender(BASE, Server.from_url(f"http://localhost:{recorder.port}"))

    await sender.send(PARIS)
    sender.close()

    ((remote, host, forwarded),) = recorder.seen
    assert (remote, host) == ("127.0.0.1", f"localhost:{recorder.port}")
    assert place(forwarded) == (find_metro("Paris").id, ACCESS.index("lte"))
