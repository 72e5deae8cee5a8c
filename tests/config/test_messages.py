"""Messages between processes: round trips, limits, and malformed ones, which raise and name the field."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from edgesim.config.messages import (
    ControlPresence,
    DeployRequest,
    Health,
    PopBeat,
    Presence,
    Reported,
    RollbackRequest,
    decode_control,
    decode_deploy,
    decode_desired,
    decode_health,
    decode_presence,
    decode_reported,
    decode_rollback,
    encode,
    encode_desired,
    health_of,
    reported_of,
)
from edgesim.config.releases import DeployComponent, RouteModel
from edgesim.core.desired import DesiredDocument
from edgesim.errors import InputError, TrustError
from edgesim.model.events import HealthReported, PopHealth, PopReported
from edgesim.model.worker import Component, Limits, Release, Route

RELEASE = Release(
    app="hello",
    version=3,
    digest="d" * 64,
    components=(
        Component(
            id="c",
            digest="a" * 64,
            size_bytes=12,
            abi="wasi-http",
            limits=Limits(cpu_ms=10.5),
            environment=(("KEY", "välue"),),
        ),
    ),
    routes=(Route(pattern="/...", component="c"), Route(pattern="/x", component="c")),
    prefetch=False,
)
DOCUMENT = DesiredDocument(pop="gru1", epoch=1, gen=2, issued_s=1.5, apps=(RELEASE,))
REPORT = PopReported(pop="gru1", epoch=1, gen=2, state="failed", apps={"hello": 2}, why="no", distribute_s=0.25)
HEALTH = HealthReported(
    host="host1", boot="b-1", pops=(PopHealth(pop="gru1", state="ready", busy=1, queued=2, loaded_bytes=3),)
)
DEPLOY = DeployRequest(
    components=(DeployComponent(id="c", digest="a" * 64),), routes=(RouteModel(pattern="/...", component="c"),)
)
ALL = [
    (reported_of(REPORT, host="host1", boot="b", seq=1, sent_s=1.0), decode_reported),
    (health_of(HEALTH, seq=1, sent_s=1.0), decode_health),
    (Presence(process="host1", kind="pop-host", up=True, boot="b", data_url="http://127.0.0.1:1"), decode_presence),
    (ControlPresence(up=True, boot="b", epoch=1, gen=2), decode_control),
    (DEPLOY, decode_deploy),
    (RollbackRequest(version=1), decode_rollback),
]


def test_desired_round_trip():
    """A document comes back as it was, with limits, environment and routes."""
    assert decode_desired(encode_desired(DOCUMENT)) == DOCUMENT


@pytest.mark.parametrize(("message", "decode"), ALL)
def test_round_trip(message, decode):
    """Each message comes back as it was."""
    assert decode(encode(message)) == message


def test_events_come_back():
    """Reports and beats turn into the events that they were made of."""
    assert reported_of(REPORT, host="host1", boot="b", seq=1, sent_s=1.0).event() == REPORT
    assert health_of(HEALTH, seq=1, sent_s=1.0).event() == HEALTH


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"v": 2}, "v"),
        ({"pop": "../etc"}, "pop"),
        ({"gen": -1}, "gen"),
        ({"gen": "1"}, "gen"),
        ({"gen": 1 << 60}, "gen"),
        ({"issued_s": "NaN"}, "issued_s"),
        ({"more": 1}, "more"),
        ({"apps": [{}]}, "apps.0.app"),
        ({"apps": None}, "apps"),
    ],
)
def test_malformed_desired_documents(change, field):
    """A signed document that is malformed is a matter of trust; the error names the field."""
    text = json.dumps({**json.loads(encode_desired(DOCUMENT)), **change})

    with pytest.raises(TrustError, match=field):
        decode_desired(text)


def test_a_route_without_component_is_refused():
    """So that no request finds it."""
    text = encode_desired(DOCUMENT).replace('"component":"c"', '"component":"other"')

    with pytest.raises(TrustError, match="'other'"):
        decode_desired(text)


@given(raw=st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
@pytest.mark.parametrize("decode", [decode for _, decode in ALL])
def test_garbage_never_crashes(decode, raw):
    """Whatever arrives is refused as the sender's mistake."""
    with pytest.raises(InputError):
        decode(raw)


@pytest.mark.parametrize("text", ["", "null", "[" * 100_000, '{"v":1', "\ud800"])
def test_garbage_documents_never_crash(text):
    """The same for documents."""
    with pytest.raises(TrustError):
        decode_desired(text)


@pytest.mark.parametrize(("message", "decode"), ALL)
def test_too_large(message, decode):
    """Beyond its limit a message is refused before it is parsed."""
    with pytest.raises(InputError, match="the limit is"):
        decode(b" " * 300_000 + encode(message))


def test_limits_when_sending():
    """What would be too large is not sent: a document beyond 64 KiB, a health batch beyond 256 KiB."""
    many = tuple(Route(pattern=f"/{i}/{'x' * 300}", component="c") for i in range(250))
    wide = Release(app="a", version=1, digest="d" * 64, components=RELEASE.components, routes=many)
    beats = tuple(PopBeat(pop=f"{'p' * 25}{i:05d}", state="ready") for i in range(4000))

    with pytest.raises(InputError, match="65536"):
        encode_desired(DesiredDocument(pop="gru1", epoch=1, gen=1, issued_s=0.0, apps=(wide,)))
    with pytest.raises(InputError, match="262144"):
        encode(Health(host="host1", boot="b", seq=1, sent_s=0.0, pops=beats))


def test_too_many_apps_are_refused_as_input():
    """257 apps on one PoP break the document's own limit, not the program."""
    apps = tuple(
        Release(app=f"a{i}", version=1, digest="d" * 64, components=RELEASE.components, routes=RELEASE.routes[:1])
        for i in range(257)
    )

    with pytest.raises(InputError, match="apps"):
        encode_desired(DesiredDocument(pop="gru1", epoch=1, gen=1, issued_s=0.0, apps=apps))


@pytest.mark.parametrize("name", ["", "-a", "a-", "A", "a.b", "a/b", "a+", "#", "ä", "a" * 41, "a\n"])
def test_names(name):
    """Names become topics, paths and host names: nothing but DNS labels."""
    with pytest.raises(ValidationError):
        Presence(process=name, kind="pop-host", up=True, boot="b")
    with pytest.raises(InputError):
        encode_desired(
            DesiredDocument(
                pop="gru1",
                epoch=1,
                gen=1,
                issued_s=0.0,
                apps=(
                    Release(app=name, version=1, digest="d" * 64, components=RELEASE.components, routes=RELEASE.routes),
                ),
            )
        )


def test_a_long_reason_is_cut():
    """A PoP's reason is at most 500 characters on the wire."""
    event = PopReported(pop="gru1", epoch=1, gen=2, state="failed", apps={}, why="x" * 5000)
    message: Reported = reported_of(event, host="host1", boot="b", seq=1, sent_s=1.0)

    assert len(message.why) == 500
