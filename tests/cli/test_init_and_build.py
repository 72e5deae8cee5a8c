"""`edgesim init` and `edgesim build` as commands; what they do in detail is in tests/config and tests/live."""

from __future__ import annotations

import json
import shutil

import pytest

from edgesim.cli.main import run
from edgesim.config.resources import resource_path

HELLO = resource_path("workers/hello-wagi/hello.wasm")


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project whose build command copies a worker; the working directory."""
    monkeypatch.chdir(tmp_path)
    assert run(["init", "shop", "-t", "c"]) == 0
    manifest = tmp_path / "shop" / "spin.toml"
    lines = manifest.read_text().splitlines()
    lines[-1] = f"command = 'cp {HELLO} worker.wasm'"
    manifest.write_text("\n".join(lines))
    return tmp_path


def test_init_says_what_it_wrote_and_what_is_next(tmp_path, monkeypatch, capsys):
    """Files on stdout, the next commands on stderr; the folder's own name is quoted for the shell."""
    monkeypatch.chdir(tmp_path)
    code = run(["init", "My Shop", "--template", "go"])
    shown = capsys.readouterr()

    assert code == 0
    assert shown.out == "my-shop in My Shop: .gitignore, README.md, go.mod, main.go, spin.toml\n"
    assert shown.err == "next: edgesim build 'My Shop', edgesim deploy 'My Shop', edgesim curl my-shop\n"


def test_init_here(tmp_path, monkeypatch, capsys):
    """Without a folder it is the working directory, and the commands need none."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    first = run(["init", "-t", "zig", "--json"])
    document = json.loads(capsys.readouterr().out)
    second = run(["init", "-t", "zig"])

    assert (first, second) == (0, 2)
    assert (document["schema"], document["name"], document["template"]) == ("edgesim.init.v1", "here", "zig")
    assert "is not empty" in capsys.readouterr().err


def test_the_list(capsys):
    """For people and for programs."""
    assert run(["init", "--list"]) == 0
    table = capsys.readouterr().out
    assert run(["init", "--list", "--json"]) == 0
    names = [row["name"] for row in json.loads(capsys.readouterr().out)["templates"]]

    assert names == ["assemblyscript", "c", "go", "js", "python", "rust", "zig"]
    assert all(name in table for name in names)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "--template with one of assemblyscript, c"),
        (["x", "-t", "pyhton"], "did you mean 'python'?"),
        (["x", "-t", "js", "--name", "No!"], "lowercase letters"),
    ],
)
def test_what_init_refuses(tmp_path, monkeypatch, capsys, arguments, says):
    """With exit code 2, and nothing is written."""
    monkeypatch.chdir(tmp_path)

    assert run(["init", *arguments]) == 2
    assert says in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_build_says_what_came_out(project, capfd):
    """One line on stdout for each component; as JSON, one document."""
    assert run(["build", "shop"]) == 0
    plain = capfd.readouterr()
    assert run(["build", "shop/spin.toml", "--json"]) == 0
    document = json.loads(capfd.readouterr().out)

    assert plain.out.startswith("worker: shop/worker.wasm (wagi, 1.4 KiB) in ")
    assert plain.err == f"worker: cp {HELLO} worker.wasm\n"
    assert document["schema"] == "edgesim.build.v1"
    assert document["components"][0] | {"took_s": 0} == {
        "id": "worker", "source": "shop/worker.wasm", "abi": "wagi", "size_bytes": HELLO.stat().st_size, "toolchain": "",
        "took_s": 0,
    }  # fmt: skip


def test_a_build_that_makes_no_worker(project, capfd):
    """Is exit code 2, as at the deployment; a command that fails is 1."""
    manifest = project / "shop" / "spin.toml"
    before = manifest.read_text()
    manifest.write_text(before.replace(f"cp {HELLO}", f"cp {shutil.which('true')}"))
    no_worker = run(["build", "shop"])
    manifest.write_text(before.replace(f"cp {HELLO} worker.wasm", "false"))
    failed = run(["build", "shop"])
    shown = capfd.readouterr().err

    assert (no_worker, failed) == (2, 1)
    assert "E0202" in shown
    assert "ended with code 1: false" in shown


def test_the_rest_of_the_manifest_is_checked_too(project, capfd):
    """After the build: what the deployment would refuse."""
    with (project / "shop" / "spin.toml").open("a") as manifest:
        manifest.write('\n[component.worker.tool.edgesim]\nmemroy = "1MiB"\n')

    assert run(["build", "shop"]) == 2
    assert "did you mean 'memory'?" in capfd.readouterr().err
    assert (project / "shop" / "worker.wasm").exists()
