"""`edgesim run`: single requests, and mistakes. The server is in tests/live/test_solo.py and tests/e2e/test_run.py."""

from __future__ import annotations

import json
import socket

import pytest
from wasmtime import wat2wasm

from edgesim.cli.main import run
from edgesim.config.resources import resource_path

HELLO = str(resource_path("workers/hello"))
WAGI = str(resource_path("workers/hello-wagi/hello.wasm"))


@pytest.fixture(autouse=True)
def _nowhere(tmp_path, monkeypatch):
    """No edge's cache is used."""
    monkeypatch.setenv("EDGESIM_STATE", str(tmp_path / "state"))


def once(capfdbinary, *args):
    """Exit code, standard output and standard error of a single request."""
    code = run(["run", *args])
    out, err = capfdbinary.readouterr()
    return code, out, err.decode()


def test_one_request(capfdbinary):
    """The body alone on stdout, what it cost on stderr."""
    code, out, err = once(capfdbinary, HELLO, "--once", "get", "/")

    assert (code, out) == (0, b"hello from local v0\n")
    assert "200 GET / in " in err
    assert "CPU" in err


@pytest.mark.parametrize("path", [HELLO, WAGI])
def test_bodies_variables_and_fields(capfdbinary, tmp_path, path):
    """They reach the worker as they were given, byte for byte."""
    (tmp_path / "body").write_bytes(bytes(range(256)) * 300)
    _, echo, _ = once(capfdbinary, path, "--once", "POST", "/echo", "--body", f"@{tmp_path / 'body'}")
    _, text, _ = once(capfdbinary, path, "--once", "POST", "/echo", "--body", "hallo")
    _, env, _ = once(capfdbinary, path, "--once", "GET", "/env", "--env", "COLOUR=blue=green", "--env", "EMPTY=")
    _, fields, _ = once(capfdbinary, path, "--once", "GET", "/headers", "-H", "X-One: 1")

    assert echo == bytes(range(256)) * 300
    assert text == b"hallo"
    assert {b"COLOUR=blue=green", b"EMPTY=", b"EDGESIM_POP=local"} <= set(env.splitlines())
    assert b"1" in fields


def test_one_request_as_json(capfdbinary):
    """One document with body, cost and log."""
    code, out, _ = once(capfdbinary, WAGI, "--once", "GET", "/teapot", "--json")
    document = json.loads(out)

    assert code == 0
    assert (document["schema"], document["status"], document["component"]) == ("edgesim.run.once.v1", 418, "worker")
    assert document["cpu_s"] > 0
    assert document["memory_bytes"] == 4 << 16
    assert document["error"] is None


def test_a_worker_that_fails(capfdbinary, tmp_path):
    """Exit code 1, the error, and its log; the limits are those of the profile."""
    (tmp_path / "spin.wasm").write_bytes(
        bytes(
            wat2wasm(
                '(module (import "wasi_snapshot_preview1" "fd_write" (func $w (param i32 i32 i32 i32) (result i32)))'
                '(memory (export "memory") 1) (data (i32.const 0) "\\10\\00\\00\\00\\05\\00\\00\\00") (data (i32.const 16) "oops\\n")'
                '(func (export "_start") (drop (call $w (i32.const 2) (i32.const 0) (i32.const 1) (i32.const 100)))'
                " (loop (br 0))))"
            )
        )
    )
    code, out, err = once(
        capfdbinary, str(tmp_path / "spin.wasm"), "--limits-profile", "cloudflare-free", "--once", "GET", "/"
    )

    assert (code, out) == (1, b"")
    assert "504 GET /" in err
    assert "E0403: the worker used more than its limit of 10 ms CPU time" in err
    assert "| oops" in err


@pytest.mark.parametrize(
    ("args", "message", "hint"),
    [
        (["nothing.wasm"], "there is no nothing.wasm", "spin.toml"),
        ([HELLO, "--env", "NAME"], "not a variable: 'NAME'", "--env NAME=VALUE"),
        ([HELLO, "--body", "x"], "--body and --header belong to --once", "--once POST"),
        ([HELLO, "--once", "GET", "nopath"], "not a path: 'nopath'", "begins with /"),
        ([HELLO, "--once", "G E T", "/"], "not a method", "GET"),
        ([HELLO, "--once", "GET", "/", "--body", "@/nonexistent"], "cannot read the body", "after @"),
        ([HELLO, "--once", "GET", "/", "-H", "novalue"], "not a header field", "Accept"),
        ([HELLO, "--once", "GET", "/", "--watch"], "exclude each other", ""),
        ([HELLO, "--once", "GET", "/", "--limits-profile", "fast"], "no limits profile 'fast'", "fastly"),
        ([HELLO, "--once", "GET", "/", "--allow-outbound", "http://a/b"], "has a path", "https://"),
        ([HELLO, "--port", "65536"], "65536", ""),
        ([HELLO, "--prot", "1"], "no such option", "--port"),
    ],
)
def test_mistakes(capsys, args, message, hint):
    """Each ends with exit code 2, what is wrong and what to write."""
    code = run(["run", *args])
    err = capsys.readouterr().err

    assert code == 2
    assert message in err
    assert hint in err


def test_a_route_that_leads_nowhere(capfdbinary, tmp_path):
    """404, as the server answers it."""
    (tmp_path / "spin.toml").write_text(
        "spin_manifest_version = 2\n[application]\nname = 'one'\n[[trigger.http]]\nroute = '/a/...'\ncomponent = 'a'\n"
        f"[component.a]\nsource = '{WAGI}'\n"
    )
    code, _, err = once(capfdbinary, str(tmp_path), "--once", "GET", "/b")

    assert code == 1
    assert "E0103: no route of the app leads to /b" in err


def test_files_that_are_no_workers(capsys, tmp_path):
    """The same words as `inspect`'s."""
    (tmp_path / "a.wasm").write_bytes(b"PK\x03\x04")
    codes = [run(["run", str(tmp_path / "a.wasm"), "--once", "GET", "/"]), run(["run", str(tmp_path)])]
    err = capsys.readouterr().err

    assert codes == [2, 2]
    assert "a zip archive" in err
    assert "there is no spin.toml" in err


def test_a_port_that_is_taken(capsys):
    """It says by whom, and how to choose another one."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        code = run(["run", HELLO, "--port", str(port)])
    err = capsys.readouterr().err

    assert code == 1
    assert f"port {port} (the worker) is held by" in err
    assert "`edgesim run --port" in err
