"""Requests that guests of WASI 0.3 send: bodies pass through the host in both directions, and failures are values."""

from dataclasses import dataclass, field

import pytest

from edgesim.errors import GuestOutputError
from edgesim.model.http import BytesBody
from edgesim.wasm.guest import Grants
from edgesim.wasm.outbound import OutboundError, OutboundResponse
from tests.support.p3 import EXIT, P3Guests
from tests.support.wasm import read_all, request

PROXY = f"""
  (call $consume (local.get $request) (call $low (call $done-new)) (i32.const 64))
  (call $request-new (call $fields-new) (i32.const 1) (i32.load (i32.const 64)) (i32.load (i32.const 68))
    (i32.const 0) (i32.const 0) (i32.const 72))
  (call $send (i32.load (i32.const 72)) (i32.const 80))
  (call $task-return (i32.load8_u (i32.const 80)) (i32.load (i32.const 84)) (i32.const 0) (i32.const 0) (i32.const 0))
  {EXIT}"""
"""A handler that sends its request on, and answers with the response: `send` is lowered without `async`."""


@dataclass
class Upstream:
    """Answers with the body that it got, piece by piece; or fails before or after the first piece."""

    refuses: bool = False
    breaks: bool = False
    closed: list[bool] = field(default_factory=list)

    async def open(self, sent, _hops):
        """See `edgesim.wasm.guest.Outbound`."""
        if self.refuses:
            raise OutboundError("HTTP-protocol-error")
        return OutboundResponse(status=202, headers=(("content-type", "text/x-test"),), body=Echo(sent.body, self))


class Echo:
    """The body of a request, as it comes."""

    def __init__(self, body, upstream):
        self._body = body
        self._upstream = upstream

    async def next(self):
        """The next piece, or an error instead of the second one."""
        piece = await self._body.next()
        if self._upstream.breaks and piece is None:
            raise OutboundError("internal-error", "gone")
        return piece

    def trailers(self):
        """None."""
        return ()

    def close(self):
        """Remember it."""
        self._upstream.closed.append(True)


@pytest.fixture
def guests():
    """Makes and runs guests."""
    guests = P3Guests()
    yield guests
    guests.close()


async def ask(guests, upstream, size):
    """A request with a body of so many bytes, through the guest."""
    sent = request("/", method="POST", body=BytesBody(b"x" * size))
    return await guests.run(PROXY, request=sent, grants=Grants(outbound=upstream))


@pytest.mark.parametrize("size", [0, 5, 700_000])
async def test_bodies_pass_through(guests, size):
    """Larger than any window, without entering the guest."""
    upstream = Upstream()
    response = await ask(guests, upstream, size)

    assert response.status == 202
    assert await read_all(response) == b"x" * size
    assert upstream.closed


async def test_a_failure_is_a_value(guests):
    """The guest gets the error code, which it answers with here."""
    with pytest.raises(GuestOutputError, match="the error HTTP-protocol-error"):
        await ask(guests, Upstream(refuses=True), 10)


async def test_nobody_to_ask(guests):
    """Without a grant the request is refused, and what it carried is let go."""
    with pytest.raises(GuestOutputError, match="the error HTTP-request-denied"):
        await guests.run(PROXY)


async def test_an_answer_that_breaks_off(guests):
    """After the head: the client's body ends with an error, not with a short answer."""
    response = await ask(guests, Upstream(breaks=True), 10)
    with pytest.raises(GuestOutputError, match="broke its response body off"):
        await read_all(response)
