"""`edgesim load run` as users start it: two processes, a real server, real time."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

pytestmark = pytest.mark.e2e

SCENARIO = """\
version: 1
name: local
target: {{url: "http://127.0.0.1:{port}"}}
load:
  phases:
    - {{name: warm, duration: 200ms, arrivalRate: 50, record: false}}
    - {{name: steady, duration: {duration}, arrivalRate: 100}}
populations:
  - {{name: asia, metros: [Tokyo]}}
  - {{name: europe, metros: [Paris, London]}}
requests:
  - {{name: home, get: /, expect: {{status: 200, header: {{x-edge-pop: exists}}}}}}
thresholds:
  - http.error_rate < {errors}
  - check: generator.lag.p99 < {lag}
    kind: validity
"""


@pytest.fixture
async def port() -> AsyncIterator[int]:
    """A server that answers as an edge does."""

    async def hello(_: web.BaseRequest) -> web.Response:
        return web.Response(text="hello", headers={"x-edge-pop": "nrt1", "server-timing": "net;dur=20"})

    runner = web.ServerRunner(web.Server(hello))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield runner.addresses[0][1]
    await runner.cleanup()


async def start(
    folder: Path, port: int, *flags: str, duration: str = "1s", errors: str = "1%", lag: str = "5s"
) -> asyncio.subprocess.Process:
    """`edgesim load run` on the scenario, in a folder of its own."""
    (folder / "s.yaml").write_text(SCENARIO.format(port=port, duration=duration, errors=errors, lag=lag))
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "edgesim", "load", "run", "s.yaml", "--out", "summary.json", *flags),
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def finish(process: asyncio.subprocess.Process, folder: Path) -> tuple[int | None, str, str, dict[str, object]]:
    """Exit code, stdout, stderr and the summary."""
    async with asyncio.timeout(60):
        out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode(), json.loads((folder / "summary.json").read_text())


@pytest.mark.parametrize(
    ("errors", "lag", "code", "conclusion"),
    [("1%", "5s", 0, "passed"), ("0%", "5s", 99, "failed"), ("1%", "0us", 98, "inconclusive")],
)
async def test_exit_codes(tmp_path: Path, port: int, errors: str, lag: str, code: int, conclusion: str) -> None:
    """0 when all holds, 99 for a missed threshold (0 is not below 0), 98 when the generator lagged."""
    process = await start(tmp_path, port, errors=errors, lag=lag)
    returned, out, err, summary = await finish(process, tmp_path)

    assert (returned, summary["conclusion"]) == (code, conclusion), err
    assert summary["schema"] == "edgesim.run-summary.v1"
    assert [p["pop"] for p in summary["pops"]] == ["nrt1"]  # type: ignore[index, union-attr]
    assert conclusion in out
    assert "summary: summary.json" in err


async def test_several_processes_send_what_one_sends(tmp_path: Path, port: int) -> None:
    """The same requests, from the same places, and one result."""
    results = []
    for workers in ("1", "3"):
        folder = tmp_path / workers
        folder.mkdir()
        process = await start(folder, port, "--workers", workers)
        returned, _, err, summary = await finish(process, folder)
        assert returned == 0, err
        results.append((summary["totals"]["requests"], [p["requests"] for p in summary["populations"]]))  # type: ignore[call-overload, index, union-attr]

    assert results[0] == results[1]
    assert results[0][0] > 50


async def test_a_run_ends_when_a_threshold_wants_that(tmp_path: Path, port: int) -> None:
    """Long before its end, whichever process sees it."""
    process = await start(
        tmp_path,
        port,
        "--workers",
        "2",
        duration="10m",
        errors="0%\n  - {check: http.response_time.p50 < 1us, abortOnFail: true, after: 500ms}",
    )
    returned, _, err, summary = await finish(process, tmp_path)

    assert returned == 99, err
    assert summary["aborted"] == "http.response_time.p50 < 1us"
    assert summary["elapsed_s"] < 60  # type: ignore[operator]


async def test_ctrl_c_keeps_a_partial_summary(tmp_path: Path, port: int) -> None:
    """SIGINT ends a long run at once, with exit code 130 and what there is."""
    process = await start(tmp_path, port, duration="10m")
    assert process.stderr is not None
    async with asyncio.timeout(30):
        while b"steady" not in await process.stderr.readline():
            pass
    process.send_signal(signal.SIGINT)
    returned, _, err, summary = await finish(process, tmp_path)

    assert (returned, summary["conclusion"]) == (130, "interrupted"), err
    assert summary["totals"]["requests"] > 0  # type: ignore[call-overload, index]
    assert "Traceback" not in err


async def test_a_generator_that_dies_is_an_error_not_a_result(tmp_path: Path, port: int) -> None:
    """SIGKILL of the generator's process: exit code 1, and words instead of a traceback."""
    process = await start(tmp_path, port, duration="10m")
    assert process.stderr is not None
    async with asyncio.timeout(30):
        while b"steady" not in await process.stderr.readline():
            pass
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    if not children.exists():
        process.kill()
        await process.wait()
        pytest.skip("this system does not list child processes in /proc")
    killer = await asyncio.create_subprocess_exec("kill", "-9", children.read_text().split()[0])
    await killer.wait()
    async with asyncio.timeout(30):
        _, err = await process.communicate()

    assert process.returncode == 1
    assert b"E0309" in err
    assert b"Traceback" not in err
