"""CGI: how a request becomes variables, and how stdout becomes a response."""

import pytest

from edgesim.errors import GuestOutputError
from edgesim.wasm.abi.wagi import MAX_HEAD_BYTES, CgiParser, cgi_environment, parse_head
from edgesim.wasm.guest import GuestRequest, Output


def environment(target: str = "/", route: str = "/...", headers=(), extra=(), authority: str = "shop.localhost:8080"):
    """The variables of one request."""
    request = GuestRequest(
        method="PUT", target=target, headers=headers, body=None, authority=authority, scheme="http",
        client_address="240.9.8.7", deadline_s=0.0, route=route,
    )  # fmt: skip
    return cgi_environment(request, extra)


def test_the_variables_of_a_request():
    """RFC 3875 §4.1, with wagi's additions."""
    env = environment("/static/a%20b?x=1&y", "/static/...", (("content-type", "a/b"), ("content-length", "3")))

    assert env["REQUEST_METHOD"] == "PUT"
    assert env["PATH_INFO"] == "/a b"
    assert env["X_RAW_PATH_INFO"] == "/a%20b"
    assert env["SCRIPT_NAME"] == "/static"
    assert env["QUERY_STRING"] == "x=1&y"
    assert env["X_MATCHED_ROUTE"] == "/static/..."
    assert env["X_FULL_URL"] == "http://shop.localhost:8080/static/a%20b?x=1&y"
    assert (env["CONTENT_TYPE"], env["CONTENT_LENGTH"]) == ("a/b", "3")
    assert (env["SERVER_NAME"], env["SERVER_PORT"]) == ("shop.localhost", "8080")
    assert env["REMOTE_ADDR"] == "240.9.8.7"
    assert env["GATEWAY_INTERFACE"] == "CGI/1.1"


@pytest.mark.parametrize(
    ("authority", "name", "port"),
    [("a.localhost", "a.localhost", "80"), ("[::1]:81", "[::1]", "81"), ("[::1]", "[::1]", "80"), ("", "", "80")],
)
def test_server_name_and_port(authority, name, port):
    """Also without a port, and for IPv6."""
    env = environment(authority=authority)

    assert (env["SERVER_NAME"], env["SERVER_PORT"]) == (name, port)


def test_an_exact_route_has_no_path_info():
    """What the route names is the script."""
    env = environment("/users", "/users")

    assert (env["SCRIPT_NAME"], env["PATH_INFO"]) == ("/users", "")


def test_fields_that_are_not_passed():
    """`Proxy` would become HTTP_PROXY (httpoxy); credentials stay with the server."""
    env = environment(headers=(("proxy", "http://evil"), ("authorization", "x"), ("x-a", "1"), ("x-a", "2")))

    assert "HTTP_PROXY" not in env
    assert "HTTP_AUTHORIZATION" not in env
    assert env["HTTP_X_A"] == "1, 2"


def test_the_request_wins_over_the_manifest():
    """A manifest cannot forge who the client is."""
    env = environment(extra=(("REMOTE_ADDR", "1.1.1.1"), ("COLOUR", "green")))

    assert env["REMOTE_ADDR"] == "240.9.8.7"
    assert env["COLOUR"] == "green"


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("step", [1, 3, 1000])
def test_a_head_in_pieces(newline, step):
    """Head and body are parted wherever the guest's writes end."""
    data = newline.join(["Status: 201 Made", "X-A:  b ", "Connection: close", "", "the body\n\n"]).encode()
    output = Output(1000)
    parser = CgiParser(output)
    for at in range(0, len(data), step):
        parser.feed(data[at : at + step])

    assert (output.status, output.headers) == (201, (("x-a", "b"),))
    assert output.take_all() == b"the body\n\n"


def test_status_by_default():
    """200, or 302 with a Location (RFC 3875 §6.2)."""
    assert parse_head(b"Content-Type: a/b")[0] == 200
    assert parse_head(b"Location: /x")[0] == 302
    assert parse_head(b"Location: /x\nStatus: 301")[0] == 301


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"X: y",
        b"no colon\nContent-Type: a/b",
        b"Content-Type : a/b",
        b"Content-Type: a\x00b",
        b"Content-Type: a\rb",
        b": x",
        b"Status: 99",
        b"Status: 101 Switching",
        b"Status: 600",
        b"Status: ok",
        "X-\u00e4: 1\nStatus: 200".encode(),
        b"Status: 200\n" + b"A: b\n" * 100,
    ],
)
def test_a_bad_head_is_refused(head):
    """No response splitting, no nonsense."""
    with pytest.raises(GuestOutputError):
        parse_head(head)


@pytest.mark.parametrize("data", [b"\n\nbody", b"\r\nbody"])
def test_a_body_without_a_head_is_refused(data):
    """An empty head has no Content-Type."""
    with pytest.raises(GuestOutputError, match="neither"):
        CgiParser(Output(100)).feed(data)


def test_a_head_that_is_too_long_is_refused():
    """Whether it ends or not."""
    line = b"A: " + b"b" * 1000 + b"\n"
    for data in (line * 20, line * 20 + b"\n"):
        with pytest.raises(GuestOutputError, match=str(MAX_HEAD_BYTES)):
            CgiParser(Output(100)).feed(data)
