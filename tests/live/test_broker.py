"""Choosing a broker, its logins and access rules. The running brokers are in tests/e2e/test_brokers.py."""

from __future__ import annotations

import asyncio
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgesim.errors import BrokerError, StorageError, UsageError
from edgesim.live import broker as broker_module
from edgesim.live.acl import allowed, covers, mosquitto_file
from edgesim.live.broker import EmbeddedMqtt, ExternalBroker, Mosquitto, make_broker, read_login


def test_auto_takes_mosquitto_where_it_is(monkeypatch, tmp_path):
    """`auto` takes mosquitto, also outside PATH, and the embedded one where it is not installed."""
    program = tmp_path / "mosquitto"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setattr(broker_module, "DAEMON_PATH", str(tmp_path))
    monkeypatch.setenv("PATH", "/nowhere")

    assert isinstance(make_broker("auto", port=0, logins=["control"]), Mosquitto)
    program.unlink()
    assert isinstance(make_broker("auto", port=0, logins=["control"]), EmbeddedMqtt)
    with pytest.raises(BrokerError, match="not installed"):
        make_broker("mosquitto", port=0, logins=["control"])


@pytest.mark.parametrize(
    "spec", ["", "rabbit", "http://x", "mqtt://", "mqtt://host:port", "mqtt://host/path", "mqtt://[::"]
)
def test_bad_settings(spec):
    """Anything else is a mistake of the operator's, with what can be written."""
    with pytest.raises(UsageError) as error:
        make_broker(spec, port=0, logins=["control"])

    assert "mqtt://user:password@host:port" in error.value.help


def test_external_credentials():
    """All processes share the URL's login; its password is decoded, and not shown."""
    external = make_broker("mqtt://me:p%40ss@example.org", port=0, logins=["control"])

    assert isinstance(external, ExternalBroker)
    assert external.credentials("host1").password == "p@ss"
    assert "p@ss" not in repr(external.credentials("host1"))


async def test_external_broker_that_is_away():
    """An unreachable broker is an error that names the address."""
    with pytest.raises(BrokerError) as error:
        await make_broker("mqtt://127.0.0.1:1", port=0, logins=[]).start()

    assert error.value.where == "127.0.0.1:1"


async def test_external_broker_that_is_there():
    """A listening one is taken as it is, and not stopped by us."""
    own = EmbeddedMqtt(0, {"control": "x"})
    endpoint = await own.start()
    external = make_broker(f"mqtt://control:x@127.0.0.1:{endpoint.port}", port=0, logins=[])

    assert await external.start() == endpoint
    await external.stop()
    _, writer = await asyncio.open_connection(endpoint.host, endpoint.port)
    writer.close()
    await own.stop()


def test_logins_are_kept_in_a_private_file(tmp_path):
    """Passwords survive a restart, new processes get new ones, and other processes read theirs from the file."""
    path = tmp_path / "logins.json"
    first = make_broker("embedded", port=0, logins=["control", "host1"], credentials=path)
    second = make_broker("embedded", port=0, logins=["control", "host1", "host2"], credentials=path)

    assert first.credentials("host1") == second.credentials("host1") == read_login(path, "host1")
    assert read_login(path, "host2").password != read_login(path, "host1").password
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(BrokerError, match="no broker login for host9"):
        read_login(path, "host9")
    with pytest.raises(UsageError, match="host9"):
        second.credentials("host9")


def test_external_logins_in_the_file(tmp_path):
    """With a URL every process finds the same login there; later private ones do not inherit it."""
    path = tmp_path / "logins.json"
    make_broker("mqtt://me:secret@example.org", port=0, logins=["control", "host1"], credentials=path)

    assert read_login(path, "host1").user == "me"
    make_broker("embedded", port=0, logins=["control", "host1"], credentials=path)
    assert read_login(path, "host1").user == "host1"


@pytest.mark.parametrize("text", ["", "[]", "{", '{"host1": 5}', '{"host1": {"user": "x"}}'])
def test_damaged_logins(tmp_path, text):
    """A damaged or missing file is an error that says what to do."""
    path = tmp_path / "logins.json"
    path.write_text(text)

    with pytest.raises(StorageError, match="damaged"):
        read_login(path, "host1")
    with pytest.raises(StorageError, match="cannot read"):
        read_login(tmp_path / "none", "host1")


@pytest.mark.parametrize(
    ("login", "access", "topic", "may"),
    [
        ("control", "write", "es1/d/host1/fra1", True),
        ("control", "read", "other", False),
        ("host1", "read", "es1/d/host1/+", True),
        ("host1", "read", "es1/d/host2/+", False),
        ("host1", "read", "es1/d/+/fra1", False),
        ("host1", "read", "es1/#", False),
        ("host1", "read", "#", False),
        ("host1", "write", "es1/d/host1/fra1", False),
        ("host1", "write", "es1/r/host1/fra1", True),
        ("host1", "write", "es1/r/host10/fra1", False),
        ("host1", "write", "es1/h/host1", True),
        ("host1", "read", "es1/h/+", False),
        ("host1", "write", "es1/p/host1", True),
        ("host1", "read", "es1/cp", True),
        ("host1", "write", "es1/cp", False),
        ("front-door", "read", "es1/p/+", True),
        ("front-door", "read", "es1/h/+", True),
        ("front-door", "read", "es1/d/+/+", False),
        ("front-door", "write", "es1/p/front-door", True),
        ("front-door", "write", "es1/r/host1/fra1", False),
        ("", "read", "es1/cp", True),
    ],
)
def test_access_rules(login, access, topic, may):
    """Who may do what; names that begin alike are not confused."""
    assert allowed(login, access, topic) is may


LEVEL = st.sampled_from(["a", "b", "+"])


@given(
    topic=st.lists(st.sampled_from(["a", "b"]), min_size=1, max_size=4), pattern=st.lists(LEVEL, min_size=1, max_size=4)
)
def test_covers_is_reflexive_and_monotone(topic, pattern):
    """A filter covers itself, `#` covers all, and levels are compared one by one."""
    matches = len(topic) == len(pattern) and all(p in {"+", t} for p, t in zip(pattern, topic, strict=True))

    assert covers("/".join(pattern), "/".join(pattern))
    assert covers("#", "/".join(topic))
    assert covers("/".join(pattern), "/".join(topic)) is matches


def test_mosquitto_file():
    """The same rules as text: every topic line belongs to the user above it."""
    text = mosquitto_file(["control", "host1"])

    assert "user control\ntopic readwrite es1/#" in text
    assert "topic read es1/d/host1/+" in text
    assert json.dumps(text).count("user ") == 2
