"""Filters in spin.toml."""

from __future__ import annotations

import pytest

from edgesim.config.manifest import load_app
from edgesim.errors import ManifestError

MANIFEST = """\
spin_manifest_version = 2
[application]
name = "shop"
[application.tool.edgesim]
filters = {filters}
[[trigger.http]]
route = "/..."
component = "shop"
[component.shop]
source = "a.wasm"
[component.auth]
source = "a.wasm"
[component.auth.tool.edgesim]
{settings}
"""


@pytest.fixture
def app(tmp_path):
    """Load a manifest with these filters and settings of `auth`."""
    (tmp_path / "a.wasm").write_bytes(b"x")

    def load(filters='["auth"]', settings=""):
        (tmp_path / "spin.toml").write_text(MANIFEST.format(filters=filters, settings=settings))
        return load_app(tmp_path)

    return load


def test_filters_need_no_route(app):
    """A component that is only a filter is not one that nobody uses."""
    found = app()

    assert found.filters == ("auth",)
    assert found.request().filters == ("auth",)
    assert found.components[1].configuration == ""
    assert not found.components[1].fail_open


@pytest.mark.parametrize(
    ("settings", "configuration"),
    [('configuration = "token"', "token"), ('configuration = {paths = ["/a"], n = 1}', '{"paths": ["/a"], "n": 1}')],
)
def test_the_configuration_is_text_or_a_table(app, settings, configuration):
    """A table reaches the filter as JSON, and the deployment as text."""
    found = app(settings=f"{settings}\nfail_open = true")
    wanted = found.request().components[1]

    assert wanted.configuration == configuration
    assert wanted.fail_open


@pytest.mark.parametrize(
    ("filters", "message"),
    [
        ('["auht"]', "there is no component 'auht'"),
        ('["auth", "auth"]', "the filter 'auth' is named twice"),
        ('["auth", "shop"]', "the component 'shop' is a filter and has a route"),
        ("[]", "no route leads to the component 'auth'"),
    ],
)
def test_filters_that_do_not_fit(app, filters, message):
    """Each with its place in the file."""
    with pytest.raises(ManifestError, match=message) as raised:
        app(filters)

    assert raised.value.problems[0].line in (5, 11, 13)


@pytest.mark.parametrize(
    ("filters", "settings"),
    [('"auth"', ""), ("[1]", ""), ('["auth"]', "configuration = 1"), ('["auth"]', "fail_open = 1")],
)
def test_values_of_the_wrong_type(app, filters, settings):
    """Problems, not tracebacks."""
    with pytest.raises(ManifestError):
        app(filters, settings)


def test_tables_of_other_tools_are_their_business(app, tmp_path):
    """As in components."""
    app()
    text = (tmp_path / "spin.toml").read_text()
    (tmp_path / "spin.toml").write_text(text.replace("[[trigger", "[application.tool.other]\nx = 1\n[[trigger", 1))

    assert load_app(tmp_path).filters == ("auth",)
