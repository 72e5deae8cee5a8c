"""A worker that fetches over TLS, in a process of its own: the authority comes from the environment."""

from __future__ import annotations

import os
import ssl
import subprocess
import sys
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import quote

import pytest

from tests.support.guests import guest
from tests.support.tls import make_certificates

pytestmark = pytest.mark.e2e


class Secret(BaseHTTPRequestHandler):
    """Answers every request."""

    def do_GET(self):
        """A secret."""
        self.send_response(200)
        self.send_header("Content-Type", "text/x-secret")
        self.end_headers()
        self.wfile.write(b"only over TLS")

    def log_message(self, *_args):
        """Say nothing."""


@contextmanager
def serving(certificate):
    """A server that speaks TLS; its port."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Secret)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize("trusted", [True, False])
def test_a_worker_fetches_over_tls(tmp_path, trusted):
    """With the authority it gets the answer, without it an error of its own to handle."""
    ca_file, certificate = make_certificates(tmp_path, "localhost")
    environ = {name: value for name, value in os.environ.items() if name != "SSL_CERT_FILE"}
    if trusted:
        environ["SSL_CERT_FILE"] = str(ca_file)
    with serving(certificate) as port:
        url = quote(f"https://localhost:{port}/", safe="")
        done = subprocess.run(
            [
                sys.executable, "-m", "edgesim", "run", guest("c-echo"), "--allow-outbound", f"https://localhost:{port}",
                "--once", "GET", f"/sub?url={url}",
            ],
            env=environ, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert done.stdout == ("only over TLS" if trusted else "error-code 13")  # TLS-certificate-error
    assert ("200 GET" if trusted else "502 GET") in done.stderr
