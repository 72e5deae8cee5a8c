"""The hop's header fields: what goes in comes out, and nothing else gets in."""

from __future__ import annotations

import json
from dataclasses import astuple, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgesim.core.request import Response, Timings
from edgesim.errors import AuthError, PopUnreachableError, RequestError
from edgesim.live import hop
from edgesim.model.geo import LatLon, Place
from edgesim.model.ids import OUTCOMES, PHASES
from tests.support.request_path import FRA, request

FLOATS = st.floats(0.0, 1e6)
PLACES = st.builds(
    Place, address=st.ip_addresses().map(str), at=st.builds(LatLon, st.floats(-90, 90), st.floats(-180, 180)),
    city=st.text(max_size=30), country=st.sampled_from(["", "DE"]), metro=st.integers(0, 1023), access=st.sampled_from(["", "lte"]),
)  # fmt: skip
VALUES = st.recursive(st.none() | st.booleans() | st.floats() | st.text(max_size=3), lambda v: st.lists(v, max_size=13))


def read(headers, now_s=100.0):
    """The request in these fields."""
    return hop.read_request(headers, method="GET", target="/w", fields=(), body=None, now_s=now_s)


@given(place=PLACES, left_s=st.integers(-10, 1000), network_s=FLOATS)
def test_a_request_round_trip(place, left_s, network_s):
    """The place and the network time exactly, the deadline as time left, on the other clock; always ASCII."""
    sent = request(place=place, deadline_s=5.0 + left_s, network_s=network_s)
    headers = hop.request_headers(sent, FRA, "t", 5.0)
    pop, got = read(headers)

    assert (pop, got.id, got.app, got.place, got.network_s) == (FRA, sent.id, sent.app, place, network_s)
    assert got.deadline_s == 100.0 + left_s
    assert all(value.isascii() and value.isprintable() for value in headers.values())


@given(
    st.builds(
        Response,
        status=st.integers(100, 599),
        outcome=st.sampled_from(OUTCOMES),
        pop=st.just(FRA),
        start=st.sampled_from(["", "absent", "fresh"]),
        role=st.sampled_from(["", "trigger"]),
        version=st.integers(0, 99),
        timings=st.builds(
            Timings, *[FLOATS] * 8, st.lists(st.tuples(st.sampled_from(PHASES), FLOATS), max_size=4).map(tuple)
        ),
        error=st.sampled_from(["", "x_y"]),
        detail=st.text(max_size=50),
    )
)
def test_a_response_round_trip(sent):
    """How an answer came about survives the hop; times in whole nanoseconds."""
    meta = hop.response_meta(sent)
    got = hop.read_response(sent.status, meta, (), b"")

    assert replace(got, timings=sent.timings) == sent
    assert astuple(got.timings)[:8] == pytest.approx(astuple(sent.timings)[:8], abs=2e-9)
    assert got.timings.phases == sent.timings.phases
    assert meta.isascii()
    assert meta.isprintable()


GOOD = hop.request_headers(request(), FRA, "t", 0.0)


@given(VALUES)
def test_malformed_fields_of_requests(value):
    """Whatever JSON it is, it is a request or a RequestError."""
    try:
        pop, request = read(GOOD | {hop.ABOUT: json.dumps(value)})
    except RequestError:
        return

    assert len(value) == 9  # by chance everything that is looked at has its type
    assert isinstance(pop, str)
    assert isinstance(request.app, str)


@pytest.mark.parametrize("meta", ["", "1", "1 2", "x 0 r1", "1 x r1", "nan 0 r1", "inf 0 r1", "[]"])
def test_malformed_words(meta):
    """Too few, no numbers, or a deadline that never comes."""
    with pytest.raises(RequestError):
        read(GOOD | {hop.META: meta})


@pytest.mark.parametrize("about", ["", "{", "[" * 8000, '["fra1","hello","",0,0,"",0,0]'])
def test_what_is_not_even_json(about):
    """Torn, nested without end, or not all there."""
    with pytest.raises(RequestError):
        read(GOOD | {hop.ABOUT: about})
    for name in (hop.META, hop.ABOUT):
        with pytest.raises(RequestError):
            read({key: value for key, value in GOOD.items() if key != name})


@given(VALUES)
def test_an_answer_that_is_no_pops(value):
    """Something else answers at the PoP's port: it counts as unreachable."""
    good = hop.response_meta(Response(200, "ok", FRA))
    for meta in (
        json.dumps(value),
        None,
        "x",
        "[" * 8000,
        good[:-2],
        f"{good} 1",
        f"{good} [",
        good.replace("ok", "?"),
    ):
        with pytest.raises(PopUnreachableError):
            hop.read_response(200, meta, (), b"")


@pytest.mark.parametrize("token", [None, "", "t0ke", "t0kenx", "t0kén", "t\udcff"])
def test_the_token(token):
    """Missing, shorter, longer, or not ASCII: refused alike."""
    hop.check_token({hop.TOKEN: "t0ken"}, "t0ken")
    with pytest.raises(AuthError):
        hop.check_token({} if token is None else {hop.TOKEN: token}, "t0ken")
