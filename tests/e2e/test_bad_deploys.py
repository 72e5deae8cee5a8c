"""Deployments that must fail: each with its own words and exit code, and the edge is as it was before."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import wasmtime

from tests.e2e.edge import WORKERS, Edge, Ran

pytestmark = pytest.mark.e2e

MANIFEST = """\
spin_manifest_version = 2

[application]
name = "hello"

[[trigger.http]]
route = "/..."
component = "hello"

[component.hello]
source = "hello.wasm"
"""


@pytest.fixture
def unchanged(shared_edge: Edge) -> Iterator[Edge]:
    """The edge; afterwards its desired state is what it was, and the old version serves."""
    before = shared_edge.desired()
    yield shared_edge

    assert shared_edge.desired() == before
    answer = shared_edge.http("hello", metro="Tokyo")
    assert (answer.status, answer.headers["X-Edge-Version"]) == (200, "hello@1")


@pytest.fixture
def app(tmp_path: Path) -> Path:
    """A folder with the sample worker, to be spoilt."""
    (tmp_path / "spin.toml").write_text(MANIFEST)
    (tmp_path / "hello.wasm").write_bytes((WORKERS / "hello" / "hello.wasm").read_bytes())
    return tmp_path


def refused(edge: Edge, path: Path, *said: str, code: int = 2) -> Ran:
    """Deploy it; it must fail with this exit code and say all of `said`."""
    done = edge.cli("deploy", path, code=code)
    for words in said:
        assert words in done.err, done.err
    assert done.out == ""
    return done


def test_broken_wasm(unchanged: Edge, app: Path) -> None:
    """A file that is cut in the middle."""
    whole = (app / "hello.wasm").read_bytes()
    (app / "hello.wasm").write_bytes(whole[: len(whole) // 2])

    refused(unchanged, app, "error[E0202]", "hello")


def test_no_wasm_at_all(unchanged: Edge, app: Path) -> None:
    """A text file."""
    (app / "hello.wasm").write_text("#!/bin/sh\n")

    refused(unchanged, app, "error[E0202]", "= help:")


@pytest.mark.parametrize(
    "text",
    ['(module (func (export "add") (result i32) i32.const 1))', "(component)"],
    ids=["module", "component"],
)
def test_wrong_exports(unchanged: Edge, app: Path, text: str) -> None:
    """Valid Wasm that exports no ABI of ours: the message names what is wanted."""
    (app / "hello.wasm").write_bytes(wasmtime.wat2wasm(text))

    refused(unchanged, app, "error[E0203]", "wasi:http/incoming-handler", "= help:")


def test_over_size(unchanged: Edge, app: Path) -> None:
    """One byte more than 64 MiB, said before anything is uploaded; the API says it too."""
    with (app / "hello.wasm").open("r+b") as file:
        file.truncate((64 << 20) + 1)

    refused(unchanged, app, "error[E0204]", "the limit is 64 MiB")
    answer = unchanged.api("PUT", f"/v1/blobs/sha256/{'0' * 64}", b"", headers={"Content-Length": str((64 << 20) + 1)})

    assert (answer.status, answer.json()["error"]["code"]) == (413, "E0204")


def test_typo_in_the_manifest(unchanged: Edge, app: Path) -> None:
    """Where it stands, with a caret, and what was meant."""
    (app / "spin.toml").write_text(MANIFEST.replace("source =", "sorce ="))
    done = refused(unchanged, app, "error[E0201]", "spin.toml:11:1", "sorce", "did you mean", "source")
    lines = done.err.splitlines()
    shown = next(i for i, line in enumerate(lines) if 'sorce = "hello.wasm"' in line and "|" in line)

    assert lines[shown + 1].rstrip().endswith("^")
    assert lines[shown + 1].index("^") == lines[shown].index("sorce")


def test_fields_that_are_not_supported(unchanged: Edge, app: Path) -> None:
    """Each is refused by its name, all at once."""
    (app / "spin.toml").write_text(MANIFEST + 'sqlite_databases = ["default"]\nkey_value_stores = ["default"]\n')

    refused(
        unchanged, app,
        "spin.toml:12:", "sqlite_databases is not supported yet",
        "spin.toml:13:", "key_value_stores is not supported yet",
        "2 problems",
    )  # fmt: skip


def test_no_outbound_hosts_is_no_problem(shared_edge: Edge, app: Path) -> None:
    """What templates write: an empty list."""
    (app / "spin.toml").write_text(
        MANIFEST.replace('"hello"\n\n[[', '"empty-hosts"\n\n[[') + "allowed_outbound_hosts = []\n"
    )
    shared_edge.cli("deploy", app)

    assert shared_edge.http("empty-hosts").status == 200


def test_nothing_there(unchanged: Edge, app: Path) -> None:
    """A path without an app, a manifest without its file, a name that is no host name."""
    refused(unchanged, app / "nowhere", "error[E0102]", "nowhere")
    (app / "hello.wasm").unlink()
    refused(unchanged, app, "error[E0201]", "there is no file hello.wasm", "spin.toml:11:10")
    done = unchanged.cli("deploy", WORKERS / "hello", "--app", "Not_A_Name", code=2)

    assert "cannot be an app's name" in done.err


def test_bad_bodies_at_the_api(unchanged: Edge) -> None:
    """What no CLI sends: garbage, unknown fields, a blob that is not there, content that is not what it says."""
    deployments = "/v1/apps/hello/deployments"
    garbage = unchanged.api("POST", deployments, b"{")
    unknown = unchanged.api("POST", deployments, {"components": [], "surprise": 1})
    wanted = {
        "components": [{"id": "x", "digest": "0" * 64}], "routes": [{"pattern": "/...", "component": "x"}],
    }  # fmt: skip
    missing = unchanged.api("POST", deployments, wanted)
    other = unchanged.api("PUT", f"/v1/blobs/sha256/{'1' * 64}", b"something else")
    nowhere = unchanged.api("GET", "/v1/apps/hello/deployments/99")

    assert [a.status for a in (garbage, unknown, missing, other, nowhere)] == [400, 400, 404, 502, 404]
    for answer in (garbage, unknown, missing, other, nowhere):
        assert answer.json()["error"]["message"]
