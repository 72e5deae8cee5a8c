"""Workers of a real edge that send requests, read their files, and call themselves."""

from __future__ import annotations

import shutil
from urllib.parse import quote

import pytest
from aiohttp import web

from edgesim.live.outbound import MAX_HOPS
from tests.e2e.edge import running_edge
from tests.support.guests import guest
from tests.support.serving import serving

pytestmark = pytest.mark.e2e

MANIFEST = """spin_manifest_version = 2
[application]
name = "caller"
[[trigger.http]]
route = "/..."
component = "c"
[component.c]
source = "guest.wasm"
allowed_outbound_hosts = ["http://127.0.0.1:{{ port }}", "http://self", "http://*.example:*"]
files = ["pages/*"]
[variables]
port = { default = "PORT" }
"""


def nested(depth: int) -> str:
    """A path that has the worker call itself so many times."""
    return f"/sub?url={quote('http://self' + nested(depth - 1), safe='')}" if depth else "/hello"


def test_a_worker_that_calls(tmp_path):
    """A server of its manifest, itself up to a depth, and nobody else; a file of its bundle."""
    seen = []

    async def handler(request):
        seen.append(request.headers.get("CDN-Loop"))
        return web.Response(text="from outside")

    app = tmp_path / "app"
    (app / "pages").mkdir(parents=True)
    (app / "pages" / "index.html").write_text("<h1>bundled</h1>")
    shutil.copy(guest("c-echo"), app / "guest.wasm")
    with serving(handler) as port, running_edge(tmp_path / "edge", processes=2) as edge:
        (app / "spin.toml").write_text(MANIFEST.replace("PORT", str(port)))
        edge.cli("deploy", app)

        outside = edge.http("caller", f"/sub?url=http://127.0.0.1:{port}/x")
        denied = edge.http("caller", f"/sub?url=http://127.0.0.1:{edge.api_port}/healthz")
        deep = edge.http("caller", nested(MAX_HOPS))
        too_deep = edge.http("caller", nested(MAX_HOPS + 1))
        file = edge.http("caller", "/file?path=/pages/index.html")
        none = edge.http("caller", "/file?path=/etc/passwd")

    assert (outside.status, outside.body) == (200, b"from outside")
    assert seen == ["edgesim"]
    assert (denied.status, denied.body) == (502, b"error-code 15")  # HTTP-request-denied
    assert (deep.status, deep.body) == (200, b"hello from c-echo")
    assert (too_deep.status, too_deep.body) == (502, b"error-code 36")  # loop-detected
    assert (file.status, file.body) == (200, b"<h1>bundled</h1>")
    assert none.status == 404
