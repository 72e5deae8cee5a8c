"""The sample workers in workers/: each builds, and says hello as its manifest promises."""

import json

import pytest

from edgesim.config.manifest import load_app
from edgesim.config.resources import resource_path
from edgesim.wasm.guest import Grants
from edgesim.wasm.runtime import Runtime
from tests.guests import build
from tests.support.guests import artifacts, guest
from tests.support.wasm import GENEROUS, load, read_all, request

COMMITTED = ("hello", "hello-wagi", "hello-zig")
BUILT = ("hello-js", "hello-python", "hello-go")
HERE = Grants(environment=(("EDGESIM_POP", "fra1"), ("EDGESIM_VERSION", "7")))


@pytest.mark.parametrize("name", [*COMMITTED, *BUILT])
async def test_it_says_where_it_runs(name, tmp_path, monkeypatch):
    """What every sample answers, and the path that answers something else."""
    file = resource_path(f"workers/{name}/hello.wasm") if name in COMMITTED else guest(name)
    monkeypatch.setattr(Runtime, "_improve", lambda *_: None)
    runtime = Runtime(artifacts())
    worker = await load(runtime, tmp_path, file.read_bytes())
    hello = await worker.run(request("/"), GENEROUS, HERE)
    teapot = await worker.run(request("/teapot"), GENEROUS, HERE)

    assert await read_all(hello) == b"hello from fra1 v7\n"
    assert (teapot.status, await read_all(teapot)) == (418, b"short and stout\n")
    runtime.release(worker)
    await runtime.close()


@pytest.mark.parametrize("name", [*COMMITTED, *BUILT, "hello-rust"])
def test_its_manifest_names_the_file_and_the_build(name, tmp_path):
    """`edgesim deploy` takes the folder once it is built."""
    manifest = resource_path(f"workers/{name}/spin.toml").read_text()
    (tmp_path / "spin.toml").write_text(manifest)
    (tmp_path / "hello.wasm").write_bytes(resource_path("workers/hello-wagi/hello.wasm").read_bytes())

    assert load_app(tmp_path).name == name
    assert "[component.hello.build]\ncommand = " in manifest


def test_samples_and_guests_use_the_same_versions_of_tools():
    """One place to raise them, and a test for the other."""
    package = json.loads(resource_path("workers/hello-js/package.json").read_text())
    requirements = resource_path("workers/hello-python/requirements.txt").read_text().split()

    assert all(build.NPM[name] == version for name, version in package["devDependencies"].items())
    assert requirements == [f"componentize-py=={build.PIP['componentize-py']}"]
