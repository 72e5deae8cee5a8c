"""wasi:http bodies and responses: children, content-length, heads without bodies, trailers, informational answers."""

from __future__ import annotations

import pytest

from edgesim.errors import GuestOutputError, GuestTrapError
from edgesim.model.http import BytesBody
from edgesim.wasm.guest import RequestPipe
from edgesim.wasm.host.bodies import OutgoingBody
from edgesim.wasm.host.fields import Fields
from edgesim.wasm.host.http import INFORMATIONAL_MAX, IncomingRequest, ResponseOutparam
from edgesim.wasm.values import Err, Ok, Var
from tests.support.host import HostGuest, a_request

TYPES = "wasi:http/types#"
BODY = TYPES + "[method]outgoing-body."
FINISH = TYPES + "[static]outgoing-body.finish"
OUT = "wasi:io/streams#[method]output-stream."
IN = "wasi:io/streams#[method]input-stream."


def respond(guest: HostGuest, *fields: tuple[str, bytes], status: int = 200):
    """A response with its body, not sent."""
    response = guest.call(TYPES + "[constructor]outgoing-response", Fields(fields))
    guest.call(TYPES + "[method]outgoing-response.set-status-code", response, status)
    return response, guest.call(TYPES + "[method]outgoing-response.body", response)


def send(guest: HostGuest, response) -> ResponseOutparam:
    """Set it."""
    outparam = ResponseOutparam()
    guest.call(TYPES + "[static]response-outparam.set", outparam, response)
    return outparam


async def test_a_request_body_is_consumed_once():
    """And its stream is taken once; its trailers come once, and are none."""
    guest = HostGuest(a_request("POST", body=BytesBody(b"hello")))
    incoming = IncomingRequest(guest.request)
    body = guest.call(TYPES + "[method]incoming-request.consume", incoming)
    assert guest.err(TYPES + "[method]incoming-request.consume", incoming) is None

    stream = guest.call(TYPES + "[method]incoming-body.stream", body)
    assert guest.err(TYPES + "[method]incoming-body.stream", body) is None
    assert await guest.wait(IN + "blocking-read", stream, 100) == b"hello"

    stream.drop()
    trailers = guest.call(TYPES + "[static]incoming-body.finish", body)
    assert guest.call(TYPES + "[method]future-trailers.subscribe", trailers).ready()
    assert guest.call(TYPES + "[method]future-trailers.get", trailers) == Ok(Ok(None))
    assert isinstance(guest.call(TYPES + "[method]future-trailers.get", trailers), Err)


@pytest.mark.parametrize("act", ["finish", "drop"])
async def test_a_body_outlives_its_stream(act):
    """Else the guest is ended: resource has children. In both directions."""
    guest = HostGuest(a_request("POST", body=BytesBody(b"hello")))
    incoming = guest.call(TYPES + "[method]incoming-request.consume", IncomingRequest(guest.request))
    guest.call(TYPES + "[method]incoming-body.stream", incoming)
    outgoing = OutgoingBody("response", None)
    guest.call(BODY + "write", outgoing)

    for body, finish in ((incoming, TYPES + "[static]incoming-body.finish"), (outgoing, FINISH)):
        with pytest.raises(GuestTrapError, match="resource has children"):
            body.drop() if act == "drop" else guest.call(finish, body, *([None] if body is outgoing else []))


async def test_a_body_may_be_finished_unread():
    """Before its stream was taken."""
    guest = HostGuest(a_request("POST", body=BytesBody(b"hello")))
    body = guest.call(TYPES + "[method]incoming-request.consume", IncomingRequest(guest.request))
    trailers = guest.call(TYPES + "[static]incoming-body.finish", body)

    assert guest.call(TYPES + "[method]future-trailers.get", trailers) == Ok(Ok(None))


async def test_a_response_streams_once_its_head_is_out():
    """What was written before follows the head."""
    guest = HostGuest()
    response, body = respond(guest, ("content-length", b"6"))
    stream = guest.call(BODY + "write", body)
    guest.call(OUT + "blocking-write-and-flush", stream, b"abc")
    send(guest, response)
    guest.call(OUT + "blocking-write-and-flush", stream, b"def")
    stream.drop()
    guest.call(FINISH, body, Fields([("x-checksum", b"1")]))

    assert guest.output.take_all() == b"abcdef"
    assert body.finished


async def test_content_length_is_kept():
    """Too much fails the stream with the HTTP code; too little fails the end."""
    guest = HostGuest()
    response, body = respond(guest, ("content-length", b"3"))
    send(guest, response)
    stream = guest.call(BODY + "write", body)
    guest.call(OUT + "blocking-write-and-flush", stream, b"ab")
    failure = guest.err(OUT + "blocking-write-and-flush", stream, b"cd")
    short = OutgoingBody("request", 5)

    assert failure.value.http_code == Var("HTTP-response-body-size", 4)
    assert guest.err(FINISH, short, None) == Var("HTTP-request-body-size", 0)
    assert not short.finished


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 304)])
async def test_responses_without_a_body(method, status):
    """Whatever the guest writes is dropped and never makes it wait; content-length may stand there (RFC 9110 §8.6)."""
    guest = HostGuest(a_request(method))
    response, body = respond(guest, ("content-length", b"1000000"), status=status)
    stream = guest.call(BODY + "write", body)
    guest.call(OUT + "blocking-write-and-flush", stream, b"early")
    send(guest, response)
    for _ in range(20):
        assert guest.call(OUT + "blocking-write-and-flush", stream, bytes(65536)) is None
    stream.drop()
    guest.call(FINISH, body, None)

    assert guest.output.status == status
    assert guest.output.take_all() == b""


@pytest.mark.parametrize("value", [b"-1", b"1x", b"9" * 40, b""])
def test_a_malformed_content_length(value):
    """It ends the guest: no head can be sent with it."""
    guest = HostGuest()
    response, _ = respond(guest, ("content-length", value))

    with pytest.raises(GuestOutputError, match="malformed"):
        send(guest, response)


@pytest.mark.parametrize("status", [0, 100, 101, 199, 600, 65535])
def test_a_response_has_a_final_status(status):
    """Informational ones and nonsense are refused, and change nothing."""
    guest = HostGuest()
    response = guest.call(TYPES + "[constructor]outgoing-response", Fields())

    assert guest.err(TYPES + "[method]outgoing-response.set-status-code", response, status) is None
    assert guest.call(TYPES + "[method]outgoing-response.status-code", response) == 200


async def test_informational_responses():
    """They go out before the answer, without a length; 100 and clients that can take none are no error, nonsense is one."""
    heard = []
    name = TYPES + "[method]response-outparam.send-informational"
    fields, outparam = Fields([("Link", b"</a.css>"), ("content-length", b"9")]), ResponseOutparam()
    guest, deaf = HostGuest(a_request(inform=lambda *each: heard.append(each))), HostGuest()
    for status in (103, 100, 199):
        await guest.wait(name, outparam, status, fields)
        await deaf.wait(name, outparam, status, fields)

    assert heard == [(status, (("link", "</a.css>"),)) for status in (103, 199)]
    for status in (99, 101, 200):
        assert guest.err(name, outparam, status, fields) == Var("HTTP-protocol-error")
    for _ in range(INFORMATIONAL_MAX - outparam.informed):
        await guest.wait(name, outparam, 103, fields)
    assert guest.err(name, outparam, 103, fields).tag == "internal-error"


def test_an_error_instead_of_a_response():
    """Its name is what is reported."""
    guest = HostGuest()
    outparam = send(guest, Err(Var("DNS-timeout")))

    assert (outparam.error, guest.output.status) == ("DNS-timeout", 0)


@pytest.mark.parametrize(
    ("method", "expected"), [("GET", Var("get")), ("get", Var("other", "get")), ("PURGE", Var("other", "PURGE"))]
)
def test_methods_keep_their_case(method, expected):
    """They are case-sensitive (RFC 9110 §9.1)."""
    guest = HostGuest(a_request(method))

    assert guest.call(TYPES + "[method]incoming-request.method", IncomingRequest(guest.request)) == expected


async def test_a_dropped_body_of_a_request_breaks_it_off():
    """The other side never takes it for complete."""
    body, pipe = OutgoingBody("request", None), RequestPipe(100)
    body.connect(pipe)
    body.drop()

    assert body.dropped
    with pytest.raises(Exception, match="HTTP-protocol-error"):
        await pipe.next()
