"""Workers of a PoP host: what is decided before they run, and instances that are kept."""

from __future__ import annotations

import pytest

from edgesim.core.memory import unload
from edgesim.core.pop import Pop, Stage, Worker
from edgesim.core.serve import serve_at_pop
from edgesim.live.guests import WasmGuests
from edgesim.live.http_server import TooLargeError
from edgesim.live.world import LiveWorld
from edgesim.model.ids import AppName, Digest
from edgesim.model.worker import Component, Limits, Release, Reuse, Route
from edgesim.policies.scaling import keep_warm
from edgesim.wasm.runtime import Runtime
from tests.support.request_path import FRA, read_all, release, request, serve, settled, spec
from tests.support.wasm import GENEROUS, hello


class Loaded:
    """A worker in memory that must not run."""

    async def run(self, *args):
        """Fail."""
        raise AssertionError("the worker was run")


async def test_a_body_announced_over_the_components_limit():
    """413 before the worker runs: once its head is out, the connection could only be cut."""
    component = Component(id="c", digest=Digest("0" * 64), size_bytes=1, abi="wagi", limits=Limits(body_bytes=1024))
    release = Release(
        app=AppName("hello"), version=1, digest=Digest("1" * 64), components=(component,),
        routes=(Route(pattern="/...", component="c"),),
    )  # fmt: skip
    worker = Worker(release, component, Stage.LOADED)
    worker.handle = (Loaded(), ())
    guests = WasmGuests(None, None, None, [])

    with pytest.raises(TooLargeError, match="larger than 1024 bytes") as raised:
        await guests.run_worker(Pop(spec(FRA)), worker, request(headers=(("content-length", "1025"),)), None)

    assert raised.value.status == 413


class Blobs:
    """A blob store that has everything."""

    def __init__(self, path):
        self._path = path

    def has(self, digest):
        """Yes."""
        return True

    async def ensure(self, digest, size_bytes, session, sources):
        """It is there."""

    def path(self, digest):
        """The one file."""
        return self._path


@pytest.fixture
async def edge(tmp_path):
    """A PoP on the real runtime; `edge(abi, reuse, scaling)` serves the sample worker of an ABI there."""
    runtime = Runtime(tmp_path / "aot")
    events = []

    async def make(abi, reuse, scaling=None):
        path = tmp_path / "worker.wasm"
        path.write_bytes(hello(abi))
        found = await runtime.inspect(path)
        component = Component(
            id="c", digest=Digest(found.digest), size_bytes=found.size_bytes, abi=abi, limits=GENEROUS, reuse=reuse
        )
        w = LiveWorld(events.append)
        w.equip(guests=WasmGuests(Blobs(path), runtime, None, []))
        pop = Pop(spec(memory_bytes=1 << 30), scaling=scaling)
        serve(pop, release(components=(component,), routes=(Route(pattern="/...", component="c"),)))
        edges.append((w, pop))
        return w, pop

    edges = []
    yield make
    for w, pop in edges:
        for worker in pop.loaded():
            unload(w, pop, worker)
        await w.close()
    await runtime.close()


async def ask(w, pop):
    """One request, answered to its end."""
    response = await serve_at_pop(w, pop, request("/", now_s=w.now(), deadline_s=w.now() + 30.0))
    await read_all(response.body)
    assert response.status == 200, response.detail
    return response


async def test_an_instance_serves_again(edge):
    """The real thing: the second request finds the first one's instance, and the third a new one."""
    w, pop = await edge("wasi-http", Reuse(max_instance_reuse_count=(2, 2), idle_instance_timeout_s=(60.0, 60.0)))
    answers = [await ask(w, pop) for _ in range(4)]
    timings = [answer.timings.instantiate_s for answer in answers]

    assert [answer.start for answer in answers] == ["absent", "reused", "fresh", "reused"]
    assert [seconds > 0.0 for seconds in timings] == [True, False, True, False]
    assert pop.warm == 0


async def test_instances_are_counted(edge):
    """A kept one by what it takes; a new one, while it runs, by the least that one has needed."""
    w, pop = await edge("wasi-http", Reuse(max_instance_reuse_count=(9, 9), idle_instance_timeout_s=(60.0, 60.0)))
    await ask(w, pop)
    (worker,) = pop.apps["hello"].workers.values()

    assert worker.instance_bytes >= 65536
    assert pop.memory_bytes == worker.loaded_bytes + worker.instance_bytes


async def test_a_fresh_instance_needs_room(edge):
    """When everything else is taken, 503 and not one byte more."""
    w, pop = await edge("wasi-http", Reuse())
    await ask(w, pop)
    others = pop.spec.memory_bytes - pop.memory_bytes
    pop.memory_bytes += others
    response = await serve_at_pop(w, pop, request("/", now_s=w.now(), deadline_s=w.now() + 30.0))
    pop.memory_bytes -= others

    assert (response.status, response.outcome) == (503, "queue_full")
    assert "has no room for an instance of c" in response.detail


async def test_instances_stand_ready(edge):
    """Made while nobody waits: a fresh start that did not instantiate."""
    w, pop = await edge("wasi-http", Reuse(), keep_warm.Policy(count=2))
    await ask(w, pop)
    await settled(lambda: pop.warm)
    answer = await ask(w, pop)

    assert pop.warm >= 1
    assert (answer.start, answer.timings.instantiate_s) == ("fresh", 0.0)


async def test_a_command_serves_once(edge):
    """A WASI P1 command ends with its request: what the manifest asks for does not apply, and nothing is kept."""
    w, pop = await edge("wagi", Reuse(max_instance_reuse_count=(9, 9)), keep_warm.Policy(count=1))
    starts = [(await ask(w, pop)).start for _ in range(3)]
    await settled(lambda: pop.warm)

    assert starts == ["absent", "fresh", "fresh"]
    assert pop.warm == 0
