"""What clients may send to the front door and the API, byte by byte: a clear refusal, and the next request is served."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.edge import WORKERS, Edge, Traffic

pytestmark = pytest.mark.e2e


@pytest.fixture
def edge(shared_edge: Edge) -> Iterator[Edge]:
    """The edge; a neighbour is served all the time."""
    with Traffic(shared_edge, "hello", ("Paris",)) as neighbour:
        yield shared_edge
        neighbour.more(3)

    assert neighbour.failed == []


def raw(port: int, data: bytes, *, timeout_s: float = 10) -> bytes:
    """Everything that comes back for these bytes until the server closes; it is read while they are sent."""
    with socket.create_connection(("127.0.0.1", port), timeout=timeout_s) as client:

        def send() -> None:
            with contextlib.suppress(OSError):  # refused in the middle: the answer may be there already
                client.sendall(data)

        sender = threading.Thread(target=send)
        sender.start()
        received = b""
        with contextlib.suppress(ConnectionError):
            while chunk := client.recv(65536):
                received += chunk
        with contextlib.suppress(OSError):
            client.shutdown(socket.SHUT_RDWR)
        sender.join()
    return received


HEAD = b"Host: hello.localhost\r\n"
STATUS_400 = re.compile(rb"HTTP/1\.[01] 400 ")


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"GET\r\n" + HEAD + b"\r\n",
        b"GET / HTTP/9.9\r\n" + HEAD + b"\r\n",
        b"GE T / HTTP/1.1\r\n" + HEAD + b"\r\n",
        b"GET / HTTP/1.1\r\n" + HEAD + b"no colon here\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + HEAD + b"Bad Name: x\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + HEAD + b"X: a\0b\r\n\r\n",
        b"POST / HTTP/1.1\r\n" + HEAD + b"Content-Length: x\r\n\r\n",
        b"POST / HTTP/1.1\r\n" + HEAD + b"Content-Length: -5\r\n\r\n",
        b"POST / HTTP/1.1\r\n" + HEAD + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\n" + HEAD + b"\r\n",
        b"GET / HTTP/1.1\r\n" + HEAD + b"X: " + b"a" * 40_000 + b"\r\n\r\n",
    ],
    ids=[
        "tls", "no target", "version", "method", "no colon", "name", "nul", "length", "negative", "smuggling",
        "long target", "long field",
    ],
)  # fmt: skip
def test_malformed_heads(edge: Edge, data: bytes) -> None:
    """400 with `Proxy-Status`, and the connection is closed."""
    began_s = time.monotonic()
    head, _, body = raw(edge.port, data).partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")

    assert STATUS_400.match(head), head
    assert any(line.lower().startswith("proxy-status: edgesim; error=http_request_error") for line in lines), lines
    assert b"Traceback" not in body
    assert time.monotonic() - began_s < 5


def test_a_broken_chunk(edge: Edge) -> None:
    """A body that stops making sense after its head: 400, or the connection ends; the worker is not to blame."""
    data = b"POST / HTTP/1.1\r\n" + HEAD + b"Transfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\nZZZ\r\nnonsense\r\n"
    answer = raw(edge.port, data)

    assert STATUS_400.match(answer), answer


def test_a_body_that_breaks_off(edge: Edge) -> None:
    """Half of the announced body, then nothing more."""
    with socket.create_connection(("127.0.0.1", edge.port), timeout=5) as client:
        client.sendall(b"POST / HTTP/1.1\r\n" + HEAD + b"Content-Length: 1000\r\n\r\nonly this")


def test_too_many_fields(edge: Edge) -> None:
    """200,000 short fields do not pass."""
    fields = b"".join(b"x-%d: 1\r\n" % i for i in range(200_000))
    answer = raw(edge.port, b"GET / HTTP/1.1\r\n" + HEAD + fields + b"\r\n")

    assert answer == b"" or STATUS_400.match(answer), answer[:300]


def test_too_large_a_body(edge: Edge, tmp_path: Path) -> None:
    """More than 16 MiB: 413 when it is announced; an endless one is cut off while the worker echoes it."""
    manifest = (WORKERS / "hello" / "spin.toml").read_text().replace("hello.wasm", str(WORKERS / "hello/hello.wasm"))
    (tmp_path / "spin.toml").write_text(manifest + "[component.hello.tool.edgesim]\ncpu_ms = 20000\n")
    edge.cli("deploy", tmp_path, "--app", "echo")
    announced = edge.http("hello", method="POST", headers={"Content-Length": str(17 << 20)}, body=b"")
    head = b"POST /echo HTTP/1.1\r\nConnection: close\r\nTransfer-Encoding: chunked\r\nHost: echo.localhost\r\n\r\n"
    chunk = b"10000\r\n" + b"x" * 65536 + b"\r\n"
    fits = raw(edge.port, head + chunk * 16 + b"0\r\n\r\n")
    began_s = time.monotonic()
    endless = raw(edge.port, head + chunk * 272 + b"0\r\n\r\n")
    took_s = time.monotonic() - began_s

    assert announced.status == 413
    assert "error=http_request_error" in announced.error
    assert "16777216" in announced.error
    assert fits.startswith(b"HTTP/1.1 200 ")
    assert fits.endswith(b"0\r\n\r\n")
    assert b" 413 " in endless.split(b"\r\n")[0] or not endless.endswith(b"0\r\n\r\n")
    assert len(endless) < 17 << 20
    assert took_s < 8  # at once, not at the worker's limit of 10 s


@pytest.mark.parametrize(
    "host", ["", "example.com", "localhost", "a.b.c.localhost", "hello.nowhere1.localhost", "\xff"]
)
def test_hosts_that_name_no_app(edge: Edge, host: str) -> None:
    """400, and how a name looks."""
    answer = edge.http("x", headers={"Host": host})

    assert answer.status == 400
    assert answer.error.startswith("edgesim; error=http_request_error")
    assert b"http://<app>." in answer.body


def test_an_app_that_is_not_there(edge: Edge) -> None:
    """404 of the PoP that would serve it."""
    answer = edge.http("nobody", metro="Tokyo")

    assert (answer.status, answer.pop) == (404, "nrt1")
    assert "error=destination_not_found" in answer.error
    assert b"no app nobody is deployed" in answer.body


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Basic eDp5"},
        {"Authorization": ""},
        {"Host": "evil.example"},
        {"Host": "evil.example:8081"},
        {"Host": "localhost.evil.example"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
    ],
    ids=["token", "scheme", "none", "host", "host with port", "host alike", "origin", "null origin"],
)
def test_strangers_at_the_api(edge: Edge, headers: dict[str, str]) -> None:
    """401 for a wrong token, `Host` or `Origin`, and nothing is changed."""
    before = edge.desired()
    answers = [
        edge.api("POST", "/v1/pops/nrt1/kill", headers=headers),
        edge.api("GET", "/v1/status", headers=headers),
        edge.api("POST", "/v1/apps/hello/rollback", {"version": 1}, headers=headers),
    ]

    for answer in answers:
        assert (answer.status, answer.json()["error"]["code"]) == (401, "E0302")
    assert edge.desired() == before
    assert edge.pops()["nrt1"]["state"] == "ready"


def test_a_wrong_token_on_the_command_line(edge: Edge) -> None:
    """Exit code 1, and where the right one is."""
    done = edge.cli(
        "deploy", "--endpoint", f"http://127.0.0.1:{edge.api_port}", "--token", "wrong", edge.folder, code=None
    )
    listed = edge.cli("pops", "list", "--endpoint", f"http://127.0.0.1:{edge.api_port}", "--token", "wrong", code=1)

    assert done.code != 0
    assert "error[E0302]" in listed.err
    assert "run.json" in listed.err


def test_pop_hosts_serve_only_their_front_door(edge: Edge) -> None:
    """Their ports refuse requests and commands without the hop's token, whatever headers claim."""
    (host,) = (c for c in edge.record.children if c.name == "host1")
    port = int(host.urls["data"].rsplit(":", 1)[1])
    kill = raw(port, b"POST /-/pops/nrt1/kill HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    request = raw(port, b"GET / HTTP/1.1\r\nHost: x\r\nx-edgesim-meta: []\r\nConnection: close\r\n\r\n")

    assert b" 401 " in kill.split(b"\r\n")[0]
    assert b" 401 " in request.split(b"\r\n")[0]
