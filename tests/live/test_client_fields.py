"""The header fields that tell workers where a client is."""

from __future__ import annotations

from urllib.parse import unquote

from hypothesis import given
from hypothesis import strategies as st

from edgesim.live import hop
from edgesim.live.client_fields import PREFIX, client_fields
from edgesim.model.geo import LatLon, Place
from tests.support.request_path import FRA, request


def test_every_field():
    """Names, order, four digits of a degree (11 m), and a name that is not ASCII."""
    place = Place(address="10.0.0.1", at=LatLon(-23.55, -46.63331), city="São Paulo", country="BR")

    assert client_fields(place) == (
        ("x-edge-client-address", "10.0.0.1"),
        ("x-edge-client-city", "S%C3%A3o Paulo"),
        ("x-edge-client-country", "BR"),
        ("x-edge-client-latitude", "-23.5500"),
        ("x-edge-client-longitude", "-46.6333"),
    )


def test_what_is_unknown_is_left_out():
    """A database may know where an address is and not what the place is called."""
    fields = dict(client_fields(Place(address="10.0.0.1", at=LatLon(0, 0))))

    assert set(fields) == {f"{PREFIX}{name}" for name in ("address", "latitude", "longitude")}


@given(st.text(min_size=1, max_size=30))
def test_any_name_of_a_city_is_a_header_value(city):
    """Line breaks and the percent sign too; decoding gives the name back."""
    value = dict(client_fields(Place(address="::1", at=LatLon(0, 0), city=city)))[PREFIX + "city"]

    assert value.isascii()
    assert value.isprintable()
    assert unquote(value) == city


def test_a_pop_adds_them_to_the_request():
    """Behind what the client sent."""
    place = Place(address="10.0.0.1", at=LatLon(52.5, 13.4), city="Berlin", country="DE")
    headers = hop.request_headers(request(place=place), FRA, "t", 0.0)
    _, got = hop.read_request(headers, method="GET", target="/", fields=(("accept", "*/*"),), body=None, now_s=0.0)

    assert got.headers == (("accept", "*/*"), *client_fields(place))
