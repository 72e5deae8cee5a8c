"""The way of a request through its app's filters, in the simulated world with scripted filters."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edgesim.core.pop import Pop, Stage
from edgesim.core.request import Response
from edgesim.core.serve import serve_at_pop
from edgesim.errors import GuestTrapError
from edgesim.model.events import ColdStarted
from edgesim.model.ids import Digest
from edgesim.model.worker import Component
from edgesim.sim.kernel import Cancelled
from tests.support.request_path import CountedBody, Guests, release, request, run, serve, sim_world, spawn, spec


class Filters(Guests):
    """Filters that note what passes them, and do what `acts` says: (filter, phase) to a function."""

    def __init__(self, acts=None):
        super().__init__()
        self.acts = acts or {}
        self.log = []
        self.world = None

    async def filter_request(self, pop, worker, request, filtering):
        """Noted; takes a tenth of a second."""
        name = worker.component.id
        self.log.append((name, "in", request.target))
        filtering.handle = name
        await self.world.sleep(0.1)
        act = self.acts.get((name, "in"))
        if act is not None:
            act(request, filtering)

    async def filter_response(self, pop, worker, request, response, filtering):
        """Noted; takes a tenth of a second."""
        name = worker.component.id
        self.log.append((name, "out", response.status))
        await self.world.sleep(0.1)
        act = self.acts.get((name, "out"))
        if act is not None:
            act(response, filtering)

    def end_filter(self, worker, filtering):
        """Noted."""
        self.log.append((worker.component.id, "end", filtering.handle))


def trap(*_):
    """What a broken filter does."""
    raise GuestTrapError("the filter trapped")


def answers(status):
    """A filter that answers itself."""

    def act(request, filtering):
        filtering.answer = Response(status, "ok", body=b"mine")

    return act


def moves(target):
    """A filter that changes the path."""

    def act(request, filtering):
        request.target = target
        request.headers = (("x-moved", "1"),)

    return act


def bench(acts=None, *, fail_open=(), names=("a", "b")):
    """A PoP whose app has a worker at `/w` behind filters; its world and its guests."""
    guests = Filters(acts)
    pop = Pop(spec())
    base = release()
    filters = tuple(
        Component(id=n, digest=Digest(f"{i + 500:064x}"), size_bytes=9, abi="proxy-wasm", fail_open=n in fail_open)
        for i, n in enumerate(names)
    )
    serve(pop, replace(base, components=(*base.components, *filters), filters=tuple(names)))
    w = guests.world = sim_world([pop], guests)
    return w, pop, guests


def test_in_order_and_back():
    """Forwards in the manifest's order, backwards with the response, and each ends once."""
    w, pop, guests = bench()
    response = run(w, serve_at_pop(w, pop, request()))

    assert (response.status, response.body) == (200, b"hello\n")
    assert guests.log == [
        ("a", "in", "/w"), ("b", "in", "/w"), ("b", "out", 200), ("a", "out", 200), ("a", "end", "a"), ("b", "end", "b"),
    ]  # fmt: skip
    assert response.timings.filter_s == pytest.approx(0.4)
    assert all(worker.users == 0 for worker in pop.apps["hello"].workers.values())


def test_the_origin_stands_behind_them_too():
    """No route: the same way."""
    w, pop, guests = bench()
    response = run(w, serve_at_pop(w, pop, request("/elsewhere")))

    assert response.body == b"origin\n"
    assert [entry[:2] for entry in guests.log[:4]] == [("a", "in"), ("b", "in"), ("b", "out"), ("a", "out")]


def test_a_filter_answers_itself():
    """The worker never runs, and the response passes only the filters in front."""
    w, pop, guests = bench({("b", "in"): answers(403)})
    response = run(w, serve_at_pop(w, pop, request()))

    assert (response.status, response.body, response.version, response.pop) == (403, b"mine", 1, "fra1")
    assert guests.seen == []
    assert [entry[:2] for entry in guests.log] == [("a", "in"), ("b", "in"), ("b", "end"), ("a", "out"), ("a", "end")]


def test_the_route_is_looked_up_behind_the_filters():
    """A filter that moves the path decides who answers; the front door's request is its own again afterwards."""
    w, pop, guests = bench({("a", "in"): moves("/w")})
    asked = request("/static")
    response = run(w, serve_at_pop(w, pop, asked))

    assert response.body == b"hello\n"
    assert guests.log[1] == ("b", "in", "/w")
    assert (asked.target, asked.headers) == ("/static", ())


@pytest.mark.parametrize("phase", ["in", "out"])
def test_a_broken_filter_ends_the_request(phase):
    """502 and guest_error: closed is safer than open. All filters are ended, and nobody keeps a slot."""
    w, pop, guests = bench({("b", phase): trap})
    response = run(w, serve_at_pop(w, pop, request()))

    assert (response.status, response.outcome) == (502, "guest_error")
    assert "E0401" in response.detail
    assert {entry[0] for entry in guests.log if entry[1] == "end"} == {"a", "b"}
    assert len(guests.seen) == (phase == "out")
    assert pop.pool.busy == 0


@pytest.mark.parametrize("phase", ["in", "out"])
def test_a_broken_filter_that_may_fail_open(phase):
    """The request goes on as if it were not there."""
    w, pop, guests = bench({("b", phase): trap}, fail_open=("b",))
    response = run(w, serve_at_pop(w, pop, request()))

    assert (response.status, response.body) == (200, b"hello\n")
    assert [entry[:2] for entry in guests.log if entry[0] == "a"] == [("a", "in"), ("a", "out"), ("a", "end")]


def test_a_filter_that_goes_on_with_the_body_ends_with_it():
    """The flow leaves it alone."""

    def streams(response, filtering):
        filtering.streams = True

    w, pop, guests = bench({("a", "out"): streams})
    run(w, serve_at_pop(w, pop, request()))

    assert [entry[0] for entry in guests.log if entry[1] == "end"] == ["b"]


def test_a_body_that_does_not_come_through_is_closed():
    """The worker's stream ends when a filter fails behind it."""
    body = CountedBody(3)
    w, pop, guests = bench({("a", "out"): trap})

    async def streaming(pop, worker, request):
        return Response(200, "ok", body=body)

    guests.answer = streaming
    response = run(w, serve_at_pop(w, pop, request()))

    assert response.status == 502
    assert body.closed == 1


def test_a_cold_filter_is_started_by_the_request():
    """Its start is counted as the request's, and told as a cold start of its own."""
    w, pop, _ = bench(names=("a",))
    response = run(w, serve_at_pop(w, pop, request()))
    cold = [e for e in w.events if isinstance(e, ColdStarted)]

    assert response.status == 200
    assert len(cold) == 2
    assert cold[0].phases == (("fetch", 0.0), ("load", 0.0))
    assert (cold[0].role, cold[0].cause) == ("trigger", "request")
    assert pop.apps["hello"].workers["a"].stage is Stage.LOADED


def test_a_client_that_goes_away_inside_a_filter():
    """The filter is ended and let go."""
    w, pop, guests = bench()
    outcome = spawn(w, serve_at_pop(w, pop, request()))
    w.kernel.at(0.05, lambda: w.kernel.interrupt(outcome.flow, Cancelled()))
    w.kernel.run()

    assert isinstance(outcome.error, Cancelled)
    assert guests.log == [("a", "in", "/w"), ("a", "end", "a")]
    assert all(worker.users == 0 for worker in pop.apps["hello"].workers.values())
