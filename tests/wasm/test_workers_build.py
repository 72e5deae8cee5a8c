"""The committed sample workers are what their sources build."""

import os
from importlib.util import find_spec

import pytest

from edgesim.config.resources import resource_path
from tests.support.tools import require_tool
from tests.support.wasm import build_script


def test_the_committed_workers_are_what_their_sources_build(capsys):
    """`python workers/build.py --check`, byte by byte."""
    if find_spec("ziglang") is None:
        if os.environ.get("EDGESIM_REQUIRE_TOOLS") == "1":
            pytest.fail("ziglang is not installed (the extra `guests`)")
        pytest.skip("ziglang is not installed (the extra `guests`)")
    require_tool("npm")  # AssemblyScript

    assert build_script().main(["--check"]) == 0, capsys.readouterr().out


def test_a_difference_is_found(monkeypatch, capsys):
    """The check can fail."""
    script = build_script()
    monkeypatch.setattr(script, "BUILDS", {"hello-wagi/hello.wasm": lambda: b"\0asm\x01\0\0\0"})

    assert script.main(["--check"]) == 1
    assert "differs" in capsys.readouterr().out


def test_the_wrapper_takes_any_core_module():
    """`componentize` replaces exactly the empty module of proxy.wat."""
    core = resource_path("workers/hello-wagi/hello.wasm").read_bytes()
    component = build_script().componentize(core)

    assert component.startswith(b"\0asm\x0d\0\x01\0")
    assert component.count(core) == 1
