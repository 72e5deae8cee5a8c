"""Workers that misbehave, each hammered a little: its requests fail in its own words, and a neighbour goes on answering."""

from __future__ import annotations

import http.client
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from edgesim.model.worker import Abi
from tests.e2e.edge import WORKERS, Answer, Edge, Traffic
from tests.support.wasm import hostile

pytestmark = pytest.mark.e2e

MANIFEST = """\
spin_manifest_version = 2
[application]
name = "{app}"
[[trigger.http]]
route = "/..."
component = "guest"
[component.guest]
source = "guest.wasm"
[component.guest.tool.edgesim]
wall = "{wall}"
body = "2MiB"
"""


def prepare(folder: Path, app: str, abi: Abi, guest: str, wall: str = "5s") -> None:
    """An app of one guest, with bodies of at most 2 MiB."""
    (folder / "spin.toml").write_text(MANIFEST.format(app=app, wall=wall))
    (folder / "guest.wasm").write_bytes(hostile(abi, guest))


def ask(edge: Edge, app: str) -> Answer | None:
    """The answer; None when it broke off."""
    try:
        return edge.http(app, metro="Tokyo")
    except (http.client.IncompleteRead, ConnectionError):
        return None


def hammer(edge: Edge, app: str, count: int = 24) -> list[Answer | None]:
    """Many requests from eight clients, all to one PoP."""
    with ThreadPoolExecutor(8) as clients:
        return list(clients.map(lambda _: ask(edge, app), range(count)))


@pytest.mark.parametrize(
    ("abi", "guest", "status", "code"),
    [
        ("wagi", "trap", 502, "E0401"),
        ("wasi-http", "trap", 502, "E0401"),
        ("wagi", "exit", 502, "E0401"),
        ("wagi", "spin", 504, "E0403"),
        ("wasi-http", "spin", 504, "E0403"),
        ("wagi", "sleep", 504, "E0402"),
        ("wagi", "grow", 502, "E0404"),
        ("wasi-http", "grow", 502, "E0401"),  # after a component's trap its memory cannot be seen any more
        ("wagi", "silent", 502, "E0405"),
        ("wasi-http", "silent", 502, "E0405"),
        ("wagi", "malformed", 502, "E0405"),
    ],
)
def test_its_requests_fail_and_a_neighbour_answers(
    shared_edge: Edge, tmp_path: Path, abi: Abi, guest: str, status: int, code: str
) -> None:
    """Status, `Proxy-Status` and text say what the worker did; the neighbour at the same PoP does not notice."""
    app = f"{guest}-{abi}"
    prepare(tmp_path, app, abi, guest, wall="300ms" if guest == "sleep" else "5s")
    shared_edge.cli("deploy", tmp_path)
    with Traffic(shared_edge, "hello", ("Tokyo",)) as neighbour:
        answers = hammer(shared_edge, app)
        neighbour.more(10)

    for answer in answers:
        assert answer is not None
        assert (answer.status, answer.pop) == (status, "nrt1"), answer
        assert answer.error.startswith("edgesim-nrt1; error="), answer.error
        assert code in answer.error
        assert code.encode() in answer.body
    assert neighbour.failed == []
    assert {pop for _, _, pop, _ in neighbour.answers} == {"nrt1"}


def test_one_that_begins_with_too_much_memory_is_not_deployed(shared_edge: Edge, tmp_path: Path) -> None:
    """It could only ever fail: the command says so, and the app is not there."""
    prepare(tmp_path, "huge-wagi", "wagi", "huge", wall="5s")
    ran = shared_edge.cli("deploy", tmp_path, code=2)

    assert "error[E0202]" in ran.err
    assert "begins with 256 MiB of linear memory, more than its limit of 128 MiB" in ran.err
    assert shared_edge.http("huge-wagi", metro="Tokyo").status == 404


@pytest.mark.parametrize("abi", ["wagi", "wasi-http"])
def test_a_flood_is_cut_off(shared_edge: Edge, tmp_path: Path, abi: Abi) -> None:
    """Output without end stops at a limit (size or time), costs only its own connections, and no memory to speak of."""
    app = f"flood-{abi}"
    prepare(tmp_path, app, abi, "flood")
    shared_edge.cli("deploy", tmp_path)
    with Traffic(shared_edge, "hello", ("Tokyo",)) as neighbour:
        answers = hammer(shared_edge, app, 16)
        neighbour.more(10)
    host = shared_edge.pops()["nrt1"]["host"]
    pages = int(Path(f"/proc/{shared_edge.pid(host)}/statm").read_text().split()[1])

    assert all(answer is None or answer.status >= 500 for answer in answers), answers
    assert neighbour.failed == []
    assert pages * 4096 < 400 << 20


def test_a_good_version_ends_the_trouble_of_a_bad_one(shared_edge: Edge, tmp_path: Path) -> None:
    """Version 1 of the app traps at each request, version 2 does not."""
    prepare(tmp_path, "comeback", "wagi", "trap")
    shared_edge.cli("deploy", tmp_path)
    bad = shared_edge.http("comeback")
    shared_edge.cli("deploy", WORKERS / "hello", "--app", "comeback")
    good = shared_edge.http("comeback")

    assert (bad.status, good.status) == (502, 200)
    assert good.headers["X-Edge-Version"] == "comeback@2"
