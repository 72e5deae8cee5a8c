"""`edgesim inspect`: files good and bad, without an edge."""

from __future__ import annotations

import json

import pytest
from wasmtime import wat2wasm

from edgesim.cli.main import run
from edgesim.config.resources import resource_path

HELLO = str(resource_path("workers/hello/hello.wasm"))
WAGI = str(resource_path("workers/hello-wagi/hello.wasm"))


@pytest.fixture
def made(tmp_path):
    """Write WAT as a Wasm file, and say where it is."""

    def make(wat, name="x.wasm"):
        (tmp_path / name).write_bytes(bytes(wat2wasm(wat)))
        return str(tmp_path / name)

    return make


def document(capsys, *args):
    """Exit code and the first component of the JSON document."""
    code = run(["inspect", "--json", *args])
    answer = json.loads(capsys.readouterr().out)

    assert answer["schema"] == "edgesim.inspect.v1"
    return code, answer["components"][0]


def test_a_good_worker(capsys):
    """What it is, what it needs, what it costs, and where it would run."""
    code = run(["inspect", HELLO])
    out = capsys.readouterr().out

    assert code == 0
    for word in ("component of 2 core modules", "wasi-http", "wasi:http/types@0.2.0 (13)", "compile", "fresh request"):
        assert word in out
    assert "no published limit is passed" in out
    assert "cloudflare-free, cloudflare-paid: not this file as it is" in out
    assert "[method]" not in out


def test_verbose_names_every_function(capsys):
    """With -v."""
    run(["inspect", "-v", "--no-run", HELLO])

    assert "[method]incoming-request.consume" in capsys.readouterr().out


def test_the_json_document(capsys):
    """Its keys are the schema's, and each published limit has its source."""
    code, component = document(capsys, WAGI)

    assert code == 0
    assert list(component) == [
        "file", "id", "kind", "abi", "refusal", "size_bytes", "sections_bytes", "custom_sections_bytes",
        "strippable_bytes", "producers", "core_modules", "memories", "tables", "imports", "exports", "missing", "compile",
        "start", "limits", "profiles",
    ]  # fmt: skip
    assert (component["abi"], component["kind"], component["refusal"]) == ("wagi", "module", None)
    assert component["start"]["status"] == 200
    assert component["start"]["runs"] > 1
    assert component["compile"]["wall_s"] > 0
    assert [p["profile"] for p in component["profiles"]] == ["cloudflare-free", "cloudflare-paid", "fastly", "akamai"]
    assert all(limit["source"] for p in component["profiles"] for limit in p["limits"].values())
    assert component["profiles"][3]["runs_as_is"] is True


def test_a_manifest_with_several_components(capsys, tmp_path):
    """Each is inspected under its own limits; one can be chosen."""
    (tmp_path / "spin.toml").write_text(
        "spin_manifest_version = 2\n[application]\nname = 'two'\n"
        "[[trigger.http]]\nroute = '/a'\ncomponent = 'a'\n[[trigger.http]]\nroute = '/b'\ncomponent = 'b'\n"
        f"[component.a]\nsource = '{HELLO}'\n[component.a.tool.edgesim]\nprofile = 'fastly'\ncpu_ms = 40\n"
        f"[component.b]\nsource = '{WAGI}'\n"
    )
    code = run(["inspect", "--json", "--no-run", str(tmp_path)])
    both = json.loads(capsys.readouterr().out)["components"]
    _, only = document(capsys, "--component", "b", "--no-run", str(tmp_path / "spin.toml"))

    assert code == 0
    assert [(c["id"], c["abi"]) for c in both] == [("a", "wasi-http"), ("b", "wagi")]
    assert (both[0]["limits"]["wall_s"], both[0]["limits"]["cpu_ms"]) == (120, 40)
    assert only["id"] == "b"


def test_a_file_that_cannot_be_served(capsys, made):
    """It is shown all the same, with what is missing; the exit code says that it cannot be deployed."""
    path = made(
        '(module (import "wasi_snapshot_preview1" "fd_wirte" (func (param i32 i32 i32 i32) (result i32)))'
        '(memory (export "memory") 1) (func (export "_start")))'
    )
    code = run(["inspect", path])
    out = capsys.readouterr().out

    assert code == 2
    assert "not served" in out
    assert "wasi_snapshot_preview1#fd_wirte (nearest: fd_write)" in out
    assert document(capsys, path)[1]["refusal"]["code"] == "E0202"


def test_a_worker_that_would_be_killed_elsewhere(capsys, made):
    """By what its file says alone."""
    code = run(["inspect", made('(module (memory (export "memory") 1990) (func (export "_start")))')])
    out = capsys.readouterr().out

    assert code == 0
    assert (
        "this worker would be killed on fastly because it starts with 130 MB of linear memory and the limit is 128 MB"
        in out
    )
    assert "would be killed on akamai" not in out


def test_a_worker_that_fails_is_told(capsys, made):
    """A loop is ended at its limit, and is no estimate."""
    _, component = document(
        capsys, made('(module (memory (export "memory") 1) (func (export "_start") (loop (br 0))))')
    )

    assert component["start"]["status"] is None
    assert "50 ms CPU time" in component["start"]["error"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.wasm", b"", "the file is empty"),
        ("text.wasm", b"(module)", "Wasm text"),
        ("not.wasm", b"hello", "not a Wasm binary"),
        ("cut.wasm", resource_path("workers/hello/hello.wasm").read_bytes()[:3000], "ends early"),
        ("archive.zip", b"PK\x03\x04", "a zip archive"),
    ],
)
def test_files_that_are_no_wasm(capsys, tmp_path, name, content, message):
    """An error with the file's name, exit code 2."""
    (tmp_path / name).write_bytes(content)
    code = run(["inspect", str(tmp_path / name)])
    err = capsys.readouterr().err

    assert code == 2
    assert message in err
    assert name in err
    assert "help" in err


def test_files_that_are_none(capsys, tmp_path):
    """Folders, holes and giants."""
    with (tmp_path / "giant.wasm").open("wb") as file:
        file.truncate(65 << 20)
    codes = [run(["inspect", str(tmp_path / name)]) for name in ("", "nothing.wasm", "giant.wasm")]
    err = capsys.readouterr().err

    assert codes == [2, 2, 2]
    assert "there is no spin.toml" in err
    assert "there is no " in err
    assert "65.0 MiB, the limit is 64 MiB" in err


def test_names_that_do_not_exist(capsys):
    """Profiles and components are suggested."""
    codes = [
        run(["inspect", "--limits-profile", "fasly", HELLO]),
        run(["inspect", "--component", "helo", str(resource_path("workers/hello"))]),
    ]
    err = capsys.readouterr().err

    assert codes == [2, 2]
    assert "there are cloudflare-free" in err
    assert "did you mean 'hello'?" in err
