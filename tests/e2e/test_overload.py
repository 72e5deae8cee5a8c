"""Full queues, and origins that are dead, slow or broken: bounded waiting, then a clear answer."""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.e2e.edge import Answer, Edge, free_ports, running_edge
from tests.support.wasm import hostile

pytestmark = pytest.mark.e2e

WORLD = """\
version: 1
name: overloaded
network: {{time_scale: 0}}
routing: {{retry: {{attempts: 1}}}}
defaults: {{profile: small, origin: live}}
origins:
  live: {{kind: url, at: iad1, url: "http://127.0.0.1:{live}"}}
  dead: {{kind: url, at: iad1, url: "http://127.0.0.1:{dead}"}}
  mute: {{kind: url, at: iad1, url: "http://127.0.0.1:{mute}"}}
pops:
  - {{id: fra1, slots: 1, queue: 1, queue_timeout: 5s}}
  - {{id: nrt1, slots: 1, queue: 8, queue_timeout: 200ms}}
  - iad1
  - {{id: gru1, origin: dead}}
  - {{id: syd1, origin: mute}}
"""
MANIFEST = """\
spin_manifest_version = 2
[application]
name = "{app}"
[[trigger.http]]
route = "{route}"
component = "guest"
[component.guest]
source = "guest.wasm"
[component.guest.tool.edgesim]
wall = "{wall}"
"""


class Origin(BaseHTTPRequestHandler):
    """A small origin: a page, a slow page, and one that breaks off."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer by path."""
        if self.path == "/slow":
            time.sleep(0.3)
        body = f"origin of {self.headers['Host']}{self.path}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body) + (1000 if self.path == "/half" else 0)))
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = self.path == "/half"

    def log_message(self, *_: object) -> None:
        """Quiet."""


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    """A small world with narrow PoPs and three origins; `sleeper` takes 4 s, `web` has its pages at the origin."""
    folder = tmp_path_factory.mktemp("overload")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Origin)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    (dead,) = free_ports(1)
    with socket.create_server(("127.0.0.1", 0)) as mute:  # takes connections and never answers
        world = WORLD.format(live=server.server_port, dead=dead, mute=mute.getsockname()[1])
        with running_edge(folder, topology=world) as running:
            deploy(running, folder / "sleeper", "sleeper", "/...", "sleep", "1s")
            deploy(running, folder / "web", "web", "/app/...", "malformed", "1s")
            yield running
    server.shutdown()
    server.server_close()


def deploy(edge: Edge, folder: Path, app: str, route: str, guest: str, wall: str) -> None:
    """Deploy a guest of tests/guests."""
    folder.mkdir()
    (folder / "spin.toml").write_text(MANIFEST.format(app=app, route=route, wall=wall))
    (folder / "guest.wasm").write_bytes(hostile("wagi", guest))
    edge.cli("deploy", folder)


def at_once(edge: Edge, pop: str, count: int) -> list[tuple[Answer, float]]:
    """Answers of the sleeper at one PoP to requests sent together, and how long each took."""

    def one(_: int) -> tuple[Answer, float]:
        began_s = time.monotonic()
        return edge.http("sleeper", pop=pop), time.monotonic() - began_s

    with ThreadPoolExecutor(count) as clients:
        return list(clients.map(one, range(count)))


def test_a_full_queue(edge: Edge) -> None:
    """One runs, one waits, the others are told at once to come back later."""
    answers = at_once(edge, "fra1", 6)
    refused = [(answer, took_s) for answer, took_s in answers if answer.status == 503]

    assert len(refused) == 4
    for answer, took_s in refused:
        assert answer.headers["Retry-After"] == "1"
        assert answer.error.startswith("edgesim-fra1; error=connection_limit_reached")
        assert b"queue_full" in answer.body
        assert took_s < 0.9
    assert {answer.status for answer, _ in answers} == {503, 504}


def test_waiting_too_long(edge: Edge) -> None:
    """After 200 ms in the queue: 503, with how long that was in `Server-Timing`."""
    answers = at_once(edge, "nrt1", 3)
    late = [answer for answer, _ in answers if answer.status == 503]

    assert len(late) == 2
    for answer in late:
        assert b"queue_timeout" in answer.body
        assert "waited 0.2 s" in answer.error
        assert answer.headers["Retry-After"] == "1"
        queued = re.search(r"queue;dur=([\d.]+)", answer.headers["Server-Timing"])
        assert queued is not None
        assert 199 <= float(queued[1]) < 300  # uvloop's timers count whole milliseconds, and may be one early
    assert edge.http("sleeper", pop="iad1").status == 504


def test_an_origin_that_lives(edge: Edge) -> None:
    """What no route matches goes there, with the app's name as `Host`."""
    answer = edge.http("web", "/page?x=1", pop="fra1")
    slow = edge.http("web", "/slow", pop="fra1")

    assert (answer.status, answer.body) == (200, b"origin of web.fra1.localhost/page?x=1")
    assert slow.status == 200
    assert "origin;dur=3" in slow.headers["Server-Timing"]


def test_a_dead_origin(edge: Edge) -> None:
    """Connection refused: 502 of the PoP; its workers go on."""
    answer = edge.http("web", "/page", pop="gru1")

    assert answer.status == 502
    assert answer.error.startswith("edgesim-gru1; error=connection_refused")
    assert "origin dead" in answer.error
    assert edge.http("web", "/app/", pop="gru1").status == 502  # the guest's own fault
    assert edge.http("web", "/page", pop="iad1").status == 200


def test_an_origin_that_never_answers(edge: Edge) -> None:
    """504 at the request's deadline of 10 s; meanwhile the PoP serves others."""
    with ThreadPoolExecutor(1) as client:
        began_s = time.monotonic()
        waiting = client.submit(edge.http, "web", "/page", pop="syd1")
        others = [edge.http("web", "/app/", pop="syd1").status for _ in range(5)]
        answer = waiting.result()

    assert others == [502] * 5
    assert answer.status == 504
    assert answer.error.startswith("edgesim-syd1; error=connection_timeout")
    assert 9 < time.monotonic() - began_s < 14


def test_an_origin_that_breaks_off(edge: Edge) -> None:
    """A body that ends too early is not passed off as whole: an error, or a broken connection."""
    import http.client

    try:
        status = edge.http("web", "/half", pop="fra1").status
    except (http.client.IncompleteRead, ConnectionError):
        status = 0

    assert status in (0, 502)
    assert edge.http("web", "/page", pop="fra1").status == 200
