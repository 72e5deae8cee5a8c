"""`edgesim curl` against an HTTP server in this process."""

import json

import pytest
from aiohttp import web

from edgesim.cli._answer import Answer, explain
from edgesim.cli.main import run
from edgesim.config.catalogue import find_metro
from edgesim.model.address import decode
from tests.support.serving import serving

ROUTE = {
    "client": {"address": "240.0.64.1", "city": "Tokyo", "country": "JP", "access": "fttp"},
    "policy": "proximity",
    "ranked": [["nrt1", 14, "up"], ["icn1", 1158, "down"]],
    "chosen": "nrt1",
    "reason": "first",
    "failed": [],
}
TIMING = 'net;dur=38.4;desc="modelled network", queue;dur=0.5, execute;dur=1.9, cpu;dur=1.7, total;dur=57.2'


@pytest.fixture
def edge():
    """A front door that answers with every field, and remembers what it was asked."""
    seen = []

    async def handler(request):
        seen.append((request.method, request.raw_path, dict(request.headers), await request.read()))
        headers = {
            "X-Edge-Pop": "nrt1",
            "X-Edge-Version": "hello@2",
            "X-Edge-Start": "fresh",
            "X-Edge-Request-Id": "r1",
            "Server-Timing": TIMING,
            "X-Edge-Route": json.dumps(ROUTE),
        }
        if request.path == "/fail":
            headers["Proxy-Status"] = 'edgesim-nrt1; error=http_response_timeout; details="too slow"'
            return web.Response(status=504, text="504\n", headers=headers)
        if request.path == "/binary":
            return web.Response(body=b"\xff\x00", headers=headers)
        return web.Response(text="hello\n", headers=headers)

    with serving(handler) as port:
        yield port, seen


def test_body_and_explanation(edge, capsys):
    """The body alone on stdout; who, why and where the time went on stderr."""
    port, _ = edge
    code = run(["curl", "--from", "Tokyo", f"http://hello.localhost:{port}/a%20b?c=d"])
    out, err = capsys.readouterr()

    assert code == 0
    assert out == "hello\n"
    assert "200 OK hello@2 from nrt1 · fresh instance" in err
    assert "Tokyo, JP (fttp, 240.0.64.1)" in err
    assert "nrt1 is the first by proximity" in err
    assert "nrt1 14 km  icn1 1,158 km down" in err
    assert "modelled network     38.40 ms" in err
    assert "front door total     57.20 ms" in err
    assert "measured here" in err


def test_what_is_sent(edge):
    """Host with the port, the path untouched, the client's place, the wish for an explanation, method and body."""
    port, seen = edge
    base = f"hello.localhost:{port}"
    run(["curl", "-s", "--from", "São Paulo", "--access", "lte", f"http://{base}/a%2Fb?c=%20d"])
    run(["curl", "-s", "--pop", "GRU1", "-d", "x=1", "-H", "X-My: 1", "-H", "x-my: 2", base])
    run(["curl", "-s", "--from", "203.0.113.9", "-X", "delete", base])
    first, second, third = seen
    client = decode(first[2]["X-Forwarded-For"])

    assert ("GET", "/a%2Fb?c=%20d", base) == (*first[:2], first[2]["Host"])
    assert (find_metro("Sao Paulo").id, 3) == client[:2]
    assert first[2]["X-Edge-Debug"] == "1"
    assert "Accept-Encoding" not in first[2]
    assert ("POST", "/", f"hello.gru1.localhost:{port}", b"x=1") == (*second[:2], second[2]["Host"], second[3])
    assert "X-Forwarded-For" not in second[2]
    assert (third[0], third[2]["X-Forwarded-For"]) == ("DELETE", "203.0.113.9")


def test_body_from_a_file(edge, tmp_path, capsys):
    """`-d @file` sends the file's bytes; a file that is not there is a usage error."""
    port, seen = edge
    (tmp_path / "body").write_bytes(b"\x00\xff")
    codes = run(["curl", "-s", "-d", f"@{tmp_path}/body", f"hello.localhost:{port}"]), run(["curl", "-d", "@none", "x"])

    assert codes == (0, 2)
    assert seen[0][3] == b"\x00\xff"
    assert "cannot read the body" in capsys.readouterr().err


def test_include_and_fail(edge, capsys):
    """-i prints the head; -f turns a status of 400 or above into exit code 1, without it the answer is an answer."""
    port, _ = edge
    codes = run(["curl", "-f", "-i", f"hello.localhost:{port}/fail"]), run(["curl", f"hello.localhost:{port}/fail"])
    out, err = capsys.readouterr()

    assert codes == (1, 0)
    assert out.startswith("HTTP/1.1 504 Gateway Timeout\nx-edge-pop: nrt1\n")
    assert "\n\n504\n" in out
    assert "error=http_response_timeout" in err


def test_json(edge, capsys):
    """One document with everything, text as text and bytes in base64."""
    port, _ = edge
    run(["curl", "--json", "--from", "Tokyo", f"hello.localhost:{port}"])
    text = json.loads(capsys.readouterr().out)
    run(["curl", "--json", f"hello.localhost:{port}/binary"])
    binary = json.loads(capsys.readouterr().out)

    assert tuple(text[k] for k in ("schema", "status", "pop", "version", "start", "body")) == (
        "edgesim.curl.v1",
        200,
        "nrt1",
        "hello@2",
        "fresh",
        "hello\n",
    )
    assert text["timing_ms"] == {"net": 38.4, "queue": 0.5, "execute": 1.9, "cpu": 1.7, "total": 57.2}
    assert text["route"] == ROUTE
    assert 0 < text["measured_ms"]["first_byte"] <= text["measured_ms"]["total"]
    assert (binary["body_base64"], binary["body_bytes"]) == ("/wA=", 2)


def test_connection_that_breaks(capsys):
    """An answer that ends early is an error, after the part that came."""

    async def handler(request):
        response = web.StreamResponse(headers={"Content-Length": "100"})
        await response.prepare(request)
        await response.write(b"part")
        request.transport.abort()
        return response

    with serving(handler) as port:
        code = run(["curl", f"hello.localhost:{port}"])

    assert code == 3
    assert "error[E0301]: the answer broke off" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["http://example.com/"], "names no app"),
        (["https://hello.localhost/"], "speaks http, not https"),
        (["http://localhost/"], "names no app"),
        (["http://hello.localhost:99999/"], "not a URL"),
        (["http://[::1/"], "not a URL"),
        (["--from", "Tokio", "hello.localhost:1"], "did you mean 'Tokyo'?"),
        (["--from", "Tokyo", "--access", "modem", "hello.localhost:1"], "no access class 'modem'"),
        (["--access", "lte", "hello.localhost:1"], "--access needs --from"),
        (["--pop", "a b", "hello.localhost:1"], "not the name of a PoP"),
        (["-H", "broken", "hello.localhost:1"], "not a header field"),
        (["-H", "X: a\r\nY: b", "hello.localhost:1"], "not a header field"),
        (["-X", "GE T", "hello.localhost:1"], "not a method"),
    ],
)
def test_mistakes(args, message, capsys):
    """Exit code 2, what is wrong, nothing sent."""
    code = run(["curl", *args])

    assert code == 2
    assert message in capsys.readouterr().err


def test_nobody_listens(capsys):
    """Exit code 3 and what to do."""
    code = run(["curl", "http://hello.localhost:1/"])
    err = capsys.readouterr().err

    assert code == 3
    assert "Connection refused" in err
    assert "edgesim up" in err


def answer(**fields):
    """An answer with these header fields."""
    headers = tuple((name.replace("_", "-"), value) for name, value in fields.items())
    return Answer(status=200, reason="OK", headers=headers, first_byte_s=0.01, total_s=0.02, body_bytes=0)


@pytest.mark.parametrize(
    ("route", "expected"),
    [
        ({"reason": "skipped", "chosen": "b", "ranked": [["a", 1, "down"], ["b", 2, "up"]]}, "(a is down)"),
        ({"reason": "failover", "chosen": "b", "failed": ["a"]}, "a failed during the request; b is the next"),
        ({"reason": "pinned", "chosen": "b"}, "b, because the host name asks for it"),
        (
            {"reason": "pinned", "chosen": "", "failed": ["b"]},
            "only b, because the host name asks for it; it did not answer",
        ),
        ({"reason": "none", "chosen": "", "failed": ["a", "b"]}, "no PoP could answer (tried a, b)"),
    ],
)
def test_why(route, expected):
    """Each reason of the routing is told in words."""
    text = "\n".join(explain(answer(x_edge_route=json.dumps(route))))

    assert expected in text


@pytest.mark.parametrize("default", [True, False])
def test_a_place_that_is_only_the_default(default):
    """A guess is told as one."""
    client = {"address": "8.8.8.8", "city": "London", "country": "GB", "default": default}
    text = "\n".join(explain(answer(x_edge_route=json.dumps({"client": client}))))

    assert "London, GB (8.8.8.8)" in text
    assert ("only the default" in text) == default


@pytest.mark.parametrize(
    "fields",
    [
        {"x_edge_route": "{", "server_timing": ";;;", "x_edge_start": ";"},
        {"x_edge_route": "[]", "server_timing": "net;dur=abc"},
        {"x_edge_route": '{"client": 1, "ranked": [1, [], ["a", null, "up"]], "failed": null}'},
        {"x_edge_route": "[" * 100_000, "x_edge_pop": "\x1b[2J"},
        {},
    ],
)
def test_garbled_fields_are_left_out(fields):
    """Whatever a server sends, there is an explanation without escape sequences."""
    text = "\n".join(explain(answer(**fields)))

    assert "200 OK" in text
    assert "\x1b[2J" not in text
