"""Forged documents and tampered blobs on a running edge: refused, reported, and the last good state serves on."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edgesim.config.messages import decode_desired
from edgesim.core.desired import desired_topic
from edgesim.live.broker import BrokerEndpoint, read_login
from edgesim.live.signing import Signer
from edgesim.model.ids import AppName, HostId, PopId
from tests.e2e.edge import WORKERS, Edge, running_edge, until
from tests.support.mqtt import RawClient
from tests.support.tools import require_tool

pytestmark = pytest.mark.e2e

TOPIC = desired_topic(HostId("host2"), PopId("lhr1"))


@pytest.fixture(scope="module")
def module_edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    """A small world over mosquitto, whose rules apply."""
    require_tool("mosquitto")
    with running_edge(tmp_path_factory.mktemp("trust"), broker="mosquitto") as running:
        running.cli("deploy", WORKERS / "hello")
        yield running


@pytest.fixture
def edge(module_edge: Edge) -> Iterator[Edge]:
    """That edge; afterwards all of it serves what it served before."""
    version = module_edge.api("GET", "/v1/status").json()["apps"]["hello"]
    until(lambda: module_edge.converged("hello", version))
    yield module_edge
    until(lambda: module_edge.converged("hello", module_edge.api("GET", "/v1/status").json()["apps"]["hello"]))


def retained(edge: Edge) -> bytes:
    """The desired document of lhr1 that the broker holds, read with the control plane's login."""

    async def read() -> bytes:
        async with client(edge, "control") as raw:
            await raw.subscribe(TOPIC)
            packet = await raw.packet()
            assert packet is not None
            size = int.from_bytes(packet[1][:2], "big")
            return packet[1][2 + size + (2 if packet[0] & 0x06 else 0) :]

    return asyncio.run(read())


def publish(edge: Edge, login: str, payload: bytes) -> None:
    """Publish a retained document for lhr1, and wait until the broker has dealt with it."""

    async def send() -> None:
        async with client(edge, login) as raw:
            assert raw.code == 0
            await raw.publish(TOPIC, payload, retain=True)
            await raw.send(0xC0, b"")  # a ping: answered in order
            while (packet := await raw.packet()) is not None and packet[0] != 0xD0:
                pass

    asyncio.run(send())


def client(edge: Edge, login: str) -> RawClient:
    """A connection with the real credentials of one of the edge's processes."""
    endpoint = BrokerEndpoint("127.0.0.1", edge.record.ports.broker)
    return RawClient(endpoint, read_login(edge.state / "broker" / "credentials.json", login), identifier="intruder")


def host_log(edge: Edge) -> str:
    """What the PoP host said."""
    return (edge.state / "logs" / "host2.log").read_text()


def test_a_host_login_cannot_publish_documents(edge: Edge) -> None:
    """The broker's rules: what one host (or the front door) publishes for another goes nowhere."""
    before, held = edge.desired(), retained(edge)
    for login in ("host1", "host2", "front-door"):
        publish(edge, login, b"forged")

    assert retained(edge) == held
    assert edge.desired() == before


def test_a_wrong_signature(edge: Edge) -> None:
    """Published with the control plane's own login: refused by the host for its signature, also after a restart of it."""
    before = edge.desired()
    document = decode_desired(json.loads(retained(edge))["payload"])
    (release,) = (r for r in document.apps if r.app == "hello")
    forged = replace(document, gen=document.gen + 1, apps=(replace(release, app=AppName("mallory")),))
    publish(edge, "control", Signer(Ed25519PrivateKey.generate()).seal(forged))
    until(lambda: "E0304: signed with the unknown key" in host_log(edge))
    former = edge.kill_9("host2")
    until(lambda: edge.pid("host2") not in (0, former))
    until(lambda: edge.http("hello", pop="lhr1").status == 200, what="the host is back")
    until(lambda: edge.desired() == before, what="its PoPs serve what they did")

    assert edge.http("hello", pop="lhr1").status == 200
    assert edge.http("mallory", pop="lhr1").status == 404
    edge.cli("deploy", WORKERS / "hello")
    assert edge.http("hello", pop="lhr1").headers["X-Edge-Version"] != f"hello@{release.version}"


@pytest.mark.parametrize("payload", [b"", b"{}", b"\xff" * 1000, b'{"payload": "{}", "kid": "x", "sig": "00"}'])
def test_garbage(edge: Edge, payload: bytes) -> None:
    """Neither an empty nor a malformed document changes what runs."""
    before, held = edge.desired(), retained(edge)
    publish(edge, "control", payload)
    answer = edge.http("hello", pop="lhr1")
    publish(edge, "control", held)

    assert answer.status == 200
    assert edge.desired() == before


def test_a_changed_byte_and_a_replay(edge: Edge) -> None:
    """A genuine envelope with another content, and a genuine older one."""
    old = retained(edge)
    edge.cli("deploy", WORKERS / "hello")
    before, held = edge.desired(), retained(edge)
    changed = held.replace(b"hello", b"jello")
    assert changed != held
    publish(edge, "control", changed)
    until(lambda: "E0304: the signature does not fit" in host_log(edge))
    publish(edge, "control", old)
    until(lambda: "is older than" in host_log(edge))
    publish(edge, "control", held)

    assert edge.desired() == before


def test_a_tampered_blob(edge: Edge, tmp_path: Path) -> None:
    """Changed under the control plane between commit and pull: no PoP runs it, the old version serves, exit code 4."""
    wasm = (WORKERS / "hello" / "hello.wasm").read_bytes() + b"\0\x08\x07release"  # a custom section: another digest
    (tmp_path / "hello.wasm").write_bytes(wasm)
    before = edge.desired()
    hosts = [edge.pid("host1"), edge.pid("host2")]
    for pid in hosts:
        os.kill(pid, signal.SIGSTOP)  # nobody pulls before the blob has been changed
    try:
        deploy = subprocess.Popen(
            [sys.executable, "-P", "-m", "edgesim", "deploy", tmp_path / "hello.wasm"],
            env=edge.environment, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        until(lambda: edge.api("GET", "/v1/status").json()["gen"] > before["generation"][1])
        app = edge.api("GET", "/v1/apps").json()["apps"][0]
        digest = app["versions"][-1]["components"][0]["digest"]
        blob = edge.state / "control" / "oci" / "blobs" / "sha256" / digest
        blob.write_bytes(wasm.replace(b"release", b"tamper!"))
    finally:
        for pid in hosts:
            os.kill(pid, signal.SIGCONT)
    out, err = deploy.communicate(timeout=60)

    assert deploy.returncode == 4, (out, err)
    assert "error[E0303]" in err
    assert "sha256" in err
    assert "Traceback" not in err
    assert {pop: row["apps"] for pop, row in edge.pops().items()} == before["pops"]
    assert all(row["state"] != "down" for row in edge.pops().values())
    answer = edge.http("hello", metro="Tokyo")
    assert (answer.status, answer.headers["X-Edge-Version"]) == (200, f"hello@{before['pops']['nrt1']['hello']}")
    assert "hello@" in edge.cli("deploy", tmp_path / "hello.wasm").out  # the good bytes again: nothing is stuck
