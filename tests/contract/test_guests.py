"""Every ABI, every language, every floor: the conformance guests must get the same answers from all of them."""

import asyncio
import json
import random
from dataclasses import replace

import pytest
import pytest_asyncio

from edgesim.errors import (
    GuestCpuError,
    GuestError,
    GuestMemoryError,
    GuestOutputError,
    GuestTrapError,
    GuestWallError,
    RequestError,
)
from edgesim.model.http import BytesBody, header
from edgesim.model.worker import MIB, Limits
from edgesim.wasm import guest_store
from edgesim.wasm.files import FileTree
from edgesim.wasm.guest import Grants
from edgesim.wasm.outbound import OutboundError
from tests.contract.guest_fleet import Harbour, Pieces, Served, Upstream, having
from tests.support.wasm import GENEROUS, Slow, ended, read_all

pytestmark = pytest.mark.asyncio(loop_scope="module")
TEXT = (("content-type", "text/x-test"),)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def harbour():
    """Where the guests of this module are kept."""
    harbour = Harbour()
    yield harbour
    await harbour.close()


@pytest_asyncio.fixture(loop_scope="module")
async def served(request, harbour):
    """The guest under test; it must leave no instance behind."""
    name, floor = request.param
    yield Served(name, await harbour.worker(name, floor))

    assert not guest_store.LIVE
    assert not guest_store._SUSPENDED


def noise(size: int) -> bytes:
    """Bytes of every value that no text codec lets through."""
    return random.Random(size).randbytes(size)


@having("/hello")
async def test_hello(served):
    """The smallest request."""
    response = await served.ask("/hello")

    assert response.status == 200
    assert header(response.headers, "content-type") == "text/plain"
    assert (await read_all(response)).decode() == served.traits.says


@having("/echo")
async def test_binary_bodies_come_back(served):
    """Of no bytes and one, around the chunk size, and of a megabyte; with their content type."""
    for size in (0, 1, 1000, 65_535, 65_536, 65_537, 300_001, 1 << 20):
        response = await served.ask("/echo", noise(size), headers=TEXT)
        body = await read_all(response)

        assert response.status == 200
        assert header(response.headers, "content-type") == "text/x-test"
        assert body == noise(size), f"a body of {size} bytes"


@having("/echo")
async def test_a_body_in_many_pieces(served):
    """However the client cuts it."""
    rng = random.Random(7)
    pieces = [rng.randbytes(rng.choice((1, 7, 100, 4096, 70_000))) for _ in range(60)]
    response = await served.ask("/echo", Pieces(pieces))

    assert await read_all(response) == b"".join(pieces)


@having("/echo")
async def test_the_reader_sets_the_pace(served):
    """A slow reader: the request is never pulled further ahead than windows and the guest's own buffers."""
    source = Pieces([bytes([i]) * 65_536 for i in range(64)])
    response = await served.ask("/echo", source)
    while (chunk := await response.body.next()) is not None:
        source.read_bytes += len(chunk)
        for _ in range(10):
            await asyncio.sleep(0)

    assert source.read_bytes == 64 * 65_536
    assert source.ahead_bytes <= MIB
    await ended(response)

    assert source.closed


@having("/echo")
async def test_an_answer_begins_before_the_request_has_ended(served):
    """Both directions stream."""
    source = Slow([b"one", b"two"])
    response = await served.ask("/echo", source, deadline_s=10)
    got = b""
    while len(got) < 6:
        got += await response.body.next()

    assert got == b"onetwo"
    assert not response.ended.done
    response.body.close()
    await ended(response)

    assert source.closed


@having("/headers")
async def test_request_fields(served):
    """Names in lowercase, values as they are; a browser's `Headers` sorts them."""
    sent = (("x-one", "a: b"), ("x-two", "c, d"), ("accept", "*/*"))
    got = json.loads(await served.text("/headers", headers=sent))

    assert sorted(map(list, sent)) == sorted(field for field in got if field[0] in dict(sent))


@having("/status")
async def test_status_codes(served):
    """Any final status."""
    for code in (200, 201, 301, 404, 418, 500, 503):
        response = await served.ask(f"/status?code={code}")

        assert response.status == code
        assert await read_all(response) == b"as you wish"


@having("/hello")
async def test_another_path(served):
    """The guest's own 404."""
    response = await served.ask("/nowhere?at=all")

    assert response.status == 404
    assert await read_all(response) == b"no such route"


@having("/timer")
async def test_timers_wait_and_hold_no_thread(served):
    """Twelve guests that wait wait together."""
    loop = asyncio.get_running_loop()
    begin = loop.time()
    answers = await asyncio.gather(*(served.text("/timer?ms=250") for _ in range(12)))
    took_s = loop.time() - begin

    assert answers == ["waited"] * 12
    assert 0.25 <= took_s < 12 * 0.25


@having("/env")
async def test_the_environment(served):
    """What the PoP gives."""
    grants = Grants(environment=(("EDGESIM_POP", "fra1"), ("COLOUR", "gr\u00fcn")))
    got = json.loads(await served.text("/env", grants=grants))

    assert {"EDGESIM_POP": "fra1", "COLOUR": "gr\u00fcn"}.items() <= got.items()


@having("/random")
async def test_randomness_differs_from_request_to_request(served):
    """Also where the language was started at build time."""
    got = {await served.text("/random") for _ in range(3)}

    assert len(got) == 3
    assert all(len(bytes.fromhex(value)) == 16 for value in got)


@having("/log")
async def test_log_lines(served):
    """The standard error stream is the worker's log, whole lines in order."""
    response = await served.ask("/log?n=50")

    assert await read_all(response) == b"50"
    await ended(response)

    assert response.log.splitlines() == [f"log line {i}" for i in range(50)]


@having("/log")
async def test_a_flood_of_log_lines_is_cut(served):
    """The first bytes are kept, and the guest does not fail."""
    response = await served.ask("/log?n=2000", limits=replace(GENEROUS, log_bytes=1000))

    assert await read_all(response) == b"2000"
    await ended(response)

    assert len(response.log) <= 1000


@having("/count")
async def test_instances_are_fresh(served):
    """Globals do not survive."""
    assert [await served.text("/count") for _ in range(3)] == ["1", "1", "1"]


@having("/stream")
async def test_chunks_in_order(served):
    """Small ones and large ones."""
    small = await served.text("/stream?chunks=20")
    large = await read_all(await served.ask("/stream?chunks=16&size=65536"))

    assert small == "".join(f"chunk {i}\n" for i in range(20))
    assert large == b"".join(bytes([i]) * 65_536 for i in range(16))


@having("/stream")
async def test_a_response_that_is_too_large_is_cut_off(served):
    """The limit holds for what is sent, and the reader learns why."""
    response = await served.ask("/stream?chunks=64&size=65536", limits=replace(GENEROUS, response_bytes=MIB))
    with pytest.raises(GuestOutputError, match="larger than 1048576 bytes"):
        await read_all(response)
    await ended(response)


@having("/stream")
async def test_a_reader_that_leaves_takes_the_guest_along(served):
    """In the middle of a response."""
    response = await served.ask("/stream?chunks=64&size=65536")
    assert await response.body.next()
    response.body.close()
    await ended(response)

    assert not guest_store.LIVE


@having("/file")
async def test_files_of_the_bundle(served, tmp_path):
    """Read only, whole, and nothing else."""
    content = noise(200_000)
    (tmp_path / "blob").write_bytes(content)
    (tmp_path / "secret").write_bytes(b"not yours")
    files = FileTree([("/data/deep/file.bin", tmp_path / "blob", len(content))])
    grants = Grants(files=files)

    assert await read_all(await served.ask("/file?path=/data/deep/file.bin", grants=grants)) == content
    for path in ("/data/none", "/data", "/data/../../etc/passwd", str(tmp_path / "secret")):
        response = await served.ask(f"/file?path={path}", grants=grants)

        assert response.status == 404, path
        assert await read_all(response) == b"no such file"


@having("/trailers")
@pytest.mark.parametrize("trailers", [(), (("x-sum", "9"), ("x-odd", "\u00fc"))])
async def test_trailers(served, trailers):
    """A guest reads the trailers of its request, which may have none, and sends one of its own."""
    response = await served.ask("/trailers", BytesBody(b"a body", trailers), headers=TEXT)

    assert response.status == 200
    assert json.loads(await read_all(response)) == [list(each) for each in trailers]
    await ended(response)
    assert not isinstance(response.body, bytes)
    assert response.body.trailers() == (("x-guest", served.name),)


@having("/sub")
async def test_subrequests(served):
    """What the guest sends, and what comes back through it, streamed."""
    upstream = Upstream(noise(300_000), 203, (("content-type", "image/x-test"), ("x-other", "1")))
    url = "http%3A%2F%2Fapi.example%3A8080%2Fitems%3Fa%3D1%26b%3D2"
    response = await served.ask(f"/sub?url={url}", grants=Grants(outbound=upstream))

    assert response.status == 203
    assert header(response.headers, "content-type") == "image/x-test"
    assert await read_all(response) == upstream.body
    (sent,) = upstream.asked

    assert (sent.method, sent.scheme, sent.authority) == ("GET", "http", "api.example:8080")
    assert sent.target == "/items?a=1&b=2"
    await ended(response)


@having("/sub")
async def test_subrequests_that_fail_are_the_guests_to_answer(served):
    """A refusal, and an upstream that cannot be reached."""
    for grants in (Grants(), Grants(outbound=Upstream(error=OutboundError("connection-refused")))):
        response = await served.ask("/sub?url=http%3A%2F%2Fapi.example%2F", grants=grants)

        assert response.status == 502
        assert await read_all(response)


@having("/spin")
async def test_the_cpu_limit(served):
    """A loop without end."""
    with pytest.raises(GuestCpuError):
        await served.ask("/spin", limits=Limits(cpu_ms=200))


@having("/trap")
async def test_a_trap_is_that_requests_error_alone(served):
    """Each language has its own way to die; the neighbours go on."""
    answers = await asyncio.gather(served.ask("/trap"), served.text("/hello"), return_exceptions=True)

    assert isinstance(answers[0], GuestTrapError)
    assert answers[1] == served.traits.says


@having("/oom")
async def test_the_memory_limit(served):
    """The guest gets no more: it dies, or its language makes an error of it that it may answer."""
    try:
        response = await served.ask("/oom", limits=replace(GENEROUS, memory_bytes=64 * MIB))
        await read_all(response)
    except (GuestMemoryError, GuestTrapError, GuestOutputError):
        return

    assert response.status == 500


@having("/timer")
async def test_the_wall_clock_limit(served):
    """Waiting is limited as well as working."""
    with pytest.raises(GuestWallError):
        await served.ask("/timer?ms=20000", limits=replace(GENEROUS, wall_s=0.3))


@having("/timer")
async def test_a_client_that_gives_up(served):
    """Cancelling returns when the guest is gone."""
    task = asyncio.create_task(served.ask("/timer?ms=20000"))
    while not guest_store.LIVE:
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert not guest_store.LIVE


@having("/echo")
async def test_a_request_body_beyond_the_limit(served):
    """The client's error, not the worker's, whatever the worker makes of it."""
    limits = replace(GENEROUS, body_bytes=100_000)
    with pytest.raises((RequestError, GuestError)) as caught:
        await read_all(await served.ask("/echo", noise(150_000), limits=limits))

    assert isinstance(caught.value, RequestError) or "larger than 100000 bytes" in str(caught.value.__cause__)


@having("/echo")
async def test_requests_do_not_mix(served):
    """Many at once, each with its own body."""
    bodies = [noise(5000 + i) for i in range(12)]
    answers = await asyncio.gather(*(served.ask("/echo", body) for body in bodies))

    assert [await read_all(answer) for answer in answers] == bodies
