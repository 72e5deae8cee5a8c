"""`status`, `pops`, `hosts`, `deploy` and `down` against an API and a supervisor in this process."""

import asyncio
import hashlib
import json
import os
import threading
import time
from contextlib import contextmanager

import pytest
from aiohttp import web

from edgesim.cli.main import run
from edgesim.config.messages import DeployRequest
from edgesim.errors import AbiMismatchError, ControlPlaneError, NotFoundError
from edgesim.live import processes
from edgesim.live.error_json import error_to_dict
from edgesim.live.state import ChildRecord, Ports, RunRecord, create_state_dir, read_run, write_run
from edgesim.live.supervisor_link import SupervisorServer
from tests.support.serving import serving

POPS = [
    {
        "pop": "fra1", "city": "Frankfurt", "country": "DE", "region": "weur", "host": "host1", "state": "ready",
        "lat": 50.0, "lon": 8.5, "apps": {"hello": 2}, "requests": 1234, "errors": 1, "cold": 3, "queued": 0,
        "slots": 16, "busy": 2, "warm": 4, "loaded_bytes": 3 << 20,
        "starts": {"fresh": 34, "none": 100, "reused": 1100}, "evictions": {"instance idle": 7},
        "duration": {"count": 1234, "p50_s": 0.00123, "p99_s": 0.0456},
        "parts": {"queue": {"count": 5, "p50_s": 0.001, "p99_s": 0.002}},
        "cpu": {"hello": {"count": 1100, "p50_s": 0.002, "p99_s": 0.061}},
        "most": {"hello": {"memory_bytes": 129 << 20, "subrequests": 51}},
        "cold_starts": [
            {"role": "trigger", "total": {"count": 3, "p50_s": 0.02, "p99_s": 0.03},
             "phases": {"fetch": {"count": 3, "p50_s": 0.01, "p99_s": 0.015}}},
        ],
    },
    {"pop": "nrt1", "city": "Tokyo", "country": "JP", "region": "apac", "host": "host2", "state": "down", "apps": {}},
]  # fmt: skip


@contextmanager
def supervisor(token, commands):
    """A supervisor's link in a thread; `commands` collects what it is told."""
    loop, started, port = asyncio.new_event_loop(), threading.Event(), []

    async def handle(op, name):
        commands.append((op, name))
        return {}

    server = SupervisorServer(token, handle)

    async def start():
        port.append(await server.start())
        started.set()

    def serve():
        loop.run_until_complete(start())
        loop.run_forever()
        loop.run_until_complete(server.close())
        loop.close()

    thread = threading.Thread(target=serve)
    thread.start()
    started.wait(10)
    try:
        yield port[0]
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)


class Edge:
    """What the fake edge answers, and what it was asked."""

    def __init__(self):
        self.seen = []
        self.commands = []
        self.answers = {
            "GET /v1/pops": {"pops": POPS},
            "GET /v1/pops/fra1": POPS[0],
            "GET /v1/pops/nrt1": POPS[1],
            "GET /v1/status": {"apps": {"hello": 2}},
            "POST /v1/pops/fra1/kill": {},
            "POST /v1/pops/fra1/restart": {},
            "POST /v1/pops/fra1/drain": {},
            "POST /v1/pops/fra1/undrain": {},
        }

    async def handle(self, request):
        """Answer as the test wishes; blobs are taken as they are."""
        key = f"{request.method} {request.path}"
        self.seen.append((key, await request.read()))
        if request.path.startswith("/v1/blobs/"):
            return web.json_response({"digest": request.path.rpartition("/")[2]}, status=201)
        answer = self.answers.get(key, NotFoundError(f"there is no {request.path}", help="PoPs: fra1, nrt1"))
        if isinstance(answer, Exception):
            return web.json_response({"error": error_to_dict(answer)}, status=answer.status)
        if isinstance(answer, list):
            return web.Response(text="".join(json.dumps(line) + "\n" for line in answer))
        return web.json_response(answer)


@pytest.fixture
def edge(tmp_path, monkeypatch):
    """A fake edge that EDGESIM_STATE points at."""
    fake = Edge()
    monkeypatch.setenv("EDGESIM_STATE", str(tmp_path))
    create_state_dir(tmp_path)
    with serving(fake.handle) as api, supervisor("sup", fake.commands) as link:
        pid, ticks = os.getpid(), processes.start_ticks(os.getpid())
        child = ChildRecord(name="host1", role="pop-host", pid=pid, start_ticks=ticks, state="ready", pops=("fra1",))
        write_run(
            tmp_path,
            RunRecord(
                version="0.1.0", pid=pid, start_ticks=ticks, started_at=time.time() - 65, ready=True, topology="/t",
                world="world-2", endpoint=f"http://127.0.0.1:{api}", front_door="http://127.0.0.1:8080", token="tok",
                supervisor_token="sup", ports=Ports(front_door=8080, api=api, broker=1, supervisor=link),
                children=(child, child.model_copy(update={"name": "host2", "state": "killed", "pid": 0})),
            ),
        )  # fmt: skip
        yield fake


def test_status(edge, capsys):
    """World, URLs, apps and processes; the same as JSON, without the tokens."""
    code = run(["status"])
    text = capsys.readouterr().out
    run(["status", "--json"])
    raw = capsys.readouterr().out
    document = json.loads(raw)

    assert code == 0
    assert "world-2  edgesim 0.1.0, ready, up for 1 min 5 s" in text
    assert "hello@2  http://hello.localhost:8080/" in text
    assert ["host2", "killed", "-", "0", "1"] in [line.split() for line in text.splitlines()]
    assert document["schema"] == "edgesim.status.v1"
    assert [c["name"] for c in document["children"]] == ["host1", "host2"]
    assert '"tok"' not in raw
    assert '"sup"' not in raw


def test_status_without_control_plane(edge, capsys):
    """The processes are shown all the same, with a warning."""
    edge.answers["GET /v1/status"] = ControlPlaneError("the broker is away")
    code = run(["status"])
    out, err = capsys.readouterr()

    assert code == 0
    assert "host1" in out
    assert "warning: the broker is away" in err


def test_pops_list(edge, capsys):
    """One row per PoP, numbers aligned right, nothing cut when piped; dashes where nothing is known."""
    code = run(["pops", "list"])
    lines = capsys.readouterr().out.splitlines()

    assert code == 0
    assert lines[0].split() == [
        "PoP",
        "city",
        "region",
        "host",
        "state",
        "apps",
        "requests",
        "p50",
        "p99",
        "cold",
        "starts",
        "queue",
    ]
    assert lines[1].split() == [
        "fra1",
        "Frankfurt",
        "weur",
        "host1",
        "ready",
        "hello@2",
        "1,234",
        "1.23",
        "ms",
        "45.6",
        "ms",
        "3",
        "0",
    ]
    assert lines[2].split() == ["nrt1", "Tokyo", "apac", "host2", "down", "-", "-", "-", "-", "-"]
    assert lines[0].index("requests") + len("requests") == lines[1].index("1,234") + len("1,234")
    assert all(line == line.rstrip() for line in lines)


def test_pops_describe(edge, capsys):
    """Facts, latency by part, cold starts by role and phase; also for a PoP that is down."""
    codes = run(["pops", "describe", "fra1"]), run(["pops", "describe", "nrt1"])
    text = capsys.readouterr().out

    assert codes == (0, 0)
    assert "fra1  Frankfurt, DE  ready" in text
    assert "3.0 MiB in use by modules and instances" in text
    assert "4 ready" in text
    assert "1,100 reused, 34 fresh\n" in text
    assert "7 instance idle" in text
    assert "1,234, 1 failed" in text
    assert "trigger      fetch      3  10.0 ms  15.0 ms" in text
    assert "hello       1,100  2.00 ms  61.0 ms  129 MiB    51" in text
    assert (
        "hello would be killed on fastly because it needed 135 MB of linear memory and the limit is 128 MB; "
        "and one request in a hundred used 61 ms of CPU time and the limit is 50 ms; "
        "and one request sent 51 requests of its own and the limit is 32"
    ) in " ".join(text.split())
    assert "killed on akamai because it needed 129 MiB" in text
    assert "not known" in text


def test_pops_json(edge, capsys):
    """The API's rows as they are, with a schema."""
    run(["pops", "list", "--json"])
    document = json.loads(capsys.readouterr().out)

    assert document == {"schema": "edgesim.pops.v1", "pops": POPS}


def test_pop_that_does_not_exist(edge, capsys):
    """Exit code 1 and what there is."""
    code = run(["pops", "kill", "xxx9"])

    assert code == 1
    assert "= help: PoPs: fra1, nrt1" in capsys.readouterr().err


def test_curl_of_a_pop_that_does_not_exist(edge, capsys):
    """Refused before anything is sent: the nearest id, else the PoPs that there are."""
    codes = run(["curl", "hello", "--pop", "fra2"]), run(["curl", "hello", "--pop", "nope"])
    err = capsys.readouterr().err

    assert codes == (2, 2)
    assert "error[E0102]: the edge has no PoP 'fra2'\n  = help: did you mean 'fra1'?" in err
    assert "= help: PoPs: fra1\n" in err
    assert edge.seen == []


def test_pops_drain_and_undrain(edge, capsys):
    """As kill and restart, with their own words."""
    codes = run(["pops", "drain", "fra1"]), run(["pops", "undrain", "fra1"])
    out = capsys.readouterr().out

    assert codes == (0, 0)
    assert [key for key, _ in edge.seen] == ["POST /v1/pops/fra1/drain", "POST /v1/pops/fra1/undrain"]
    assert out == "fra1 drained; put it back with `edgesim pops undrain`\nfra1 back in service\n"


def rolled_back(version):
    """The API's answers for an app whose third version is in force, and a rollback to `version` that is done at once."""
    rows = [{"pop": "fra1", "host": "host1", "state": "ready", "why": "", "distribute_s": 0.01}]
    made = {"app": "hello", "version": version, "done": True, "ok": True, "counts": {"ready": 1}, "pops": rows}
    return {
        "GET /v1/apps": {"apps": [{"app": "hello", "version": 3, "versions": [{"version": n} for n in (1, 2, 3)]}]},
        "POST /v1/apps/hello/rollback": made,
        f"GET /v1/apps/hello/deployments/{version}/events": [made],
    }


def test_rollback_goes_to_the_version_before(edge, capsys):
    """Without a version the highest below the one in force; its rollout is followed."""
    edge.answers |= rolled_back(2)

    code = run(["rollback", "hello", "-m", "it was bad"])

    assert code == 0
    assert capsys.readouterr().out.startswith("hello@2 runs again on 1 of 1 PoPs, ")
    (asked,) = [json.loads(body) for key, body in edge.seen if key == "POST /v1/apps/hello/rollback"]
    assert asked == {"version": 2, "message": "it was bad"}


def test_rollback_to_a_version_as_json(edge, capsys):
    """One document, with the rollout."""
    edge.answers |= rolled_back(1)

    code = run(["rollback", "hello", "1", "--json"])
    document = json.loads(capsys.readouterr().out)

    assert code == 0
    assert (document["schema"], document["version"], document["ok"]) == ("edgesim.rollback.v1", 1, True)
    assert "GET /v1/apps" not in [key for key, _ in edge.seen]


def test_there_may_be_nothing_to_roll_back_to(edge, capsys):
    """Exit code 2 and what to do."""
    edge.answers["GET /v1/apps"] = {"apps": [{"app": "hello", "version": 1, "versions": [{"version": 1}]}]}

    code = run(["rollback", "hello"])

    assert code == 2
    assert "hello has no version before 1" in capsys.readouterr().err


def test_pops_kill_and_restart(edge, capsys):
    """The API is asked once per PoP."""
    codes = run(["pops", "kill", "fra1"]), run(["pops", "restart", "fra1", "--json"])
    out = capsys.readouterr().out

    assert codes == (0, 0)
    assert [key for key, _ in edge.seen] == ["POST /v1/pops/fra1/kill", "POST /v1/pops/fra1/restart"]
    assert out.startswith("fra1 killed; bring it back with `edgesim pops restart`\n{")


def test_hosts(edge, capsys):
    """Listed from run.json; killed and restarted by the supervisor; an unknown one reaches nobody."""
    codes = run(["hosts", "list"]), run(["hosts", "kill", "host1"]), run(["hosts", "restart", "host1", "host2"])
    unknown = run(["hosts", "kill", "control"])
    out, err = capsys.readouterr()

    assert codes == (0, 0, 0)
    assert unknown == 1
    assert ["host2", "killed", "-", "0", "fra1"] in [line.split() for line in out.splitlines()]
    assert edge.commands == [("kill", "host1"), ("restart", "host1"), ("restart", "host2")]
    assert "there are host1, host2" in err


def test_named_endpoint(edge, tmp_path, monkeypatch, capsys):
    """--endpoint needs no state directory."""
    endpoint = read_run(tmp_path).endpoint
    monkeypatch.setenv("EDGESIM_STATE", str(tmp_path / "none"))
    codes = run(["pops", "list", "--endpoint", endpoint]), run(["pops", "list"])

    assert codes == (0, 3)


def test_an_edge_whose_api_is_away(edge, tmp_path, capsys):
    """It runs, says run.json: the log is named, and not another start."""
    record = read_run(tmp_path)
    write_run(tmp_path, record.model_copy(update={"endpoint": "http://127.0.0.1:1"}))
    (tmp_path / "logs" / "control.log").touch()
    code = run(["pops", "list"])
    err = capsys.readouterr().err

    assert code == 3
    assert "the edge runs, but its control plane does not answer: Connection refused" in err
    assert f"{tmp_path}/logs/control.log" in err
    assert "edgesim up" not in err


MADE = {
    "app": "hello", "version": 2, "done": False,
    "components": [{"id": "hello", "abi": "wagi", "size_bytes": 2048}],
    "pops": [{"pop": "fra1", "host": "host1", "state": "pending"}, {"pop": "nrt1", "host": "host2", "state": "pending"}],
}  # fmt: skip


def progress(first, second, **why):
    """An event of the rollout."""
    rows = [
        {"pop": "fra1", "host": "host1", "state": first, "why": why.get("fra1", ""), "distribute_s": 0.02},
        {"pop": "nrt1", "host": "host2", "state": second, "why": why.get("nrt1", ""), "distribute_s": 0.03},
    ]
    return {"done": {first, second} <= {"ready", "failed", "superseded"}, "pops": rows}


@pytest.fixture
def app(tmp_path):
    """A bare Wasm file; the fake control plane does not look into it."""
    file = tmp_path / "hello.wasm"
    file.write_bytes(b"\0asm\1\0\0\0")
    return file


def test_deploy(edge, app, capsys):
    """Uploaded under its digest, made, followed region by region; the last line has version, PoPs and p95."""
    edge.answers["POST /v1/apps/hello/deployments"] = MADE
    edge.answers["GET /v1/apps/hello/deployments/2/events"] = [
        progress("ready", "compiling"),
        progress("ready", "ready"),
    ]
    code = run(["deploy", str(app), "--no-prefetch", "-m", "why not"])
    out, err = capsys.readouterr()
    digest = hashlib.sha256(app.read_bytes()).hexdigest()
    request = DeployRequest.model_validate_json(edge.seen[1][1])

    assert code == 0
    assert edge.seen[0] == (f"PUT /v1/blobs/sha256/{digest}", app.read_bytes())
    assert (request.prefetch, request.message, request.components[0].digest) == (False, "why not", digest)
    assert err.splitlines() == [
        "hello@2 made: hello (wagi, 2 KiB)",
        "weur   1 of 1 ready  fra1",
        "apac   1 of 1 ready  nrt1",
    ]
    assert out.startswith("hello@2 made known (to be fetched by the first request) to 2 of 2 PoPs in ")
    assert "; propagation p95 " in out
    assert "(document 30.0 ms)" in out


def test_deploy_json(edge, app, capsys):
    """One document on stdout, nothing on stderr."""
    edge.answers["POST /v1/apps/hello/deployments"] = MADE
    edge.answers["GET /v1/apps/hello/deployments/2/events"] = [progress("ready", "superseded")]
    code = run(["deploy", str(app), "--json"])
    out, err = capsys.readouterr()
    document = json.loads(out)

    assert code == 0
    assert err == ""
    assert document["schema"] == "edgesim.deploy.v1"
    assert (document["ok"], document["done"], document["counts"]) == (True, True, {"ready": 1, "superseded": 1})
    assert set(document["ready_s"]) == {"fra1"}


def test_deploy_that_fails_on_a_pop(edge, app, capsys):
    """Exit code 4 with the reason of each PoP that failed."""
    edge.answers["POST /v1/apps/hello/deployments"] = MADE
    edge.answers["GET /v1/apps/hello/deployments/2/events"] = [progress("ready", "failed", nrt1="does not compile: x")]
    code = run(["deploy", str(app)])
    err = capsys.readouterr().err

    assert code == 4
    assert "error[E0303]: hello@2 failed on 1 of 2 PoPs\n    nrt1   does not compile: x\n" in err


def test_deploy_that_does_not_end(edge, app, capsys):
    """Exit code 4 when the stream ends without every PoP, and a PoP whose host is away says so."""
    edge.answers["POST /v1/apps/hello/deployments"] = MADE
    edge.answers["GET /v1/apps/hello/deployments/2/events"] = [progress("pending", "down")]
    code = run(["deploy", str(app), "--timeout", "5"])
    err = capsys.readouterr().err

    assert code == 4
    assert "is not ready within 5 s on 2 of 2 PoPs" in err
    assert "nrt1   its host host2 is not there" in err


def test_deploy_of_no_worker(edge, app, capsys):
    """The control plane's verdict names the operator's file, not the blob in its store."""
    digest = hashlib.sha256(app.read_bytes()).hexdigest()
    edge.answers["POST /v1/apps/hello/deployments"] = AbiMismatchError("no export", where=f"/store/{digest}", help="h")
    code = run(["deploy", str(app)])
    err = capsys.readouterr().err

    assert code == 2
    assert "error[E0203]: no export" in err
    assert f"--> {app}" in err


def test_deploy_no_wait(edge, app, capsys):
    """Returns at once; the rollout is not followed."""
    edge.answers["POST /v1/apps/hello/deployments"] = MADE
    code = run(["deploy", str(app), "--no-wait", "--app", "hello"])

    assert code == 0
    assert "hello@2 is being rolled out to 2 PoPs" in capsys.readouterr().out
    assert len(edge.seen) == 2


@pytest.mark.parametrize("path", ["nope", ".", "x.txt"])
def test_deploy_of_nothing(edge, path, tmp_path, monkeypatch, capsys):
    """No app there: exit code 2, nothing is uploaded."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.txt").write_text("")
    code = run(["deploy", path])

    assert code == 2
    assert "spin.toml" in capsys.readouterr().err
    assert edge.seen == []


def test_nothing_runs(tmp_path, monkeypatch, capsys):
    """Each command that needs an edge exits with 3 and says how to start one; `down` has nothing to do."""
    monkeypatch.setenv("EDGESIM_STATE", str(tmp_path))
    codes = [run(args) for args in (["status"], ["pops", "list"], ["hosts", "list"], ["curl", "hello"])]
    down = run(["down"])
    out, err = capsys.readouterr()

    assert codes == [3, 3, 3, 3]
    assert err.count("= help: start one with `edgesim up`") == 4
    assert (down, out) == (0, f"no edge is running from {tmp_path}\n")
