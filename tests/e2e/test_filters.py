"""Proxy-Wasm filters of a real edge, deployed from a manifest."""

from __future__ import annotations

import pytest

from tests.e2e.edge import WORKERS, running_edge

pytestmark = pytest.mark.e2e

TOKEN = {"Authorization": "Bearer open-sesame"}


def test_filters_stand_in_front_of_worker_and_origin(tmp_path):
    """No token, no answer; with it the worker answers, the response carries the filters' marks, and their time is told."""
    with running_edge(tmp_path, processes=2) as edge:
        edge.cli("deploy", WORKERS / "filter-auth")

        refused = edge.http("guarded", metro="Tokyo")
        wrong = edge.http("guarded", headers={"Authorization": "Bearer guess"})
        let_in = edge.http("guarded", "/headers", metro="Tokyo", headers=TOKEN)

        assert refused.status == wrong.status == 401
        assert refused.headers["WWW-Authenticate"] == "Bearer"
        assert refused.headers["X-Filtered-By"] == "headers"
        assert refused.pop == "nrt1"
        assert let_in.status == 200
        assert let_in.headers["X-Filtered-By"] == "headers"
        assert b"x-edge-filter-pop: nrt1" in let_in.body.lower()
        assert b"open-sesame" not in let_in.body
        assert "filter;dur=" in let_in.headers["Server-Timing"]


def test_a_filter_cannot_serve_and_a_worker_cannot_filter(tmp_path):
    """Both are refused when they are deployed, by name."""
    manifest = (WORKERS / "filter-auth/spin.toml").read_text().replace('"../', f'"{WORKERS}/')
    manifest = manifest.replace('"auth.wasm"', f'"{WORKERS}/filter-auth/auth.wasm"')
    app = tmp_path / "app"
    app.mkdir()
    with running_edge(tmp_path / "edge", processes=1) as edge:
        (app / "spin.toml").write_text(manifest.replace("hello/hello.wasm", "filter-headers/headers.wasm"))
        serves = edge.cli("deploy", app, code=None)
        (app / "spin.toml").write_text(manifest.replace("filter-headers/headers.wasm", "hello/hello.wasm"))
        filters = edge.cli("deploy", app, code=None)
        (app / "spin.toml").write_text(manifest.replace('configuration = "open-sesame"', ""))
        unconfigured = edge.cli("deploy", app, code=None)

    assert serves.code == filters.code == 2
    assert "'hello' is a Proxy-Wasm filter" in serves.err
    assert "'headers' is no filter" in filters.err
    assert unconfigured.code == 4
    assert "auth" in unconfigured.err + unconfigured.out
    assert "refused its configuration" in unconfigured.err + unconfigured.out
