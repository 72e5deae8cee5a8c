"""Apps on disk: what spin.toml may say, and how each mistake is reported."""

import hashlib
import os
from pathlib import Path

import pytest

from edgesim.config.manifest import load_app
from edgesim.config.resources import resource_path
from edgesim.errors import BundleError, ManifestError, UsageError
from edgesim.model.worker import Limits, Route

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
def write(tmp_path: Path):
    """Write a manifest beside a file web.wasm, and return its path."""
    (tmp_path / "web.wasm").write_bytes(b"\0asm")

    def write(text: str) -> Path:
        path = tmp_path / "spin.toml"
        path.write_text(text)
        return path

    return write


def problems(path: Path) -> list[tuple[int, int, str]]:
    """Line, column and message of each problem of a manifest."""
    with pytest.raises(ManifestError) as caught:
        load_app(path)
    return [(p.line, p.col, p.message) for p in caught.value.problems]


def test_a_manifest_gives_components_routes_environment_and_limits(write, tmp_path):
    """Everything that edgesim takes from a manifest arrives."""
    path = write(
        HEAD
        + """
environment = { LOG = "debug" }
build.command = "make"
allowed_outbound_hosts = []

[component.web.tool.edgesim]
memory = "64MiB"
cpu_ms = 20
wall = "2s"

[[trigger.http]]
route = "/static/..."
component = "files"
executor = { type = "wagi" }

[component.files]
source = "web.wasm"
"""
    )
    app = load_app(tmp_path)

    assert app.name == "shop"
    assert app == load_app(path)
    assert app.routes == (Route(pattern="/...", component="web"), Route(pattern="/static/...", component="files"))
    assert [c.id for c in app.components] == ["web", "files"]
    assert app.components[0].environment == (("LOG", "debug"),)
    assert app.components[0].limits == Limits(memory_bytes=64 << 20, cpu_ms=20.0, wall_s=2.0)
    assert app.files == (tmp_path / "web.wasm",)


def test_a_deployment_names_the_files_by_their_digest(write):
    """`request` is what the API takes: sha256 of each file, limits and routes."""
    path = write(HEAD)
    request = load_app(path).request(prefetch=False, message="first")

    assert request.components[0].digest == hashlib.sha256(b"\0asm").hexdigest()
    assert not request.prefetch
    assert [(r.pattern, r.component) for r in request.routes] == [("/...", "web")]


def test_every_problem_is_reported_at_once_with_its_position(write):
    """Unsupported fields by name, unknown keys with a suggestion, wrong routes and types: one report, in file order."""
    path = write(
        """spin_manifest_version = 2
variables = { a = { required = true } }
[application]
name = "shop"
verison = "1"
[[trigger.http]]
route = "/users/:id"
component = "web"
[[trigger.http]]
route = { private = true }
component = { source = "x" }
[component.web]
source = { url = "https://example.org/x.wasm", digest = "sha256:0" }
allowed_outbound_hosts = ["https://example.org", "example.org"]
files = [
  "a", # a comment with ] and }
  { source = "x", destination = "y" },
]
key_value_stores = ["default"]
sqlite_databases = []
enviroment = { A = "b" }
[component.web.environment]
COUNT = 3
"""
    )

    assert problems(path) == [
        (2, 15, "the variable 'a' has no default, and there are no providers of variables yet"),
        (5, 1, "unknown key 'verison'"),
        (7, 9, "the wildcard ':id' in a route is not supported yet"),
        (10, 9, "a private route (service chaining) is not supported yet"),
        (11, 13, "a component inside its trigger is not supported yet"),
        (13, 10, "a remote source (url and digest) is not supported yet"),
        (14, 50, "'example.org' has no scheme such as http:// or *://"),
        (16, 3, "no file matches a"),
        (17, 3, "there is no x"),
        (19, 20, "key_value_stores is not supported yet"),
        (21, 1, "unknown key 'enviroment'"),
        (23, 9, "expected text, not 3"),
    ]


def test_a_typo_comes_with_the_right_key_and_the_line(write):
    """A problem carries the suggestion and the line of the file, which the CLI shows with a caret."""
    path = write(HEAD.replace("[component.web]", "[component.web]\nsouce_dir = 1"))
    with pytest.raises(ManifestError) as caught:
        load_app(path)
    (problem,) = caught.value.problems

    assert problem.help == "did you mean 'source'?"
    assert problem.source == "souce_dir = 1"
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ('name = "shop"', 'name = "My Shop"', (4, 8, "'My Shop' cannot be an app's name here")),
        ('component = "web"', 'component = "wep"', (8, 13, "there is no component 'wep'")),
        ('source = "web.wasm"', 'source = "gone.wasm"', (11, 10, "there is no file gone.wasm")),
        ("[component.web]", "[component.'web']\n", (12, 10, "there is no file x")),
        ('route = "/..."', 'route = "users"', (7, 9, "a route begins with /")),
        ('route = "/..."', 'route = "/.../x"', (7, 9, "'...' stands at the end of a route, after a /")),
        ('route = "/..."', 'route = "/a?b"', (7, 9, "a route is a path, without spaces, query and fragment")),
        ("spin_manifest_version = 2", "spin_manifest_version = 3", (1, 25, "must be 2, not 3")),
        ("spin_manifest_version = 2", 'spin_manifest_version = "1"', (1, 25, "a version 1 manifest is not supported")),
    ],
)
def test_each_mistake_points_at_its_value(write, old, new, expected):
    """One mistake, one problem, at the value that is wrong."""
    text = HEAD.replace(old, new)
    if "'web'" in new:  # a quoted key is the same key
        text = text.replace("web.wasm", "x")

    assert expected in problems(write(text))


@pytest.mark.parametrize(
    "text",
    ["a = \n", "[a\n", 'x = "unclosed\n', "a = 1\na = 2\n", "\xff"],
)
def test_text_that_is_not_toml_is_one_problem(tmp_path, text):
    """A syntax error names the file, never a traceback."""
    path = tmp_path / "spin.toml"
    path.write_bytes(text.encode("latin-1"))

    assert len(problems(path)) == 1


def test_positions_survive_every_form_of_toml(write):
    """Multi-line strings, dotted and quoted keys, nested arrays and inline tables: a later position stays right."""
    text = (
        HEAD
        + '''description = """
] } = # not a comment
"""
[component.web.environment]
"A B" = "it's"
'C.D' = 'a = "b'
[component.web.tool.other]
x = [[1, 2], { y = "}" }, # ]
  'z']
a.b."c" = 1979-05-27
[component.web.tool.edgesim]
cpu = 1
'''
    )

    assert problems(write(text)) == [(text.splitlines().index("cpu = 1") + 1, 1, "unknown key 'cpu'")]


def test_limits_outside_their_bounds_are_problems(write):
    """Limits are checked where they are written."""
    path = write(HEAD + '[component.web.tool.edgesim]\nmemory = "1KiB"\nwall = "2 parsecs"\ncpus = 3\n')

    assert [(line, col) for line, col, _ in problems(path)] == [(13, 10), (14, 8), (15, 1)]


def test_problems_of_form_do_not_hide_those_of_the_whole(write):
    """Types, unsupported fields, limits, names, components and files: one report, each mistake once."""
    path = write(
        """spin_manifest_version = 2
[application]
name = "Shop_X"
[[trigger.http]]
route = "/..."
component = "nope"
[[trigger.http]]
route = "/..."
component = "web"
[component.web]
source = "missing.wasm"
environment = { N = 1 }
files = ["a"]
build.command = "make web"
[component.web.tool.edgesim]
memory = "1KiB"
cpus = 3
[component."a b"]
source = 7
[component.web.tool.other]
anything = [1]
"""
    )

    assert problems(path) == [
        (3, 8, "'Shop_X' cannot be an app's name here"),
        (6, 13, "there is no component 'nope'"),
        (8, 9, "the route /... is given twice"),
        (11, 10, "there is no file missing.wasm"),
        (12, 21, "expected text, not 1"),
        (13, 10, "no file matches a"),
        (16, 10, "'1KiB': must be at least 64KiB"),
        (17, 1, "unknown key 'cpus'"),
        (18, 1, "no route leads to the component 'a b'"),
        (18, 1, "'a b' cannot be a component's id"),
        (19, 10, "expected text, not 7"),
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[[component]]\nid = 1", ["expected a mapping (`key: value`), not a list"]),
        ("[component]", ["expected at least 1 entry, not 0"]),
        ("[component]\nweb = 1", ["expected a mapping (`key: value`), not 1"]),
        ("[component.web]\nsource = 'web.wasm'\ntool = 3", ["expected a mapping (`key: value`), not 3"]),
    ],
)
def test_what_cannot_be_read_has_no_further_problems(write, text, expected):
    """A part of a wrong type is one problem: nothing is concluded from it."""
    head = HEAD.partition("[component.web]")[0]

    assert [message for _, _, message in problems(write(head + text + "\n"))] == expected


def test_a_bare_wasm_file_serves_every_path(tmp_path):
    """Without a manifest the app is called as the file."""
    file = tmp_path / "my_worker.wasm"
    file.write_bytes(b"\0asm")
    app = load_app(file)

    assert app.name == "my-worker"
    assert app.routes == (Route(pattern="/...", component="my-worker"),)
    assert load_app(file, name="other").name == "other"


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda d: d, "there is no spin.toml in"),
        (lambda d: d / "gone.wasm", "there is no"),
        (lambda d: (d / "a.txt", (d / "a.txt").write_text(""))[0], "neither a manifest nor a .wasm"),
        (lambda d: (d / "pipe.wasm", os.mkfifo(d / "pipe.wasm"))[0], "is not a file"),
        (lambda d: (d, (d / "wrangler.toml").write_text(""))[0], "wrangler.toml is not supported yet"),
    ],
)
def test_what_is_no_app_is_said(tmp_path, make, text):
    """A path without an app is the user's mistake, with what to name instead."""
    with pytest.raises(UsageError, match=text) as caught:
        load_app(make(tmp_path))

    assert caught.value.help


def test_an_impossible_name_is_refused(tmp_path):
    """The name becomes a host name."""
    with pytest.raises(UsageError, match="cannot be an app's name"):
        load_app(tmp_path, name="Not A Host")


def test_a_file_that_vanished_is_a_bundle_error(write, tmp_path):
    """Between reading the manifest and uploading, a file may go."""
    app = load_app(write(HEAD))
    (tmp_path / "web.wasm").unlink()
    with pytest.raises(BundleError, match=r"cannot read .*web\.wasm"):
        app.request()


@pytest.mark.parametrize("name", ["hello", "hello-v2", "hello-wagi", "hello-zig"])
def test_the_sample_workers_have_manifests(name):
    """What ships can be deployed."""
    app = load_app(resource_path(f"workers/{name}"))

    assert app.request().components
