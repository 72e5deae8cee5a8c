"""wasi:http/outgoing-handler: what a guest may ask for, what it gets, and when an exchange ends."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from edgesim.model.worker import Limits
from edgesim.wasm.guest import Grants
from edgesim.wasm.host.fields import Fields
from edgesim.wasm.outbound import OutboundError, OutboundResponse
from edgesim.wasm.values import Err, Var
from tests.support.host import HostGuest, a_request

TYPES = "wasi:http/types#"
REQUEST = TYPES + "[method]outgoing-request."
OPTIONS = TYPES + "[method]request-options."
FUTURE = TYPES + "[method]future-incoming-response."
RESPONSE = TYPES + "[method]incoming-response."
SEND = "wasi:http/outgoing-handler#handle"
IN = "wasi:io/streams#[method]input-stream."
OUT = "wasi:io/streams#[method]output-stream."


class Answer:
    """An answer's body."""

    def __init__(self, *chunks):
        self.chunks = list(chunks)
        self.closed = False

    async def next(self):
        """The next piece."""
        return self.chunks.pop(0) if self.chunks else None

    def trailers(self):
        """None."""
        return ()

    def close(self):
        """Remember it."""
        self.closed = True


class Upstream:
    """An `Outbound` that is told what to do: answer, fail, or wait until it is cancelled."""

    def __init__(self, error: Exception | None = None, *, silent: bool = False):
        self.error = error
        self.silent = silent
        self.asked = []
        self.hops = None
        self.cancelled = False
        self.body = Answer(b"hello", b" world")

    async def open(self, request, hops):
        """Do it."""
        self.asked.append(request)
        self.hops = hops
        if self.silent:
            try:
                await asyncio.get_running_loop().create_future()
            finally:
                self.cancelled = True
        if self.error is not None:
            raise self.error
        fields = (("x-a", "1"), ("connection", "close"))
        return OutboundResponse(status=203, headers=fields, body=self.body, trailers=lambda: (("x-sum", "9"),))


def guest_of(upstream: Upstream | None, **limits) -> HostGuest:
    """A guest that may send."""
    request = a_request(headers=(("cdn-loop", "x"),))
    return HostGuest(request, replace(Limits(), **limits), Grants(outbound=upstream))


def describe(guest: HostGuest, *fields: tuple[str, bytes], **properties):
    """A request with these properties."""
    request = guest.call(TYPES + "[constructor]outgoing-request", Fields(fields))
    for name, value in {"authority": "api.example", **properties}.items():
        guest.call(f"{REQUEST}set-{name.replace('_', '-')}", request, value)
    return request


async def settled(guest: HostGuest, future) -> None:
    """Wait for the answer as a guest does."""
    pollable = guest.call(FUTURE + "subscribe", future)
    await guest.wait("wasi:io/poll#[method]pollable.block", pollable)

    assert pollable.ready()


async def test_a_request_and_its_answer():
    """The future is not ready, then ready, once; status, fields without those of the connection, body in pieces."""
    upstream = Upstream()
    guest = guest_of(upstream)
    options = guest.call(TYPES + "[constructor]request-options")
    guest.call(OPTIONS + "set-connect-timeout", options, 1_500_000_000)
    request = describe(
        guest, ("x-b", b"2"), method=Var("other", "PURGE"), path_with_query="?q=1", scheme=Var("HTTP"), authority="a:81"
    )
    future = await guest.wait(SEND, request, options)

    assert guest.call(FUTURE + "get", future) is None
    await settled(guest, future)
    response = guest.call(FUTURE + "get", future).value.value
    (sent,) = upstream.asked
    assert (sent.method, sent.scheme, sent.authority, sent.target) == ("PURGE", "http", "a:81", "/?q=1")
    assert (sent.headers, sent.body) == ((("x-b", "2"),), None)
    assert (sent.connect_timeout_s, sent.first_byte_timeout_s, sent.between_bytes_timeout_s) == (1.5, None, None)
    assert upstream.hops == (("cdn-loop", "x"),)
    assert isinstance(guest.call(FUTURE + "get", future), Err)

    assert guest.call(RESPONSE + "status", response) == 203
    fields = guest.call(RESPONSE + "headers", response)
    assert guest.call(TYPES + "[method]fields.entries", fields) == [("x-a", b"1")]
    assert guest.err(TYPES + "[method]fields.append", fields, "x", b"") == Var("immutable")
    body = guest.call(RESPONSE + "consume", response)
    assert guest.err(RESPONSE + "consume", response) is None
    stream = guest.call(TYPES + "[method]incoming-body.stream", body)
    assert await guest.wait(IN + "blocking-read", stream, 100) == b"hello"
    assert await guest.wait(IN + "blocking-read", stream, 100) == b" world"
    with pytest.raises(Err):
        await guest.wait(IN + "blocking-read", stream, 100)
    stream.drop()
    trailers = guest.call(TYPES + "[static]incoming-body.finish", body)
    fields = guest.call(TYPES + "[method]future-trailers.get", trailers).value.value
    assert guest.call(TYPES + "[method]fields.entries", fields) == [("x-sum", b"9")]


async def test_defaults_of_a_request():
    """GET / over HTTPS; without an authority it is the app itself, over HTTP."""
    upstream = Upstream()
    guest = guest_of(upstream)
    for authority in ("api.example", None, ""):
        await settled(guest, await guest.wait(SEND, describe(guest, authority=authority), None))

    assert [(r.method, r.scheme, r.authority, r.target) for r in upstream.asked] == [
        ("GET", "https", "api.example", "/"), ("GET", "http", None, "/"), ("GET", "http", None, "/"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("method", Var("other", "")), ("method", Var("other", "GE T")), ("method", Var("other", "G\n")),
        ("path-with-query", "no-slash"), ("path-with-query", "/a b"), ("path-with-query", "/a#b"),
        ("path-with-query", "/\r\n"), ("path-with-query", "/ü"), ("path-with-query", "*x"),
        ("scheme", Var("other", "1x")), ("scheme", Var("other", "")), ("scheme", Var("other", "a/b")),
        ("authority", "user@host"), ("authority", "host/path"), ("authority", "host:99999"), ("authority", "a b"),
        ("authority", "[::1"), ("authority", "::1"), ("authority", "host:x"), ("authority", "bücher.example"),
    ],
)  # fmt: skip
def test_malformed_properties_are_refused(name, value):
    """And the old value stays."""
    guest = guest_of(Upstream())
    request = describe(guest)
    before = guest.call(REQUEST + name, request)

    assert guest.err(f"{REQUEST}set-{name}", request, value) is None
    assert guest.call(REQUEST + name, request) == before


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("method", Var("other", "M-SEARCH")), ("method", Var("delete")), ("path-with-query", None),
        ("path-with-query", ""), ("path-with-query", "*"), ("path-with-query", "/a%20b?c=%ff&d[]"),
        ("scheme", Var("other", "ws")), ("scheme", None), ("authority", "[::1]:80"), ("authority", "a_b.example:"),
        ("authority", None),
    ],
)  # fmt: skip
def test_properties_are_kept_as_they_are(name, value):
    """A getter gives what was set."""
    guest = guest_of(Upstream())
    request = describe(guest, **{name.replace("-", "_"): value})

    assert guest.call(REQUEST + name, request) == value


@pytest.mark.parametrize("name", ["connect-timeout", "first-byte-timeout", "between-bytes-timeout"])
def test_options(name):
    """Nanoseconds; none at first."""
    guest = guest_of(Upstream())
    options = guest.call(TYPES + "[constructor]request-options")

    assert guest.call(OPTIONS + name, options) is None
    guest.call(f"{OPTIONS}set-{name}", options, 5)
    assert guest.call(OPTIONS + name, options) == 5


def test_the_fields_of_a_request_are_immutable():
    """From the moment it takes them; they are shown as they are."""
    guest = guest_of(Upstream())
    fields = Fields([("a", b"1")])
    request = guest.call(TYPES + "[constructor]outgoing-request", fields)

    assert guest.err(TYPES + "[method]fields.set", fields, "a", [b"2"]) == Var("immutable")
    assert guest.call(REQUEST + "headers", request) is fields


@pytest.mark.parametrize(
    ("fields", "properties", "code"),
    [
        ((), {"scheme": Var("other", "ftp")}, "HTTP-protocol-error"),
        ((), {"method": Var("connect")}, "HTTP-request-method-invalid"),
        ((), {"path_with_query": "/" + "a" * 9000}, "HTTP-request-URI-too-long"),
        ((("content-length", b"x"),), {}, "HTTP-protocol-error"),
        ((("content-length", b"5"),), {}, "HTTP-request-body-size"),
    ],
)
def test_requests_that_cannot_be_sent(fields, properties, code):
    """Refused before the network sees them; they do not count."""
    guest = guest_of(Upstream())

    assert guest.err(SEND, describe(guest, *fields, **properties), None).tag == code
    assert guest.sent_requests == 0


def test_without_a_grant_nothing_is_sent():
    """And the log says why."""
    guest = guest_of(None)

    assert guest.err(SEND, describe(guest), None) == Var("HTTP-request-denied")
    assert "allowed_outbound_hosts" in guest.log.text


async def test_requests_are_counted():
    """The limit is per run of a guest."""
    guest = guest_of(Upstream(), subrequests=2)
    for _ in range(2):
        await guest.wait(SEND, describe(guest), None)

    assert guest.err(SEND, describe(guest), None) == Var("connection-limit-reached")
    assert guest.sent_requests == 2


async def test_a_request_that_fails():
    """The future holds the code and its payload."""
    payload = {"rcode": "NXDOMAIN", "info-code": None}
    guest = guest_of(Upstream(OutboundError("DNS-error", payload)))
    future = await guest.wait(SEND, describe(guest), None)
    await settled(guest, future)
    inner = guest.call(FUTURE + "get", future).value

    assert isinstance(inner, Err)
    assert inner.value == Var("DNS-error", payload)


async def test_a_fault_of_our_own_is_no_error_code():
    """It ends the guest, and is seen."""
    guest = guest_of(Upstream(ZeroDivisionError("a bug")))
    future = await guest.wait(SEND, describe(guest), None)
    await settled(guest, future)

    with pytest.raises(ZeroDivisionError):
        guest.call(FUTURE + "get", future)


async def test_a_body_that_is_complete_goes_as_a_whole():
    """Finished before it is sent: its length is known."""
    upstream = Upstream()
    guest = guest_of(upstream)
    request = describe(guest, ("content-length", b"5"), method=Var("post"))
    body = guest.call(REQUEST + "body", request)
    assert guest.err(REQUEST + "body", request) is None
    stream = guest.call(TYPES + "[method]outgoing-body.write", body)
    guest.call(OUT + "blocking-write-and-flush", stream, b"hello")
    stream.drop()
    guest.call(TYPES + "[static]outgoing-body.finish", body, None)
    await settled(guest, await guest.wait(SEND, request, None))

    assert upstream.asked[0].body == b"hello"


async def test_a_body_streams_after_it_is_sent():
    """What was written before comes first; a reader is woken; the end is the guest's."""
    upstream = Upstream(silent=True)
    guest = guest_of(upstream)
    request = describe(guest, method=Var("post"))
    body = guest.call(REQUEST + "body", request)
    stream = guest.call(TYPES + "[method]outgoing-body.write", body)
    guest.call(OUT + "blocking-write-and-flush", stream, b"one")
    await guest.wait(SEND, request, None)
    await asyncio.sleep(0)
    pipe = upstream.asked[0].body
    assert await pipe.next() == b"one"

    reading = asyncio.ensure_future(pipe.next())
    await asyncio.sleep(0)
    guest.call(OUT + "blocking-write-and-flush", stream, b"two")
    assert await reading == b"two"
    stream.drop()
    guest.call(TYPES + "[static]outgoing-body.finish", body, None)
    assert await pipe.next() is None
    guest.end()


async def test_a_body_that_is_dropped_breaks_the_request_off():
    """Before it is sent, and while it is."""
    upstream = Upstream(silent=True)
    guest = guest_of(upstream)
    early, late = (describe(guest, method=Var("post")) for _ in range(2))
    guest.call(REQUEST + "body", early).drop()
    assert guest.err(SEND, early, None) == Var("HTTP-protocol-error")

    body = guest.call(REQUEST + "body", late)
    await guest.wait(SEND, late, None)
    await asyncio.sleep(0)
    body.drop()
    with pytest.raises(OutboundError, match="HTTP-protocol-error"):
        await upstream.asked[0].body.next()
    guest.end()


async def test_a_failed_request_takes_no_more_body():
    """Its stream is closed, so that a guest that writes does not wait for ever."""
    guest = guest_of(Upstream(OutboundError("connection-refused")))
    request = describe(guest, method=Var("post"))
    body = guest.call(REQUEST + "body", request)
    stream = guest.call(TYPES + "[method]outgoing-body.write", body)
    await settled(guest, await guest.wait(SEND, request, None))

    assert guest.err(OUT + "check-write", stream) == Var("closed")


async def test_dropping_the_future_ends_the_request():
    """The guest does not want to know."""
    upstream = Upstream(silent=True)
    guest = guest_of(upstream)
    future = await guest.wait(SEND, describe(guest), None)
    await asyncio.sleep(0)
    future.drop()
    for _ in range(3):
        await asyncio.sleep(0)

    assert upstream.cancelled


@pytest.mark.parametrize("what", ["future", "response", "body", "nothing"])
async def test_what_is_not_read_is_closed(what):
    """Dropping the answer or its body, or the end of the guest."""
    upstream = Upstream()
    guest = guest_of(upstream)
    future = await guest.wait(SEND, describe(guest), None)
    await settled(guest, future)
    if what == "future":
        future.drop()
    elif what == "nothing":
        guest.end()
    else:
        response = guest.call(FUTURE + "get", future).value.value
        future.drop()
        if what == "response":
            response.drop()
        else:
            body = guest.call(RESPONSE + "consume", response)
            response.drop()
            await asyncio.sleep(0)
            assert not upstream.body.closed
            body.drop()
    await asyncio.sleep(0)

    assert upstream.body.closed


async def test_an_answer_over_the_limit():
    """Its stream fails with the code."""
    upstream = Upstream()
    guest = guest_of(upstream, response_bytes=3)
    future = await guest.wait(SEND, describe(guest), None)
    await settled(guest, future)
    body = guest.call(RESPONSE + "consume", guest.call(FUTURE + "get", future).value.value)
    stream = guest.call(TYPES + "[method]incoming-body.stream", body)
    await stream.source.fill()
    failure = guest.err(IN + "read", stream, 100)

    assert failure.value.http_code == Var("HTTP-response-body-size", 3)
