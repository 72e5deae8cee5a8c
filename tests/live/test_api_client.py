"""The API's client against an HTTP server in this process."""

import hashlib
import json
import socket
from pathlib import Path

import pytest
from aiohttp import web

from edgesim.config.messages import DeployRequest
from edgesim.config.releases import DeployComponent, RouteModel
from edgesim.errors import (
    AbiMismatchError,
    AuthError,
    ConfigError,
    ControlPlaneError,
    EdgesimError,
    NotFoundError,
    Problem,
    UsageError,
)
from edgesim.live.api_client import ApiClient
from edgesim.live.error_json import error_from_dict, error_to_dict


class Api:
    """A server whose answers the test sets, and what it was asked."""

    def __init__(self):
        self.seen = []
        self.answers = {}

    async def handle(self, request):
        """Answer as the test wishes."""
        self.seen.append((request.method, request.path, request.headers.get("Authorization"), await request.read()))
        answer = self.answers.get(f"{request.method} {request.path}", {"ok": True})
        return answer if isinstance(answer, web.StreamResponse) else web.json_response(answer)


@pytest.fixture
async def api():
    """A running server and its URL."""
    served = Api()
    runner = web.ServerRunner(web.Server(served.handle))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    served.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield served
    await runner.cleanup()


def failing(error, status=400):
    """An answer with an error."""
    return web.json_response({"error": error_to_dict(error)}, status=status)


async def test_routes_and_token(api):
    """Each method asks its route, with the token."""
    api.answers["GET /v1/pops"] = {"pops": [{"pop": "fra1"}, "garbage"]}
    async with ApiClient(api.url + "/", "tok") as client:
        pops = await client.pops()
        await client.version()
        await client.status()
        await client.pop("fra1")
        await client.pop_action("fra1", "kill")
        await client.host_action("host1", "restart")
        hosts = await client.hosts()
        await client.deployment("hello", 2)

    assert pops == [{"pop": "fra1"}]
    assert hosts == []
    assert [f"{method} {path}" for method, path, _, _ in api.seen] == [
        "GET /v1/pops",
        "GET /v1/version",
        "GET /v1/status",
        "GET /v1/pops/fra1",
        "POST /v1/pops/fra1/kill",
        "POST /v1/hosts/host1/restart",
        "GET /v1/hosts",
        "GET /v1/apps/hello/deployments/2",
    ]
    assert {token for _, _, token, _ in api.seen} == {"Bearer tok"}


async def test_blob_and_deployment(api, tmp_path):
    """The blob travels under its digest; the request is the one that the control plane decodes."""
    content = bytes(range(256)) * 3000
    (tmp_path / "a.wasm").write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    request = DeployRequest(
        components=(DeployComponent(id="a", digest=digest),), routes=(RouteModel(pattern="/...", component="a"),)
    )
    async with ApiClient(api.url, "tok") as client:
        told = await client.put_blob(tmp_path / "a.wasm")
        await client.deploy("hello", request)
    blob, deploy = api.seen

    assert told == digest
    assert (blob[0], blob[1], blob[3]) == ("PUT", f"/v1/blobs/sha256/{digest}", content)
    assert (deploy[0], deploy[1]) == ("POST", "/v1/apps/hello/deployments")
    assert DeployRequest.model_validate_json(deploy[3]) == request


async def test_events(api):
    """One object per line, until the server ends."""
    path = "GET /v1/apps/hello/deployments/2/events"
    api.answers[path] = web.Response(body=b'{"done": false}\n{"done": true}\n')
    async with ApiClient(api.url, "tok") as client:
        events = [event async for event in client.deployment_events("hello", 2)]

    assert events == [{"done": False}, {"done": True}]


async def test_events_of_an_unknown_version(api):
    """The error comes instead of the first event."""
    api.answers["GET /v1/apps/hello/deployments/9/events"] = failing(NotFoundError("no hello@9"), 404)
    async with ApiClient(api.url, "tok") as client:
        with pytest.raises(NotFoundError, match="no hello@9"):
            await anext(client.deployment_events("hello", 9))


PROBLEM = Problem(file="spin.toml", line=7, col=1, field="trigger", message="wrong", help="right", source="x")


@pytest.mark.parametrize(
    "error",
    [
        NotFoundError("there is no PoP 'x'", help="PoPs: fra1"),
        AbiMismatchError("no export", where="a.wasm"),
        ConfigError([PROBLEM, PROBLEM]),
    ],
)
async def test_errors_come_back_as_they_were_raised(api, error):
    """Class, message, place, help and problems survive the wire."""
    api.answers["GET /v1/status"] = failing(error)
    async with ApiClient(api.url, "tok") as client:
        with pytest.raises(EdgesimError) as caught:
            await client.status()

    assert type(caught.value) is type(error)
    assert error_to_dict(caught.value) == error_to_dict(error)


async def test_wrong_token_says_what_to_do(api):
    """An AuthError names the flags."""
    api.answers["GET /v1/status"] = failing(AuthError("wrong token"), 401)
    async with ApiClient(api.url, "bad") as client:
        with pytest.raises(AuthError) as caught:
            await client.status()

    assert "--token" in caught.value.help


@pytest.mark.parametrize(
    "response",
    [
        lambda: web.Response(status=404, text="<html>nginx"),
        lambda: web.Response(status=500, text='{"error": '),
        lambda: web.Response(text="hello"),
        lambda: web.Response(text="[1]"),
        lambda: web.Response(status=400, text="[" * 100_000),
    ],
)
async def test_something_else_listens(api, response):
    """Whatever it answers, it is no control plane: exit code 3."""
    api.answers["GET /v1/status"] = response()
    async with ApiClient(api.url, "tok") as client:
        with pytest.raises(ControlPlaneError) as caught:
            await client.status()

    assert caught.value.exit_code == 3
    assert caught.value.where == api.url


async def test_nobody_listens():
    """Exit code 3, in the system's words, with what to do."""
    async with ApiClient("http://127.0.0.1:1", "tok") as client:
        with pytest.raises(ControlPlaneError, match="Connection refused") as caught:
            await client.status()

    assert "edgesim up" in caught.value.help


@pytest.mark.parametrize(("log", "says"), [(Path("/s/control.log"), "the edge runs, but"), (None, "cannot be reached")])
async def test_a_control_plane_that_hangs(log, says):
    """A question is given up after its time; of an edge that runs that is said, with its log."""
    with socket.create_server(("127.0.0.1", 0)) as stopped:  # the kernel accepts, nobody answers
        url = f"http://127.0.0.1:{stopped.getsockname()[1]}"
        async with ApiClient(url, "tok", log=log, timeout_s=0.05) as client:
            with pytest.raises(ControlPlaneError, match=f"{says}.* no answer in time") as caught:
                await client.pops()

    assert ("/s/control.log" in caught.value.help) == (log is not None)
    assert ("edgesim up" in caught.value.help) == (log is None)


@pytest.mark.parametrize("name", ["", "../../x", "a/b", "a?b", "ü", "a" * 65])
async def test_names_cannot_change_the_path(api, name):
    """A strange name is refused before anything is sent."""
    async with ApiClient(api.url, "tok") as client:
        with pytest.raises(UsageError):
            await client.pop(name)

    assert api.seen == []


def test_endpoint_must_be_a_url():
    """A port alone is not a URL."""
    with pytest.raises(UsageError, match="not the URL of an API"):
        ApiClient("8081", "tok")


def test_unknown_error_code():
    """An error of a newer version keeps its words and its code."""
    error = error_from_dict({"code": "E9999", "message": "new", "help": "h"})

    assert type(error) is EdgesimError
    assert (error.message, error.help) == ("new (E9999)", "h")


@pytest.mark.parametrize("document", [None, 1, "x", [], {}, {"code": 5}, {"code": "E0101", "problems": [1, {}]}])
def test_malformed_error(document):
    """Whatever comes, an error is made of it."""
    assert isinstance(error_from_dict(document), EdgesimError)
    assert json.dumps(error_to_dict(error_from_dict(document)))
