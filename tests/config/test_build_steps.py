"""The build tables of a manifest."""

from __future__ import annotations

import pytest

from edgesim.config.build_steps import load_build_steps, programs_in
from edgesim.config.manifest import load_app
from edgesim.errors import ManifestError, UsageError

HEAD = """spin_manifest_version = 2
[application]
name = "shop"
[[trigger.http]]
route = "/..."
component = "web"
"""


@pytest.fixture
def manifest(tmp_path):
    """Write a manifest with these lines after its head; its folder."""

    def write(text):
        (tmp_path / "spin.toml").write_text(HEAD + text)
        return tmp_path

    return write


def test_one_line_or_several(manifest):
    """`command` is either; `workdir` is relative to the manifest, `watch` is Spin's."""
    folder = manifest(
        '[component.web]\nsource = "out/web.wasm"\n[component.web.build]\ncommand = ["npm install", "npm run build"]\n'
        'workdir = "src"\nwatch = ["src/*"]\n[component.api]\nsource = "api.wasm"\n[component.api.build]\ncommand = "make"\n'
        '[component.old]\nsource = "old.wasm"\n'
    )
    (folder / "src").mkdir()
    web, api = load_build_steps(folder)

    assert (web.component, web.commands, web.folder) == ("web", ("npm install", "npm run build"), folder / "src")
    assert (web.source, web.programs) == (folder / "out/web.wasm", ("npm",))
    assert (api.commands, api.folder) == (("make",), folder)
    assert load_build_steps(folder / "spin.toml", "api") == [api]


@pytest.mark.parametrize(
    ("command", "programs"),
    [
        ('GOOS=wasip1 GOARCH=wasm go build -ldflags="-s -w" -o x.wasm', ["go"]),
        ("cd src && npm ci && npm run build; cp a b | tee c", ["npm", "npm", "cp", "tee"]),
        ("pip install -r requirements.txt && componentize-py -d a=b", ["pip", "componentize-py"]),
        ("./build.sh 'a && b'", ["./build.sh"]),
        ("$CC -o x", []),
        ("echo 'open", []),
    ],
)  # fmt: skip
def test_the_programs_of_a_command(command, programs):
    """What the shell itself does is left out, and what cannot be seen from outside."""
    assert programs_in(command) == programs


def test_what_a_command_installs_need_not_be_there(manifest):
    """Whatever comes after an installer may be its work."""
    folder = manifest(
        '[component.web]\nsource = "a.wasm"\n[component.web.build]\n'
        'command = ["go version", "pip install componentize-py && componentize-py", "zig cc"]\n'
    )

    assert load_build_steps(folder)[0].programs == ("go", "pip")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[component.web]\nsource = "a.wasm"\n[component.web.build]\ncommand = 5\n', "a line of text, or a list"),
        ('[component.web]\nsource = "a.wasm"\n[component.web.build]\ncommand = []\n', "command"),
        ('[component.web]\nsource = "a.wasm"\n[component.web.build]\nworkdri = "x"\n', "unknown key 'workdri'"),
        ('[component.web]\nsource = "a.wasm"\n[component.web.build]\ncommand = "x"\nworkdir = "no"\n', "no folder no"),
        ('[component.web]\n[component.web.build]\ncommand = "x"\n', "names the file"),
        ("[component.web]\nsource = {}\n[component.web.build]\ncommand = 'x'\n", "names the file"),
    ],
)
def test_what_is_wrong_has_its_place(manifest, text, message):
    """File, line and column of the key."""
    with pytest.raises(ManifestError) as caught:
        load_build_steps(manifest(text))

    assert any(message in f"{problem.field}: {problem.message}" for problem in caught.value.problems)
    assert all(problem.line > 6 for problem in caught.value.problems)


@pytest.mark.parametrize("text", ['[component.web]\nsource = "a.wasm"\n', "component = 5\n", ""])
def test_nothing_to_build(manifest, text):
    """And no crash on what is no table."""
    folder = manifest(text) if not text.startswith("component =") else manifest("")
    if text.startswith("component ="):
        (folder / "spin.toml").write_text(text + HEAD)

    with pytest.raises(UsageError, match="there is no build command"):
        load_build_steps(folder)


def test_a_component_or_a_manifest_that_is_not_there(manifest, tmp_path):
    """The nearest name; how to begin."""
    folder = manifest('[component.web]\nsource = "a.wasm"\n[component.web.build]\ncommand = "x"\n')

    with pytest.raises(UsageError) as mistyped:
        load_build_steps(folder, "wbe")
    with pytest.raises(UsageError) as nowhere:
        load_build_steps(tmp_path / "none")
    assert mistyped.value.help == "did you mean 'web'?"
    assert "edgesim init" in nowhere.value.help


def test_a_deployment_without_a_build_says_what_to_run(manifest):
    """Where there is a build command; elsewhere there is nothing to run."""
    folder = manifest('[component.web]\nsource = "a.wasm"\n[component.web.build]\ncommand = "x"\n')
    with pytest.raises(ManifestError) as with_one:
        load_app(folder)
    manifest('[component.web]\nsource = "a.wasm"\n')
    with pytest.raises(ManifestError) as without:
        load_app(folder)

    assert "run `edgesim build`" in with_one.value.problems[0].help
    assert "edgesim build" not in without.value.problems[0].help
