"""The way of docs/workers/first-worker.md, word by word: init, build, deploy, curl."""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib.util import find_spec
from typing import NoReturn

import pytest

from tests.e2e.edge import Edge, running_edge
from tests.guests import build, toolchains
from tests.support.guests import guest
from tests.support.tools import require_tool

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    """An edge, and a working directory that is not the checkout."""
    with running_edge(tmp_path_factory.mktemp("first"), processes=2) as edge:
        edge.environment["EDGESIM_TOOLS"] = str(build.cache() / "tools")  # those of the contract suite
        edge.environment["npm_config_prefer_offline"] = "true"
        yield edge


def answers(edge: Edge, name: str) -> None:
    """Deploy and curl, as the README of each project says."""
    edge.cli("deploy", name, timeout_s=180)
    curl = edge.cli("curl", name, "--from", "Tokyo")

    assert curl.out == "hello Tokyo, this is nrt1\n"
    assert "200" in curl.err


def missing(why: str) -> NoReturn:
    """Skip, or fail where everything must be there."""
    if os.environ.get("EDGESIM_REQUIRE_TOOLS") == "1":
        pytest.fail(why)
    pytest.skip(why)


@pytest.mark.parametrize("language", ["c", "zig", "go", "assemblyscript"])
def test_from_nothing_to_an_answer(edge: Edge, language: str) -> None:
    """The compilers are real; a deployment before the build says what to run."""
    if language == "go":
        guest("redirect-map")  # brings Go, or skips
    elif language == "assemblyscript":
        require_tool("npm")
    elif find_spec("ziglang") is None:
        missing("ziglang is not installed (the extra `guests`)")
    name = f"my-{language}"
    edge.cli("init", name, "--template", language)
    early = edge.cli("deploy", name, code=2)
    built = edge.cli("build", name, timeout_s=180)

    assert "run `edgesim build`" in early.err
    assert built.out.startswith(f"worker: {name}/worker.wasm (wagi, ")
    answers(edge, name)


def test_python(edge: Edge) -> None:
    """By the tool that `--install-tools` would install, found where it installs it."""
    try:
        toolchains.python_tools("componentize-py")
    except toolchains.MissingToolError as exc:
        missing(str(exc))
    edge.cli("init", "my-python", "--template", "python")
    built = edge.cli("build", "my-python", "--install-tools", timeout_s=180)

    assert "installing" not in built.err
    assert built.out.startswith("worker: my-python/worker.wasm (wasi-http, ")
    answers(edge, "my-python")


def test_javascript(edge: Edge) -> None:
    """With a build command that takes the template's build from the cache: npm and componentize-js take half a minute."""
    built = guest("template-js")
    edge.cli("init", "my-js", "--template", "js")
    manifest = edge.folder / "my-js" / "spin.toml"
    lines = [line for line in manifest.read_text().splitlines() if not line.startswith("command = ")]
    manifest.write_text("\n".join([*lines, f"command = 'cp {built} worker.wasm'"]))
    edge.cli("build", "my-js", timeout_s=180)

    answers(edge, "my-js")


def test_rust(edge: Edge) -> None:
    """Compiled by Debian's rustc, whose target has the older name; cargo with `wasm32-wasip1` is the user's."""
    edge.cli("init", "my-rust", "--template", "rust")
    folder = edge.folder / "my-rust"
    target = folder / "target/wasm32-wasip1/release"
    target.mkdir(parents=True)
    try:
        toolchains.rust("-o", target / "worker.wasm", "src/main.rs", cwd=folder)
    except toolchains.MissingToolError as exc:
        pytest.skip(str(exc))  # not to be had from a package registry

    answers(edge, "my-rust")
