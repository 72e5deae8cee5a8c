"""The live world's flows against the same logic written by hand in asyncio, both without HTTP.

Ours: `core.front_door` and `core.serve` through `LiveWorld` and `LocalPops`, as every request of a running edge takes them.
By hand: one coroutine that calls the same router, health table, retry budget, network model, pool and recorder directly,
with the same events, failover, deadline and kill. Both serve the same requests in turn with the same guest, which answers
at once from memory; every request is a miss: it takes a slot and runs the guest. Equal work is checked by the recorders.
"""

from __future__ import annotations

import asyncio
import gc
import json
import time
from statistics import median

import uvloop

from edgesim.config.catalogue import load_metros, network_model
from edgesim.config.resources import resource_path
from edgesim.config.topology import load_topology
from edgesim.core.front_door import Door, front_door
from edgesim.core.health import HealthTable
from edgesim.core.pop import Pop, Serving, Stage
from edgesim.core.replay import ReplayBody
from edgesim.core.request import CLIENT_GONE, Connection, Request, Response, Timings
from edgesim.core.router import Router
from edgesim.errors import (
    DeadlineExceededError,
    EdgesimError,
    OverloadedError,
    PopUnreachableError,
    StartError,
)
from edgesim.live.local import LocalPops
from edgesim.live.world import LiveWorld
from edgesim.model.events import RequestRouted, RequestServed
from edgesim.model.geo import Place
from edgesim.model.ids import NO_POP, AppName, Digest, PopId
from edgesim.model.stream import Stream, key
from edgesim.model.worker import Component, Release, Route
from edgesim.observe.recorder import Recorder
from edgesim.policies.routing.proximity import Policy

GOAL = 1.4
REQUESTS = 4_000
ROUNDS = 15
APP = AppName("hello")
DEAD = PopId("lhr1")
"""Down in everybody's health table: the filter skips it."""


class Memory:
    """Guests that answer at once, and a client who takes everything."""

    def __init__(self):
        self.replies = 0

    async def run_worker(self, pop, worker, request, instance=None):
        """As `WasmGuests` does, without Wasm."""
        return Response(
            200, "ok", headers=(("content-type", "text/plain"),), body=b"hello\n",
            timings=Timings(instantiate_s=0.0001, execute_s=0.0002),
        )  # fmt: skip

    async def reply(self, request, response):
        """As the front door's server does, without HTTP."""
        self.replies += 1

    async def fetch_bundle(self, pop, worker):
        """Never called: every worker is loaded."""
        raise StartError("there is nothing to fetch")

    async def load_worker(self, pop, worker):
        """Never called."""
        raise StartError("there is nothing to load")

    def unload_worker(self, pop, worker):
        """Nothing."""

    async def make_instance(self, pop, worker, instance):
        """Never called: instances serve once."""
        raise StartError("there is nothing to make")

    def drop_instance(self, pop, worker, instance):
        """Nothing."""

    async def filter_request(self, pop, worker, request, filtering):
        """Nothing."""

    async def filter_response(self, pop, worker, request, response, filtering):
        """Nothing."""

    def end_filter(self, worker, filtering):
        """Nothing."""


class Edge:
    """The parts that both shapes use: 20 PoPs with a loaded worker each, all up but one."""

    def __init__(self):
        topology = load_topology(resource_path("topology.yaml"))
        self.pops = {spec.id: Pop(spec) for spec in topology.pops}
        health = HealthTable(self.pops, topology.routing.health)
        self.door = Door(
            router=Router(Policy(), topology.pops, health),
            health=health,
            network=network_model(topology),
            retry=topology.routing.retry,
            time_scale=0.0,
        )
        self.recorder = Recorder(process="bench", version="0")
        self.recorder.add_routes(self.pops)
        self.guests = Memory()
        component = Component(id="c", digest=Digest("0" * 64), size_bytes=1, abi="wagi")
        route = Route(pattern="/...", component="c")
        release = Release(app=APP, version=1, digest=Digest("1" * 64), components=(component,), routes=(route,))
        for pop in self.pops.values():
            self.recorder.add_pop(pop.spec.id, slots=pop.spec.slots)
            serving = pop.apps[APP] = Serving(release, set())
            for worker in serving.workers.values():
                worker.stage = Stage.LOADED

    def beat(self):
        """Everybody is alive, but one."""
        for pop in self.pops:
            if pop != DEAD:
                self.door.health.beat(pop, "ready", time.monotonic())

    def outcome(self):
        """What must be equal: requests by PoP and outcome, and replies."""
        values = self.recorder.store.to_json(boot="")["metrics"]
        return [row for row in values if row[0].endswith("requests_total")], self.guests.replies


def requests(metros):
    """One round's requests; the same in every round."""
    now_s = time.monotonic()
    places = [Place(address=f"240.0.{m.id}.1", at=m.at, metro=m.id, access="cable") for m in metros]
    return [
        Request(
            id=f"r{number}", app=APP, method="GET", target=f"/{number % 50}", headers=(), body=None,
            place=places[number % len(places)], connection=Connection(), stream=Stream(key(1, number)),
            arrived_s=now_s, deadline_s=now_s + 10.0,
        )
        for number in range(REQUESTS)
    ]  # fmt: skip


class ByHand:
    """The same edge in one coroutine."""

    def __init__(self, edge):
        self.edge = edge
        self.loop = asyncio.get_running_loop()
        self.publish = edge.recorder.handle
        self.now = time.monotonic
        self.visits = {pop: {} for pop in edge.pops}

    async def serve(self, request):
        """One request, from the choice of a PoP to its reply."""
        edge, now = self.edge, self.now
        door = edge.door
        budget, router, health = door.budget, door.router, door.health
        began_s = now()
        budget.active += 1
        response = CLIENT_GONE
        replay = None
        if request.body is not None:
            request.body = replay = ReplayBody(request.body)
        try:
            while True:
                if request.pinned:
                    pop_id = None if request.failed else request.pinned
                else:
                    pop_id = router.choose(request, now())
                if pop_id is None:
                    response = Response(503, "no_pop", error="destination_unavailable", detail="no PoP is left to try")
                    break
                request.tries += 1
                retrying = bool(request.failed)
                budget.retrying += retrying
                try:
                    up_s, down_s = door.network.legs(request.place, pop_id, request.stream.bits())
                    if request.connection.pop != pop_id:
                        up_s += door.setup_rtts * (up_s + down_s)
                    request.network_s += up_s + down_s
                    if up_s * door.time_scale > 0.0:
                        await asyncio.sleep(up_s * door.time_scale)
                    response = await self.at_pop(pop_id, request)
                    request.connection.pop = pop_id
                    if down_s * door.time_scale > 0.0:
                        await asyncio.sleep(down_s * door.time_scale)
                    break
                except PopUnreachableError as error:
                    health.fail(pop_id, now())
                    request.failed = (*request.failed, pop_id)
                    if not budget.allows(request.tries, retrying) or (replay is not None and not replay.rewind()):
                        response = Response(error.status, "unreachable", error=error.proxy_error, detail=error.message)
                        break
                except DeadlineExceededError as error:
                    response = Response(error.status, "deadline", pop_id, error=error.proxy_error, detail=error.message)
                    break
                finally:
                    budget.retrying -= retrying
            await edge.guests.reply(request, response)
        finally:
            budget.active -= 1
            if not isinstance(response.body, bytes):
                response.body.close()
            pop_id = response.pop
            if pop_id == NO_POP:
                reason = "none"
            elif request.failed:
                reason = "failover"
            else:
                reason = "first" if request.ranking[0] == pop_id else "skipped"
            self.publish(
                RequestRouted(
                    pop_id, request.app, response.outcome, response.status, reason, tuple(request.failed),
                    request.network_s, now() - began_s, request.place.metro,
                )
            )  # fmt: skip

    async def at_pop(self, pop_id, request):
        """Slot, guest, event. A second coroutine, or a kill could not be told from a client's going."""
        pop = self.edge.pops[pop_id]
        if not pop.alive:
            raise PopUnreachableError(f"{pop_id} refused the connection")
        task = asyncio.current_task()
        visits = self.visits[pop_id]
        visits[task] = False
        now = self.now
        began_s = now()
        request.queue_s = request.start_s = 0.0
        response, lease, worker = CLIENT_GONE, None, None
        try:
            serving = pop.apps.get(request.app)
            if serving is None:
                response = Response(404, "no_app", pop_id, error="destination_not_found")
                return response
            worker = serving.worker(request.path)
            lease = pop.pool.acquire()
            if lease is None:
                raise OverloadedError(f"the queue of {pop_id} is full")
            worker.users += 1
            if lease.waiter is not None:
                patience_s = min(began_s + pop.spec.queue_timeout_s, request.deadline_s)
                async with asyncio.timeout_at(patience_s):
                    granted = self.loop.create_future()
                    lease.waiter.parked.append(lambda: granted.done() or granted.set_result(None))
                    await granted
                request.queue_s = now() - began_s
            worker.used_s = began_s
            if worker.stage is not Stage.LOADED:
                raise StartError("the worker is not loaded")
            response = await self.edge.guests.run_worker(pop, worker, request)
            response.pop, response.version = pop_id, worker.release.version
            response.start, response.role = "fresh", ""
            response.timings.queue_s, response.timings.start_s = request.queue_s, request.start_s
        except asyncio.CancelledError:
            if visits[task] and not task.uncancel():
                raise PopUnreachableError(f"{pop_id} broke the connection") from None
            raise
        except TimeoutError:
            response = Response(503, "queue_timeout", pop_id, error="destination_unavailable")
        except EdgesimError as error:
            response = Response(error.status, "guest_error", pop_id, error=error.proxy_error, detail=error.message)
        finally:
            del visits[task]
            if lease is not None:
                lease.close()
                worker.users -= 1
            if pop.alive:
                timings = response.timings
                self.publish(
                    RequestServed(
                        pop_id, request.app, response.version, response.outcome, response.start, response.role,
                        response.status, request.network_s, request.queue_s, request.start_s,
                        timings.instantiate_s + timings.init_s + timings.execute_s, timings.origin_s, now() - began_s,
                    )
                )  # fmt: skip
        return response

    def kill(self, pop_id):
        """Break the requests in flight at a PoP."""
        self.edge.pops[pop_id].kill()
        for task in self.visits[pop_id]:
            self.visits[pop_id][task] = True
            task.cancel()


def by_flows(edge):
    """The production flows on the production live world."""
    world = LiveWorld(edge.recorder.handle, clock=time.monotonic)
    world.equip(transport=LocalPops(world, edge.pops), guests=edge.guests, replies=edge.guests)
    return lambda request: front_door(world, edge.door, request)


async def measure():
    """CPU µs per request of each shape, round by round."""
    metros = load_metros()
    edges = {"flows": Edge(), "by hand": Edge()}
    serve = {"flows": by_flows(edges["flows"]), "by hand": ByHand(edges["by hand"]).serve}
    costs = {shape: [] for shape in serve}
    for number in range(ROUNDS + 1):
        for shape in sorted(serve, reverse=bool(number % 2)):
            edges[shape].beat()
            round_ = requests(metros)
            handle = serve[shape]
            gc.collect()
            began_s = time.process_time()
            for request in round_:
                await handle(request)
            used_s = time.process_time() - began_s
            if number:  # the first round fills caches
                costs[shape].append(used_s / REQUESTS * 1e6)
    check_equal(edges)
    return costs


def check_equal(edges):
    """Both shapes must have counted the same."""
    counted = {shape: edge.outcome() for shape, edge in edges.items()}
    if counted["flows"] != counted["by hand"]:
        raise RuntimeError("the flows and the hand-written version did not do the same")
    if counted["flows"][1] != REQUESTS * (ROUNDS + 1):
        raise RuntimeError(f"{counted['flows'][1]} replies")


def run():
    """One entry: µs per request of the flows, and the ratio to the hand-written version's."""
    costs = uvloop.run(measure())
    ours, theirs = min(costs["flows"]), min(costs["by hand"])
    return [
        {
            "id": "live-flow",
            "value": round(ours, 2),
            "unit": "µs CPU per request",
            "yardstick": f"the same logic by hand: {theirs:.2f} µs",
            "ratio": round(ours / theirs, 3),
            "goal": f"ratio <= {GOAL}",
            "ok": ours / theirs <= GOAL,
            "command": "make bench ID=live-flow",
            "median": round(median(costs["flows"]), 2),
            "median_ratio": round(median(costs["flows"]) / median(costs["by hand"]), 3),
        }
    ]


if __name__ == "__main__":
    print(json.dumps(run(), indent=2, ensure_ascii=False))
