"""A manifest with one component, whose table of edgesim's own keys a test writes."""

from __future__ import annotations

import pytest

from edgesim.config.manifest import load_app

HEAD = """spin_manifest_version = 2
[application]
name = "shop"
[[trigger.http]]
route = "/..."
component = "web"
[component.web]
source = "web.wasm"
[component.web.tool.edgesim]
"""
"""The table begins in line 10."""


@pytest.fixture
def load(tmp_path):
    """Load such a manifest, with these lines in the table."""
    (tmp_path / "web.wasm").write_bytes(b"\0asm")

    def load(lines, **options):
        path = tmp_path / "spin.toml"
        path.write_text(HEAD + lines)
        return load_app(path, **options)

    return load
