"""The HTTP API: who may use it, what it answers, and its errors."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
from pathlib import Path

import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestClient, TestServer

from edgesim.config.messages import encode
from edgesim.errors import NotFoundError
from edgesim.live import hop
from edgesim.live.blobs import BlobStore
from edgesim.live.control.api import build_app
from tests.support.control import control_plane, listening_host, request, wasm

TOKEN = "secret"
HOP = "hop-secret"
AUTH = {"Authorization": f"Bearer {TOKEN}"}


class Killer:
    """A supervisor that notes what it is asked for."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str]] = []

    async def kill(self, name: str) -> None:
        """Note it."""
        self.calls.append(("kill", name))

    async def restart(self, name: str) -> None:
        """Fail as a supervisor without that process does."""
        raise NotFoundError(f"no process {name}")


async def figures():
    """Figures as observe.Summary.to_json gives them, for one PoP."""
    cold = {"role": "trigger", "total": {"count": 2}}
    return {
        "pops": {"fra1": {"requests": 7, "duration": {"p99_s": 0.5}, "cold_starts": [cold]}},
        "missing": {"host2": "gone"},
    }


@contextlib.asynccontextmanager
async def api(directory: Path, **more):
    """A running control plane and a client of its API."""
    control = control_plane(directory)
    await control.start()
    server = TestServer(build_app(control, token=TOKEN, hop_token=HOP, stats=figures, **more), host="127.0.0.1")
    try:
        async with TestClient(server) as client:
            yield control, client
    finally:
        await control.stop()


async def upload(client: TestClient, content: bytes) -> str:
    """Put a blob; its digest."""
    digest = hashlib.sha256(content).hexdigest()
    async with client.put(f"/v1/blobs/sha256/{digest}", data=content, headers=AUTH) as response:
        assert response.status in {200, 201}
    return digest


async def test_deploy_over_http(tmp_path):
    """Upload, deploy, follow the events to the end, look at apps and PoPs."""
    async with (
        api(tmp_path / "c") as (control, client),
        listening_host(control, "host1") as one,
        listening_host(control, "host2"),
    ):
        digest = await upload(client, wasm("a"))
        again = await client.put(f"/v1/blobs/sha256/{digest}", data=wasm("a"), headers=AUTH)
        answer = await client.post("/v1/apps/hello/deployments", data=encode(request(digest)), headers=AUTH)
        done = await answer.json()
        async with client.get("/v1/apps/hello/deployments/1/events", headers=AUTH) as events:
            lines = [json.loads(line) async for line in events.content]
        one.beat()
        await one.bus.flush()
        shown = await (await client.get("/v1/apps/hello/deployments/1", headers=AUTH)).json()
        apps = await (await client.get("/v1/apps", headers=AUTH)).json()
        pops = await (await client.get("/v1/pops", headers=AUTH)).json()
        status = await (await client.get("/v1/status", headers=AUTH)).json()
        rows = {row["pop"]: row for row in pops["pops"]}

        assert again.status == 200
        assert answer.status == 201
        assert (done["app"], done["version"], done["gen"]) == ("hello", 1, 1)
        assert lines[-1]["done"]
        assert lines[-1]["ok"]
        assert shown["counts"] == {"ready": 4}
        assert apps["apps"][0]["versions"][0]["components"][0]["digest"] == digest
        assert rows["fra1"]["requests"] == 7
        assert rows["fra1"]["cold"] == 2
        assert rows["fra1"]["apps"] == {"hello": 1}
        assert pops["missing"] == {"host2": "gone"}
        assert status["apps"] == {"hello": 1}


@pytest.mark.parametrize(
    ("headers", "word"),
    [
        ({}, "token"),
        ({"Authorization": "Bearer wrong"}, "token"),
        ({"Authorization": f"Basic {TOKEN}"}, "token"),
        ({"Authorization": f"Bearer {HOP}"}, "token"),
        ({**AUTH, "Host": "evil.example"}, "Host"),
        ({**AUTH, "Host": "127.0.0.1:1"}, "Host"),
        ({**AUTH, "Host": "[::"}, "Host"),
        ({**AUTH, "Origin": "https://evil.example"}, "sites"),
        ({**AUTH, "Origin": "null"}, "sites"),
    ],
)
async def test_who_may_not_use_it(tmp_path, headers, word):
    """A wrong token, Host or Origin is refused with 401 and an error document, and changes nothing."""
    async with api(tmp_path / "c") as (control, client):
        for method, path in (
            ("GET", "/v1/status"),
            ("POST", "/v1/apps/hello/deployments"),
            ("PUT", f"/v1/blobs/sha256/{'0' * 64}"),
        ):
            async with client.request(method, path, headers=headers) as response:
                error = (await response.json())["error"]

                assert response.status == 401
                assert word in error["message"]
                assert error["code"] == "E0302"
        assert control.generation.gen == 0


async def test_own_pages_and_names_may_use_it(tmp_path):
    """Loopback origins and both loopback names pass."""
    async with api(tmp_path / "c") as (_, client):
        port = client.port
        for more in ({"Origin": f"http://localhost:{port}"}, {"Host": f"localhost:{port}"}, {}):
            async with client.get("/v1/version", headers={**AUTH, **more}) as response:
                assert response.status == 200


async def test_open_routes(tmp_path):
    """Health and Prometheus' discovery need no token, but the right Host."""
    async with api(tmp_path / "c") as (control, client), listening_host(control, "host1"):
        await control.changed(5)
        health = await client.get("/healthz")
        targets = await (await client.get("/v1/sd/prometheus")).json()
        rebound = await client.get("/healthz", headers={"Host": "evil.example"})

        assert health.status == 200
        assert targets[0] == {"targets": [f"127.0.0.1:{client.port}"], "labels": {"process": "control"}}
        assert targets[1] == {"targets": ["127.0.0.1:9"], "labels": {"process": "host1"}}
        assert rebound.status == 401


async def test_pop_hosts_pull_blobs_with_the_hop_token(tmp_path):
    """The hop token opens blobs and nothing else; a host's store pulls and verifies through it."""
    async with api(tmp_path / "c") as (control, client):
        digest = control.blobs.put(wasm("a"))
        store = BlobStore(tmp_path / "host")
        async with ClientSession(headers={"Authorization": f"Bearer {HOP}"}) as session:
            path = await store.ensure(digest, len(wasm("a")), session, [str(client.make_url("")).rstrip("/")])

        assert path.read_bytes() == wasm("a")


@pytest.mark.parametrize(
    ("content", "digest", "status", "code"),
    [
        (b"x", "0" * 64, 502, "E0304"),
        (b"x", "ABC", 400, "E0100"),
        (b"x", "..%2f..%2fetc", 400, "E0100"),
    ],
)
async def test_bad_uploads(tmp_path, content, digest, status, code):
    """Other content than announced, and digests that are none, are refused; nothing is left on disk."""
    async with api(tmp_path / "c") as (control, client):
        async with client.put(f"/v1/blobs/sha256/{digest}", data=content, headers=AUTH) as response:
            error = (await response.json())["error"]

            assert (response.status, error["code"]) == (status, code)
        assert list(control.blobs.root.iterdir()) == []


async def test_oversize_upload(tmp_path):
    """More than 64 MiB is refused by its announced length, before anything is sent."""
    async with api(tmp_path / "c") as (control, client):
        headers = {**AUTH, "Content-Length": str((64 << 20) + 1), "Expect": "100-continue"}
        async with client.put(f"/v1/blobs/sha256/{'0' * 64}", data=b"", headers=headers) as response:
            assert response.status == 413
            assert (await response.json())["error"]["code"] == "E0204"
        assert list(control.blobs.root.iterdir()) == []


@pytest.mark.parametrize(
    ("body", "word"),
    [
        (b"{", "Invalid JSON"),
        (b"{}", "components"),
        (b'{"components":[],"routes":[]}', "components"),
        (b'{"components":[{"id":"c","digest":"x"}],"routes":[{"pattern":"/","component":"c"}]}', "components.0.digest"),
        (b'{"components":[{"id":"c","digest":"%s"}],"routes":[{"pattern":"/","component":"d"}]}' % (b"0" * 64), "'d'"),
        (b'{"extra":1}', "extra"),
    ],
)
async def test_bad_deploy_bodies(tmp_path, body, word):
    """A malformed body is a 400 that names the field."""
    async with api(tmp_path / "c") as (control, client):
        async with client.post("/v1/apps/hello/deployments", data=body, headers=AUTH) as response:
            assert response.status == 400
            assert word in (await response.json())["error"]["message"]
        assert control.generation.gen == 0


async def test_broken_wasm_and_large_bodies(tmp_path):
    """Broken Wasm is 422, a body beyond its limit 413."""
    async with api(tmp_path / "c") as (control, client):
        digest = await upload(client, b"<html>")
        async with client.post("/v1/apps/hello/deployments", data=encode(request(digest)), headers=AUTH) as response:
            assert response.status == 422
            assert (await response.json())["error"]["code"] == "E0202"
        async with client.post("/v1/apps/hello/deployments", data=b" " * 300_000, headers=AUTH) as response:
            assert response.status == 413
        assert control.generation.gen == 0


@pytest.mark.parametrize(
    ("method", "path", "word"),
    [
        ("GET", "/v1/pops/xxx1", "fra1"),
        ("POST", "/v1/pops/xxx1/kill", "fra1"),
        ("POST", "/v1/hosts/xxx/kill", "host1, host2"),
        ("GET", "/v1/apps/nope/deployments/1", "none yet"),
        ("GET", "/v1/apps/nope/deployments/1/events", "none yet"),
        ("GET", "/v1/pops/frb1", "did you mean 'fra1'? PoPs: fra1"),
        ("GET", f"/v1/blobs/sha256/{'0' * 64}", ""),
        ("GET", "/v1/nothing", "api.md"),
        ("DELETE", "/v1/status", "api.md"),
    ],
)
async def test_what_does_not_exist(tmp_path, method, path, word):
    """404 (or 405) says what there is."""
    async with (
        api(tmp_path / "c", supervisor=Killer()) as (_, client),
        client.request(method, path, headers=AUTH) as response,
    ):
        error = (await response.json())["error"]

        assert response.status in {404, 405}
        assert word in error.get("help", "")


async def test_faults_go_to_every_process(tmp_path):
    """With the PoPs of a region looked up, and the hop token; what does not exist is said; DELETE ends all."""
    told: list[tuple[str, dict[str, object]]] = []

    async def take(request: web.Request) -> web.Response:
        told.append((request.headers[hop.TOKEN], json.loads(await request.read())))
        return web.json_response({})

    app = web.Application()
    app.router.add_post("/-/faults", take)
    link = {"link": {"peer": "clients", "for_s": 2.5, "add_s": 0.25, "region": "weur"}}
    async with TestServer(app) as server, api(tmp_path / "c") as (control, client):
        url = str(server.make_url("")).rstrip("/")
        region = control.topology.pops[0].region
        link["link"]["region"] = region
        async with listening_host(control, "host1", data_url=url):
            await control.changed(5)
            taken = await client.post("/v1/faults", json=link, headers=AUTH)
            nowhere = await client.post(
                "/v1/faults", json={"link": {"peer": "origin", "for_s": 1, "region": "mars"}}, headers=AUTH
            )
            unknown = await client.post("/v1/faults", json={"origin": {"origin": "mars", "for_s": 1}}, headers=AUTH)
            both = await client.post("/v1/faults", json={}, headers=AUTH)
            ended = await client.delete("/v1/faults", headers=AUTH)

            assert (taken.status, await taken.json()) == (200, {"told": ["host1"]})
            assert (nowhere.status, unknown.status, both.status) == (404, 404, 400)
            assert "regions" in (await nowhere.json())["error"]["help"]
            assert ended.status == 200
            (token, order), (_, end) = told
            assert token == HOP
            assert order["link"]["add_s"] == 0.25
            assert order["link"]["pops"] == [p.id for p in control.topology.pops if p.region == region]
            assert end == {"link": None, "origin": None}
        assert (await client.post("/v1/faults", json=link)).status == 401


async def test_a_process_that_does_not_take_a_fault_is_an_error(tmp_path):
    """Whoever asks for a fault must know that it is not everywhere."""

    async def refuse(_request: web.Request) -> web.Response:
        return web.Response(status=500, text="no")

    app = web.Application()
    app.router.add_post("/-/faults", refuse)
    async with (
        TestServer(app) as server,
        api(tmp_path / "c") as (control, client),
        listening_host(control, "host1", data_url=str(server.make_url("")).rstrip("/")),
    ):
        await control.changed(5)
        answer = await client.post("/v1/faults", json={"origin": {"for_s": 1, "refuse": True}}, headers=AUTH)

        assert answer.status == 503
        assert "host1 refused the fault: no" in (await answer.json())["error"]["message"]


async def test_pop_actions_go_to_its_host(tmp_path):
    """Kill and restart are forwarded with the hop token; the host's error comes back as it was; own state stays."""
    asked: list[tuple[str, str]] = []

    async def admin(request: web.Request) -> web.Response:
        asked.append((request.path, request.headers[hop.TOKEN]))
        if "restart" in request.path:
            return web.json_response({"error": {"code": "E0103", "message": "not mine"}}, status=404)
        return web.json_response({})

    app = web.Application()
    app.router.add_post("/-/pops/{pop}/{action}", admin)
    async with TestServer(app) as server, api(tmp_path / "c") as (control, client):
        away = await client.post("/v1/pops/fra1/kill", headers=AUTH)
        url = str(server.make_url("")).rstrip("/")
        async with listening_host(control, "host1", data_url=url):
            await control.changed(5)
            killed = await client.post("/v1/pops/fra1/kill", headers=AUTH)
            refused = await client.post("/v1/pops/fra1/restart", headers=AUTH)

            assert away.status == 503
            assert killed.status == 200
            assert refused.status == 404
            assert (await refused.json())["error"]["message"] == "not mine"
            assert asked == [("/-/pops/fra1/kill", HOP), ("/-/pops/fra1/restart", HOP)]
            assert control.generation.gen == 0


async def test_host_actions_go_to_the_supervisor(tmp_path):
    """Kill and restart of a host are the supervisor's; without one the answer says why."""
    killer = Killer()
    async with api(tmp_path / "c", supervisor=killer) as (_, client):
        killed = await client.post("/v1/hosts/host1/kill", headers=AUTH)
        unknown = await client.post("/v1/hosts/host2/restart", headers=AUTH)

        assert killed.status == 200
        assert unknown.status == 404
        assert killer.calls == [("kill", "host1")]
    async with api(tmp_path / "d") as (_, client):
        alone = await client.post("/v1/hosts/host1/kill", headers=AUTH)

        assert alone.status == 400
        assert "one process" in (await alone.json())["error"]["message"]


async def test_rollback_over_http(tmp_path):
    """An earlier version comes back as a new generation; a wrong body is refused."""
    async with api(tmp_path / "c") as (control, client):
        digest = control.blobs.put(wasm("a"))
        for _ in range(2):
            await control.deploy("hello", request(digest))
        done = await client.post("/v1/apps/hello/rollback", data=b'{"version":1}', headers=AUTH)
        wrong = await client.post("/v1/apps/hello/rollback", data=b'{"version":"x"}', headers=AUTH)

        assert done.status == 201
        assert (await done.json())["gen"] == 3
        assert wrong.status == 400
        assert control.desired["fra1"] == {"hello": 1}


async def test_full_disk_over_http(tmp_path, monkeypatch):
    """An upload that finds the disk full is 507, says so, and leaves nothing; the next one goes through."""
    async with api(tmp_path / "c") as (control, client):
        digest = hashlib.sha256(wasm("a")).hexdigest()

        def full(*_: object) -> int:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        with monkeypatch.context() as patch:
            patch.setattr(os, "write", full)
            async with client.put(f"/v1/blobs/sha256/{digest}", data=wasm("a"), headers=AUTH) as response:
                error = (await response.json())["error"]

                assert response.status == 507
                assert (error["code"], error["message"]) == ("E0305", "the disk is full; nothing has been stored")
        assert list(control.blobs.root.iterdir()) == []
        assert await upload(client, wasm("a")) == digest


async def test_documented_deployment(tmp_path):
    """The body in the reference is one that the API takes."""
    text = (Path(__file__).parents[3] / "docs" / "reference" / "api.md").read_text()
    body = text.split("POST /v1/apps/{app}/deployments")[1].split("```json")[1].split("```")[0]
    async with api(tmp_path / "c") as (control, client):
        digest = control.blobs.put(wasm("a"))
        data = body.replace("<sha256>", digest).encode()
        async with client.post("/v1/apps/hello/deployments", data=data, headers=AUTH) as response:
            assert response.status == 201
            assert control.release("hello", 1).message == "what is new"
