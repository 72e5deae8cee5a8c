"""The hostile pack through a running edge: typed errors, counted as such, slots freed, the processes and a neighbour unharmed."""

from __future__ import annotations

import http.client
import json
import socket
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.e2e.edge import WORKERS, Edge, Ran, Traffic, exchange, running_edge, until
from tests.hostile.pack import PACK, REFUSED, TOO_BIG, Hostile

pytestmark = pytest.mark.e2e

POP, METRO = "nrt1", "Tokyo"
EACH = 3
PER_APP = 30
COMPONENT = """\
[[trigger.http]]
route = "/{id}"
component = "{id}"
[component.{id}]
source = "{id}.wasm"
[component.{id}.tool.edgesim]
wall = "{wall}"
body = "2MiB"
memory = "32MiB"
"""
LEFT_OUT = {"http-unread", "wagi-unread", "http-wait", "wagi-wait"}
"""They need a client that does not read or does not send: the first two have a test of their own here."""
ABI_ONLY = {
    "wrong-type", "drop-twice", "use-after-move", "handle-0", "handle-max", "return-odd", "discriminant-nested",
    "option-discriminant", "giant-name", "flood-zeroes", "many-empty-entries", "zeroes-max", "no-colon", "bad-status", "raise",
    "close-all", "hog-instances", "hog-tables", "hog-memories", "sleep-ages", "read-max", "random-bytes", "leak-some",
}  # fmt: skip
"""All that they do happens at the boundary of the ABI: tests/hostile/test_pack.py. One desired document holds 64 KiB."""
GUESTS = [
    g for g in PACK.values() if REFUSED not in g.ends and g.id not in LEFT_OUT | TOO_BIG and g.name not in ABI_ONLY
]
STATUS = {"E0401": 502, "E0402": 504, "E0403": 504, "E0404": 502, "E0405": 502, "200": 200}


@dataclass
class Field:
    """A running edge with the pack on it, and where each guest answers."""

    edge: Edge
    apps: dict[str, str]
    """Guest to app."""
    pid: int
    """Of the process that serves `POP`."""

    def samples(self, metric: str) -> list[tuple[dict[str, str], float]]:
        """Every sample of a metric in every process."""
        targets = self.edge.api("GET", "/v1/sd/prometheus").json()
        found = []
        for address in (address for group in targets for address in group["targets"]):
            port = int(address.rpartition(":")[2])
            text = exchange(port, "GET", "/metrics", {}, None, 10).body.decode()
            for family in text_string_to_metric_families(text):
                found += [(sample.labels, sample.value) for sample in family.samples if sample.name == metric]
        return found

    def outcomes(self, app: str) -> dict[str, float]:
        """Requests of an app at `POP` by outcome."""
        found: dict[str, float] = {}
        for labels, value in self.samples("edgesim_requests_total"):
            if labels["pop"] == POP and labels["app"] == app:
                found[labels["outcome"]] = found.get(labels["outcome"], 0) + value
        return {outcome: value for outcome, value in found.items() if value}

    def broken(self) -> dict[str, float]:
        """Requests at the front door that did not end well, by outcome."""
        found: dict[str, float] = {}
        for labels, value in self.samples("edgesim_front_door_requests_total"):
            if value and labels["outcome"] != "ok":
                found[labels["outcome"]] = found.get(labels["outcome"], 0) + value
        return found

    def busy(self) -> float:
        """Instances that run now, at all PoPs."""
        return sum(value for _, value in self.samples("edgesim_instances_busy"))

    def rss_bytes(self) -> int:
        """Resident memory of the PoP host."""
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * 4096

    def host_pid(self) -> int:
        """The process that serves `POP` now."""
        return self.edge.pid(self.edge.pops()[POP]["host"])


def deploy(edge: Edge, folder: Path, app: str, guests: list[Hostile], code: int = 0) -> Ran:
    """One app of many components, each at `/<its id>`; `code` is how the command is to end."""
    folder.mkdir()
    text = f'spin_manifest_version = 2\n[application]\nname = "{app}"\n'
    for guest in guests:
        text += COMPONENT.format(id=guest.id, wall="300ms" if guest.waits else "10s")
        (folder / f"{guest.id}.wasm").write_bytes(guest.build())
    (folder / "spin.toml").write_text(text)
    return edge.cli("deploy", folder, code=code, timeout_s=300)


@pytest.fixture(scope="module")
def field(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Field]:
    """The pack, deployed once, beside `hello`."""
    folder = tmp_path_factory.mktemp("hostile")
    with running_edge(folder) as edge:
        edge.cli("deploy", WORKERS / "hello")
        apps = {}
        for start in range(0, len(GUESTS), PER_APP):
            app = f"pack-{start // PER_APP}"
            guests = GUESTS[start : start + PER_APP]
            deploy(edge, folder / app, app, guests)
            apps |= {guest.id: app for guest in guests}
        edge.http("hello", metro=METRO)
        field = Field(edge, apps, 0)
        field.pid = field.host_pid()
        yield field


def ask(edge: Edge, app: str, path: str) -> tuple[str, str]:
    """What a client sees: the code in `Proxy-Status` or the status, and that field; `cut` when the answer broke off."""
    try:
        answer = edge.http(app, path, metro=METRO)
    except (http.client.IncompleteRead, ConnectionError):
        return "cut", ""
    code = next((c for c in STATUS if c.startswith("E") and c in answer.error), str(answer.status))

    assert answer.status == STATUS[code], (answer.status, answer.error)
    assert answer.pop == POP
    return code, answer.error


@pytest.mark.parametrize("guest", GUESTS, ids=[guest.id for guest in GUESTS])
def test_its_error_is_told_and_counted_and_its_slot_is_free_again(field: Field, guest: Hostile) -> None:
    """When its head was out already the client's connection is cut; PoP and front door count it by how it ended."""
    app = field.apps[guest.id]
    before, broken = field.outcomes(app), field.broken()
    with ThreadPoolExecutor(EACH) as clients:
        ends = [end for end, _ in clients.map(lambda _: ask(field.edge, app, f"/{guest.id}"), range(EACH))]

    assert set(ends) <= {*guest.ends, "cut"}, ends
    if set(guest.ends) & {"200"}:
        assert "cut" not in ends
    until(lambda: sum(field.outcomes(app).values()) == sum(before.values()) + EACH, what="all are counted")
    counted = {outcome: value - before.get(outcome, 0) for outcome, value in field.outcomes(app).items()}

    assert set(counted) - {outcome for outcome, value in counted.items() if not value} <= {"ok", "guest_error"}
    bad = sum(end != "200" for end in ends)
    assert counted.get("guest_error", 0) == bad
    until(lambda: sum(field.broken().values()) == sum(broken.values()) + bad, timeout_s=5, what="the front door counts")
    until(lambda: field.busy() == 0, timeout_s=5, what="its slots are free")
    assert field.host_pid() == field.pid


def test_a_client_that_never_reads(field: Field, tmp_path: Path) -> None:
    """The guest waits for its reader until its wall-clock limit, and then its slot is free; the answer ends with the client."""
    deploy(field.edge, tmp_path / "app", "unread", [PACK["http-unread"], PACK["wagi-unread"]])
    held = []
    for name in ("http-unread", "wagi-unread"):
        connection = socket.create_connection(("127.0.0.1", field.edge.port))
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.sendall(f"GET /{name} HTTP/1.1\r\nHost: unread.{POP}.localhost\r\n\r\n".encode())
        held.append(connection)
    heads = [connection.recv(12) for connection in held]
    until(lambda: field.busy() == 0, timeout_s=10, what="both are ended, and their slots are free")
    for connection in held:
        connection.close()
    until(lambda: field.outcomes("unread") == {"client_gone": 2}, what="both are counted")

    assert heads == [b"HTTP/1.1 200"] * 2


def test_all_at_once_and_the_neighbour_does_not_notice(field: Field) -> None:
    """Every guest of the pack from eight clients in no order, while another app is asked at the same PoP."""
    before = field.rss_bytes()
    with Traffic(field.edge, "hello", (METRO,)) as neighbour, ThreadPoolExecutor(8) as clients:
        ends = list(clients.map(lambda g: (g.id, ask(field.edge, field.apps[g.id], f"/{g.id}")[0]), GUESTS))
        neighbour.more(10)
    wrong = {name: end for name, end in ends if end not in (*PACK[name].ends, "cut", "503")}

    assert not wrong
    assert neighbour.failed == []
    assert {pop for _, _, pop, _ in neighbour.answers} == {POP}
    until(lambda: field.busy() == 0, timeout_s=5, what="every slot is free")
    assert field.host_pid() == field.pid
    assert field.rss_bytes() - before < 200 << 20


@pytest.mark.parametrize("name", sorted(TOO_BIG))
def test_what_begins_with_too_much_memory_is_refused_at_deploy(field: Field, tmp_path: Path, name: str) -> None:
    """Both figures are named, and no release is made."""
    ran = deploy(field.edge, tmp_path / "app", "too-big", [PACK[name]], code=2)

    assert f"error[{REFUSED}]: the component '{name}' begins with 4096 MiB" in ran.err
    assert "too-big" not in field.edge.api("GET", "/v1/status").json()["apps"]


def test_a_bomb_as_upload_does_not_expand(field: Field) -> None:
    """A coded body is not decoded: ten KB that would become ten MB stay ten KB, and are no such blob."""
    bomb = zlib.compress(bytes(10 << 20), 9)
    digest = "0" * 64
    for coding in ("gzip", "deflate", "br"):
        answer = field.edge.api("PUT", f"/v1/blobs/sha256/{digest}", bomb, headers={"Content-Encoding": coding})

        assert answer.json()["error"]["code"] == "E0304"  # that of the bytes as they came
    assert field.edge.api("GET", "/v1/status").status == 200


@pytest.mark.parametrize(
    "release",
    [
        {
            "components": [{"id": "a", "digest": "0" * 64}],
            "routes": [{"pattern": f"/{n}", "component": "a"} for n in range(1_000_000)],
        },
        {"components": [{"id": f"c{n}", "digest": "0" * 64} for n in range(100_000)], "routes": []},
        {"components": [], "routes": [{"pattern": "/" + "a" * 5_000_000, "component": "a"}]},
        {"components": [{"id": "a", "digest": "0" * 64, "environment": {f"k{n}": "v" for n in range(200_000)}}]},
        "[" * 100_000,
    ],
    ids=["a million routes", "100,000 components", "a pattern of 5 MB", "200,000 variables", "100,000 brackets"],
)
def test_a_bomb_as_release_is_refused(field: Field, release: object) -> None:
    """Too much of anything is a 4xx within seconds, and the control plane goes on."""
    body = release.encode() if isinstance(release, str) else json.dumps(release).encode()
    status_before = field.edge.api("GET", "/v1/status").json()["gen"]
    try:
        status = field.edge.api("POST", "/v1/apps/bomb/deployments", body).status
    except (BrokenPipeError, ConnectionResetError):
        status = 413  # it closed while we were still sending

    assert 400 <= status < 500
    assert field.edge.api("GET", "/v1/status").json()["gen"] == status_before


def test_a_bomb_as_manifest_is_refused(field: Field, tmp_path: Path) -> None:
    """A manifest of a million routes is too large to be read."""
    (tmp_path / "spin.toml").write_text(
        'spin_manifest_version = 2\n[application]\nname = "bomb"\n'
        + "".join(f'[[trigger.http]]\nroute = "/{n}"\ncomponent = "a"\n' for n in range(1_000_000))
    )
    ran = field.edge.cli("deploy", tmp_path, code=None, timeout_s=60)

    assert ran.code not in (0, 1)
    assert "E0201" in ran.err


def test_what_lives_at_the_end(field: Field) -> None:
    """The host that served all this is still the first one, with a bounded memory."""
    assert field.host_pid() == field.pid
    assert field.rss_bytes() < 700 << 20
    assert field.edge.http("hello", metro=METRO).status == 200
