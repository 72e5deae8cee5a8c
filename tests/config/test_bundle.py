"""Files that a component takes along."""

from __future__ import annotations

import pytest

from edgesim.config import bundle
from edgesim.config.bundle import Bundle
from edgesim.config.manifest import load_app
from edgesim.errors import ManifestError

HEAD = """spin_manifest_version = 2
[application]
name = "shop"
[[trigger.http]]
route = "/..."
component = "web"
[component.web]
source = "web.wasm"
"""


@pytest.fixture
def folder(tmp_path):
    """A few files."""
    for path in ("a.txt", "assets/b.txt", "assets/deep/c.txt", "assets/deep/d.bin", "web.wasm"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(path.encode())
    return tmp_path


def paths(made: Bundle) -> list[str]:
    """Where the guest finds them."""
    assert not made.faults
    return [file.path for file in made.files]


@pytest.mark.parametrize(
    ("entries", "excluded", "expected"),
    [
        (["a.txt"], [], ["/a.txt"]),
        (["assets/*"], [], ["/assets/b.txt"]),
        (["assets/**/*"], [], ["/assets/b.txt", "/assets/deep/c.txt", "/assets/deep/d.bin"]),
        (["assets/**/*"], ["**/*.bin"], ["/assets/b.txt", "/assets/deep/c.txt"]),
        (["**/*.txt"], ["assets/deep/*"], ["/a.txt", "/assets/b.txt"]),
        ([{"source": "assets/", "destination": "/img"}], [], ["/img/b.txt", "/img/deep/c.txt", "/img/deep/d.bin"]),
        ([{"source": "assets/deep", "destination": "/"}], [], ["/c.txt", "/d.bin"]),
        ([{"source": "a.txt", "destination": "/x"}, "a.txt"], [], ["/a.txt", "/x/a.txt"]),
        (["*.txt", "a.txt"], [], ["/a.txt"]),
        ([3, {"source": "a.txt"}], [], []),
    ],
)
def test_which_files_and_where(folder, entries, excluded, expected):
    """Patterns keep their path, folders go to their destination, exclusions win; what has no form is left out."""
    assert paths(Bundle(folder, entries, excluded)) == expected


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("nothing/*", "no file matches"),
        ("/etc/passwd", "not a path in the manifest's folder"),
        ("../x", "not a path in the manifest's folder"),
        ("", "not a path in the manifest's folder"),
        ("a**b/x", "no"),
        ({"source": "gone", "destination": "/x"}, "there is no gone"),
        ({"source": "/etc", "destination": "/x"}, "not a path in the manifest's folder"),
        ({"source": "assets", "destination": "/../x"}, "leads out of the root"),
    ],
)
def test_entries_that_cannot_be(folder, entry, message):
    """Each is a fault at its place; the others are taken."""
    made = Bundle(folder, ["a.txt", entry], [])

    assert [fault.at for fault in made.faults] == [1]
    assert message in made.faults[0].message
    assert [file.path for file in made.files] == ["/a.txt"]


def test_links_out_of_the_folder_are_refused(folder, tmp_path_factory):
    """A link inside is followed, one that leads out is not."""
    secret = tmp_path_factory.mktemp("elsewhere") / "secret"
    secret.write_text("x")
    (folder / "inside").symlink_to(folder / "a.txt")
    (folder / "outside").symlink_to(secret)
    made = Bundle(folder, ["inside", "outside"], [])

    assert [file.path for file in made.files] == ["/inside"]
    assert "a link out" in made.faults[0].message


def test_limits(folder, monkeypatch):
    """Number and size, each and together; a path cannot be file and folder."""
    monkeypatch.setattr(bundle, "FILES_MAX", 1)
    assert "the limit is 1" in Bundle(folder, ["**/*.txt"], []).faults[0].message
    monkeypatch.setattr(bundle, "FILE_BYTES_MAX", 3)
    assert "larger than" in Bundle(folder, ["a.txt"], []).faults[0].message
    monkeypatch.undo()
    monkeypatch.setattr(bundle, "BUNDLE_BYTES_MAX", 3)
    assert "together" in Bundle(folder, ["a.txt"], []).faults[0].message
    monkeypatch.undo()
    entries = [{"source": "a.txt", "destination": "/x"}, {"source": "assets/deep", "destination": "/x/a.txt"}]
    assert "a file and a folder at once" in Bundle(folder, entries, []).faults[0].message


def test_a_manifest_with_files_variables_and_hosts(folder):
    """From spin.toml to what the API takes."""
    manifest = folder / "spin.toml"
    manifest.write_text(
        HEAD
        + """files = ["assets/*", { source = "a.txt", destination = "/etc" }]
exclude_files = ["**/*.bin"]
allowed_outbound_hosts = ["https://{{ api_host }}", "http://self"]
variables = { token = "<{{ token }}>", plain = "x" }
[variables]
api_host = { default = "api.example.com" }
token = { default = "t", secret = true }
"""
    )
    app = load_app(folder)
    component = app.request().components[0]

    assert component.outbound == ("https://api.example.com", "http://self")
    assert component.variables == (("token", "<t>"), ("plain", "x"))
    assert [(f.path, f.size_bytes) for f in component.files] == [("/assets/b.txt", 12), ("/etc/a.txt", 5)]
    assert {file.name for file in app.files} == {"web.wasm", "a.txt", "b.txt"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('files = ["gone"]\n', (9, 10, "no file matches gone")),
        ("files = [7]\n", (9, 10, "an entry of files is a pattern, or { source, destination }")),
        ('files = [{ source = "a" }]\n', (9, 10, "an entry of files is a pattern, or { source, destination }")),
        ('allowed_outbound_hosts = ["http://a/b"]\n', (9, 27, "'http://a/b' has a path; only hosts are allowed")),
        ('allowed_outbound_hosts = ["http://{{ a }}"]\n', (9, 27, "there is no variable 'a'")),
        ('variables = { x = "{{ a }}" }\n', (9, 19, "there is no variable 'a'")),
        ('variables = { X = "a" }\n', (9, 15, "")),
    ],
)
def test_mistakes_have_their_place(folder, text, expected):
    """Line, column, message."""
    (folder / "spin.toml").write_text(HEAD + text)
    with pytest.raises(ManifestError) as caught:
        load_app(folder)
    (problem,) = caught.value.problems

    assert (problem.line, problem.col) == expected[:2]
    assert expected[2] in problem.message
    assert problem.help or not expected[2]
