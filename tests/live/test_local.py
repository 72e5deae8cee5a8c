"""PoPs in this process: kills under requests and under streams, alone and together with a client that goes."""

from __future__ import annotations

import asyncio

import pytest

from edgesim.core.pop import Pop
from edgesim.core.request import Response
from edgesim.errors import PopUnreachableError
from edgesim.live.local import LocalPops
from edgesim.live.world import LiveWorld
from tests.support.request_path import FRA, LHR, CountedBody, Guests, Origin, request, serve, spec


class Bench:
    """Two PoPs whose guests wait until they are told to go on."""

    def __init__(self):
        self.w = LiveWorld(lambda _: None)
        self.pops = {s.id: Pop(s) for s in (spec(FRA), spec(LHR))}
        for pop in self.pops.values():
            serve(pop)
        self.begun, self.go = asyncio.Event(), asyncio.Event()
        self.guests = Guests(self.answer)
        self.w.equip(guests=self.guests, origins=Origin())
        self.local = LocalPops(self.w, self.pops)

    async def answer(self, pop, worker, request):
        """When told."""
        self.begun.set()
        await self.go.wait()
        return Response(200, "ok")

    def start(self, pop=FRA):
        """A request in a task of its own."""
        return asyncio.create_task(self.local.forward(pop, request(now_s=self.w.now())))


async def test_a_kill_is_an_unreachable_pop():
    """The caller gets an error, not a cancellation, and its task can go on."""
    bench = Bench()

    async def caller():
        with pytest.raises(PopUnreachableError):
            await bench.local.forward(FRA, request(now_s=bench.w.now()))
        await asyncio.sleep(0)
        return asyncio.current_task().cancelling()

    task, other = asyncio.create_task(caller()), bench.start(LHR)
    await bench.begun.wait()
    bench.local.kill(FRA)
    bench.local.kill(FRA)
    cancelling = await task
    bench.go.set()

    assert cancelling == 0
    assert (await other).status == 200
    assert bench.local._visits == {FRA: {}, LHR: {}}


@pytest.mark.parametrize("client_first", [True, False])
async def test_a_kill_and_a_client_that_goes(client_first):
    """In the same instant: the client's going is what it is, whoever was first."""
    bench = Bench()
    task = bench.start()
    await bench.begun.wait()
    if client_first:
        task.cancel()
    bench.local.kill(FRA)
    if not client_first:
        task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert bench.local._visits[FRA] == {}


async def test_a_kill_frees_memory_and_a_restart_serves_again():
    """Loaded modules are given back once; the next life starts from disk."""
    bench = Bench()
    bench.go.set()
    await bench.start()
    bench.local.kill(FRA)
    with pytest.raises(PopUnreachableError):
        await bench.start()
    bench.pops[FRA].restart()
    serve(bench.pops[FRA])
    again = await bench.start()

    assert (bench.guests.loads, bench.guests.unloads) == (2, 1)
    assert (again.start, again.role) == ("disk", "trigger")


async def test_a_kill_under_a_stream():
    """The reader that waits, and the one that comes later, see the break; a stream that has ended is forgotten."""
    bench = Bench()
    gate = asyncio.Event()
    bodies = [CountedBody(2, gate=gate), CountedBody(0)]
    streams = list(bodies)

    async def answer(pop, worker, request):
        return Response(200, "ok", body=streams.pop(0))

    bench.guests.answer = answer
    response, ended = await bench.start(), await bench.start()
    await response.body.next()
    assert await ended.body.next() is None
    ended.body.close()
    reading = asyncio.create_task(response.body.next())
    await asyncio.sleep(0)
    bench.local.kill(FRA)
    gate.set()
    with pytest.raises(PopUnreachableError):
        await reading
    with pytest.raises(PopUnreachableError):
        await response.body.next()

    assert [b.closed for b in bodies] == [1, 1]
    assert bench.local._streams[FRA] == {}
