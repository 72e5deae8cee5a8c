"""Requests that workers send over TLS: to a real server, whose certificate is good, unknown, another host's, or expired."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import asynccontextmanager

import pytest
from aiohttp import connector, web

from edgesim.live.outbound import OutboundNetwork
from edgesim.model.http import BytesBody
from edgesim.model.ids import AppName, PopId
from edgesim.wasm.outbound import OutboundError, OutboundRequest
from tests.support.request_path import read_all
from tests.support.tls import make_certificates


@asynccontextmanager
async def serving(certificate, **settings):
    """A server that says over which protocol it was asked, and echoes; its port."""

    async def answer(request):
        body = await request.read()
        version = request.transport.get_extra_info("ssl_object").version()
        return web.Response(body=body or version.encode(), headers={"x-scheme": request.scheme})

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    for name, value in settings.items():
        setattr(context, name, value)
    server = web.Server(answer)
    sockets = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0, ssl=context)
    try:
        yield sockets.sockets[0].getsockname()[1]
    finally:
        sockets.close()
        await server.shutdown(0.1)


async def ask(port, *, host="localhost", body=None):
    """A worker's request; status, fields and body of its answer. Raises OutboundError."""
    network = OutboundNetwork("http://127.0.0.1:1")
    worker = network.worker(AppName("shop"), PopId("fra1"), ["https://localhost:*", "https://127.0.0.1:*"])
    request = OutboundRequest(
        method="GET" if body is None else "POST",
        scheme="https",
        authority=f"{host}:{port}",
        target="/",
        headers=(),
        body=None if body is None else BytesBody(body),
    )
    try:
        answer = await worker.open(request, ())
        return answer.status, dict(answer.headers), await read_all(answer.body)
    finally:
        await network.close()


@pytest.fixture
def trust(monkeypatch):
    """Have the process trust an authority, as it would with SSL_CERT_FILE."""

    def trust(ca_file):
        monkeypatch.setattr(connector, "_SSL_CONTEXT_VERIFIED", ssl.create_default_context(cafile=ca_file))

    return trust


async def test_a_good_certificate(tmp_path, trust):
    """Encrypted in both directions, by name and by address."""
    ca_file, certificate = make_certificates(tmp_path, "localhost", "127.0.0.1")
    trust(ca_file)
    async with serving(certificate) as port:
        status, fields, version = await ask(port)
        echoed = await ask(port, host="127.0.0.1", body=b"x" * 300_000)

    assert (status, fields["x-scheme"], version) == (200, "https", b"TLSv1.3")
    assert echoed[2] == b"x" * 300_000


@pytest.mark.parametrize("wrong", ["unknown", "another host", "expired"])
async def test_certificates_that_are_not_good(tmp_path, trust, wrong):
    """The guest hears of it, and nothing was sent."""
    names = ("example.com",) if wrong == "another host" else ("localhost",)
    ca_file, certificate = make_certificates(tmp_path, *names, expired=wrong == "expired")
    if wrong != "unknown":
        trust(ca_file)
    async with serving(certificate) as port:
        with pytest.raises(OutboundError) as caught:
            await ask(port)

    assert caught.value.code == "TLS-certificate-error"


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
async def test_a_server_of_another_age(tmp_path, trust):
    """TLS 1.1 is not spoken any more (RFC 8996)."""
    ca_file, certificate = make_certificates(tmp_path, "localhost")
    trust(ca_file)
    old = serving(certificate, minimum_version=ssl.TLSVersion.TLSv1, maximum_version=ssl.TLSVersion.TLSv1_1)
    async with old as port:
        with pytest.raises(OutboundError) as caught:
            await ask(port)

    assert caught.value.code in {"TLS-alert-received", "TLS-protocol-error", "connection-terminated"}
